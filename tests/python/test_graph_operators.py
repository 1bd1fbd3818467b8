# SPDX-License-Identifier: MIT
"""The operators between positions and a model, and between its gradients and forces, on the CPU."""

from __future__ import annotations

import pytest
import torch
from graph_toys import COUNTS, GraphCase, assert_same_graph

pytestmark = pytest.mark.usefixtures("compiled_parts")


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("watched", [True, False])
def test_same_as_plain_sums(counts: str, watched: bool) -> None:
    case = GraphCase(counts, watched)
    assert_same_graph(case.compute(), case.expected())


def test_same_on_several_threads() -> None:
    case = GraphCase("many")
    torch.set_num_threads(2)
    try:
        found = case.compute()
    finally:
        torch.set_num_threads(1)
    assert_same_graph(found, case.expected())


def test_positions_that_are_not_finite_keep_their_edges() -> None:
    """So that their energy is not, and somebody says so."""
    case = GraphCase("dense")
    case.positions[case.node_atoms[0]] = torch.nan
    _, vectors, offsets, closest = torch.ops.ictp.edges_within(*case.operands(), 1e-3)
    assert offsets.tolist()[1] == 5
    assert vectors[:5].isnan().all()
    assert closest.isinf()


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (0, "expected int64 offsets and species, int32 atoms"),
        (1, "expected int64 offsets and species, int32 atoms"),
        (4, "expected int64 offsets and species, int32 atoms"),
    ],
)
def test_wrong_types_are_refused(place: int, text: str) -> None:
    positions, lists, shortest = GraphCase("dense").operands()
    lists[place] = lists[place].double()
    with pytest.raises(RuntimeError, match=text):
        torch.ops.ictp.edges_within(positions, lists, shortest, 1.0)


def test_wrong_shapes_are_refused() -> None:
    g, neighbors = torch.zeros(4, 3).double(), torch.zeros(4, dtype=torch.int64)
    offsets = torch.tensor([0, 4])
    with pytest.raises(RuntimeError, match=r"edge_sums: expected float64 gradients and vectors"):
        torch.ops.ictp.edge_sums(g, g[:3], neighbors, offsets, 1)
    with pytest.raises(RuntimeError, match=r"edge_virials: expected int64 neighbors"):
        torch.ops.ictp.edge_virials(g, g, neighbors[:3], offsets, 1, 0.5)
