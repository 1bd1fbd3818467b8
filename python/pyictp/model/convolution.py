# SPDX-License-Identifier: MIT
"""The edge convolution in plain torch: messages of the neighbors, summed at each center.

A convolution takes the features of nodes, the radial functions, and edges of the kind it is made
for. `kernels.py` has the compiled ones.

Source: arXiv:2405.14253, section 4; spec section 5.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyictp.model import plain
from pyictp.model.edges import EmbeddedEdges, Harmonics, VectorEdges
from pyictp.model.exact import ExactModule
from pyictp.model.products import Irrep, coupling, paths_to, product_paths
from pyictp.model.radial import read_table


class Convolution(ExactModule):
    """Sum of the neighbors' messages: node features (x) harmonics, times radial functions."""

    coupling: Tensor

    def __init__(
        self,
        irreps_in: list[Irrep],
        l_max_edge: int,
        odd: bool,
        l_max: int | None = None,
        wanted: Sequence[Irrep] | None = None,
    ) -> None:
        """Tabulate the coupling paths; each contribution to rank l is divided by sqrt(P_l).

        Args:
            irreps_in: of the features.
            l_max_edge: highest rank of the harmonics.
            odd: products with a Levi-Civita tensor too.
            l_max: highest rank of the result; None: that of the harmonics.
            wanted: irreps of the result; None: all.
        """
        super().__init__()
        self.l_max_edge = l_max_edge
        harmonics = [Irrep(rank) for rank in range(l_max_edge + 1)]
        highest = l_max_edge if l_max is None else l_max
        self.irreps, self.paths = product_paths(irreps_in, harmonics, highest, odd=odd)
        if wanted is not None:
            self.irreps, self.paths = paths_to(wanted, self.irreps, self.paths)
        self.path_x: list[int] = [path.x for path in self.paths]
        self.path_z: list[int] = [path.z for path in self.paths]
        self.num_paths: list[int] = [self.path_z.count(z) for z in range(len(self.irreps))]
        self.dims_x: list[int] = [irrep.dim for irrep in irreps_in]
        self.dims_z: list[int] = [irrep.dim for irrep in self.irreps]
        columns = [
            self._columns(irreps_in[p.x], p.y, self.irreps[p.z], l_max_edge) for p in self.paths
        ]
        scaled = [c / self.num_paths[p.z] ** 0.5 for c, p in zip(columns, self.paths, strict=True)]
        self.register_buffer("coupling", torch.cat(scaled, dim=1), persistent=False)

    @staticmethod
    def _columns(x: Irrep, l2: int, z: Irrep, l_max_edge: int) -> Tensor:
        """Return ((l_max_edge+1)^2, d1*d3): one path, zero outside the rows of rank l2."""
        table = torch.zeros((l_max_edge + 1) ** 2, x.dim * z.dim, dtype=torch.float64)
        table[l2 * l2 : (l2 + 1) ** 2] = coupling(x.rank, l2, z.rank).permute(2, 1, 0).flatten(1)
        return table

    def forward(
        self, features: Tensor, radial: Tensor, source: Tensor, edges: EmbeddedEdges
    ) -> list[Tensor]:
        """Return the sum over neighbors of the messages, paths stacked on channels.

        Args:
            features: (rows, D, C), the irreps side by side.
            radial: (E, P*C) radial weights, path-major.
            source: (E,) the row of features of each edge's neighbor.
            edges: harmonics and offsets are read.

        Returns:
            One (N, d3, P_z*C) tensor per irrep.
        """
        return self.convolve(features, radial, source, edges.harmonics, edges.offsets)

    def convolve(
        self, features: Tensor, radial: Tensor, source: Tensor, harmonics: Tensor, offsets: Tensor
    ) -> list[Tensor]:
        """Return what `forward` does, of the harmonics and offsets alone."""
        return plain.edge_convolution(
            torch.split(features, self.dims_x, dim=1),
            harmonics,
            radial,
            source,
            offsets,
            self.coupling.to(features.dtype),
            self.path_x,
            self.path_z,
            self.dims_z,
        )


class TableConvolution(nn.Module):
    """The convolution of edge vectors and tabulated radial functions."""

    def __init__(self, convolution: Convolution, r_cut: float) -> None:
        """Take the paths of a convolution, and the cutoff radius [A], the table's last knot."""
        super().__init__()
        self.convolution = convolution
        self.harmonics = Harmonics(convolution.l_max_edge)
        self.r_cut = r_cut

    def forward(
        self, features: Tensor, table: Tensor, source: Tensor, edges: VectorEdges
    ) -> list[Tensor]:
        """Return what `Convolution.forward` does.

        Args:
            features: (rows, D, C).
            table: the knots of a `RadialTable`, or of several.
            source: (E,) the row of features of each edge's neighbor.
            edges: as they come.
        """
        lengths = torch.linalg.vector_norm(edges.vectors, dim=1)  # (E,) float64: tables are long
        harmonics = self.harmonics((edges.vectors / lengths.unsqueeze(1)).to(features.dtype))
        radial = read_table(table, lengths, self.r_cut, features.size(2), edges.tables)
        return self.convolution.convolve(features, radial, source, harmonics, edges.offsets)


class MixedConvolution(nn.Module):
    """A `TableConvolution` and the maps of its messages, channels and paths of an irrep, to A."""

    def __init__(self, convolution: TableConvolution, maps: nn.ModuleList) -> None:
        """Take the convolution, and a `ScaledLinear` for each irrep."""
        super().__init__()
        self.convolution = convolution
        self.maps = maps

    def forward(
        self, features: Tensor, table: Tensor, source: Tensor, edges: VectorEdges
    ) -> list[Tensor]:
        """Return A, one (N, d, C') tensor per irrep; operands as of `TableConvolution`."""
        messages = self.convolution(features, table, source, edges)
        return [linear(messages[i]) for i, linear in enumerate(self.maps)]
