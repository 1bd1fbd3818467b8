# SPDX-License-Identifier: MIT
"""What a checkpoint, an exported file, an ensemble and the model in C++ all are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from pyictp.common.arrays import FloatArray
from pyictp.graph.derivatives import Prediction, evaluate_graph
from pyictp.graph.graph import Graph


@runtime_checkable
class Potential(Protocol):
    """A trained model that says energies and forces of graphs without ghosts.

    Graphs are on its device.
    """

    @property
    def elements(self) -> tuple[str, ...]:
        """The S elements it knows, in the order of its species."""

    @property
    def r_cut(self) -> float:
        """Its cutoff radius [A]."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    def dtype(self) -> torch.dtype:
        """Of its arithmetic; what it returns is float64."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What its file says of it, `provenance` among it; of a model in memory nothing."""

    @property
    def shortest_distances(self) -> FloatArray:
        """Of its training data, (S, S) symmetric [A]; zeros where nothing is known."""

    @property
    def num_models(self) -> int:
        """The models whose mean it is."""

    @property
    def has_grade(self) -> bool:
        """Whether it knows how far atoms are from its training data."""

    def energies(self, graph: Graph) -> Tensor:
        """Return node energies (N,) [eV], float64, without a gradient."""

    def evaluate(self, graph: Graph) -> Prediction:
        """Return energies, forces and virials of the mean of its models."""

    def evaluate_members(self, graph: Graph) -> tuple[list[Prediction], Tensor | None]:
        """Return what each of its models says, and grades (N,) where it has them."""

    def grades(self, graph: Graph) -> Tensor:
        """Return extrapolation grades (N,), float64: 1 is the farthest training atom.

        Raises:
            UserError: it has none.
        """


class EnergyFunction:
    """The part of a `Potential` that follows if energies are a function PyTorch differentiates."""

    def __call__(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> Tensor:
        """Return node energies (num_local,) [eV], as `ICTPModel.forward` does."""
        raise NotImplementedError

    @property
    def num_models(self) -> int:
        """A single model, unless told otherwise."""
        return 1

    def energies(self, graph: Graph) -> Tensor:
        """Return node energies (N,) [eV], float64, without a gradient."""
        with torch.no_grad():
            found = self(graph.species, graph.edge_index, graph.edge_vectors, graph.num_local)
        return found.to(torch.float64)

    def evaluate(self, graph: Graph) -> Prediction:
        """Return energies, forces and virials of the mean of its models."""
        return evaluate_graph(self, graph)
