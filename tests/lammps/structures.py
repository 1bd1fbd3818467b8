# SPDX-License-Identifier: MIT
"""Structures that a pair style gets wrong first."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.neighborlist import primitive_neighbor_list
from deck import Structure


def lattice(repeats: tuple[int, int, int], spacing: float, seed: int = 0) -> Structure:
    """Return a rattled body-centred lattice with types drawn at random."""
    rng = np.random.default_rng(seed)
    corner = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), -1).reshape(-1, 3)
    positions = np.concatenate([corner + 0.25, corner + 0.75]) * spacing
    positions += rng.normal(scale=0.08, size=positions.shape)
    types = rng.integers(1, 4, len(positions))
    return Structure(positions, types, np.diag(np.array(repeats) * spacing))


def sheared(structure: Structure, amount: float = 1.0) -> Structure:
    """Return the structure in a triclinic cell."""
    lengths = np.diag(structure.cell)
    cell = np.diag(lengths) + amount * np.array(
        [[0, 0, 0], [0.21 * lengths[0], 0, 0], [-0.13 * lengths[0], 0.32 * lengths[1], 0]]
    )
    return Structure(structure.positions / lengths @ cell, structure.types, cell)


def _slab() -> Structure:
    bulk = lattice((3, 3, 2), 2.9, seed=3)
    positions = bulk.positions + np.array([0, 0, 2.0])
    cell = np.diag([*np.diag(bulk.cell)[:2], 30.0])
    return Structure(positions, bulk.types, cell, pbc=(True, True, False))


def _scrambled() -> Structure:
    bulk = lattice((3, 2, 2), 2.9, seed=4)
    ids = np.random.default_rng(5).permutation(100000)[: len(bulk.types)] + 1
    return Structure(bulk.positions, bulk.types, bulk.cell, ids=ids)


def _atoms(positions: list[list[float]], length: float, periodic: bool) -> Structure:
    types = np.arange(len(positions)) % 3 + 1
    return Structure(
        np.array(positions, dtype=float).reshape(-1, 3), types, np.eye(3) * length, (periodic,) * 3
    )


def _droplet() -> Structure:
    bulk = lattice((4, 4, 4), 2.9, seed=7)
    distances = np.linalg.norm(bulk.positions - bulk.positions.mean(0), axis=1)
    inside = distances < 5.0
    positions = bulk.positions[inside] + 8.0
    return Structure(positions, bulk.types[inside], np.eye(3) * 26.0)


STRUCTURES = {
    "bulk": lattice((3, 3, 3), 2.9),
    "triclinic": sheared(lattice((3, 2, 3), 2.9, seed=1)),
    "cell below the cutoff": lattice((1, 1, 1), 2.1, seed=2),
    "triclinic cell below the cutoff": sheared(lattice((1, 1, 1), 2.3, seed=6)),
    "one atom, periodic": _atoms([[0.1, 0.2, 0.3]], 2.2, True),
    "lone atom": _atoms([[5, 5, 5]], 10.0, False),
    "two clusters": _atoms(
        [[2, 2, 2], [3.1, 2.2, 2.1], [15, 15, 15], [15, 16.4, 15.5]], 20.0, False
    ),
    "slab": _slab(),
    "droplet": _droplet(),
    "scrambled IDs": _scrambled(),
    "no atoms": _atoms([], 10.0, True),
}


def graph(structure: Structure, r_cut: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return species, edge_index and edge_vectors by ASE's neighbor list."""
    species = structure.types - 1
    if len(species) == 0:
        return species, np.zeros((2, 0), dtype=int), np.zeros((0, 3))
    atoms = Atoms(positions=structure.positions, cell=structure.cell, pbc=structure.pbc)
    i, j, vectors = primitive_neighbor_list(
        "ijD", atoms.pbc, atoms.cell, atoms.positions, r_cut, self_interaction=False
    )
    return species, np.stack([i, j]).astype(int), vectors
