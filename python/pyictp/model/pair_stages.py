# SPDX-License-Identifier: MIT
"""The edges of models whose radial functions are those of pairs of elements, as layers see them."""

import torch
from torch import Tensor

from pyictp.model.edges import (
    EmbeddedEdges,
    EmbeddedStage,
    Harmonics,
    InterpolatedEdges,
    InterpolatedStage,
    VectorStage,
)
from pyictp.model.interpolation import RadialInterpolation
from pyictp.model.pair_radial import PairEmbedding, PairKinds, pair_of_edges


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
    """Edges as they come, with the number of the table of each."""

    table_of_pair: Tensor

    def __init__(self, table_of_pair: Tensor, num_species: int) -> None:
        """Take the number of the table of every pair, (S*S,)."""
        super().__init__()
        self.register_buffer("table_of_pair", table_of_pair, persistent=False)
        self.num_species = num_species

    def tables(self, species: Tensor, edge_index: Tensor) -> Tensor:
        """Return the number of the table of each edge, (E,)."""
        pair = pair_of_edges(species, edge_index, self.num_species)
        return self.table_of_pair.index_select(0, pair)


class PairInterpolatedStage(InterpolatedStage):
    """Knots of all pairs, where a batch has more edges than these are."""

    first_knot: Tensor

    def __init__(
        self, exact: PairStage, r_min: float, r_cut: float, num_intervals: int, kinds: PairKinds
    ) -> None:
        """Take the stage to stand in for and knots from r_min to r_cut [A]."""

        def embedding(knots: Tensor) -> Tensor:
            pairs = [torch.full_like(knots, pair, dtype=torch.int64) for pair in kinds.pairs]
            return torch.cat([exact.embedding(knots, pair) for pair in pairs])

        super().__init__(exact, RadialInterpolation(embedding, r_min, r_cut, num_intervals))
        self.num_knots = self.interpolation.embedding.shape[0]
        per_table = self.num_knots // len(kinds.pairs)
        self.pair = torch.tensor(kinds.pairs).repeat_interleave(per_table)
        self.register_buffer("first_knot", per_table * kinds.table_of_pair, persistent=False)

    def forward(
        self,
        species: Tensor,
        edge_index: Tensor,
        edge_vectors: Tensor,
        num_local: int,
        dtype: torch.dtype,
    ) -> InterpolatedEdges | EmbeddedEdges:
        """Return the edges, as `EmbeddedStage.forward`."""
        if edge_index.size(1) < self.num_knots:
            return self.exact(species, edge_index, edge_vectors, num_local, dtype)
        return super().forward(species, edge_index, edge_vectors, num_local, dtype)

    def first_knots(self, species: Tensor, edge_index: Tensor) -> Tensor:
        """Return where the knots of each edge begin, (E,), among those of all pairs."""
        pair = pair_of_edges(species, edge_index, self.exact.num_species)
        return self.first_knot.index_select(0, pair)
