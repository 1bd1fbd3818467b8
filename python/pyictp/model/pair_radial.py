# SPDX-License-Identifier: MIT
"""Radial functions of a distance and a pair of elements, as models of MACE have them.

Functions not of the distance r but of u = T(r), where T depends on the covalent radii of both
elements; the cutoff is one of r:

    Bessel      b_n = sqrt(2/r_cut) sin(n pi u/r_cut)/u f(r/r_cut)
    Gaussian    b_n = exp(-(u - (n-1) d)^2/(2 d^2)) f(r/r_cut),  d = r_cut/(B-1)
    Chebyshev   b_n = T_n(u) f(r/r_cut),  u as it is, be it beyond 1

    none    u = r
    Agnesi  u = 1 / (1 + a x^q / (1 + x^(q-p))),  x = 2 r/(R_i + R_j)
    soft    u = p0 + (r - p0) (1 + tanh(alpha (r - m)/(p1 - p0)))/2
            with p0, p1 = 3/4, 4/3 of R_i + R_j, and m halfway

Source: Witt et al., J. Chem. Phys. 159, 164101 (2023) for Agnesi; the others are MACE's.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from pyictp.config.mace import MaceConfig
from pyictp.model.edges import EmbeddedEdges, InterpolatedEdges
from pyictp.model.exact import ExactModule
from pyictp.model.radial import (
    Interpolation,
    RadialEmbedding,
    RadialNetwork,
    RadialTable,
    polynomial_cutoff,
)


class PairEmbedding(ExactModule):
    """Functions of a transformed distance, times the cutoff of the distance.

    With `mace.cutoff_last` without it: then the cutoff is one column more, for `CutFunctions`.
    """

    frequencies: Tensor
    centers: Tensor
    sums: Tensor
    basis: Final[str]
    transform: Final[str]
    constants: list[float]

    def __init__(self, plain: RadialEmbedding, mace: MaceConfig) -> None:
        """Take what Bessel functions of distances have, the kind of functions and the transform."""
        super().__init__()
        self.r_cut = plain.r_cut
        self.cutoff_power = plain.cutoff_power
        self.prefactor = plain.prefactor
        self.basis = mace.basis
        self.transform = mace.transform
        self.constants = [*mace.transform_constants, 0.0]  # never empty: TorchScript wants a type
        radii = torch.tensor(mace.radii, dtype=torch.float64)
        sums = radii.unsqueeze(0) + radii.unsqueeze(1)
        self.register_buffer("sums", sums.flatten(), persistent=False)  # (S*S,) [A]
        self.cutoff_last = mace.cutoff_last
        trained = torch.tensor(mace.frequencies, dtype=torch.float64)
        frequencies = trained if mace.frequencies else plain.frequencies.clone()
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.num_radial = len(frequencies)
        centers = torch.linspace(0.0, self.r_cut, self.num_radial, dtype=torch.float64)
        self.register_buffer("centers", centers, persistent=False)

    def forward(self, edge_lengths: Tensor, pair: Tensor) -> Tensor:
        """Return (E, num_radial) of lengths (E,) [A] and pairs (E,), see `pair_of_edges`."""
        cutoff = polynomial_cutoff(edge_lengths / self.r_cut, self.cutoff_power).unsqueeze(1)
        u = self.transformed(edge_lengths, pair).unsqueeze(1)
        values = self.functions(u)
        return torch.cat([values, cutoff], dim=1) if self.cutoff_last else values * cutoff

    def functions(self, u: Tensor) -> Tensor:
        """Return (E, num_radial) of u (E, 1)."""
        if self.basis == "gaussian":
            width = self.r_cut / (self.num_radial - 1)
            return torch.exp(-0.5 * ((u - self.centers.to(u.dtype)) / width).square())
        if self.basis == "chebyshev":
            before, last = torch.ones_like(u), u
            values = [u]
            for _ in range(self.num_radial - 1):
                before, last = last, 2.0 * u * last - before
                values.append(last)
            return torch.cat(values, dim=1)
        return self.prefactor * torch.sin(self.frequencies.to(u.dtype) * u) / u

    def transformed(self, r: Tensor, pair: Tensor) -> Tensor:
        """Return u (E,) of r (E,) [A]."""
        if self.transform == "none":
            return r
        sums = self.sums.to(r.dtype).index_select(0, pair)
        if self.transform == "agnesi":
            q, p, a = self.constants[0], self.constants[1], self.constants[2]
            x = 2.0 * r / sums
            return 1.0 / (1.0 + a * x**q / (1.0 + x ** (q - p)))
        p0, p1 = 0.75 * sums, 4.0 / 3.0 * sums
        steepness = self.constants[0] / (p1 - p0)
        step = 0.5 * (1.0 + torch.tanh(steepness * (r - 0.5 * (p0 + p1))))
        return p0 + (r - p0) * step


class EachEdge(nn.Module):
    """Values of each edge are there already."""

    def forward(self, values: Tensor, edges: EmbeddedEdges) -> Tensor:  # noqa: ARG002
        """Return the values (E, W)."""
        return values


class BetweenKnots(nn.Module):
    """In training values are those of knots; each edge is between some of them."""

    def __init__(self) -> None:
        """Take the place of `EachEdge`."""
        super().__init__()
        self.interpolation = Interpolation()

    def forward(self, values: Tensor, edges: InterpolatedEdges | EmbeddedEdges) -> Tensor:
        """Return (E, W) of values (K, W)."""
        if isinstance(edges, InterpolatedEdges):
            return self.interpolation(values, edges.knots, edges.weights)
        return values


class PairFunctions(nn.Module):
    """Radial functions of an embedding and a pair of elements: who derives says which."""

    def __init__(self) -> None:
        """Begin with values of each edge."""
        super().__init__()
        self.spread: nn.Module = EachEdge()

    def forward(self, edges: EmbeddedEdges) -> Tensor:
        """Return (E, W)."""
        return self.spread(self.of_pairs(edges.embedding, edges.pair), edges)


class PairNetwork(PairFunctions):
    """A radial network in a model whose other networks may see the elements."""

    def __init__(self, network: RadialNetwork) -> None:
        """Take the place of a network."""
        super().__init__()
        self.activation, self.layers = network.activation, network.layers

    def of_pairs(self, embedding: Tensor, pair: Tensor) -> Tensor:  # noqa: ARG002
        """Return (E, P*C) of an embedding (E, B) and pairs (E,)."""
        x = embedding
        for i, layer in enumerate(self.layers):
            if i > 0:
                x = self.activation(x)
            x = layer(x)
        return x


class CutFunctions(PairFunctions):
    """Functions of an embedding and a pair, times the last column of the embedding: the cutoff."""

    def __init__(self, functions: nn.Module) -> None:
        """Take functions of the other columns."""
        super().__init__()
        self.functions = functions

    def of_pairs(self, embedding: Tensor, pair: Tensor) -> Tensor:
        """Return (E, P*C) of an embedding (E, B+1) and pairs (E,)."""
        last = embedding.size(1) - 1
        return self.functions.of_pairs(embedding[:, :last], pair) * embedding[:, last:]


class PairTable(RadialTable):
    """Radial functions between knots at equal distances, a table for every pair of elements."""

    def __init__(self, tables: Sequence[RadialTable]) -> None:
        """Join tables of the same shape."""
        nn.Module.__init__(self)
        self.r_cut = tables[0].r_cut
        self.num_channels = tables[0].num_channels
        self.num_intervals = tables[0].num_intervals
        self.register_buffer("knots", torch.stack([table.knots for table in tables]))


def pair_of_edges(species: Tensor, edge_index: Tensor, num_species: int) -> Tensor:
    """Return species of the center times their number, plus the neighbor's, (E,) int64."""
    center, neighbor = edge_index[0], edge_index[1]
    return species.index_select(0, center) * num_species + species.index_select(0, neighbor)


class PairKinds(NamedTuple):
    """Pairs of elements by their radial functions."""

    pairs: list[int]  # one of each kind, see `pair_of_edges`
    table_of_pair: Tensor  # (S*S,) int64, the kind of every pair


def kinds_of_pairs(mace: MaceConfig, num_species: int) -> PairKinds:
    """Return which pairs have radial functions of their own.

    Those of a transform are the same for a pair and its mirror image; networks of nonlinear
    interactions tell the center from its neighbor.
    """
    if mace.nonlinear:
        numbers = torch.arange(num_species**2)
    elif mace.transform != "none":
        numbers = symmetric_tables(num_species)
    else:
        numbers = torch.zeros(num_species**2, dtype=torch.int64)
    pairs = [int((numbers == k).nonzero()[0]) for k in range(int(numbers.max()) + 1)]
    return PairKinds(pairs, numbers)


def symmetric_tables(num_species: int) -> Tensor:
    """Return the number of the table of every pair, (S*S,): pairs and their mirror images share."""
    low = torch.arange(num_species).repeat_interleave(num_species)
    high = torch.arange(num_species).repeat(num_species)
    low, high = torch.minimum(low, high), torch.maximum(low, high)
    return high * (high + 1) // 2 + low
