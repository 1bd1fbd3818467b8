# SPDX-License-Identifier: MIT
"""The melting point of a crystal: crystal and melt beside each other, by LAMMPS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms

from pyictp.common.arrays import FloatArray
from pyictp.errors import UserError
from pyictp.graph.neighbors import neighbor_pairs
from pyictp.md.averages import time_average
from pyictp.md.lammps import seconds_per_step
from pyictp.md.settings import Request, Settings, resolve
from pyictp.properties.dynamics import Driver, run_deck, time_step
from pyictp.properties.lattice_dynamics import LENGTH, MESH, ZERO, force_constants, repeats

WIDTH = 14.0  # A, of the cell across at least; it is twice as long
CRYSTAL, MELT, BOTH = 3.0, 4.0, 30.0  # ps: crystal alone; heating of one half; both phases
HOT = 2.0  # times the guess: where one half melts
MODULUS = 1e5  # bar: how fast the cell follows; 0.2 ps where the bulk modulus is 100 GPa
FEWEST_NEIGHBORS = 12  # of whole shells: fcc 12, bcc 14, diamond 16
SHELL = 0.1  # A: distances of one shell
LINDEMANN = 0.12  # displacement by distance of neighbors where crystals melt, roughly
REFERENCE = 2000.0  # K, where displacements are classical
TORN = 1.5  # times the volume of the crystal: melts take a tenth more, some salts a third
ROUNDS = 5
PRESENT = (0.1, 0.9)  # shares of crystal between which both phases are there
FARTHER = 0.15  # of the guess: the next one, while all of them were on one side


@dataclass(frozen=True)
class Melting:
    """Crystal and melt at constant enthalpy, at zero pressure."""

    temperature: float  # of the second half of the run [K]
    error: float  # standard error, which knows of correlation, or half of the bracket [K]
    share: float  # of crystal in the second half
    atoms: int
    guess: float  # temperature that the run began with [K]
    rounds: int  # runs that it took
    bracketed: bool  # none kept both phases: half way between a run that froze and one that melted
    times: FloatArray  # (T,) [ps]
    temperatures: FloatArray  # (T,) [K]
    shares: FloatArray  # (T,) of crystal
    seconds: float  # of the last round's coexistence, per step


def lindemann(atoms: Atoms, length: float = LENGTH) -> float:
    """Return roughly where a relaxed conventional cell melts [K], by its phonons.

    Where the root mean square displacement is 0.12 of the distance of neighbors.

    Args:
        atoms: the cell.
        length: of the supercell of the phonons at least [A].

    Raises:
        UserError: modes are imaginary.
    """
    phonon = force_constants(atoms, length)
    mesh = phonon.run_mesh(MESH, with_eigenvectors=True, is_mesh_symmetry=False)
    if np.array(mesh.frequencies).min() < -ZERO:
        raise UserError("melting: imaginary modes: expected a crystal that is stable at rest")
    found = phonon.run_thermal_displacements(temperatures=[REFERENCE], freq_min=ZERO)
    squares = np.array(found.thermal_displacements)[0].reshape(-1, 3).sum(axis=1)  # A^2
    shortest = shells(atoms)[0]
    return float(REFERENCE * (LINDEMANN * shortest) ** 2 / squares.mean())


def shells(atoms: Atoms) -> tuple[float, float, int]:
    """Return the shortest distance, a cutoff behind whole shells [A], and neighbors within.

    At least 12 neighbors on average; the cutoff is in the middle of the gap behind them.
    """
    reach = 2.5 * (atoms.get_volume() / len(atoms)) ** (1 / 3)
    center, neighbor, offset = neighbor_pairs(
        atoms.positions, np.array(atoms.cell), atoms.pbc, reach
    )
    vectors = atoms.positions[neighbor] - atoms.positions[center] + offset
    lengths = np.sort(np.linalg.norm(vectors, axis=1))
    gaps = np.flatnonzero(np.diff(lengths) > SHELL)
    gap = int(gaps[gaps + 1 >= FEWEST_NEIGHBORS * len(atoms)][0])
    cutoff = 0.5 * (lengths[gap] + lengths[gap + 1])
    return float(lengths[0]), float(cutoff), round((gap + 1) / len(atoms))


def supercell(atoms: Atoms, width: float = WIDTH) -> Atoms:
    """Return a crystal at least `width` [A] across and twice that along c."""
    a, b, _ = repeats(atoms, width)
    return atoms.repeat((a, b, repeats(atoms, 2 * width)[2]))


def melting_point(
    atoms: Atoms,
    driver: Driver,
    guess: float,
    folder: Path,
    *,
    width: float = WIDTH,
    duration: float = 1.0,
    say: Callable[[str], None] = lambda _: None,
) -> Melting:
    """Return where crystal and melt stay beside each other; both melt or freeze until they do.

    Where none does, it is between the temperatures at which all froze and all melted.

    Args:
        atoms: the relaxed conventional cell.
        driver: the potential.
        guess: of the melting point [K]; where one phase alone is left, another takes its place.
        folder: of the runs.
        width: of the crystal across at least [A].
        duration: times 3 ps of crystal, 8 of melting and 30 of both phases.
        say: told what begins.

    Raises:
        UserError: LAMMPS failed, or the same phase alone was left each time.

    Source:
        J. R. Morris et al., Phys. Rev. B 49, 3109 (1994), at constant pressure and enthalpy.
    """
    crystal = supercell(atoms, width)
    first = guess
    alone: dict[str, Melting] = {}
    for number in range(1, ROUNDS + 1):
        say(f"melting: round {number}, {len(crystal)} atoms from {guess:.0f} K")
        place = folder / f"round_{number}"
        found = _coexistence(atoms, crystal, driver, guess, place, duration)
        found = replace(found, rounds=number)
        left = float(found.shares[-1])
        if PRESENT[0] < left < PRESENT[1]:
            return found
        phase = "melt" if left < 0.5 else "crystal"
        say(f"melting: {phase} alone is left of a run from {guess:.0f} K")
        alone[phase] = found
        farther = guess * (1 - FARTHER if phase == "melt" else 1 + FARTHER)
        both = len(alone) == 2
        guess = 0.5 * sum(one.guess for one in alone.values()) if both else farther
    if both:
        return _between(alone["crystal"], alone["melt"])
    raise UserError(
        f"melting: {phase} alone was left in each of {ROUNDS} runs, the first from {first:.0f} "
        f"K, the next would begin at {guess:.0f} K: has the model seen the melt? (logs in "
        f"'{folder}')"
    )


def _between(froze: Melting, melted: Melting) -> Melting:
    """Return what two runs say that kept one phase each, at their temperatures."""
    error = max(0.5 * abs(melted.temperature - froze.temperature), froze.error, melted.error)
    temperature = 0.5 * (froze.temperature + melted.temperature)
    return replace(
        max(froze, melted, key=lambda one: one.rounds),
        temperature=temperature,
        error=error,
        bracketed=True,
    )


def _coexistence(
    atoms: Atoms, crystal: Atoms, driver: Driver, guess: float, folder: Path, duration: float
) -> Melting:
    _, cutoff, neighbors = shells(atoms)
    settings = _settings(crystal, guess, duration)
    thermo, problem = run_deck(
        "melting.lammps.j2",
        crystal,
        driver,
        settings,
        folder,
        title="Crystal and melt beside each other, at constant pressure and enthalpy",
        hot=HOT * guess,
        modulus=MODULUS,
        alone=round(CRYSTAL * duration / settings.timestep),
        melting=round(MELT * duration / settings.timestep),
        present=PRESENT,
        cutoff=cutoff,
        neighbors=neighbors,
        columns=["c_crystal"],
    )
    if problem:
        raise UserError(problem)
    growth = float(thermo["Volume"].max() / crystal.get_volume())
    if growth > TORN:
        raise UserError(
            f"melting: the cell grew to {growth:.1f} times the crystal's volume in a run from "
            f"{guess:.0f} K: the melt of this model tears or boils; has it learned stresses, and "
            f"the melt? (logs in '{folder}')"
        )
    late = slice(len(thermo["Step"]) // 2, None)
    average = time_average(thermo["Temp"][late])
    third, last = np.array_split(thermo["Temp"][late], 2)
    moved = abs(third.mean() - last.mean()) if len(last) else 0.0  # does it still drift?
    return Melting(
        temperature=average.mean,
        error=max(average.error, float(moved)),
        share=float(thermo["c_crystal"][late].mean()),
        atoms=len(crystal),
        guess=guess,
        rounds=1,
        bracketed=False,
        times=thermo["Time"] - thermo["Time"][0],
        temperatures=thermo["Temp"],
        shares=thermo["c_crystal"],
        seconds=seconds_per_step(folder / "log.lammps"),
    )


def _settings(crystal: Atoms, temperature: float, duration: float) -> Settings:
    request = Request(
        ensemble="npt",
        temperature=temperature,
        pressure=0.0,
        time=BOTH * duration,
        timestep=1000 * time_step(crystal),
    )
    return resolve(request, crystal)
