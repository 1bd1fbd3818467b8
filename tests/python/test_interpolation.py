# SPDX-License-Identifier: MIT
"""Radial functions interpolated in training: the operator, and the model it makes."""

from __future__ import annotations

import pytest
import torch
from model_toys import cluster_graph, make_cluster, make_model
from pyictp.graph.derivatives import evaluate_graph
from pyictp.model.interpolation import NUM_POINTS, RadialInterpolation
from torch import Tensor

R_MIN, R_CUT = 0.8, 4.0

pytestmark = pytest.mark.usefixtures("compiled_parts")


def operands(columns: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    table = torch.randn(12, columns, generator=generator, dtype=torch.float64)
    weights = torch.randn(150, NUM_POINTS, generator=generator, dtype=torch.float64)
    rows = torch.randint(0, 12 - NUM_POINTS + 1, (150,), generator=generator)
    return table.to(dtype).requires_grad_(), rows, weights.to(dtype).requires_grad_()


def gathered(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    points = table[rows[:, None] + torch.arange(weights.shape[1])]
    return torch.einsum("ek,ekc->ec", weights, points)


@pytest.mark.parametrize("columns", [1, 16, 83, 192])
def test_operator_and_its_derivatives(columns: int, dtype: torch.dtype, threads: int) -> None:
    assert torch.get_num_threads() == threads
    table, rows, weights = operands(columns, dtype)
    leaves = (table, weights)
    results = []
    for function in (torch.ops.ictp.interpolate, gathered):
        value = function(table, rows, weights)
        first = torch.autograd.grad(value.pow(3).sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(g.pow(2).sum() for g in first), leaves)
        results.append((value, *first, *second))
    bound = 1e-12 if dtype == torch.float64 else 1e-4
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(
            ours / theirs.abs().max(), theirs / theirs.abs().max(), rtol=0, atol=bound
        )


def test_operator_passes_gradcheck() -> None:
    table, rows, weights = operands(3, torch.float64)
    rows, weights = rows[:7], weights[:7].detach().requires_grad_()

    def function(table: Tensor, weights: Tensor) -> Tensor:
        return torch.ops.ictp.interpolate(table, rows, weights)

    assert torch.autograd.gradcheck(function, (table, weights))
    assert torch.autograd.gradgradcheck(function, (table, weights))


def test_wrong_rows_are_refused() -> None:
    table, rows, weights = operands(3, torch.float64)
    with pytest.raises(RuntimeError, match=r"expected rows .* from 0 to 6"):
        torch.ops.ictp.interpolate(table, rows + 1, weights)


def test_cubics_are_exact() -> None:
    """The slopes come from quartics, the values between knots from cubics: both hold a cubic."""

    def cubic(r: Tensor) -> Tensor:
        return torch.stack([1 - 2 * r + r**2 - 0.3 * r**3, r**3], dim=-1)

    interpolation = RadialInterpolation(cubic, R_MIN, R_CUT, 7)
    lengths = torch.linspace(R_MIN, R_CUT, 50, dtype=torch.float64).requires_grad_()
    values = torch.ops.ictp.interpolate(interpolation.embedding, *interpolation(lengths))
    torch.testing.assert_close(values, cubic(lengths))
    (slopes,) = torch.autograd.grad(values.sum(), lengths)
    torch.testing.assert_close(slopes, -2 + 2 * lengths + 3 * 0.7 * lengths**2)


@pytest.mark.parametrize(("num_intervals", "bound"), [(64, 2e-2), (256, 1e-4)])
def test_forces_in_training_are_those_of_the_network(num_intervals: int, bound: float) -> None:
    model = make_model("full").double()
    graph = cluster_graph(*make_cluster())
    exact = evaluate_graph(model.eval(), graph)
    r_min = float(torch.linalg.vector_norm(graph.edge_vectors, dim=1).min())
    model.interpolate_radial(r_min, num_intervals)
    model.train()
    interpolated = evaluate_graph(model, graph)
    scale = exact.forces.square().mean().sqrt()
    assert not torch.equal(interpolated.forces, exact.forces)
    assert (interpolated.forces - exact.forces).abs().max() < bound * scale
    torch.testing.assert_close(
        interpolated.forces.sum(0), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0
    )
    assert torch.equal(evaluate_graph(model.eval(), graph).forces, exact.forces)
