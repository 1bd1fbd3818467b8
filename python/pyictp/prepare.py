# SPDX-License-Identifier: MIT
"""From a configuration to what training needs: samples, elements, constants of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyictp.config import Config, TrainConfig
from pyictp.data import Frame, draw_frames, read_frames, split_frames
from pyictp.dataset import GraphDataset, elements_of
from pyictp.errors import UserError
from pyictp.statistics import Statistics, compute_statistics, isolated_energies


@dataclass(frozen=True)
class TrainingData:
    """Everything of the data that a training starts from."""

    train: GraphDataset
    valid: GraphDataset
    elements: tuple[str, ...]
    statistics: Statistics


def prepare_data(config: Config, progress: bool = True) -> TrainingData:
    """Return the samples of a training and their statistics.

    Frames marked as isolated atoms give e0 and are not trained on.

    Args:
        config: `model.elements` empty takes the elements of the data, by atomic number.
        progress: show a bar while graphs are built.

    Raises:
        UserError: as `read_frames`; there is no training file; a set has no label with a weight; an
            element is missing from
            `model.elements` or has no isolated-atom energy.
    """
    data = config.data
    if not data.train:
        raise UserError("data.train: expected at least one file, got none")
    required = () if data.allow_missing else required_labels(config.training)
    frames = read_frames(data.train, data, required)
    lone = [frame for frame in frames if frame.is_isolated_atom]
    frames = [frame for frame in frames if not frame.is_isolated_atom]
    if not frames:
        raise UserError("data.train: all frames are isolated atoms, none is left to train on")
    if data.valid:
        train = draw_frames(frames, data.num_train, data)
        valid = [f for f in read_frames(data.valid, data, required) if not f.is_isolated_atom]
        valid = draw_frames(valid, data.num_valid, data)
    else:
        train, valid = split_frames(frames, data)
    if "stress" in required and not any(frame.stress is not None for frame in train):
        raise UserError(
            "training.stress_weight is above 0, but no training frame has pbc and a stress: "
            "set it to 0"
        )
    for name, part in (("training", train), ("validation", valid)):
        _refuse_unlabelled(name, part, required_labels(config.training))
    elements = config.model.elements or elements_of([*train, *valid])
    e0 = isolated_energies(data.isolated_atoms, elements, data, lone)
    r_cut = config.model.r_cut
    train_set = GraphDataset(train, elements, r_cut, progress, "training graphs")
    valid_set = GraphDataset(valid, elements, r_cut, progress, "validation graphs")
    return TrainingData(train_set, valid_set, elements, compute_statistics(train_set, e0))


def _refuse_unlabelled(name: str, frames: Sequence[Frame], labels: Sequence[str]) -> None:
    if frames and all(getattr(frame, label) is None for frame in frames for label in labels):
        keys = ", ".join(f"data.{label}_key" for label in labels)
        raise UserError(
            f"no {name} frame has a label with a weight ({', '.join(labels)}): set {keys}"
        )


def required_labels(training: TrainConfig) -> tuple[str, ...]:
    """Return the labels with a weight in the loss."""
    weights = {
        "energy": training.energy_weight,
        "forces": training.forces_weight,
        "stress": training.stress_weight,
    }
    return tuple(label for label, weight in weights.items() if weight > 0)
