# SPDX-License-Identifier: MIT
"""Tabulated radial functions, and the convolution that reads them."""

from __future__ import annotations

import copy

import pytest
import torch
from model_toys import VARIANTS, cluster_graph, make_cluster, make_model
from operator_toys import ConvolutionCase, assert_same
from pyictp.errors import UserError
from pyictp.graph.derivatives import evaluate_graph
from pyictp.graph.graph import build_graph
from pyictp.model.edges import VectorEdges
from pyictp.model.plain import row_offsets
from pyictp.model.radial import RadialTable
from pyictp.model.tabulate import (
    ACCURACY,
    INTERVALS,
    fit_table,
    sample,
    tabulate_radial,
    tabulated,
)
from torch import Tensor


def gaussian(r: Tensor) -> Tensor:
    """Return two functions of two channels that vanish at 3 A."""
    envelope = (1 - (r / 3.0) ** 2).clamp_min(0) ** 3
    return torch.stack([envelope * torch.cos(k * r) for k in range(4)], dim=1)


def test_a_table_is_as_exact_as_it_says(dtype: torch.dtype) -> None:
    accuracy = ACCURACY[dtype]
    found = fit_table(gaussian, 3.0, 2, accuracy=accuracy)
    r = torch.linspace(0.01, 3.2, 3001, dtype=torch.float64).requires_grad_()
    values, expected = found.table.at(r), gaussian(r)
    assert 0 < (values - expected).abs().max() / expected.abs().max() < 1.02 * found.value_error
    assert found.value_error <= accuracy.value
    assert found.slope_error <= accuracy.slope
    (slope,) = torch.autograd.grad(values[:, 3].sum(), r)
    (exact,) = torch.autograd.grad(expected[:, 3].sum(), r)
    assert (slope - exact).abs().max() / exact.abs().max() < 1.02 * found.slope_error
    assert values[r > 3.0].abs().max() == 0.0


def test_a_cubic_is_interpolated_exactly() -> None:
    def cubic(r: Tensor) -> Tensor:
        return torch.stack([(r - 2.0) ** 3, r**2 - 4.0], dim=1)

    knots = torch.linspace(0.0, 2.0, 9, dtype=torch.float64)
    slopes = torch.stack([3 * (knots - 2.0) ** 2, 2 * knots], dim=1)
    table = RadialTable(cubic(knots), slopes, 2.0, 1)
    r = torch.linspace(0.0, 1.999, 50, dtype=torch.float64)
    torch.testing.assert_close(table.at(r), cubic(r), atol=1e-14, rtol=0)
    at_knots = knots[:-1].clone().requires_grad_()  # bounds of a clamp have other slopes
    values = table.at(at_knots)
    for column in range(2):
        (found,) = torch.autograd.grad(values[:, column].sum(), at_knots, retain_graph=True)
        torch.testing.assert_close(found, slopes[:-1, column], atol=1e-14, rtol=0)


def test_a_quintic_is_interpolated_exactly() -> None:
    """Also where its second derivative jumps, at a knot."""

    def quintic(r: Tensor) -> Tensor:
        kinked = torch.where(r < 1.0, 0.0, (r - 1.0) ** 2)
        return torch.stack([(r - 2.0) ** 5 + r**3, kinked * (r - 2.0) ** 3], dim=1)

    table = tabulated(quintic, 2.0, 1, 0.0, 8, ACCURACY[torch.float64]).table
    r = torch.linspace(0.0, 1.999, 50, dtype=torch.float64)
    found, expected = sample(table.at, r), sample(quintic, r)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-11, rtol=0)


def test_the_number_of_knots_follows_from_the_error() -> None:
    intervals = fit_table(gaussian, 3.0, 2).table.num_intervals
    assert intervals > INTERVALS[0], "the check never refused a table"
    # eight times as steep wants eight times as many, within the steps that are tried
    steep = fit_table(lambda r: gaussian(8 * r), 3.0 / 8, 2).table.num_intervals
    assert steep == intervals
    wide = fit_table(gaussian, 24.0, 2).table.num_intervals
    assert 6.5 < wide / intervals < 9.5
    with pytest.raises(UserError, match="export with --radial network"):
        fit_table(lambda r: (50000 * r).sin().unsqueeze(1), 3.0, 1)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("channels", [16, 21])
def test_operator_and_plain_torch_agree(
    variant: str, channels: int, dtype: torch.dtype, threads: int
) -> None:
    assert torch.get_num_threads() == threads
    exact = make_model(variant, num_channels=channels, num_product_channels=None)
    model = copy.deepcopy(exact).to(dtype)
    tabulate_radial(model, exact)
    # centers with more neighbors than a tile of the operator has, an isolated atom, none at all
    positions, species = make_cluster(40)
    positions[3] += 50.0
    graphs = [cluster_graph(positions, species), cluster_graph(*make_cluster(1))]
    for graph in graphs:
        fused = evaluate_graph(model.use_operators(True), graph)
        plain = evaluate_graph(model.use_operators(False), graph)
        scale = max(1.0, plain.forces.abs().max().item())
        limit = 1e-10 if dtype == torch.float64 else 1e-4
        for x, y in (
            (fused.node_energies, plain.node_energies),
            (fused.forces, plain.forces),
            (fused.virials, plain.virials),
        ):
            torch.testing.assert_close(x / scale, y / scale, atol=limit, rtol=limit)


def test_a_tabulated_model_is_the_model(dtype: torch.dtype) -> None:
    exact = make_model()
    model = copy.deepcopy(exact).to(dtype)
    tabulate_radial(model, exact)
    graph = cluster_graph(*make_cluster())
    found, expected = evaluate_graph(model, graph), evaluate_graph(exact, graph)
    scale = expected.forces.abs().max()
    assert (found.forces - expected.forces).abs().max() < 1e-5 * scale
    assert (found.node_energies - expected.node_energies).abs().max() < 1e-5


def test_forces_are_derivatives_of_the_tabulated_energy() -> None:
    exact = make_model()
    model = copy.deepcopy(exact)
    tabulate_radial(model, exact)
    positions, species = make_cluster()
    forces = evaluate_graph(model, cluster_graph(positions, species)).forces
    step = 1e-5
    for atom, axis in ((0, 0), (3, 1), (6, 2)):
        energies = []
        for sign in (1, -1):
            moved = positions.clone()
            moved[atom, axis] += sign * step
            energies.append(evaluate_graph(model, cluster_graph(moved, species)).energies[0])
        slope = (energies[0] - energies[1]) / (2 * step)
        assert abs(slope + forces[atom, axis]) < 1e-7 * forces.abs().max()


def test_table_convolution_passes_gradcheck() -> None:
    exact = make_model()
    model = copy.deepcopy(exact)
    tabulate_radial(model, exact)
    positions, species = make_cluster(5)
    graph = build_graph(positions.numpy(), torch.zeros(3, 3).numpy(), False, species, 3.0)
    interaction = model.layers[1].interaction
    edges = model.edges(graph.species, graph.edge_index, graph.edge_vectors, 5, torch.float64)
    features = torch.randn(5, 4, 4, dtype=torch.float64).requires_grad_()

    def compute(features: Tensor, vectors: Tensor) -> tuple[Tensor, ...]:
        moved = edges._replace(vectors=vectors)
        table = interaction.radial(moved)
        return tuple(interaction.convolution(features, table, edges.neighbor, moved))

    vectors = graph.edge_vectors.clone().requires_grad_()
    assert torch.autograd.gradcheck(compute, (features, vectors), fast_mode=True)


@pytest.mark.parametrize("degrees", ["no_edges", "one_node", "ragged"])
@pytest.mark.parametrize(("channels", "num_mixed"), [(21, 13), (32, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mixing_in_the_convolution(
    degrees: str, channels: int, num_mixed: int, dtype: torch.dtype
) -> None:
    """Beside PyTorch's own operators: the maps of the messages, and their gradients."""
    case = ConvolutionCase("vector", degrees, channels, dtype, num_mixed=num_mixed)
    found = case.compute("cpu")
    case.convolution = case.convolution.plain
    for x, y in zip(found, case.compute("cpu"), strict=True):
        assert_same(x, y, dtype)


def test_matrices_that_do_not_fit_are_refused() -> None:
    case = ConvolutionCase("vector", "ragged", 16, torch.float64, num_mixed=16)
    maps = case.convolution.plain.maps
    maps[0].weight.data = maps[0].weight.data[:, 16:]
    with pytest.raises(RuntimeError, match="expected a matrix of 32 channels of irrep 0"):
        case.compute("cpu")
    maps[0].weight.data = maps[0].weight.data[:, 3:]
    with pytest.raises(RuntimeError, match=r"expected matrices \(paths\*16, channels\)"):
        case.compute("cpu")


@pytest.mark.parametrize("compiled", [True, False])
def test_each_edge_reads_its_own_table(compiled: bool) -> None:
    """Beside a convolution of the edges of each table alone, with that table."""
    case = ConvolutionCase("vector", "ragged", 16, torch.float64, num_tables=3)
    part = case.convolution if compiled else case.convolution.plain
    num_centers = len(case.offsets) - 1
    center = torch.repeat_interleave(torch.arange(num_centers), case.offsets.diff())

    def convolve(table: Tensor, kept: Tensor, tables: Tensor) -> list[Tensor]:
        neighbor, offsets = case.neighbor[kept], row_offsets(center[kept], num_centers)
        edges = VectorEdges(neighbor, offsets, case.vectors[kept], tables)
        return part(case.features, table, neighbor, edges)

    together = convolve(case.table, torch.ones_like(case.tables, dtype=torch.bool), case.tables)
    apart = [convolve(case.table[k], case.tables == k, center[:0]) for k in range(3)]
    assert len({int(k) for k in case.tables}) == 3
    for found, *expected in zip(together, *apart, strict=True):
        torch.testing.assert_close(found, torch.stack(expected).sum(0), atol=1e-12, rtol=0)


def test_wrong_tables_of_edges_are_refused() -> None:
    case = ConvolutionCase("vector", "ragged", 16, torch.float64, num_tables=3)
    case.tables = case.tables + 1
    with pytest.raises(RuntimeError, match="expected tables of edges below 3"):
        case.compute("cpu")
    case.tables = case.tables[:-1]
    with pytest.raises(RuntimeError, match=r"expected the table \(int64\) of each of 104 edges"):
        case.compute("cpu")


def test_a_second_derivative_is_refused_not_wrong() -> None:
    exact = make_model()
    model = copy.deepcopy(exact)
    tabulate_radial(model, exact)
    with pytest.raises(RuntimeError, match="has one derivative: for more, use the trained model"):
        evaluate_graph(model, cluster_graph(*make_cluster()), training=True)


def test_what_lies_below_the_data_does_not_decide() -> None:
    """A function that is wild below 1 A needs a fine table only if that is asked for."""

    def wild(r: Tensor) -> Tensor:
        return gaussian(r) + 0.3 * ((12 * r).cos() * (-((2 * r) ** 4)).exp()).unsqueeze(1)

    everywhere, known = fit_table(wild, 3.0, 2), fit_table(wild, 3.0, 2, r_min=1.0)
    assert known.table.num_intervals < everywhere.table.num_intervals / 2
    r = torch.linspace(1.0, 3.0, 999, dtype=torch.float64)
    deviation = (known.table.at(r) - wild(r)).abs().max()
    assert deviation < 1.02 * known.value_error * wild(r).abs().max()
