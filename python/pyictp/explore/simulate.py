# SPDX-License-Identifier: MIT
"""Dynamics with the models of a cycle: decks, LAMMPS, frames between the two thresholds."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from pyictp.common.extxyz import save_structures
from pyictp.common.files import atomic_path
from pyictp.errors import UserError
from pyictp.explore.settings import DEVIATION, UNITS, DynamicsConfig, UncertaintyConfig
from pyictp.md.deck import deck_values, templates
from pyictp.md.lammps import deck_words, lammps_command, read_frames, read_thermo, watch
from pyictp.md.settings import Settings
from pyictp.md.structure import Placed, check_elements, place, read_structures

COMPONENT = {DEVIATION: 1, "grade": 4}  # of `compute pair ictp`
DECK, LOG, DUMP, DONE, FRAMES = (
    *("in.lammps", "log.lammps", "trajectory.lammpstrj"),
    *("run.json", "frames.extxyz"),
)


@dataclass(frozen=True)
class Run:
    """One structure at one temperature."""

    name: str  # of its folder
    source: str
    atoms: Atoms
    temperature: float  # K
    seed: int


@dataclass(frozen=True)
class Visit:
    """What a run saw; counts are of the steps at which the models were compared."""

    name: str
    temperature: float
    looks: int
    below: int
    between: int
    halted: bool
    largest: float  # in the unit of the uncertainty
    problem: str = ""  # LAMMPS' message, where it failed on the way


def plan_runs(settings: DynamicsConfig, seed: int, cycle: int) -> list[Run]:
    """Return the runs of a cycle: every structure at every temperature, velocities of their own.

    Raises:
        UserError: a structure cannot be read, or has no cell where a pressure needs one.
    """
    runs: list[Run] = []
    for source in settings.structures:
        for atoms in read_structures(source):
            if settings.pressure is not None and not atoms.pbc.all():
                raise UserError(
                    f"dynamics.pressure: '{source}' is not periodic in all directions: set it to "
                    "null"
                )
            for temperature in settings.temperatures:
                rng = np.random.default_rng([seed, cycle, len(runs)])
                name = f"{len(runs):02}_{atoms.get_chemical_formula()}_{temperature:g}K"
                runs.append(Run(name, source, atoms, temperature, int(rng.integers(1, 2**29))))
    return runs


def simulate(
    run: Run,
    settings: DynamicsConfig,
    uncertainty: UncertaintyConfig,
    model: Path,
    elements: Sequence[str],
    folder: Path,
    progress: Callable[[int], None] | None = None,
) -> Visit:
    """Run LAMMPS and keep the frames between the thresholds in `frames.extxyz`.

    A run that is done already is not repeated; one that was cut short begins anew.

    Args:
        run: what to run.
        settings: for how long, how often to look.
        uncertainty: thresholds, resolved.
        model: the exported file.
        elements: of the model.
        folder: of this run.
        progress: called with the steps done since its last call.

    Raises:
        UserError: LAMMPS failed before it compared the models once.
    """
    done = folder / DONE
    if done.exists():
        return Visit(**json.loads(done.read_text()))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    placed = place(run.atoms, run.source)
    present = check_elements(run.atoms, elements, str(model))
    placed.write_data(folder / "structure.data", present)
    text, columns = _deck(run, settings, uncertainty, present, placed, model, folder)
    (folder / DECK).write_text(text)
    words = deck_words(lammps_command(settings.lmp, settings.processes), DECK)
    problem = ""
    try:
        watch(words, folder, f"run '{run.name}'", columns, progress)
    except UserError as error:
        problem = str(error)
    visit = _visit(run, uncertainty, folder, settings.every, problem)
    frames = _frames(run, placed.back, uncertainty, folder)
    save_structures(folder / FRAMES, frames)
    with atomic_path(done) as temporary:
        temporary.write_text(json.dumps(asdict(visit), indent=1) + "\n")
    return visit


def _deck(
    run: Run,
    settings: DynamicsConfig,
    uncertainty: UncertaintyConfig,
    elements: Sequence[str],
    placed: Placed,
    model: Path,
    folder: Path,
) -> tuple[str, int]:
    """Return the deck and the number of columns of its log."""
    light = "H" in run.atoms.get_chemical_symbols()
    chosen = Settings(
        ensemble="nvt" if settings.pressure is None else "npt",
        steps=settings.steps,
        timestep=(settings.timestep or (0.5 if light else 1.0)) / 1000,
        temperature=run.temperature,
        to_temperature=run.temperature,
        pressure=settings.pressure,
        coupling=settings.coupling,
        repeat=(1, 1, 1),
        thermo=settings.every,
        every=settings.every,
        seed=run.seed,
    )
    fixed = np.flatnonzero(placed.fixed)
    values = deck_values(chosen, elements, placed.boundary, Path(run.source).name, fixed)
    values |= {
        "command": "ictp explore",
        "where": "the models are those of the cycle before.",
        "columns": f"{chosen.columns} v_uncertainty c_models[1] c_models[2] c_models[4]",
        "model": os.path.relpath(model, folder),
        "component": COMPONENT[uncertainty.by],
        "unit": f"{UNITS[uncertainty.by] or 'grade'}:",
        "low": uncertainty.low,
        "high": uncertainty.high,
    }
    decks = templates("pyictp.explore", "pyictp.md")
    return decks.get_template("explore.lammps.j2").render(values), len(values["columns"].split())


def _visit(
    run: Run, uncertainty: UncertaintyConfig, folder: Path, every: int, problem: str
) -> Visit:
    try:
        values = _looks(folder, every)[1]
    except UserError:
        values = np.zeros(0)
    if not len(values):
        raise UserError(problem or f"run '{run.name}' left no row in '{folder / LOG}'")
    below = int((values < uncertainty.low).sum())
    above = int((values > uncertainty.high).sum())
    return Visit(
        name=run.name,
        temperature=run.temperature,
        looks=len(values),
        below=below,
        between=len(values) - below - above,
        halted=above > 0,
        largest=float(values.max()),
        problem=problem,
    )


def _looks(folder: Path, every: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps at which the models were compared, and what came out."""
    thermo = read_thermo(folder / LOG)
    fresh = thermo["Step"] % every == 0  # a last row may be in between
    return thermo["Step"][fresh].astype(int), thermo["v_uncertainty"][fresh]


def _frames(
    run: Run,
    back: Callable[[Atoms, Sequence[int]], Atoms],
    uncertainty: UncertaintyConfig,
    folder: Path,
) -> list[Atoms]:
    """Return the frames of the dump, oriented as the structure was."""
    path = folder / DUMP
    steps, dumped = read_frames(path) if path.exists() else (np.zeros(0, int), [])
    values = dict(zip(*_looks(folder, 1), strict=True))
    frames = []
    for step, frame in zip(steps.tolist(), dumped, strict=True):
        if step not in values:  # LAMMPS was ended between its dump and its log
            continue
        atoms = back(frame, (1, 1, 1))
        kept = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        kept.info = {
            "run": run.name,
            "step": step,
            "temperature": run.temperature,
            uncertainty.by: float(values[step]),
        }
        frames.append(kept)
    return frames
