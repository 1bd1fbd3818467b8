# SPDX-License-Identifier: MIT
"""Runs of LAMMPS that a property needs: a deck of `ictp md` with other dynamics in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from pyictp.common.files import writing
from pyictp.errors import UserError
from pyictp.md.deck import comment, deck_values, templates
from pyictp.md.lammps import deck_words, lammps_command, read_thermo, watch
from pyictp.md.run import DATA, DECK, MODEL, place_model
from pyictp.md.settings import Settings
from pyictp.md.structure import check_elements, place
from pyictp.potential.describe import describe

LIGHT, STEP, LONG_STEP = 20.0, 0.001, 0.002  # u; ps where an atom is lighter, and where none is


@dataclass(frozen=True)
class Driver:
    """What moves the atoms in LAMMPS."""

    elements: Sequence[str]  # of LAMMPS types 1, 2, ...
    model: Path | None  # an exported file; None: `lines` are all there is
    lines: Sequence[str] = ()  # of another potential: pair_style and pair_coeff


def driver_of(model: str, atoms: Atoms, folder: Path) -> Driver:
    """Return what runs a structure with a model, whose exported file goes into a folder.

    Raises:
        UserError: there is no such model, or it lacks an element.
    """
    elements = check_elements(atoms, describe(model)["elements"], model)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    place_model(model, folder / MODEL)
    return Driver(elements, folder / MODEL)


def time_step(atoms: Atoms) -> float:
    """Return a time step [ps] for hot runs."""
    masses = atoms.get_masses()
    return STEP / 2 if masses.min() < 2 else STEP if masses.min() < LIGHT else LONG_STEP


def run_deck(
    template: str,
    atoms: Atoms,
    driver: Driver,
    settings: Settings,
    folder: Path,
    **values: Any,
) -> tuple[Mapping[str, np.ndarray], str]:
    """Run a deck of this package's templates; return its last table, and why LAMMPS failed or "".

    Args:
        template: its name.
        atoms: the structure.
        driver: the potential.
        settings: of the run.
        folder: of deck, log and trajectory; those of a run before are replaced.
        values: what the template further calls by name; `columns` are added to those of the log.

    Raises:
        UserError: LAMMPS is not installed or left no row.
    """
    command = lammps_command()
    placed = place(atoms, str(folder))
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "log.lammps").unlink(missing_ok=True)
        placed.write_data(folder / DATA, driver.elements)
    names = deck_values(settings, driver.elements, placed.boundary, atoms.get_chemical_formula())
    names |= {"command": "ictp properties", "lines": driver.lines, **values}
    if driver.model is not None:
        where = os.path.relpath(driver.model, folder)
        names |= {"model": where, "where": f"it reads {comment(where)} beside what is here."}
    names["columns"] = " ".join([settings.columns, *values.get("columns", ())])
    text = templates("pyictp.properties", "pyictp.md").get_template(template).render(names)
    (folder / DECK).write_text(text)
    problem = ""
    try:
        watch(deck_words(command, DECK), folder, "LAMMPS", len(names["columns"].split()))
    except UserError as error:
        problem = str(error)
    try:
        return read_thermo(folder / "log.lammps"), problem
    except (UserError, OSError) as error:
        raise UserError(problem or str(error)) from error
