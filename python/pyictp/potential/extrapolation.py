# SPDX-License-Identifier: MIT
"""How far an atom is from the training data, in what the last readout sees of it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyictp.errors import UserError
from pyictp.graph.graph import Graph, collate
from pyictp.graph.packing import BATCH_EDGES, pack
from pyictp.model.exact import ExactModule
from pyictp.model.ictp import ICTPModel
from pyictp.model.mixing import SpeciesMixing
from pyictp.potential.checkpoint import (
    CHECKPOINT_KEYS,
    build_model,
    load_checkpoint,
    save_checkpoint,
)

# Directions with less than this part of the variance of the widest one count as that narrow:
# below are float32's rounding and directions that the training data do not have.
FLOOR = 1e-6
UNSEEN = 1e3  # distances are multiplied by this where the training data have no spread to compare
ROUNDING = (
    1e-12  # a variance of less than this part of the square of the mean is float32's rounding
)
KEY = "extrapolation"  # in checkpoints


class ExtrapolationGrade(ExactModule):
    """Mahalanobis distance from the training atoms of the same element; 1 is the farthest of them.

    grade = |W_s (f - m_s)| with f the scalars of the last layer, m_s their mean over the training
    atoms of element s and W_s^T W_s their inverse covariance over the square of the largest
    distance in the training data.
    """

    center: Tensor  # (S, C) m
    whitening: Tensor  # (S, C, C) W^T

    def __init__(self, center: Tensor, whitening: Tensor) -> None:
        """Take both in float64."""
        super().__init__()
        # checkpoints hold it beside the model, not among the model's weights
        self.register_buffer("center", center, persistent=False)
        self.register_buffer("whitening", whitening, persistent=False)
        self.mixing = SpeciesMixing()

    def forward(self, features: Tensor, species: Tensor) -> Tensor:
        """Return (N,) float64 of features (N, C) and species (N,)."""
        shifted = features.to(torch.float64) - self.center.index_select(0, species)
        white = self.mixing(shifted.unsqueeze(1), self.whitening, species)
        return torch.linalg.vector_norm(white, dim=2).squeeze(1)


def fit_grade(model: ICTPModel, graphs: Iterable[Graph]) -> ExtrapolationGrade:
    """Return the grade of a model and its training structures.

    Args:
        model: on the CPU.
        graphs: of one structure each, without ghosts.
    """
    features, species = [], []
    with torch.no_grad():
        for batch in pack(graphs, lambda graph: graph.num_edges, None, BATCH_EDGES):
            graph = collate(batch)
            found = model.energies_and_features(
                graph.species, graph.edge_index, graph.edge_vectors, graph.num_local
            )
            features.append(found[1].to(torch.float64))
            species.append(graph.species)
    return _fit(torch.cat(features), torch.cat(species), len(model.config.elements))


def _fit(features: Tensor, species: Tensor, num_species: int) -> ExtrapolationGrade:
    num_channels = features.shape[1]
    center = features.new_zeros(num_species, num_channels)
    whitening = torch.eye(num_channels, dtype=torch.float64).repeat(num_species, 1, 1) * UNSEEN
    for s in range(num_species):
        known = features[species == s]
        if len(known) == 0:
            continue
        center[s] = known.mean(0)
        shifted = known - center[s]
        variances, axes = torch.linalg.eigh(shifted.T @ shifted / len(known))
        if variances[-1] <= ROUNDING * center[s].square().sum():
            continue  # one atom, or equal ones
        white = axes / (variances.clamp_min(0) + FLOOR * variances[-1]).sqrt()  # axes as columns
        whitening[s] = white / torch.linalg.vector_norm(shifted @ white, dim=1).max()
    return ExtrapolationGrade(center, whitening)


def grade_of(payload: Mapping[str, Any]) -> ExtrapolationGrade | None:
    """Return the grade of a checkpoint's contents, None if it holds none."""
    state = payload.get(KEY)
    return None if state is None else ExtrapolationGrade(state["center"], state["whitening"])


def needed_grade(payload: Mapping[str, Any], what: str) -> ExtrapolationGrade:
    """Return the grade of a checkpoint's contents.

    Args:
        payload: contents of the checkpoint.
        what: names it in the message.

    Raises:
        UserError: it holds none.
    """
    grade = grade_of(payload)
    if grade is None:
        raise UserError(
            f"{what}: expected the extrapolation grade that a training writes at its end, found "
            "none: copy the checkpoint again, or end the training with --resume"
        )
    return grade


def add_grade(path: Path, graphs: Iterable[Graph]) -> None:
    """Put the grade of a checkpoint's model and its training structures into the checkpoint.

    Raises:
        UserError: no checkpoint, or it cannot be written; it is as it was then.
    """
    payload = load_checkpoint(path)
    model = build_model(payload, source=path)
    grade = fit_grade(model, graphs)
    extras = {k: v for k, v in payload.items() if k not in CHECKPOINT_KEYS}
    extras[KEY] = {"center": grade.center, "whitening": grade.whitening}
    save_checkpoint(path, model, **extras)
