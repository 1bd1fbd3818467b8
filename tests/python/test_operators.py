# SPDX-License-Identifier: MIT
"""Compiled operators against plain torch: values, first and second derivatives."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from model_toys import VARIANTS, OperatorCalls, cluster_graph, make_cluster, make_model
from pyictp.doctor.machine import instruction_set
from pyictp.graph.derivatives import evaluate_graph
from pyictp.model import kernels
from pyictp.model.convolution import Convolution
from pyictp.model.edges import EmbeddedEdges
from pyictp.model.products import Irrep
from pyictp.model.tabulate import tabulate_radial
from torch import Tensor, nn

pytestmark = pytest.mark.usefixtures("compiled_parts")

IRREPS = {
    "scalar": [Irrep(0)],
    "vector": [Irrep(0), Irrep(1)],
    "rank4": [Irrep(rank) for rank in range(5)],
    "pseudo": [Irrep(0), Irrep(1), Irrep(2), Irrep(1, True)],
}
DEGREES = {"dense": [5, 5, 5], "ragged": [0, 7, 1, 3], "one_node": [4], "no_edges": [0, 0]}


class Case:
    """Random operands of one convolution, and both ways to compute it."""

    def __init__(self, irreps: str, degrees: str, channels: int, dtype: torch.dtype) -> None:
        generator = torch.Generator().manual_seed(7)

        def random(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        l_max = max(irrep.rank for irrep in IRREPS[irreps])
        plain = Convolution(IRREPS[irreps], max(l_max, 2), odd=irreps == "pseudo")
        self.convolution = kernels.OperatorConvolution(plain)
        counts = torch.tensor(DEGREES[degrees])
        self.offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
        num_nodes, num_edges = len(counts) + 2, int(counts.sum())  # two more nodes: ghosts
        self.neighbor = torch.randint(0, num_nodes, (num_edges,), generator=generator)
        num_paths = len(plain.path_x)
        self.features = [random(num_nodes, irrep.dim, channels) for irrep in IRREPS[irreps]]
        self.harmonics = random(num_edges, (max(l_max, 2) + 1) ** 2)
        self.radial = random(num_edges, num_paths * channels)
        self.leaves = [*self.features, self.harmonics, self.radial]
        for leaf in self.leaves:
            leaf.requires_grad_()

    def compute(self, convolution: nn.Module) -> list[Tensor]:
        nothing = torch.empty(0)
        edges = EmbeddedEdges(self.neighbor, self.offsets, self.harmonics, nothing, nothing)
        packed = torch.cat(self.features, dim=1)
        return convolution(packed, self.radial, self.neighbor, edges)

    def fused(self) -> list[Tensor]:
        return self.compute(self.convolution)

    def plain(self) -> list[Tensor]:
        return self.compute(self.convolution.plain)


def weighted_sum(tensors: list[Tensor]) -> Tensor:
    """Return a number that depends on every element in its own way, and not linearly."""
    return sum((t * t * torch.linspace(0.5, 1.5, t.numel()).view(t.shape)).sum() for t in tensors)


def tolerance(dtype: torch.dtype) -> dict[str, float]:
    return (
        {"atol": 1e-10, "rtol": 1e-10} if dtype == torch.float64 else {"atol": 1e-3, "rtol": 1e-4}
    )


@pytest.mark.parametrize("irreps", IRREPS)
@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("channels", [1, 16, 21])
def test_convolution_and_its_derivatives(
    irreps: str, degrees: str, channels: int, dtype: torch.dtype, threads: int
) -> None:
    assert torch.get_num_threads() == threads
    case = Case(irreps, degrees, channels, dtype)
    results = []
    for compute in (case.fused, case.plain):
        values = compute()
        gradients = torch.autograd.grad(weighted_sum(values), case.leaves, create_graph=True)
        second = torch.autograd.grad(weighted_sum(list(gradients)), case.leaves)
        results.append((values, gradients, second))
    for fused, plain in zip(*results, strict=True):
        for a, b in zip(fused, plain, strict=True):
            scale = max(1.0, b.abs().max().item() if b.numel() else 0.0)
            torch.testing.assert_close(a / scale, b / scale, **tolerance(dtype))


def test_convolution_passes_gradcheck() -> None:
    case = Case("vector", "ragged", 2, torch.float64)

    def compute(*leaves: Tensor) -> tuple[Tensor, ...]:
        *case.features, case.harmonics, case.radial = leaves
        return tuple(case.fused())

    assert torch.autograd.gradcheck(compute, case.leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(compute, case.leaves, fast_mode=True)


def test_gradients_that_are_not_wanted_are_left_out() -> None:
    case = Case("vector", "dense", 16, torch.float64)
    expected = torch.autograd.grad(weighted_sum(case.plain()), case.radial)
    for leaf in case.leaves[:-1]:
        leaf.requires_grad_(False)
    (found,) = torch.autograd.grad(weighted_sum(case.fused()), case.radial)
    torch.testing.assert_close(found, expected[0])


def test_wrong_shapes_are_refused() -> None:
    case = Case("vector", "dense", 4, torch.float64)
    whole = case.harmonics
    case.harmonics = whole[:-1]
    with pytest.raises(RuntimeError, match=r"15 edges, but harmonics \[14, 9\]"):
        case.fused()
    case.harmonics = whole.float()
    with pytest.raises(RuntimeError, match="expected one floating type"):
        case.fused()


def test_scaled_silu_and_its_derivatives(dtype: torch.dtype) -> None:
    x = torch.linspace(-30, 30, 101, dtype=dtype).requires_grad_()
    results = []
    for function in (
        lambda x: torch.ops.ictp.scaled_silu(x, 1.7),
        lambda x: 1.7 * torch.nn.functional.silu(x),
    ):
        value = function(x)
        (first,) = torch.autograd.grad((value * value).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad((first * first).sum(), x)
        results.append((value, first, second))
    for fused, plain in zip(*results, strict=True):
        torch.testing.assert_close(
            fused,
            plain,
            rtol=1e-12 if dtype == torch.float64 else 1e-5,
            atol=2e-3 if dtype == torch.float32 else 1e-11,
        )


def test_scaled_silu_passes_gradcheck_to_third_order() -> None:
    x = torch.linspace(-2, 2, 5, dtype=torch.float64).requires_grad_()

    def slope(x: Tensor) -> Tensor:
        y = torch.ops.ictp.scaled_silu(x, 1.7)
        return torch.autograd.grad(y.sum(), x, create_graph=True)[0]

    assert torch.autograd.gradcheck(lambda x: torch.ops.ictp.scaled_silu(x, 1.7), x)
    assert torch.autograd.gradgradcheck(slope, x)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_model_is_the_same_with_and_without_operators(variant: str) -> None:
    graph = cluster_graph(*make_cluster())
    results = []
    for fused in (True, False):
        model = make_model(variant).use_operators(fused)
        found = evaluate_graph(model, graph, training=True)
        loss = found.forces.square().sum() + found.energies.square().sum()
        gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        results.append((found, gradients))
    (fused, fused_gradients), (plain, plain_gradients) = results
    torch.testing.assert_close(fused.node_energies, plain.node_energies, atol=1e-11, rtol=1e-11)
    torch.testing.assert_close(fused.forces, plain.forces, atol=1e-11, rtol=1e-11)
    for a, b in zip(fused_gradients, plain_gradients, strict=True):
        if b is None:  # plain torch sees that a parameter has no part in the energy
            assert a is None or not a.any()
        else:
            torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize("name", ["baseline", "AVX2", "AVX-512"])
def test_every_instruction_set_computes_the_same(name: str) -> None:
    asked = {"ICTP_INSTRUCTION_SET": name.lower()}
    if instruction_set(environment=asked) != name:
        pytest.skip(f"this processor has no {name}")
    script = """
import copy, torch
from model_toys import cluster_graph, make_cluster, make_model
from pyictp.graph.derivatives import evaluate_graph
from pyictp.model.tabulate import tabulate_radial
graph = cluster_graph(*make_cluster(20))
for dtype, limit in ((torch.float64, 1e-11), (torch.float32, 1e-4)):
    exact = make_model(num_channels=21)
    model = copy.deepcopy(exact).to(dtype)
    for tabulated in (False, True):
        if tabulated:
            tabulate_radial(model, exact)
        a = evaluate_graph(model.use_operators(True), graph, training=not tabulated)
        b = evaluate_graph(model.use_operators(False), graph, training=not tabulated)
        scale = b.forces.abs().max()
        assert (a.forces - b.forces).abs().max() < limit * scale
        if not tabulated:
            weights = list(model.parameters())
            x, y = (torch.autograd.grad(p.forces.square().sum(), weights, allow_unused=True)
                    for p in (a, b))
            for u, v in zip(x, y):
                if v is not None:
                    assert (u - v).abs().max() <= 10 * limit * max(1.0, v.abs().max())
"""
    environment = (
        os.environ
        | asked
        | {
            "PYTHONPATH": str(Path(__file__).parent),
            "OMP_NUM_THREADS": "1",
        }
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("radial", ["network", "knots", "table"])
def test_plain_torch_means_no_operator_at_all(radial: str) -> None:
    """And gives the same numbers: the reference of operators calls none of them."""
    model, graph = make_model(), cluster_graph(*make_cluster(12))
    if radial == "knots":
        model.interpolate_radial(0.9, 64)
        model.train()
    if radial == "table":
        tabulate_radial(model, copy.deepcopy(model))
    called, forces, gradients = [], [], []
    for wanted in (True, False):
        with OperatorCalls() as calls:
            found = evaluate_graph(model.use_operators(wanted), graph, training=radial != "table")
            if radial != "table":
                loss, weights = found.forces.square().sum(), list(model.parameters())
                gradients.append(
                    torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
                )
        called.append(set(calls.operands))
        forces.append(found.forces)
    expected = {"product_basis_forward", "mix_channels_forward", "scaled_silu_forward"}
    expected |= {f"{'table' if radial == 'table' else 'edge'}_convolution_forward"}
    expected |= {"interpolate_contract"} if radial == "knots" else set()
    assert expected <= called[0]
    assert called[1] == set()
    torch.testing.assert_close(*forces, rtol=1e-10, atol=1e-10)
    if gradients:
        torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)
