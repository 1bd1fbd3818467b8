# SPDX-License-Identifier: MIT
"""Moves of whole structures: turns about bonds, thermal displacements along harmonic modes."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.data import covalent_radii
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

FloatArray = NDArray[np.float64]

BONDED = 1.25  # times the sum of covalent radii: atoms nearer are bonded
SINGLE = 0.93  # times that sum: shorter bonds are double ones or nearly so, and do not turn
SOFTEST = 100 * units.invcm  # eV: softer modes are displaced as if they were as stiff as this
NO_MODE = 10 * units.invcm  # eV: below, a mode is motion of the whole


def reduced_distances(atoms: Atoms) -> FloatArray:
    """Return (N, N) distances in sums of covalent radii, infinite on the diagonal.

    Of periodic structures the nearest images count.
    """
    radii = covalent_radii[atoms.numbers]
    distances = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
    np.fill_diagonal(distances, np.inf)
    return distances / (radii[:, None] + radii[None, :])


def count_parts(atoms: Atoms, stretch: float = 1.0) -> int:
    """Return into how many parts the bonds join a structure.

    Args:
        atoms: a molecule or several.
        stretch: bonds may be longer by this factor.
    """
    return _parts(reduced_distances(atoms) < BONDED * stretch)[0]


def _parts(bonds: NDArray[np.bool_]) -> tuple[int, NDArray[np.int32]]:
    return connected_components(csr_matrix(bonds), directed=False)


def turnable_bonds(atoms: Atoms) -> list[tuple[int, int, NDArray[np.bool_]]]:
    """Return single bonds of no ring as atoms i, j and (N,) the side of j, which turns about i-j.

    Bonds of atoms at the end of a chain are left out: turning them changes nothing. Whether a bond
    is single is told by its length.
    """
    reduced = reduced_distances(atoms)
    bonds = reduced < BONDED
    number = _parts(bonds)[0]
    found = []
    for i, j in np.argwhere(np.triu(bonds)).tolist():
        if reduced[i, j] < SINGLE or bonds[i].sum() < 2 or bonds[j].sum() < 2:
            continue
        without = bonds.copy()
        without[i, j] = without[j, i] = False
        parts, labels = _parts(without)
        if parts > number:  # it closes no ring
            found.append((i, j, labels == labels[j]))
    return found


def turn(atoms: Atoms, rng: np.random.Generator) -> Atoms | None:
    """Return a molecule with every bond that turns turned by a random angle.

    None comes back if atoms then meet: the bonds must be those of before.
    """
    turned = atoms.copy()
    for i, j, side in turnable_bonds(atoms):
        part = turned[side]
        axis = turned.positions[j] - turned.positions[i]
        part.rotate(rng.uniform(0.0, 360.0), axis, center=turned.positions[j])
        turned.positions[side] = part.positions
    same = (reduced_distances(turned) < BONDED) == (reduced_distances(atoms) < BONDED)
    return turned if same.all() else None


def displace(
    atoms: Atoms, hessian: FloatArray, temperature: float, rng: np.random.Generator
) -> Atoms:
    """Return a structure displaced along its modes as a classical harmonic crystal or molecule is.

    x_i = x0_i + sum_m sqrt(kT) / w_m g_m e_mi / sqrt(m_i), g normal random numbers, w_m^2 and e_m
    of the Hessian divided by the roots of the masses. Translations, rotations and modes that fall
    are left out.

    Args:
        atoms: at a minimum.
        hessian: (3N, 3N) [eV/A^2].
        temperature: K.
        rng: of g.

    Source:
        ANI's normal-mode sampling, Chem. Sci. 8, 3192 (2017).
    """
    roots = np.repeat(np.sqrt(atoms.get_masses()), 3)  # sqrt(amu)
    squares, modes = np.linalg.eigh(hessian / np.outer(roots, roots))  # eV/(A^2 amu)
    quantum = units._hbar * units.m / np.sqrt(units._e * units._amu)  # eV of frequency 1
    is_mode = squares > (NO_MODE / quantum) ** 2
    frequencies = np.sqrt(np.maximum(squares[is_mode], (SOFTEST / quantum) ** 2))
    amplitudes = np.sqrt(units.kB * temperature) / frequencies * rng.standard_normal(is_mode.sum())
    displaced = atoms.copy()
    displaced.positions += ((modes[:, is_mode] @ amplitudes) / roots).reshape(-1, 3)
    return displaced
