# SPDX-License-Identifier: MIT
"""Random operands of the operators that have kernels for GPUs, and what to compare."""

from __future__ import annotations

import copy

import torch
from model_toys import cluster_graph, make_cluster, make_product_basis
from pyictp.graph.derivatives import evaluate_graph
from pyictp.graph.graph import Graph
from pyictp.model.convolution import Convolution, MixedConvolution, TableConvolution
from pyictp.model.edges import VectorEdges
from pyictp.model.ictp import ICTPModel
from pyictp.model.kernels import (
    OperatorConvolution,
    OperatorMixedConvolution,
    OperatorTableConvolution,
    use_operators,
)
from pyictp.model.products import Irrep
from pyictp.model.radial import ScaledLinear
from pyictp.potential.exported import ExportedPotential
from torch import Tensor, nn

Potential = ICTPModel | ExportedPotential
R_CUT = 3.0
IRREPS = {
    "scalar": [Irrep(0)],
    "vector": [Irrep(0), Irrep(1)],
    "rank4": [Irrep(rank) for rank in range(5)],
    "rank5": [Irrep(0), Irrep(5)],  # 11 components: more than kernels take in one piece
    "pseudo": [Irrep(0), Irrep(1), Irrep(2), Irrep(1, True)],
    # with harmonics to rank 3: what kernels are made for
    **{f"common{top}": [Irrep(rank) for rank in range(top + 1)] for top in range(3)},
}
# more than a tile of 32 edges, centers without edges, none at all
DEGREES = {"dense": [5, 5, 5], "ragged": [0, 70, 1, 33], "one_node": [4], "no_edges": [0, 0]}
CHANNELS = [1, 21, 32, 64, 96]
PRODUCT_SIZES = [(0, 16), (1, 5), (37, 48), (300, 64)]  # nodes, channels


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
        scale = max(1.0, y.abs().max().item() if y.numel() else 0.0)
        torch.testing.assert_close(x.cpu() / scale, y / scale, atol=limit, rtol=limit)


class ConvolutionCase:
    """Random operands of one table convolution."""

    def __init__(
        self,
        irreps: str,
        degrees: str,
        channels: int,
        dtype: torch.dtype,
        num_tables: int | None = None,  # those of pairs of elements; None: edges have no number
        num_mixed: int = 0,  # channels after mixing; 0: nothing is mixed
    ) -> None:
        generator = torch.Generator().manual_seed(7)
        l_max = max(3 if "common" in irreps else 2, *(irrep.rank for irrep in IRREPS[irreps]))
        plain = Convolution(IRREPS[irreps], l_max, odd=irreps == "pseudo")
        tabulated = TableConvolution(plain, R_CUT)
        self.convolution: nn.Module = OperatorTableConvolution(tabulated)
        if num_mixed:
            maps = [
                ScaledLinear(n * channels, num_mixed + z) for z, n in enumerate(plain.num_paths)
            ]
            for linear in maps:
                linear.weight.data = random(generator, dtype, *linear.weight.shape)
            self.convolution = OperatorMixedConvolution(
                MixedConvolution(tabulated, nn.ModuleList(maps))
            )
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
        self.tables = torch.randint(0, num_tables or 1, (num_edges,), generator=generator)
        rows = 4 if dtype == torch.float64 else 2
        shape = (num_tables or 1, 9, num_paths, rows, channels + -channels % 16)
        self.table = random(generator, dtype, *shape)
        self.table[:, -1] = 0.0
        if num_tables is None:
            self.table = self.table[0]

    def compute(self, device: str, features_wanted: bool = True) -> tuple[list[Tensor], ...]:
        """Return values and gradients."""
        part = copy.deepcopy(self.convolution).to(device)
        features = self.features.to(device).requires_grad_(features_wanted)
        vectors = self.vectors.to(device).requires_grad_()
        neighbor = self.neighbor.to(device)
        edges = VectorEdges(neighbor, self.offsets.to(device), vectors, self.tables.to(device))
        values = part(features, self.table.to(device), neighbor, edges)
        leaves = [features, vectors] if features_wanted else [vectors]
        return list(values), list(torch.autograd.grad(weighted_sum(list(values)), leaves))


class GivenCase:
    """Random operands of one convolution of given harmonics and radial weights: training's."""

    def __init__(self, irreps: str, degrees: str, channels: int, dtype: torch.dtype) -> None:
        case = ConvolutionCase(irreps, degrees, channels, dtype)
        plain = case.convolution.plain.convolution
        self.convolution = OperatorConvolution(plain)
        self.neighbor, self.offsets = case.neighbor, case.offsets
        generator = torch.Generator().manual_seed(11)
        num_edges = len(case.neighbor)
        self.operands = [
            case.features,
            random(generator, dtype, num_edges, (plain.l_max_edge + 1) ** 2),
            random(generator, dtype, num_edges, len(plain.path_x) * channels),
        ]

    def compute(self, device: str) -> tuple[list[Tensor], ...]:
        """Return values, first and second derivatives."""
        part = copy.deepcopy(self.convolution).to(device)
        leaves = [x.to(device).requires_grad_() for x in self.operands]
        features, harmonics, radial = leaves
        neighbor, offsets = self.neighbor.to(device), self.offsets.to(device)
        values = torch.ops.ictp.edge_convolution(
            features,
            harmonics,
            radial,
            neighbor,
            offsets,
            part.paths,
            part.offsets,
            part.terms,
            part.values,
            part.dims,
            part.num_paths,
        )
        first = gradients(values, leaves, create_graph=True)
        return list(values), first, gradients(first, leaves)


class ProductCase:
    """Random operands of one product basis."""

    def __init__(self, variant: str, num_nodes: int, channels: int, dtype: torch.dtype) -> None:
        self.basis, irreps = make_product_basis(variant, channels, dtype)
        use_operators(self.basis, True)
        generator = torch.Generator().manual_seed(5)
        self.a = [random(generator, dtype, num_nodes, irrep.dim, channels) for irrep in irreps]
        self.species = torch.arange(num_nodes) % 2

    def compute(self, device: str, weights_wanted: bool = True) -> tuple[list[Tensor], ...]:
        """Return values, first and second derivatives."""
        basis = copy.deepcopy(self.basis).to(device).requires_grad_(weights_wanted)
        a = [x.to(device).requires_grad_() for x in self.a]
        leaves = [*a, *(basis.parameters() if weights_wanted else ())]
        values = basis(a, self.species.to(device))
        first = gradients(values, leaves, create_graph=True)
        moving = [grad for grad in first if grad.requires_grad]
        second = gradients(moving, leaves) if moving else []
        return values, first, second


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


def predictions(potential: Potential, device: str = "cpu") -> list[list[Tensor]]:
    """Return energies, forces and virials of each of these clusters."""
    found = [evaluate_graph(potential, graph.to(device)) for graph in clusters()]
    return [[x.node_energies, x.forces, x.virials] for x in found]


def gradients_of_the_parameters(model: ICTPModel, device: str = "cpu") -> list[Tensor]:
    """Return those of a loss of energies and forces: second derivatives."""
    part = copy.deepcopy(model).to(device)
    found = evaluate_graph(part, cluster_graph(*make_cluster()).to(device), training=True)
    loss = found.forces.square().sum() + found.energies.square().sum()
    parameters = list(part.parameters())
    grads = torch.autograd.grad(loss, parameters, allow_unused=True)
    pairs = zip(grads, parameters, strict=True)
    return [torch.zeros_like(p) if g is None else g for g, p in pairs]
