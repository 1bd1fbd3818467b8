# SPDX-License-Identifier: MIT
"""The C++ graph builder against ASE's neighbor list."""

from __future__ import annotations

import numpy as np
import pytest
from deck import Structure
from pyictp import _native
from structures import STRUCTURES, graph

R_CUT, SKIN = 3.0, 0.4


def with_images(structure: Structure, shell: float) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and owners of all atoms and of their images within a shell of the cell."""
    positions, owners = [structure.positions], [np.arange(len(structure.types))]
    heights = 1 / np.linalg.norm(np.linalg.inv(structure.cell), axis=0)
    reach = np.where(structure.pbc, np.ceil(shell / heights), 0).astype(int)
    for shift in np.ndindex(*(2 * reach + 1)):
        offset = np.array(shift) - reach
        if offset.any():
            positions.append(structure.positions + offset @ structure.cell)
            owners.append(owners[0])
    return np.concatenate(positions), np.concatenate(owners)


def full_list(positions: np.ndarray, centers: np.ndarray, radius: float) -> tuple:
    """Return a full neighbor list by comparing all pairs: offsets and neighbors."""
    rows = []
    for center in centers:
        near = np.linalg.norm(positions - positions[center], axis=1) < radius
        near[center] = False
        rows.append(np.flatnonzero(near))
    offsets = np.cumsum([0, *map(len, rows)])
    return offsets, np.concatenate([*rows, np.zeros(0, int)]).astype(np.int32)


def canonical(edge_index: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return edges as sorted rows (center, neighbor, vector)."""
    rows = np.column_stack([edge_index.T, np.round(vectors, 9) + 0.0])
    return rows[np.lexsort(rows.T[::-1])]


@pytest.mark.parametrize("name", STRUCTURES)
def test_same_edges_as_ase(name):
    structure = STRUCTURES[name]
    num_atoms = len(structure.types)
    positions, owners = with_images(structure, R_CUT + SKIN)
    centers = np.random.default_rng(0).permutation(num_atoms).astype(np.int32)  # any order
    ids = np.arange(num_atoms) * 7 + 3
    built = _native.build_graph(
        positions, structure.types[owners], ids[owners], num_atoms, centers,
        *full_list(positions, centers, R_CUT + SKIN), [-1, 0, 1, 2], R_CUT,
    )  # fmt: skip
    species, edge_index, vectors = graph(structure, R_CUT)
    assert built["num_local"] == num_atoms
    np.testing.assert_array_equal(built["species"], species)  # images are folded: no ghost nodes
    assert built["edge_index"].shape == edge_index.shape
    np.testing.assert_allclose(
        canonical(built["edge_index"], built["edge_vectors"]),
        canonical(edge_index, vectors),
        atol=1e-8,
    )
    assert (np.diff(built["edge_index"][0]) >= 0).all()


def line_of_atoms(num_local: int, types: list[int], mask: int = -1, flag: int = 0):
    """Return a builder for atoms 1 A apart, all neighbors of each other, and their positions."""
    num_atoms = len(types)
    positions = np.zeros((num_atoms, 3))
    positions[:, 0] = np.arange(num_atoms)
    builder = _native.GraphBuilder([-1, 0, -1, 1], 1.5)
    centers = np.arange(num_local, dtype=np.int32)
    offsets, neighbors = full_list(positions, centers, 100.0)
    builder.rebuild(
        types, np.arange(num_atoms) + 1, num_local, centers, offsets, neighbors | flag, mask
    )
    return builder, positions


def test_foreign_ghosts_come_after_the_local_nodes():
    builder, positions = line_of_atoms(2, [1, 3, 1, 3])
    built = builder.update(positions)
    assert built["num_local"] == 2
    assert built["species"].tolist() == [0, 1, 0, 1]
    assert built["node_atoms"].tolist() == [0, 1, 2, 3]
    assert built["edge_index"].tolist() == [[0, 1, 1], [1, 0, 2]]


def test_two_images_of_a_foreign_atom_are_one_node():
    builder = _native.GraphBuilder([-1, 0], 1.5)
    centers, offsets = np.array([0], np.int32), np.array([0, 2])
    builder.rebuild([1, 1, 1], [5, 9, 9], 1, centers, offsets, np.array([1, 2], np.int32))
    built = builder.update(np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0]], float))
    assert built["node_atoms"].tolist() == [0, 1]
    assert built["edge_index"].tolist() == [[0, 0], [1, 1]]
    assert built["edge_vectors"][:, 0].tolist() == [1, -1]


def test_types_without_species_are_no_nodes():
    built = line_of_atoms(3, [1, 2, 3, 2])[0].update(np.zeros((4, 3)))
    assert built["node_atoms"].tolist() == [0, 2]
    assert built["species"].tolist() == [0, 1]
    assert built["edge_index"].tolist() == [[0, 1], [1, 0]]


def test_flag_bits_of_list_entries_are_masked():
    plain, positions = line_of_atoms(2, [1, 3, 1, 3])
    flagged, _ = line_of_atoms(2, [1, 3, 1, 3], mask=0x1FFFFFFF, flag=2 << 29 >> 1)
    for name, values in plain.update(positions).items():
        np.testing.assert_array_equal(flagged.update(positions)[name], values)


def test_the_cutoff_is_strict_and_positions_may_move():
    builder, positions = line_of_atoms(2, [1, 3])
    for distance, num_edges in [(1.0, 2), (1.5, 0), (np.nextafter(1.5, 0), 2), (1.6, 0), (0.5, 2)]:
        positions[1, 0] = distance
        assert builder.update(positions)["edge_index"].shape == (2, num_edges)


def test_no_atoms():
    built = line_of_atoms(0, [])[0].update(np.zeros((0, 3)))
    assert built["num_local"] == 0
    assert built["edge_index"].shape == (2, 0)


def test_two_local_atoms_with_one_id():
    builder = _native.GraphBuilder([-1, 0], 1.5)
    with pytest.raises(RuntimeError, match="two atoms have the ID 4: atom IDs must be unique"):
        builder.rebuild([1, 1], [4, 4], 2, [], [0], np.zeros(0, np.int32))


@pytest.mark.parametrize(("types", "edges"), [([1, 2], [[0], [0]]), ([2, 1], [[], []])])
def test_a_ghost_has_the_type_of_its_local_atom(types, edges):
    builder = _native.GraphBuilder([-1, 0, -1], 1.5)
    builder.rebuild(types, [5, 5], 1, [0], [0, 1], np.array([1], np.int32))
    assert builder.update([[0, 0, 0], [1, 0, 0]])["edge_index"].tolist() == edges
