# SPDX-License-Identifier: MIT
"""Radial functions of models of NequIP's kind: trained frequencies, cutoffs, rank by rank."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyictp.config.nequip import NequipConfig
from pyictp.model.edges import EmbeddedEdges, EmbeddedStage, VectorEdges
from pyictp.model.exact import ExactModule
from pyictp.model.radial import MLP, RadialEmbedding, RadialTable, polynomial_cutoff


def xplor_cutoff(r: Tensor, r_on: float, r_cut: float) -> Tensor:
    """Return 1 below r_on, 0 from r_cut on, between them with one continuous derivative.

    (r_cut^2 - r^2)^2 (r_cut^2 + 2 r^2 - 3 r_on^2) / (r_cut^2 - r_on^2)^3.

    Args:
        r: distances [A], any shape.
        r_on: where it begins [A].
        r_cut: cutoff radius [A].
    """
    a, c, square = r_on * r_on, r_cut * r_cut, r * r
    between = (c - square).square() * (c + 2.0 * square - 3.0 * a) / (c - a) ** 3
    beyond = torch.where(r < r_cut, between, torch.zeros_like(r))
    return torch.where(r < r_on, torch.ones_like(r), beyond)


class NequipEmbedding(ExactModule):
    """Bessel functions of other frequencies, or with another cutoff, than those of ICTP models."""

    frequencies: Tensor

    def __init__(self, usual: RadialEmbedding, nequip: NequipConfig) -> None:
        """Take what Bessel functions have."""
        super().__init__()
        self.r_cut = usual.r_cut
        self.cutoff_power = usual.cutoff_power
        self.prefactor = usual.prefactor
        self.cutoff_on = -1.0 if nequip.cutoff_on is None else nequip.cutoff_on
        trained = torch.tensor(nequip.frequencies, dtype=torch.float64)
        frequencies = trained if nequip.frequencies else usual.frequencies.clone()
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, edge_lengths: Tensor) -> Tensor:
        """Return (..., num_radial) [A^-3/2] of edge lengths (...,) [A]."""
        r = edge_lengths.unsqueeze(-1)
        if self.cutoff_on > 0.0:
            cutoff = xplor_cutoff(r, self.cutoff_on, self.r_cut)
        else:
            cutoff = polynomial_cutoff(r / self.r_cut, self.cutoff_power)
        return self.prefactor * torch.sin(self.frequencies.to(r.dtype) * r) / r * cutoff


class VectorHarmonicsStage(EmbeddedStage):
    """Harmonics of the edge vectors in A: r^l times those of the directions."""

    def angular(self, edge_vectors: Tensor, edge_lengths: Tensor) -> Tensor:  # noqa: ARG002
        """Return the harmonics of edges (E, 3) [A]."""
        return self.harmonics(edge_vectors)


class RankNetwork(MLP):
    """The radial functions of a layer, those of the convolution of each rank apart."""

    def __init__(self, sizes: Sequence[int], widths: Sequence[int]) -> None:
        """Draw normal weights for layers sizes[0] -> ... -> sum(widths)."""
        super().__init__([*sizes, sum(widths)])
        self.widths: list[int] = list(widths)

    def forward(self, edges: EmbeddedEdges) -> list[Tensor]:
        """Return one (E, P*C) tensor per rank, path-major."""
        return list(torch.split(self.evaluate(edges.embedding), self.widths, dim=1))


class RankTables(nn.Module):
    """The same as tables."""

    def __init__(self, tables: Sequence[RadialTable]) -> None:
        """Take a table for each rank."""
        super().__init__()
        self.tables = nn.ModuleList(tables)

    def forward(self, edges: VectorEdges) -> list[Tensor]:
        """Return the knots of each rank, which the convolutions read."""
        return [table(edges) for table in self.tables]
