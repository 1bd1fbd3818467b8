# SPDX-License-Identifier: MIT
"""Neighbor search and graphs against a double loop over images and against ASE."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list
from data_toys import image_offsets, structures
from pyictp.errors import UserError
from pyictp.graph.graph import Graph, build_graph, collate
from pyictp.graph.neighbors import SkinList


def graph_of(atoms: Atoms, r_cut: float) -> Graph:
    species = np.zeros(len(atoms), dtype=int)
    return build_graph(atoms.positions, atoms.cell.array, atoms.pbc, species, r_cut)


def sorted_rows(center, neighbor, vectors) -> np.ndarray:
    rows = np.column_stack([center, neighbor, np.round(vectors, 7) + 0.0])
    return rows[np.lexsort(rows.T[::-1])]


def rows_of(graph: Graph) -> np.ndarray:
    return sorted_rows(*graph.edge_index.numpy(), graph.edge_vectors.numpy())


def brute_force(atoms: Atoms, r_cut: float) -> np.ndarray:
    images = image_offsets(atoms.cell.array, atoms.pbc, r_cut, atoms.positions)
    found = []
    for i, position in enumerate(atoms.positions):
        for j, other in enumerate(atoms.positions):
            vectors = other + images - position
            lengths = np.linalg.norm(vectors, axis=1)
            keep = vectors[(lengths < r_cut) & (lengths > 1e-9)]
            found += [(i, j, *vector) for vector in keep]
    rows = np.array(found).reshape(-1, 5)
    return sorted_rows(rows[:, 0], rows[:, 1], rows[:, 2:])


@pytest.mark.parametrize("r_cut", [1.3, 3.1, 5.9])
@pytest.mark.parametrize("name", structures())
def test_edges_equal_brute_force(name, r_cut):
    atoms = structures()[name]
    found, expected = rows_of(graph_of(atoms, r_cut)), brute_force(atoms, r_cut)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-7)


@pytest.mark.parametrize("seed", range(60))
def test_edges_equal_ase_for_random_cells(seed):
    rng = np.random.default_rng(seed)
    pbc = np.array([(seed >> axis) & 1 for axis in range(3)], dtype=bool)
    cell = np.eye(3) * rng.uniform(2, 7, 3) + rng.normal(size=(3, 3))
    positions = rng.uniform(-1.5, 2.5, (rng.integers(1, 9), 3)) @ cell
    atoms = Atoms("H" * len(positions), positions, cell=cell, pbc=pbc)
    if seed % 3 == 0:
        atoms.cell[~pbc] = 0.0
    r_cut = rng.uniform(1.5, 6)
    found = rows_of(graph_of(atoms, r_cut))
    expected = sorted_rows(*neighbor_list("ijD", atoms, r_cut))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-7)


def test_graph_layout():
    graph = graph_of(structures()["crystal"], 4.0)
    center, neighbor = graph.edge_index
    assert graph.edge_index.dtype == torch.int64
    assert graph.edge_vectors.dtype == torch.float64
    assert bool((center[1:] >= center[:-1]).all())
    assert graph.num_local == graph.num_nodes == 16
    assert bool((torch.bincount(center) == torch.bincount(neighbor)).all())
    assert graph.to("cpu", torch.float32).edge_vectors.dtype == torch.float32


def test_cutoff_is_strict():
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 2.0]])
    assert graph_of(atoms, 2.0).num_edges == 0
    assert graph_of(atoms, np.nextafter(2.0, 3.0)).num_edges == 2


def test_no_atoms_and_no_edges():
    graph = build_graph(np.zeros((0, 3)), np.zeros((3, 3)), False, np.zeros(0), 3.0)
    assert (graph.num_nodes, graph.num_edges) == (0, 0)
    assert graph_of(structures()["lone_atom"], 5.0).num_edges == 0


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms("H3", [[0, 0, 0], [0, 0, 1], [0, 0, 0]]), "atoms 0 and 2 are on one spot"),
        (
            Atoms("H2", [[0, 0, 0], [0, 0, 5]], cell=[5, 5, 5], pbc=True),
            "atoms 0 and 1 are on one spot",
        ),
        (Atoms("H", cell=[5, 5, 0], pbc=True), "pbc is on along c but the cell vector there is"),
        (Atoms("H", cell=[[5, 0, 0], [0, 5, 0], [5, 5, 0]], pbc=True), "has no volume"),
        (Atoms("H", [[0, np.nan, 0]]), "positions: a value is NaN or infinite"),
    ],
)
def test_bad_structures_are_refused(atoms, message):
    with pytest.raises(UserError, match=message):
        graph_of(atoms, 3.0)


def test_wrong_shapes_are_refused():
    with pytest.raises(UserError, match=r"positions: expected shape \(N, 3\), got \(2, 2\)"):
        build_graph(np.zeros((2, 2)), np.zeros((3, 3)), False, [0, 0], 3.0)
    with pytest.raises(UserError, match=r"species: expected shape \(1,\), got \(2,\)"):
        build_graph(np.zeros((1, 3)), np.zeros((3, 3)), False, [0, 0], 3.0)


def test_collate_keeps_every_structure():
    graphs = [graph_of(atoms, 4.0) for atoms in structures().values()]
    joined = collate([collate(graphs[:3]), collate(graphs[3:])])
    assert joined.num_structures == len(graphs)
    assert joined.num_local == joined.num_nodes == sum(g.num_nodes for g in graphs)
    first = 0
    for index, graph in enumerate(graphs):
        nodes = joined.structure_index == index
        edges = joined.structure_index[joined.edge_index[0]] == index
        assert int(nodes.sum()) == graph.num_nodes
        assert torch.equal(joined.edge_index[:, edges] - first, graph.edge_index)
        assert torch.equal(joined.edge_vectors[edges], graph.edge_vectors)
        first += graph.num_nodes


def test_collate_refuses_ghosts_and_nothing():
    graph = graph_of(structures()["molecule"], 4.0)
    ghosts = Graph(graph.species, graph.edge_index, graph.edge_vectors, 2, graph.structure_index, 1)
    with pytest.raises(ValueError, match="ghosts"):
        collate([graph, ghosts])
    with pytest.raises(ValueError, match="at least one"):
        collate([])


def test_skin_list_finds_the_same_edges():
    rng = np.random.default_rng(3)
    atoms = structures()["sheared"]
    skin_list = SkinList(3.5, skin=0.6)
    for step in range(40):
        atoms.positions += rng.normal(scale=0.05, size=(len(atoms), 3))
        if step == 20:
            atoms.set_cell(atoms.cell.array * 1.01, scale_atoms=True)
        index, vectors = skin_list.edges(atoms.positions, atoms.cell.array, atoms.pbc)
        assert (np.diff(index[0]) >= 0).all()
        found, expected = sorted_rows(*index, vectors), rows_of(graph_of(atoms, 3.5))
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=2e-7)
    assert 2 < skin_list.num_builds < 20


def test_skin_list_is_built_anew_only_when_needed():
    atoms = structures()["crystal"]
    skin_list = SkinList(3.5, skin=0.6)
    arguments = (atoms.positions, atoms.cell.array, np.array(atoms.pbc))
    skin_list.edges(*arguments)
    atoms.positions[3, 0] += 0.299
    skin_list.edges(*arguments)
    assert skin_list.num_builds == 1
    atoms.positions[3, 0] += 0.002
    skin_list.edges(*arguments)
    assert skin_list.num_builds == 2
    skin_list.edges(atoms.positions, atoms.cell.array, np.array([True, True, False]))
    assert skin_list.num_builds == 3
    skin_list.edges(atoms.positions, 1.001 * atoms.cell.array, np.array([True, True, False]))
    assert skin_list.num_builds == 4


def test_negative_skin_is_refused():
    with pytest.raises(UserError, match="skin: expected a length of 0 A or more, got -1"):
        SkinList(3.0, -1.0)
