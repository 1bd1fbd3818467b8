# SPDX-License-Identifier: MIT
"""Densities of the neighbors of each atom, as models of MACE divide by them.

    d_i = sum_j tanh(g(r_ij)^2)              g linear in the radial functions, or a network of them

Source: what mace-torch 0.3.16 computes.
"""

import torch
from torch import Tensor, nn

from pyictp.model.convolution import Convolution, TableConvolution
from pyictp.model.edges import EmbeddedEdges, VectorEdges
from pyictp.model.pair_radial import PairFunctions
from pyictp.model.products import Irrep
from pyictp.model.radial import RadialTable, ScaledLinear


class DensityFunction(PairFunctions):
    """Contribution of an edge to the density: tanh(g^2), g linear in the embedding."""

    def __init__(self, num_radial: int) -> None:
        """Draw normal weights."""
        super().__init__()
        self.linear = ScaledLinear(num_radial, 1)

    def of_pairs(self, embedding: Tensor, pair: Tensor) -> Tensor:  # noqa: ARG002
        """Return (E, 1) of an embedding (E, B) and pairs (E,)."""
        return torch.tanh(self.linear(embedding).square())


class Density(nn.Module):
    """Density of the neighbors of each atom."""

    def __init__(self, radial: nn.Module) -> None:
        """Take the contribution of an edge."""
        super().__init__()
        self.radial = radial

    def forward(self, edges: EmbeddedEdges) -> Tensor:
        """Return (N, 1, 1)."""
        values = self.radial(edges)  # (E, 1)
        zeros = torch.zeros(edges.offsets.size(0) - 1, 1, dtype=values.dtype, device=values.device)
        return zeros.index_add(0, centers(edges.offsets), values).unsqueeze(2)


class TableDensity(nn.Module):
    """The same of a table: the convolution of ones."""

    def __init__(self, table: RadialTable) -> None:
        """Take a table of one function."""
        super().__init__()
        self.radial = table
        self.convolution = TableConvolution(Convolution([Irrep(0)], 0, odd=False), table.r_cut)

    def forward(self, edges: VectorEdges) -> Tensor:
        """Return (N, 1, 1)."""
        knots = self.radial(edges)
        ones = torch.ones(1, 1, 1, dtype=knots.dtype, device=knots.device)
        return self.convolution(ones, knots, torch.zeros_like(edges.neighbor), edges)[0]


def centers(offsets: Tensor) -> Tensor:
    """Return the center (E,) of each edge; offsets (N+1,) say where those of each begin."""
    rows = torch.arange(offsets.size(0) - 1, device=offsets.device)
    return torch.repeat_interleave(rows, offsets[1:] - offsets[:-1])
