# SPDX-License-Identifier: MIT
"""The model of a checkpoint, or one in memory, as a potential."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pyictp.common.arrays import FloatArray
from pyictp.errors import UserError
from pyictp.graph.derivatives import Prediction
from pyictp.graph.graph import Graph
from pyictp.model.ictp import ICTPModel
from pyictp.potential.distances import distance_table
from pyictp.potential.extrapolation import ExtrapolationGrade
from pyictp.potential.interface import EnergyFunction


@dataclass(frozen=True)
class LoadedModel(EnergyFunction):
    """A single model with what is known of it."""

    model: nn.Module  #: an `ICTPModel`, or one called like it that has `elements` and `r_cut`
    metadata: Mapping[str, Any] = field(default_factory=dict)  #: of its checkpoint
    grade: ExtrapolationGrade | None = None  #: of its training data

    def __post_init__(self) -> None:
        """Look whether the model says what it is for.

        Raises:
            UserError: it has no elements or no cutoff radius.
        """
        missing = [name for name in ("elements", "r_cut") if not hasattr(self._source, name)]
        if missing:
            raise UserError(
                "model: expected a training folder, a checkpoint, an exported file, an ICTPModel "
                "or a module called like one with elements and r_cut, got "
                f"{type(self.model).__name__} without {' and '.join(missing)}"
            )

    def __call__(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> Tensor:
        """Return node energies (num_local,) [eV], float64."""
        return self.model(species, edge_index, edge_vectors, num_local)

    @property
    def _source(self) -> Any:
        return self.model.config if isinstance(self.model, ICTPModel) else self.model

    @property
    def elements(self) -> tuple[str, ...]:
        """The elements it knows, in the order of its species."""
        return tuple(self._source.elements)

    @property
    def r_cut(self) -> float:
        """Its cutoff radius [A]."""
        return float(self._source.r_cut)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        tensors = itertools.chain(self.model.parameters(), self.model.buffers())
        return next((tensor.device for tensor in tensors), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """That of its weights."""
        return next((weight.dtype for weight in self.model.parameters()), torch.float64)

    @property
    def shortest_distances(self) -> FloatArray:
        """Of its training data, (S, S) symmetric [A]; zeros where nothing is known."""
        provenance = self.metadata.get("provenance", {})
        return distance_table(provenance, self.elements, self.r_cut)

    @property
    def has_grade(self) -> bool:
        """Whether it knows how far atoms are from its training data."""
        return self.grade is not None

    def evaluate_members(self, graph: Graph) -> tuple[list[Prediction], Tensor | None]:
        """Return what it says, and grades (N,) where it has them."""
        return [self.evaluate(graph)], self.grades(graph) if self.has_grade else None

    def grades(self, graph: Graph) -> Tensor:
        """Return extrapolation grades (N,), float64: 1 is the farthest training atom.

        Raises:
            UserError: it has none.
        """
        if self.grade is None:
            raise UserError(
                "the model has no extrapolation grade: end its training with --resume, or train it"
            )
        with torch.no_grad():
            return self.grade(self.features(graph), graph.species[: graph.num_local])

    def features(self, graph: Graph) -> Tensor:
        """Return the scalars of the last layer, (N, C), in the model's dtype.

        Raises:
            UserError: the model has none.
        """
        if not isinstance(self.model, ICTPModel):
            raise UserError(
                f"descriptors: expected an ICTPModel, got {type(self.model).__name__}, "
                "which has no layers to take them from"
            )
        with torch.no_grad():
            return self.model.energies_and_features(
                graph.species, graph.edge_index, graph.edge_vectors, graph.num_local
            )[1]
