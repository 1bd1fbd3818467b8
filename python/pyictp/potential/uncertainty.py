# SPDX-License-Identifier: MIT
"""How far the models of an ensemble are apart, and atoms from the training data."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from pyictp.graph.derivatives import Prediction
from pyictp.graph.graph import Graph
from pyictp.potential.interface import Potential


@dataclass(frozen=True)
class UncertainPrediction(Prediction):
    """The mean of all models and how unsure it is, in the terms of pair_style ictp.

    None is what a potential cannot tell: deviations of a single model, grades of a file without
    (a training that did not end, an export of one).
    """

    energy_deviations: Tensor | None  # (B,) [eV] sqrt(mean over models (E - <E>)^2)
    force_deviations: Tensor | None  # (N,) [eV/A] sqrt(mean over models |F - <F>|^2)
    grades: Tensor | None  # (N,) of the first model; 1 is the farthest training atom


def evaluate_uncertain(potential: Potential, graph: Graph) -> UncertainPrediction:
    """Return what a potential says of a graph without ghosts, and how sure it is.

    Costs one evaluation of every model, as the mean alone does; of a model that is no exported file
    grades are one more without gradient.

    Args:
        potential: one model or several, with or without a grade.
        graph: on the potential's device.
    """
    found, grades = potential.evaluate_members(graph)
    energy_deviations = force_deviations = None
    if len(found) > 1:
        energies = torch.stack([one.energies for one in found])  # (K, B)
        forces = torch.stack([one.forces for one in found])  # (K, N, 3)
        energy_deviations = energies.std(0, correction=0)
        force_deviations = forces.var(0, correction=0).sum(1).sqrt()
    return UncertainPrediction(
        **_mean(found),
        energy_deviations=energy_deviations,
        force_deviations=force_deviations,
        grades=grades,
    )


def _mean(found: list[Prediction]) -> dict[str, Tensor]:
    return {
        field.name: torch.stack([getattr(one, field.name) for one in found]).mean(0)
        for field in fields(Prediction)
    }
