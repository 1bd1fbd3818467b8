# SPDX-License-Identifier: MIT
"""The blocks of a message-passing layer: channel mixing, interaction and product basis.

Features are lists with one tensor (num_nodes, 2*rank+1, num_channels) per irrep.

Source: arXiv:2405.14253, section 4; spec section 5.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from pyictp.config.load import ModelConfig
from pyictp.model import kernels
from pyictp.model.cartesian import cartesian_harmonics, harmonics_recursion
from pyictp.model.exact import ExactModule
from pyictp.model.polynomial import edge_table
from pyictp.model.products import Irrep, Path, coupling, product_paths
from pyictp.model.radial import MLP, RadialTable, ScaledLinear


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

    def __init__(self, num_in: Sequence[int], num_out: int, factor: float = 1.0) -> None:
        """Draw one matrix (num_out, num_in[i]) per irrep; results are multiplied by `factor`."""
        super().__init__()
        self.maps = nn.ModuleList(ScaledLinear(n, num_out, factor) for n in num_in)

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


class Edges(NamedTuple):
    """What the layers see of the edges, E of them sorted by center."""

    neighbor: Tensor  # (E,) int64
    offsets: Tensor  # (N+1,) int64, where the edges of each center begin
    vectors: Tensor  # (E, 3) float64 [A]
    harmonics: Tensor  # (E, (l_max_edge+1)^2); empty where operators work from the vectors
    embedding: Tensor  # (E, B), what the radial functions take; empty where harmonics are
    knots: Tensor | None  # (E,) int64 and (E, 6): where edges are between the rows of an embedding
    weights: Tensor | None  # that is not of the edges but of knots; None where it is of the edges


class Convolution(ExactModule):
    """Sum of the neighbors' messages: node features (x) harmonics, times radial functions."""

    coupling: Tensor
    operator_paths: Tensor
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
        self.dims_x: list[int] = [irrep.dim for irrep in irreps_in]
        self.dims_z: list[int] = [irrep.dim for irrep in self.irreps]
        columns = [self._columns(irreps_in[p.x], p.y, self.irreps[p.z], l_max_edge) for p in paths]
        scaled = [c / self.num_paths[p.z] ** 0.5 for c, p in zip(columns, paths, strict=True)]
        self.register_buffer("coupling", torch.cat(scaled, dim=1), persistent=False)
        self._tabulate_for_operator(paths, l_max_edge)

    @staticmethod
    def _columns(x: Irrep, l2: int, z: Irrep, l_max_edge: int) -> Tensor:
        """Return ((l_max_edge+1)^2, d1*d3): one path, zero outside the rows of rank l2."""
        table = torch.zeros((l_max_edge + 1) ** 2, x.dim * z.dim, dtype=torch.float64)
        table[l2 * l2 : (l2 + 1) ** 2] = coupling(x.rank, l2, z.rank).permute(2, 1, 0).flatten(1)
        return table

    def _tabulate_for_operator(self, paths: list[Path], l_max_edge: int) -> None:
        """Write paths and coupling matrices as the compiled operators read them."""
        rows, slot = [], 0
        for number, path in enumerate(paths):
            d1, d3 = self.dims_x[path.x], self.dims_z[path.z]
            first_in = sum(self.dims_x[: path.x])
            rows.append([first_in, d1, d3, slot, path.z, number - self.path_z.index(path.z)])
            slot += d1 * d3
        self.register_buffer("operator_paths", torch.tensor(rows), persistent=False)
        for name, directions in (("harmonics", False), ("vectors", True)):
            table = edge_table(self.coupling, l_max_edge, directions)
            for part, tensor in table._asdict().items():
                self.register_buffer(f"{name}_{part}", tensor, persistent=False)

    def forward(
        self, features: Tensor, radial: Tensor, source: Tensor, edges: Edges
    ) -> list[Tensor]:
        """Return the sum over neighbors of the messages, paths stacked on channels.

        Args:
            features: (rows, D, C), the irreps side by side.
            radial: (E, P*C) radial weights, path-major.
            source: (E,) the row of features of each edge's neighbor.
            edges: as many to every center, unless operators are used.

        Returns:
            One (N, d3, P_z*C) tensor per irrep.
        """
        if self.fused and not radial.is_cuda:
            return torch.ops.ictp.edge_convolution(
                features,
                edges.harmonics,
                radial,
                source,
                edges.offsets,
                self.operator_paths,
                self.harmonics_offsets,
                self.harmonics_terms,
                self.harmonics_values,
            )
        return kernels.edge_convolution(
            torch.split(features, self.dims_x, dim=1),
            edges.harmonics,
            radial,
            source,
            edges.offsets,
            self.coupling.to(features.dtype),
            self.path_x,
            self.path_z,
            self.dims_z,
        )

    def from_vectors(
        self, features: Tensor, table: Tensor, r_cut: float, source: Tensor, edges: Edges
    ) -> list[Tensor]:
        """Return what `forward` does, of tabulated radial functions; nothing is kept per edge.

        Args:
            features: (rows, D, C).
            table: the knots of a `RadialTable`.
            r_cut: cutoff radius [A], the last knot.
            source: (E,) the row of features of each edge's neighbor.
            edges: harmonics and embedding are not read.
        """
        return torch.ops.ictp.table_convolution(
            features,
            edges.vectors,
            table,
            r_cut,
            source,
            edges.offsets,
            self.operator_paths,
            self.vectors_offsets,
            self.vectors_terms,
            self.vectors_values,
        )


class Interaction(nn.Module):
    """Node features -> A: mix channels, exchange ghosts, convolve, mix channels and paths."""

    fused: Final[bool]
    tabulated: Final[bool]

    def __init__(self, config: ModelConfig, irreps_in: list[Irrep], first: bool) -> None:
        """Build the radial network and the maps; in the first layer ghosts' features are known."""
        super().__init__()
        channels = config.num_channels
        self.fused = kernels.operators_available()
        self.tabulated = False
        self.needs_exchange = not first
        self.r_cut = config.r_cut
        self.num_channels = channels
        self.num_components = sum(irrep.dim for irrep in irreps_in)
        self.linear_in = IrrepLinear([channels] * len(irreps_in), channels)
        self.convolution = Convolution(irreps_in, config.l_max_edge, config.odd_products)
        self.irreps = self.convolution.irreps
        num_paths = self.convolution.num_paths
        self.radial = MLP([config.num_radial, *config.radial_hidden, sum(num_paths) * channels])
        self.linear_out = IrrepLinear(
            [n * channels for n in num_paths],
            config.product_channels,
            factor=1.0 / (config.avg_num_neighbors or 1.0),
        )

    def forward(
        self, features: list[Tensor], source: Tensor, edges: Edges, num_nodes: int
    ) -> list[Tensor]:
        """Return A, one (N, d, C') tensor per irrep, of features (rows, d, C)."""
        packed = torch.cat(self.linear_in(features), dim=1)
        if self.needs_exchange:
            packed = kernels.exchange(packed.flatten(1), num_nodes).view(
                num_nodes, self.num_components, self.num_channels
            )
        # asked of an input: packed is a constant of an exported file's first layer
        if self.tabulated and self.fused and torch.ops.ictp.serves(edges.vectors):
            messages = self.convolution.from_vectors(
                packed, self.radial.knots, self.r_cut, source, edges
            )
        else:
            radial = self.radial(edges.embedding)
            if not torch.jit.is_scripting() and edges.knots is not None:
                radial = kernels.interpolate(radial, edges.knots, edges.weights)
            messages = self.convolution(packed, radial, source, edges)
        return self.linear_out(messages)

    def tabulate(self, table: RadialTable) -> None:
        """Put a table in the place of the radial network."""
        self.radial = table
        self.tabulated = True
