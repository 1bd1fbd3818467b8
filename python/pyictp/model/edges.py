# SPDX-License-Identifier: MIT
"""What the layers see of the edges: three kinds, and the stage that makes each of them.

Which kind a model has follows from its radial functions: networks of every edge's length
(`EmbeddedEdges`), the same at knots in training (`InterpolatedEdges`), or tables (`VectorEdges`).
E edges are sorted by center; offsets (N+1,) say where those of each center begin.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pyictp.model import plain
from pyictp.model.cartesian import cartesian_harmonics, harmonics_recursion
from pyictp.model.exact import ExactModule
from pyictp.model.interpolation import RadialInterpolation


class EmbeddedEdges(NamedTuple):
    """Edges whose radial functions are computed one by one."""

    neighbor: Tensor  # (E,) int64
    offsets: Tensor  # (N+1,) int64
    harmonics: Tensor  # (E, (l_max_edge+1)^2)
    embedding: Tensor  # (E, B), what the radial networks take
    pair: Tensor  # (E,) int64 elements of both nodes; empty where no radial function asks for them


class InterpolatedEdges(NamedTuple):
    """Edges whose radial functions are interpolated between knots that all edges share."""

    neighbor: Tensor  # (E,) int64
    offsets: Tensor  # (N+1,) int64
    harmonics: Tensor  # (E, (l_max_edge+1)^2)
    embedding: Tensor  # (K, B) of the knots
    pair: Tensor  # (K,) int64 elements of both nodes, or (0,), as of `EmbeddedEdges`
    knots: Tensor  # (E,) int64, the first knot that each edge takes
    weights: Tensor  # (E, 6) of that knot and the next ones


class VectorEdges(NamedTuple):
    """Edges as they come, for convolutions that read radial functions from tables."""

    neighbor: Tensor  # (E,) int64
    offsets: Tensor  # (N+1,) int64
    vectors: Tensor  # (E, 3) float64 [A]
    tables: Tensor  # (E,) int64, the table of each edge; empty where all have one


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


class EmbeddedStage(nn.Module):
    """Harmonics of the directions and embedding of the lengths."""

    def __init__(self, embedding: nn.Module, harmonics: Harmonics) -> None:
        """Join an embedding (E,) [A] -> (E, B) and harmonics."""
        super().__init__()
        self.embedding = embedding
        self.harmonics = harmonics

    def forward(
        self,
        species: Tensor,
        edge_index: Tensor,
        edge_vectors: Tensor,
        num_local: int,
        dtype: torch.dtype,
    ) -> EmbeddedEdges:
        """Return the edges in the model's dtype; the other arguments as of `ICTPModel.forward`."""
        offsets = plain.row_offsets(edge_index[0], num_local)
        vectors = edge_vectors.to(dtype)
        lengths = torch.linalg.vector_norm(vectors, dim=1)  # (E,)
        harmonics = self.angular(vectors, lengths)
        pair = self.pairs(species, edge_index)
        embedding = self.embed(lengths, pair)
        return EmbeddedEdges(edge_index[1], offsets, harmonics, embedding, pair)

    def angular(self, edge_vectors: Tensor, edge_lengths: Tensor) -> Tensor:
        """Return the harmonics of the directions of edges (E, 3) [A]."""
        return self.harmonics(edge_vectors / edge_lengths.unsqueeze(1))

    def pairs(self, species: Tensor, edge_index: Tensor) -> Tensor:  # noqa: ARG002
        """Return the elements of both nodes where radial functions depend on them, (E,) or (0,)."""
        return edge_index[0, :0]

    def embed(
        self,
        edge_lengths: Tensor,
        pair: Tensor,  # noqa: ARG002 - stages of pairs look at it
    ) -> Tensor:
        """Return (E, B) of lengths (E,) [A] and the elements of both nodes."""
        return self.embedding(edge_lengths)


class InterpolatedStage(nn.Module):
    """In training the place of each length between knots; else what `EmbeddedStage` gives."""

    pair: Tensor

    def __init__(self, exact: EmbeddedStage, interpolation: RadialInterpolation) -> None:
        """Take the stage to stand in for."""
        super().__init__()
        self.exact = exact
        self.interpolation = interpolation
        self.register_buffer("pair", torch.empty(0, dtype=torch.int64), persistent=False)

    def forward(
        self,
        species: Tensor,
        edge_index: Tensor,
        edge_vectors: Tensor,
        num_local: int,
        dtype: torch.dtype,
    ) -> InterpolatedEdges | EmbeddedEdges:
        """Return the edges, as `EmbeddedStage.forward`."""
        if not self.training:
            return self.exact(species, edge_index, edge_vectors, num_local, dtype)
        vectors = edge_vectors.to(dtype)
        lengths = torch.linalg.vector_norm(vectors, dim=1)  # (E,)
        rows, weights = self.interpolation(lengths)
        return InterpolatedEdges(
            edge_index[1],
            plain.row_offsets(edge_index[0], num_local),
            self.exact.harmonics(vectors / lengths.unsqueeze(1)),
            self.interpolation.embedding.to(dtype),
            self.pair,
            rows + self.first_knots(species, edge_index),
            weights,
        )

    def first_knots(self, species: Tensor, edge_index: Tensor) -> Tensor | int:  # noqa: ARG002
        """Return where the knots of each edge begin, (E,), among those of all pairs."""
        return 0


class VectorStage(nn.Module):
    """Nothing is computed of an edge."""

    def forward(
        self,
        species: Tensor,
        edge_index: Tensor,
        edge_vectors: Tensor,
        num_local: int,
        dtype: torch.dtype,  # noqa: ARG002 - as of the other stages
    ) -> VectorEdges:
        """Return the edges, their vectors in float64."""
        offsets = plain.row_offsets(edge_index[0], num_local)
        return VectorEdges(edge_index[1], offsets, edge_vectors, self.tables(species, edge_index))

    def tables(self, species: Tensor, edge_index: Tensor) -> Tensor:  # noqa: ARG002
        """Return the number of the table of each edge, (E,), or (0,) where all have one."""
        return edge_index[0, :0]
