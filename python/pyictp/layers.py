# SPDX-License-Identifier: MIT
"""The blocks of a message-passing layer: channel mixing, interaction and product basis.

Features are lists with one tensor (num_nodes, 2*rank+1, num_channels) per irrep.

Source: arXiv:2405.14253, section 4; spec section 5.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from pyictp import kernels
from pyictp.cartesian import cartesian_harmonics, harmonics_recursion
from pyictp.config import ModelConfig
from pyictp.exact import ExactModule
from pyictp.products import Irrep, Path, coupling, product_paths
from pyictp.radial import MLP, ScaledLinear


class Harmonics(ExactModule):
    """Cartesian harmonics of unit vectors, ranks 0 to l_max side by side."""

    table: Tensor
    rows: list[int]

    def __init__(self, l_max: int) -> None:
        """Tabulate the recursion from rank to rank."""
        super().__init__()
        tables = [harmonics_recursion(rank) for rank in range(1, l_max + 1)]
        self.rows = [table.shape[0] for table in tables]
        flat = [torch.empty(0, dtype=torch.float64)] + [table.flatten() for table in tables]
        self.register_buffer("table", torch.cat(flat), persistent=False)

    def forward(self, directions: Tensor) -> Tensor:
        """Return (..., (l_max+1)**2) of directions (..., 3)."""
        table = self.table.to(directions.dtype)
        recursion: list[Tensor] = []
        start = 0
        for i, rows in enumerate(self.rows):
            columns = 2 * i + 3
            recursion.append(table[start : start + rows * columns].view(rows, columns))
            start += rows * columns
        return cartesian_harmonics(directions, recursion)


class IrrepLinear(nn.Module):
    """Mix channels, one matrix per irrep: out_l = W_l x_l / sqrt(fan_in)."""

    def __init__(self, num_in: Sequence[int], num_out: int) -> None:
        """Draw one matrix (num_out, num_in[i]) per irrep."""
        super().__init__()
        self.maps = nn.ModuleList(ScaledLinear(n, num_out) for n in num_in)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return one (N, d, num_out) tensor per irrep of features (N, d, num_in)."""
        return [linear(features[i]) for i, linear in enumerate(self.maps)]


class SpeciesLinear(nn.Module):
    """Mix the channels of one irrep by the matrix of each node's species; weight (V, S, U)."""

    def __init__(self, num_in: int, num_species: int, num_out: int) -> None:
        """Draw normal weights, scaled at run time by 1/sqrt(V*S)."""
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_in, num_species, num_out))
        self.scale = (num_in * num_species) ** -0.5

    def forward(self, x: Tensor, species: Tensor) -> Tensor:
        """Return (N, d, U) of x (N, d, V) and species (N,)."""
        return kernels.species_linear(x, self.weight.transpose(0, 1) * self.scale, species)


class Convolution(ExactModule):
    """Sum of the neighbors' messages: node features (x) harmonics, times radial functions."""

    coupling: Tensor
    operator_paths: Tensor
    operator_terms: Tensor
    operator_values: Tensor
    fused: Final[bool]

    def __init__(self, irreps_in: list[Irrep], l_max_edge: int, odd: bool) -> None:
        """Tabulate the coupling paths; each contribution to rank l is divided by sqrt(P_l)."""
        super().__init__()
        self.fused = kernels.operators_available()
        harmonics = [Irrep(rank) for rank in range(l_max_edge + 1)]
        self.irreps, paths = product_paths(irreps_in, harmonics, l_max_edge, odd=odd)
        self.num_paths = [sum(path.z == z for path in paths) for z in range(len(self.irreps))]
        self.path_x: list[int] = [path.x for path in paths]
        self.path_z: list[int] = [path.z for path in paths]
        self.dims_z: list[int] = [irrep.dim for irrep in self.irreps]
        self.sizes_z: list[int] = [n * d for n, d in zip(self.num_paths, self.dims_z, strict=True)]
        columns = [self._columns(irreps_in[p.x], p.y, self.irreps[p.z], l_max_edge) for p in paths]
        scaled = [c / self.num_paths[p.z] ** 0.5 for c, p in zip(columns, paths, strict=True)]
        self.register_buffer("coupling", torch.cat(scaled, dim=1), persistent=False)
        self._tabulate_for_operator(irreps_in, paths)

    @staticmethod
    def _columns(x: Irrep, l2: int, z: Irrep, l_max_edge: int) -> Tensor:
        """Return ((l_max_edge+1)^2, d1*d3): one path, zero outside the rows of rank l2."""
        table = torch.zeros((l_max_edge + 1) ** 2, x.dim * z.dim, dtype=torch.float64)
        table[l2 * l2 : (l2 + 1) ** 2] = coupling(x.rank, l2, z.rank).permute(2, 1, 0).flatten(1)
        return table

    def _tabulate_for_operator(self, irreps_in: list[Irrep], paths: list[Path]) -> None:
        """Write paths and nonzero coupling coefficients as the compiled operator reads them."""
        first_in = [sum(irrep.dim for irrep in irreps_in[:x]) for x in range(len(irreps_in))]
        first_out = [sum(self.sizes_z[:z]) for z in range(len(self.irreps))]
        rows, slot = [], 0
        for number, path in enumerate(paths):
            d1, d3 = irreps_in[path.x].dim, self.dims_z[path.z]
            out = first_out[path.z] + number - self.path_z.index(path.z)
            rows.append([first_in[path.x], d1, d3, slot, out, self.num_paths[path.z]])
            slot += d1 * d3
        terms = self.coupling.t().nonzero()  # (slot, component of the harmonics)
        self.register_buffer("operator_paths", torch.tensor(rows), persistent=False)
        self.register_buffer("operator_terms", terms, persistent=False)
        values = self.coupling.t()[terms[:, 0], terms[:, 1]]
        self.register_buffer("operator_values", values, persistent=False)

    def forward(
        self,
        features: list[Tensor],
        harmonics: Tensor,
        radial: Tensor,
        neighbor: Tensor,
        offsets: Tensor,
    ) -> list[Tensor]:
        """Return one (N, d3, P_z*C) tensor per irrep; arguments as `kernels.edge_convolution`."""
        if self.fused and not radial.is_cuda:
            tables = (self.operator_paths, self.operator_terms, self.operator_values)
            return kernels.fused_edge_convolution(
                features, harmonics, radial, neighbor, offsets, tables, self.sizes_z, self.dims_z
            )
        return kernels.edge_convolution(
            features,
            harmonics,
            radial,
            neighbor,
            offsets,
            self.coupling.to(harmonics.dtype),
            self.path_x,
            self.path_z,
            self.dims_z,
        )


class Interaction(nn.Module):
    """Node features -> A: mix channels, exchange ghosts, convolve, mix channels and paths."""

    def __init__(self, config: ModelConfig, irreps_in: list[Irrep], first: bool) -> None:
        """Build the radial network and the maps; in the first layer ghosts' features are known."""
        super().__init__()
        channels = config.num_channels
        self.needs_exchange = not first
        self.dims: list[int] = [irrep.dim for irrep in irreps_in]
        self.linear_in = IrrepLinear([channels] * len(irreps_in), channels)
        self.convolution = Convolution(irreps_in, config.l_max_edge, config.odd_products)
        self.irreps = self.convolution.irreps
        num_paths = self.convolution.num_paths
        self.radial = MLP([config.num_radial, *config.radial_hidden, sum(num_paths) * channels])
        self.linear_out = IrrepLinear([n * channels for n in num_paths], config.product_channels)
        self.normalisation = 1.0 / (config.avg_num_neighbors or 1.0)

    def forward(
        self,
        features: list[Tensor],
        harmonics: Tensor,
        embedding: Tensor,
        neighbor: Tensor,
        offsets: Tensor,
        num_nodes: int,
    ) -> list[Tensor]:
        """Return A, one (N, d, C') tensor per irrep."""
        features = self.linear_in(features)
        if self.needs_exchange:
            features = self._exchange(features, num_nodes)
        messages = self.convolution(features, harmonics, self.radial(embedding), neighbor, offsets)
        return [a * self.normalisation for a in self.linear_out(messages)]

    def _exchange(self, features: list[Tensor], num_nodes: int) -> list[Tensor]:
        """Return the features of local nodes and ghosts, in one communication."""
        packed = torch.cat([h.flatten(1) for h in features], dim=1)
        packed = kernels.exchange(packed, num_nodes)
        channels = features[0].size(2)
        parts = torch.split(packed, [d * channels for d in self.dims], dim=1)
        return [part.view(part.size(0), self.dims[i], channels) for i, part in enumerate(parts)]
