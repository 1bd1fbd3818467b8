# SPDX-License-Identifier: MIT
"""The operators on a GPU against the same operators on the CPU."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from model_toys import VARIANTS, cluster_graph, make_cluster, make_model, make_product_basis
from pyictp.graph.derivatives import evaluate_graph
from pyictp.graph.graph import Graph
from pyictp.model.convolution import Convolution, TableConvolution
from pyictp.model.edges import VectorEdges
from pyictp.model.ictp import ICTPModel
from pyictp.model.kernels import OperatorTableConvolution, operators_available, use_operators
from pyictp.model.products import Irrep
from pyictp.model.tabulate import tabulate_radial
from pyictp.potential.export import export_model
from pyictp.potential.exported import ExportedPotential, load_exported
from torch import Tensor

Potential = ICTPModel | ExportedPotential
R_CUT = 3.0
IRREPS = {
    "scalar": [Irrep(0)],
    "vector": [Irrep(0), Irrep(1)],
    "rank4": [Irrep(rank) for rank in range(5)],
    "pseudo": [Irrep(0), Irrep(1), Irrep(2), Irrep(1, True)],
}
# more than a tile of 32 edges, centers without edges, none at all
DEGREES = {"dense": [5, 5, 5], "ragged": [0, 70, 1, 33], "one_node": [4], "no_edges": [0, 0]}
CHANNELS = [1, 21, 32, 64, 96]


def reason_to_skip() -> str | None:
    """Return why operators on a GPU cannot be tested here."""
    if not torch.cuda.is_available():
        return "PyTorch sees no CUDA device"
    if not operators_available():
        return "the compiled operators are not installed"
    if not torch.ops.ictp.serves(torch.zeros(1, device="cuda")):
        return "the operators were built without CUDA (ICTP_CUDA)"
    return None


SKIP = reason_to_skip()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(SKIP is not None, reason=SKIP or "")]


def random(generator: torch.Generator, dtype: torch.dtype, *shape: int) -> Tensor:
    """Return normal numbers, the same in each type."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def weighted_sum(tensors: list[Tensor]) -> Tensor:
    """Return a number that depends on every element in its own way, and not linearly."""
    total = tensors[0].new_zeros(())
    for t in tensors:
        scale = torch.linspace(0.5, 1.5, t.numel(), dtype=t.dtype, device=t.device)
        total = total + (t * t * scale.view(t.shape)).sum()
    return total


def assert_same(found: list[Tensor], expected: list[Tensor], dtype: torch.dtype) -> None:
    """Compare relative to the largest element of each tensor."""
    limit = 1e-10 if dtype == torch.float64 else 1e-4
    for x, y in zip(found, expected, strict=True):
        assert x.is_cuda
        scale = max(1.0, y.abs().max().item() if y.numel() else 0.0)
        torch.testing.assert_close(x.cpu() / scale, y / scale, atol=limit, rtol=limit)


class ConvolutionCase:
    """Random operands of one table convolution."""

    def __init__(self, irreps: str, degrees: str, channels: int, dtype: torch.dtype) -> None:
        generator = torch.Generator().manual_seed(7)
        l_max = max(2, *(irrep.rank for irrep in IRREPS[irreps]))
        plain = Convolution(IRREPS[irreps], l_max, odd=irreps == "pseudo")
        self.convolution = OperatorTableConvolution(TableConvolution(plain, R_CUT))
        counts = torch.tensor(DEGREES[degrees])
        num_nodes, num_edges = len(counts) + 2, int(counts.sum())  # two more nodes: ghosts
        self.offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
        self.neighbor = torch.randint(0, num_nodes, (num_edges,), generator=generator)
        num_components = sum(irrep.dim for irrep in IRREPS[irreps])
        self.features = random(generator, dtype, num_nodes, num_components, channels)
        directions = random(generator, torch.float64, num_edges, 3)
        lengths = torch.linspace(0.3, 1.1 * R_CUT, num_edges).double().view(-1, 1)  # some beyond
        self.vectors = torch.nn.functional.normalize(directions, dim=1) * lengths
        num_paths = len(plain.path_x)
        self.table = random(generator, dtype, 9, num_paths, 2, channels + -channels % 16)
        self.table[-1] = 0.0

    def compute(self, device: str, features_wanted: bool = True) -> tuple[list[Tensor], ...]:
        """Return values and gradients."""
        part = copy.deepcopy(self.convolution).to(device)
        features = self.features.to(device).requires_grad_(features_wanted)
        vectors = self.vectors.to(device).requires_grad_()
        neighbor = self.neighbor.to(device)
        edges = VectorEdges(neighbor, self.offsets.to(device), vectors)
        values = part(features, self.table.to(device), neighbor, edges)
        leaves = [features, vectors] if features_wanted else [vectors]
        return list(values), list(torch.autograd.grad(weighted_sum(list(values)), leaves))


@pytest.mark.parametrize("irreps", IRREPS)
@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("channels", CHANNELS)
def test_table_convolution(irreps: str, degrees: str, channels: int, dtype: torch.dtype) -> None:
    case = ConvolutionCase(irreps, degrees, channels, dtype)
    for found, expected in zip(case.compute("cuda"), case.compute("cpu"), strict=True):
        assert_same(found, expected, dtype)


def test_gradients_of_vectors_alone(dtype: torch.dtype) -> None:
    case = ConvolutionCase("vector", "ragged", 64, dtype)
    _, found = case.compute("cuda", features_wanted=False)
    _, expected = case.compute("cpu", features_wanted=False)
    assert_same(found, expected, dtype)


def test_values_do_not_vary_from_run_to_run() -> None:
    case = ConvolutionCase("vector", "ragged", 64, torch.float32)
    first, again = case.compute("cuda")[0], case.compute("cuda")[0]
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))


@pytest.mark.parametrize("variant", [name for name in VARIANTS if "coupled" not in name])
@pytest.mark.parametrize(("num_nodes", "channels"), [(0, 16), (1, 5), (37, 48), (300, 64)])
def test_product_basis_and_two_derivatives(
    variant: str, num_nodes: int, channels: int, dtype: torch.dtype
) -> None:
    whole, irreps = make_product_basis(variant, channels, dtype)
    use_operators(whole, True)
    generator = torch.Generator().manual_seed(5)
    operands = [random(generator, dtype, num_nodes, irrep.dim, channels) for irrep in irreps]
    results = []
    for device in ("cuda", "cpu"):
        basis = copy.deepcopy(whole).to(device)
        a = [x.to(device).requires_grad_() for x in operands]
        leaves = [*a, *basis.parameters()]
        values = basis(a, torch.arange(num_nodes, device=device) % 2)
        first = gradients(values, leaves, create_graph=True)
        moving = [grad for grad in first if grad.requires_grad]
        second = gradients(moving, leaves) if moving else []
        results.append((values, first, second))
    for found, expected in zip(*results, strict=True):
        assert_same(found, expected, dtype)


def gradients(
    outputs: list[Tensor], leaves: list[Tensor], create_graph: bool = False
) -> list[Tensor]:
    """Return those of a nonlinear sum; zeros where there is no dependence."""
    found = torch.autograd.grad(
        weighted_sum(outputs), leaves, create_graph=create_graph, allow_unused=True
    )
    pairs = zip(found, leaves, strict=True)
    return [torch.zeros_like(leaf) if grad is None else grad for grad, leaf in pairs]


def clusters() -> list[Graph]:
    """Return centers with more edges than a tile, an isolated atom, and one atom alone."""
    positions, species = make_cluster(40)
    positions[3] += 50.0
    return [cluster_graph(positions, species), cluster_graph(*make_cluster(1))]


def assert_models_agree(on_gpu: Potential, on_cpu: Potential, dtype: torch.dtype) -> None:
    for graph in clusters():
        expected = evaluate_graph(on_cpu, graph)
        found = evaluate_graph(on_gpu, graph.to("cuda"))
        assert_same(
            [found.node_energies, found.forces, found.virials],
            [expected.node_energies, expected.forces, expected.virials],
            dtype,
        )


@pytest.mark.parametrize("variant", VARIANTS)
def test_exported_models(variant: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = make_model(variant, num_channels=21, num_product_channels=None)
    name = "float64" if dtype == torch.float64 else "float32"
    export_model(model, tmp_path / "model.pt", name)
    on_cpu, on_gpu = (load_exported(tmp_path / "model.pt", name) for name in ("cpu", "cuda"))
    assert_models_agree(on_gpu, on_cpu, dtype)


@pytest.mark.parametrize("variant", VARIANTS)
def test_tabulated_models(variant: str) -> None:
    exact = make_model(variant, num_channels=21, num_product_channels=None)
    model = copy.deepcopy(exact)
    tabulate_radial(model, exact)
    assert_models_agree(copy.deepcopy(model).to("cuda"), model, torch.float64)


def test_gradients_of_the_parameters() -> None:
    model = make_model()
    results = []
    for device in ("cuda", "cpu"):
        part = copy.deepcopy(model).to(device)
        found = evaluate_graph(part, cluster_graph(*make_cluster()).to(device), training=True)
        loss = found.forces.square().sum() + found.energies.square().sum()
        parameters = list(part.parameters())
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
        pairs = zip(grads, parameters, strict=True)
        results.append([torch.zeros_like(p) if g is None else g for g, p in pairs])
    assert_same(*results, torch.float64)
