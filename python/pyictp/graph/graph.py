# SPDX-License-Identifier: MIT
"""Structures as graphs: the one thing a model sees. It knows no cell and no images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from pyictp.errors import UserError
from pyictp.graph.neighbors import SkinList


@dataclass(frozen=True)
class Graph:
    """One structure, or several collated ones."""

    species: Tensor  # (N,) int64, 0-based in the order of the model's elements
    edge_index: Tensor  # (2, E) int64, row 0 center, row 1 neighbor; sorted by center
    edge_vectors: Tensor  # (E, 3) r_neighbor - r_center [A], float64
    num_local: int  # nodes owned, the first ones; the rest are ghosts (none in Python)
    structure_index: Tensor  # (N,) int64, the structure a node belongs to
    num_structures: int

    @property
    def num_nodes(self) -> int:
        """Return the number of nodes, ghosts included."""
        return self.species.shape[0]

    @property
    def num_edges(self) -> int:
        """Return the number of directed edges."""
        return self.edge_index.shape[1]

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Graph:
        """Return the graph on a device; `dtype` is that of the edge vectors."""
        return replace(
            self,
            species=self.species.to(device),
            edge_index=self.edge_index.to(device),
            edge_vectors=self.edge_vectors.to(device=device, dtype=dtype),
            structure_index=self.structure_index.to(device),
        )


def build_graph(
    positions: ArrayLike,
    cell: ArrayLike,
    pbc: ArrayLike,
    species: ArrayLike,
    r_cut: float,
    neighbors: SkinList | None = None,
) -> Graph:
    """Return the graph of one structure: every pair with a length strictly below `r_cut`.

    Args:
        positions: (N, 3) in A, wrapped or not.
        cell: (3, 3) rows are cell vectors in A; may be zero where pbc is off.
        pbc: (3,) or one bool.
        species: (N,) 0-based species.
        r_cut: cutoff radius in A.
        neighbors: list with a skin that outlives the call; its own r_cut must be the same.

    Raises:
        UserError: wrong shapes, numbers that are not finite, two atoms on one spot, pbc without
            a cell vector.
    """
    positions = np.ascontiguousarray(positions, dtype=np.float64)
    cell = np.ascontiguousarray(cell, dtype=np.float64)
    pbc = np.ascontiguousarray(np.broadcast_to(np.asarray(pbc, dtype=bool), 3))
    species = np.ascontiguousarray(species, dtype=np.int64)
    _check(positions, cell, species)
    if neighbors is None:
        neighbors = SkinList(r_cut, skin=0.0)
    edge_index, edge_vectors = neighbors.edges(positions, cell, pbc)
    return Graph(
        species=torch.from_numpy(species),
        edge_index=torch.from_numpy(edge_index),
        edge_vectors=torch.from_numpy(edge_vectors),
        num_local=len(species),
        structure_index=torch.zeros(len(species), dtype=torch.int64),
        num_structures=1,
    )


def _check(positions: np.ndarray, cell: np.ndarray, species: np.ndarray) -> None:
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise UserError(f"positions: expected shape (N, 3), got {positions.shape}")
    if cell.shape != (3, 3):
        raise UserError(f"cell: expected shape (3, 3), got {cell.shape}")
    if species.shape != (len(positions),):
        raise UserError(f"species: expected shape ({len(positions)},), got {species.shape}")
    for field, values in (("positions", positions), ("cell", cell)):
        if not np.isfinite(values).all():
            raise UserError(f"{field}: a value is NaN or infinite")


def collate(graphs: Sequence[Graph]) -> Graph:
    """Return several graphs as one without edges between them; nodes and edges keep their order.

    Raises:
        ValueError: there is no graph, or one has ghosts.
    """
    if not graphs:
        raise ValueError("collate: expected at least one graph")
    if any(graph.num_local != graph.num_nodes for graph in graphs):
        raise ValueError("collate: graphs with ghosts cannot be joined")
    first_node = np.cumsum([0] + [graph.num_nodes for graph in graphs]).tolist()
    first_structure = np.cumsum([0] + [graph.num_structures for graph in graphs]).tolist()
    return Graph(
        species=torch.cat([graph.species for graph in graphs]),
        edge_index=torch.cat(
            [g.edge_index + start for g, start in zip(graphs, first_node, strict=False)], dim=1
        ),
        edge_vectors=torch.cat([graph.edge_vectors for graph in graphs]),
        num_local=first_node[-1],
        structure_index=torch.cat(
            [g.structure_index + s for g, s in zip(graphs, first_structure, strict=False)]
        ),
        num_structures=first_structure[-1],
    )
