# SPDX-License-Identifier: MIT
"""Radial functions of a distance and a pair of elements, as models of MACE have them.

Bessel functions not of the distance r but of u = T(r), where T depends on the covalent radii of
both elements; the cutoff is one of r:

    b_n = sqrt(2/r_cut) sin(n pi u/r_cut)/u f(r/r_cut)

    none    u = r
    Agnesi  u = 1 / (1 + a x^q / (1 + x^(q-p))),  x = 2 r/(R_i + R_j)
    soft    u = p0 + (r - p0) (1 + tanh(alpha (r - m)/(p1 - p0)))/2
            with p0, p1 = 3/4, 4/3 of R_i + R_j, and m halfway

A table of such functions has the knots of pair after pair. Edges of pair q are lengthened by q
times the reach of one table: then one table of a length serves them all.

Source: Witt et al., J. Chem. Phys. 159, 164101 (2023) for Agnesi; the others are MACE's.
"""

from typing import Final

import torch
from torch import Tensor, nn

from pyictp.config.mace import MaceConfig
from pyictp.model.edges import EmbeddedEdges, EmbeddedStage, Harmonics, VectorStage
from pyictp.model.exact import ExactModule
from pyictp.model.radial import RadialEmbedding, RadialNetwork, RadialTable, polynomial_cutoff


class PairEmbedding(ExactModule):
    """Bessel functions of a transformed distance, times the cutoff of the distance.

    With `mace.cutoff_last` without it: then the cutoff is one column more, for `CutFunctions`.
    """

    frequencies: Tensor
    sums: Tensor
    transform: Final[str]
    constants: list[float]

    def __init__(self, plain: RadialEmbedding, mace: MaceConfig) -> None:
        """Take what Bessel functions of distances have, and the transform."""
        super().__init__()
        self.r_cut = plain.r_cut
        self.cutoff_power = plain.cutoff_power
        self.prefactor = plain.prefactor
        self.transform = mace.transform
        self.constants = [*mace.transform_constants, 0.0]  # never empty: TorchScript wants a type
        radii = torch.tensor(mace.radii, dtype=torch.float64)
        sums = radii.unsqueeze(0) + radii.unsqueeze(1)
        self.register_buffer("sums", sums.flatten(), persistent=False)  # (S*S,) [A]
        self.cutoff_last = mace.cutoff_last
        trained = torch.tensor(mace.frequencies, dtype=torch.float64)
        frequencies = trained if mace.frequencies else plain.frequencies.clone()
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, edge_lengths: Tensor, pair: Tensor) -> Tensor:
        """Return (E, num_radial) of lengths (E,) [A] and pairs (E,), see `pair_of_edges`."""
        cutoff = polynomial_cutoff(edge_lengths / self.r_cut, self.cutoff_power).unsqueeze(1)
        u = self.transformed(edge_lengths, pair).unsqueeze(1)
        bessel = self.prefactor * torch.sin(self.frequencies.to(u.dtype) * u) / u
        return torch.cat([bessel, cutoff], dim=1) if self.cutoff_last else bessel * cutoff

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


class PairNetwork(RadialNetwork):
    """A radial network in a model whose other networks may see the elements."""

    def __init__(self, network: RadialNetwork) -> None:
        """Take the place of a network."""
        nn.Module.__init__(self)
        self.activation, self.layers = network.activation, network.layers

    def of_pairs(self, embedding: Tensor, pair: Tensor) -> Tensor:  # noqa: ARG002
        """Return (E, P*C) of an embedding (E, B) and pairs (E,)."""
        return self.evaluate(embedding)


class CutFunctions(nn.Module):
    """Functions of an embedding and a pair, times the last column of the embedding: the cutoff."""

    def __init__(self, functions: nn.Module) -> None:
        """Take functions of the other columns."""
        super().__init__()
        self.functions = functions

    def forward(self, edges: EmbeddedEdges) -> Tensor:
        """Return (E, P*C)."""
        return self.of_pairs(edges.embedding, edges.pair)

    def of_pairs(self, embedding: Tensor, pair: Tensor) -> Tensor:
        """Return (E, P*C) of an embedding (E, B+1) and pairs (E,)."""
        last = embedding.size(1) - 1
        return self.functions.of_pairs(embedding[:, :last], pair) * embedding[:, last:]


class PairTable(RadialTable):
    """Radial functions between knots at equal distances, for every pair of elements."""

    def __init__(
        self, values: Tensor, slopes: Tensor, r_cut: float, num_channels: int, gap: int = 1
    ) -> None:
        """Tabulate P functions of C channels each.

        Args:
            values: (tables, knots, P*C) at 0, ..., r_cut.
            slopes: (tables, knots, P*C) derivatives [1/A].
            r_cut: cutoff radius [A].
            num_channels: C; stored with zeros to a multiple of 16, which the operators want.
            gap: intervals between two tables, of zeros.
        """
        num_tables, num_knots = values.shape[:2]
        spacing = r_cut / (num_knots - 1)
        rows = [nn.functional.pad(x, (0, 0, 0, gap - 1)).flatten(0, 1) for x in (values, slopes)]
        reach = (num_tables * (num_knots + gap - 1) - 1) * spacing
        super().__init__(rows[0], rows[1], reach, num_channels)
        self.num_intervals = num_knots - 1  # of a pair
        self.stride = r_cut + gap * spacing  # from the beginning of a table to that of the next


class PairStage(EmbeddedStage):
    """Harmonics of the directions, embedding of the lengths and pairs of elements."""

    def __init__(self, embedding: PairEmbedding, harmonics: Harmonics, num_species: int) -> None:
        """Join an embedding and harmonics."""
        super().__init__(embedding, harmonics)
        self.num_species = num_species

    def pairs(self, species: Tensor, edge_index: Tensor) -> Tensor:
        """Return the elements of both nodes, (E,)."""
        return pair_of_edges(species, edge_index, self.num_species)

    def embed(self, edge_lengths: Tensor, pair: Tensor) -> Tensor:
        """Return (E, B) of lengths (E,) [A] and the elements of both nodes."""
        return self.embedding(edge_lengths, pair)


class PairVectorStage(VectorStage):
    """Edges lengthened so that each has its own part of a table."""

    tables: Tensor

    def __init__(self, tables: Tensor, stride: float, r_cut: float, num_species: int) -> None:
        """Take the number of the table of every pair, (S*S,), and what `PairTable` says."""
        super().__init__()
        self.register_buffer("tables", tables, persistent=False)
        self.stride = stride
        self.r_cut = r_cut
        self.num_species = num_species

    def read(self, edge_vectors: Tensor, species: Tensor, edge_index: Tensor) -> Tensor:
        """Return the vectors (E, 3) at whose lengths tables are read."""
        pair = pair_of_edges(species, edge_index, self.num_species)
        tables = self.tables.index_select(0, pair)
        return lengthened(edge_vectors, tables, self.stride, self.r_cut)


def pair_of_edges(species: Tensor, edge_index: Tensor, num_species: int) -> Tensor:
    """Return species of the center times their number, plus the neighbor's, (E,) int64."""
    center, neighbor = edge_index[0], edge_index[1]
    return species.index_select(0, center) * num_species + species.index_select(0, neighbor)


def lengthened(edge_vectors: Tensor, tables: Tensor, stride: float, r_cut: float) -> Tensor:
    """Return edge vectors (E, 3) of length min(r, r_cut) + q stride, q the tables (E,)."""
    lengths = torch.linalg.vector_norm(edge_vectors, dim=1)
    longer = lengths.clamp(max=r_cut) + stride * tables.to(lengths.dtype)
    return edge_vectors * (longer / lengths).unsqueeze(1)


def symmetric_tables(num_species: int) -> Tensor:
    """Return the number of the table of every pair, (S*S,): pairs and their mirror images share."""
    low = torch.arange(num_species).repeat_interleave(num_species)
    high = torch.arange(num_species).repeat(num_species)
    low, high = torch.minimum(low, high), torch.maximum(low, high)
    return high * (high + 1) // 2 + low
