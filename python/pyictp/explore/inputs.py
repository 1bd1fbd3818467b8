# SPDX-License-Identifier: MIT
"""What an exploration begins with, and whether it fits together: known before anything is trained.

The dry run and the loop call the same functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ase import Atoms

from pyictp.common.progress import logger
from pyictp.data.samples import elements_of
from pyictp.errors import UserError
from pyictp.explore.frames import (
    has_labels,
    is_free_atom,
    read_sources,
    split_batches,
    to_frames,
)
from pyictp.explore.labeller_check import frame_to_check
from pyictp.explore.settings import ExploreConfig
from pyictp.explore.simulate import Run, plan_runs
from pyictp.md.lammps import lammps_command
from pyictp.md.structure import check_fixed, place


@dataclass(frozen=True)
class Inputs:
    """All structures that an exploration begins with."""

    train: list[Atoms]
    valid: list[Atoms]
    test: list[Atoms]
    runs: list[Run]  # of the first cycle


def read_inputs(config: ExploreConfig) -> Inputs:
    """Return what the files of a configuration hold.

    Raises:
        UserError: a file is missing or wrong.
    """
    data, loop = config.data, config.explore
    runs = plan_runs(config.dynamics, loop.seed, 1)
    train, valid, test = (read_sources(f, data) for f in (data.train, data.valid, loop.test))
    return Inputs(train, valid, test, runs)


def check_inputs(inputs: Inputs, config: ExploreConfig) -> None:
    """Refuse what would fail after the first training: programs, cells, elements.

    Args:
        inputs: frames need no labels yet.
        config: of the loop.

    Raises:
        UserError: LAMMPS is missing, LAMMPS cannot take a structure, the models or the labeller
            would not know an element, or there are too few frames.
    """
    lammps_command(config.dynamics.lmp, config.dynamics.processes)
    ignored: dict[str, str] = {}  # file: constraints
    for run in inputs.runs:
        if run.temperature == config.dynamics.temperatures[0]:  # others run the same structures
            _check_structure(run, config.dynamics.pressure is not None, ignored)
    for source, names in ignored.items():
        logger.warning("'%s': constraints %s are ignored: only FixAtoms is known", source, names)
    if config.dynamics.pressure is not None and config.training.stress_weight == 0:
        logger.warning(
            "dynamics.pressure: the models are not trained on stresses, their pressure may be off "
            "by GPa: set training.stress_weight above 0, or dynamics.pressure to null"
        )
    first = frame_to_check(inputs.train)
    fraction = 0.0 if inputs.valid else config.data.valid_fraction
    split_batches([inputs.train], fraction, config.explore.seed, 0)
    _check_model(inputs, config.model.elements)
    if config.labeller.method == "lammps":
        _check_types(inputs, first, config.labeller.elements)


def _check_structure(run: Run, constant_pressure: bool, ignored: dict[str, str]) -> None:
    """Refuse what LAMMPS cannot run, note which constraints it does not heed."""
    if names := place(run.atoms, run.source).ignored:
        ignored[run.source] = names
    try:
        check_fixed(run.atoms, constant_pressure)
    except UserError as error:
        raise UserError(f"dynamics.structures: '{run.source}': {error}") from None


def _check_model(inputs: Inputs, named: Sequence[str]) -> None:
    """Refuse elements that the models will not know."""
    data = _elements([*inputs.train, *inputs.valid])
    known = tuple(named) or data
    origin = "model.elements are" if named else "the frames of data.train have"
    remedy = "name all elements" if named else "add frames with it to data.train"
    asked = {
        "data.train, data.valid": data,
        "explore.test": _elements(inputs.test),
        **{f"dynamics.structures: '{r.source}'": _elements([r.atoms]) for r in inputs.runs},
    }
    for where, elements in asked.items():
        strange = [element for element in elements if element not in known]
        if strange:
            raise UserError(
                f"{where}: found {' '.join(strange)}, but {origin} {' '.join(known)}: {remedy}, "
                "or leave that structure out"
            )


def _check_types(inputs: Inputs, first: Atoms, named: Sequence[str]) -> None:
    """Refuse structures to label for which a potential in LAMMPS has no type."""
    frames = [*inputs.train, *inputs.valid, *inputs.test]
    bare = [atoms for atoms in frames if not has_labels(atoms)]
    runs = [run.atoms for run in inputs.runs]
    elements = _elements([first, *bare, *runs])
    if not named and len(elements) > 1:
        raise UserError(
            f"labeller.elements: name the elements of types 1, 2, ... ({' '.join(elements)} in "
            "the order of pair_coeff)"
        )
    strange = [element for element in elements if named and element not in named]
    if strange:
        raise UserError(
            f"labeller.elements are {' '.join(named)}, the structures to label also have "
            f"{' '.join(strange)}: name all elements, in the order of pair_coeff"
        )


def _elements(structures: Sequence[Atoms]) -> tuple[str, ...]:
    """Return the elements of all but isolated atoms, by atomic number."""
    return elements_of(to_frames([atoms for atoms in structures if not is_free_atom(atoms)]))


def count_labels(structures: Sequence[Atoms]) -> str:
    """Return how many frames there are, and how many of them have labels, in words."""
    return f"{len(structures)} frames ({sum(map(has_labels, structures))} with labels)"
