# SPDX-License-Identifier: MIT
"""How far the models of an ensemble are apart, and atoms from the training data."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from pyictp.graph.derivatives import Prediction, evaluate_graph
from pyictp.graph.graph import Graph


@dataclass(frozen=True)
class UncertainPrediction(Prediction):
    """The mean of all models and how unsure it is, in the terms of pair_style ictp.

    None is what a potential cannot tell: deviations of a single model, grades of a file without
    (a training that did not end, an export of one).
    """

    energy_deviations: Tensor | None  # (B,) [eV] sqrt(mean over models (E - <E>)^2)
    force_deviations: Tensor | None  # (N,) [eV/A] sqrt(mean over models |F - <F>|^2)
    grades: Tensor | None  # (N,) of the first model; 1 is the farthest training atom


def evaluate_uncertain(potential: Any, graph: Graph) -> UncertainPrediction:
    """Return what a potential says of a graph without ghosts, and how sure it is.

    Costs one evaluation of every model, as the mean alone does; grades one more without gradient.

    Args:
        potential: `ExportedPotential`, or a single model, with grades if it has a `grade`.
        graph: on the potential's device.
    """
    number = num_models(potential)
    members = [potential.member(k) for k in range(number)] if number > 1 else [potential]
    found = [evaluate_graph(member, graph) for member in members]
    spread = {"energy_deviations": None, "force_deviations": None}
    if number > 1:
        energies = torch.stack([one.energies for one in found])  # (K, B)
        forces = torch.stack([one.forces for one in found])  # (K, N, 3)
        spread["energy_deviations"] = energies.std(0, correction=0)
        spread["force_deviations"] = forces.var(0, correction=0).sum(1).sqrt()
    grades = _grades(potential, graph) if has_grade(potential) else None
    return UncertainPrediction(**_mean(found), **spread, grades=grades)


def num_models(potential: Any) -> int:
    """Return the number of models of a potential."""
    return getattr(potential, "num_models", 1)


def has_grade(potential: Any) -> bool:
    """Return whether a potential knows how far atoms are from its training data."""
    return getattr(potential, "has_grade", False) or hasattr(potential, "grade")


def _grades(potential: Any, graph: Graph) -> Tensor:
    arguments = graph.species, graph.edge_index, graph.edge_vectors, graph.num_local
    if not hasattr(potential, "grade"):
        return potential.grades(*arguments)
    with torch.no_grad():
        features = potential.energies_and_features(*arguments)[1]
        return potential.grade(features, graph.species[: graph.num_local])


def _mean(found: list[Prediction]) -> dict[str, Tensor]:
    return {
        field.name: torch.stack([getattr(one, field.name) for one in found]).mean(0)
        for field in fields(Prediction)
    }
