# SPDX-License-Identifier: MIT
"""A molecule at rest and its vibrations, and pairs of atoms alone."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers, covalent_radii
from ase.units import invcm
from ase.vibrations import Vibrations

from pyictp.common.arrays import FloatArray
from pyictp.properties.crystals import relax

SHORTEST = 0.3  # A: no collision of a simulation comes closer
CURVE_POINTS = 230
DISPLACEMENT = 0.005  # A
RISE = 1e-3  # eV: energies that fall by less than this on the way in are flat, not a hole
BONDED = 1.25  # times the covalent radii: longer than any bond
FEW = 30  # atoms of which all bonds are listed
WALL = 0.7  # times the covalent radii: shorter than any bond (N2: 0.77)


def relaxed_molecule(atoms: Atoms, calculator: Calculator) -> Atoms:
    """Return the molecule at its nearest minimum."""
    moved = Atoms(atoms.numbers, atoms.positions)
    moved.calc = calculator
    relax(moved, "molecule")
    return moved


def vibrations(atoms: Atoms) -> FloatArray:
    """Return wavenumbers [1/cm] of a relaxed molecule, ascending; imaginary ones are negative.

    The slowest six, or five of a linear molecule, are translations and rotations.
    """
    with tempfile.TemporaryDirectory() as folder:
        runs = Vibrations(atoms, delta=DISPLACEMENT, name=f"{folder}/vibrations", nfree=4)
        runs.run()
        energies = runs.get_energies()
    return np.sort(np.where(energies.imag > 0, -energies.imag, energies.real)) / invcm


@dataclass(frozen=True)
class Diatomic:
    """Energy of two atoms alone over their distance."""

    pair: str  # Cu-Ni
    distances: FloatArray  # (K,) [A] ascending
    energies: FloatArray  # (K,) [eV] above the atoms far away
    length: float | None  # of the bond, at the lowest energy [A]; None: nothing binds
    depth: float  # of the minimum [eV]
    hole: float | None  # [A] below it energies fall on the way in; None: repulsive to the end


def diatomics(elements: Sequence[str], calculator: Calculator, r_max: float) -> list[Diatomic]:
    """Return the curves of all pairs of elements, from 0.3 A to `r_max` [A]."""
    distances = np.linspace(SHORTEST, r_max, CURVE_POINTS)
    pairs = combinations_with_replacement(dict.fromkeys(elements), 2)
    return [_diatomic(a, b, distances, calculator) for a, b in pairs]


def _diatomic(a: str, b: str, distances: FloatArray, calculator: Calculator) -> Diatomic:
    wall = WALL * (covalent_radii[atomic_numbers[a]] + covalent_radii[atomic_numbers[b]])
    energies = []
    for distance in [*distances, 3 * distances[-1]]:
        atoms = Atoms([a, b], [[0, 0, 0], [distance, 0, 0]])
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
    curve = np.array(energies[:-1]) - energies[-1]
    length, depth, hole = judge(distances, curve, wall)
    return Diatomic(f"{a}-{b}", distances, curve, length, depth, hole)


def judge(
    distances: FloatArray, energies: FloatArray, wall: float
) -> tuple[float | None, float, float | None]:
    """Return bond length [A], depth [eV] and where a hole begins [A] of one curve.

    Outside `wall` [A] the lowest energy is the bond; inside energies must rise on the way in.
    """
    finite = np.isfinite(energies)
    outside = np.flatnonzero((distances >= wall) & finite)
    lowest = int(outside[np.argmin(energies[outside])])
    bound = lowest not in (outside[0], outside[-1]) and energies[lowest] < -RISE
    inside = np.flatnonzero(distances < wall)
    ways_in = np.where(finite[inside], energies[inside], -np.inf)[::-1]
    falls = np.flatnonzero(ways_in < np.maximum.accumulate(ways_in) - RISE)
    hole = float(distances[inside[::-1][falls[0]]]) if len(falls) else None
    if not bound:
        return None, 0.0, hole
    return float(distances[lowest]), float(-energies[lowest]), hole
