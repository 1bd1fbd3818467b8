# SPDX-License-Identifier: MIT
"""From a configuration to what training needs: samples, elements, constants of the model."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pyictp.config.data_files import LABELS, NO_WEIGHTING, as_data_file
from pyictp.config.load import Config, TrainConfig
from pyictp.data.fingerprint import structure_digest
from pyictp.data.frames import Frame, draw_frames, read_frames, split_frames
from pyictp.data.magnitudes import check_labels
from pyictp.data.samples import GraphDataset, elements_of
from pyictp.data.statistics import (
    Statistics,
    compute_statistics,
    given_energies,
    isolated_energies,
    subtract,
)
from pyictp.errors import UserError
from pyictp.model.zbl import ZBLRepulsion

logger = logging.getLogger("pyictp")


@dataclass(frozen=True)
class TrainingData:
    """Everything of the data that a training starts from."""

    train: GraphDataset
    valid: GraphDataset
    elements: tuple[str, ...]
    statistics: Statistics
    isolated: Mapping[str, float]  # energies of isolated atoms that are given [eV]


def prepare_data(
    config: Config, progress: bool = False, known: Sequence[str] = (), extend: bool = False
) -> TrainingData:
    """Return the samples of a training and their statistics.

    Frames marked as isolated atoms give e0 and are not trained on. Labels with weight 0 are left
    out; the other weights are for training frames.

    Args:
        config: `model.elements` empty takes the elements of the data, by atomic number.
        progress: show a bar while graphs are built.
        known: the first of `model.elements`, which a trained model has constants for: their e0 is 0
            here.
        extend: append elements of the data that `model.elements` lacks, by atomic number.

    Raises:
        UserError: as `read_frames`; there is no training file; a set has no label with a weight, or
            one that no matter has; an element is in the validation frames only, is missing from
            `model.elements` or has no isolated-atom energy.
    """
    data = config.data
    train, valid, lone = read_split(config)
    _warn_of_shared(train, valid)
    elements, found = config.model.elements, elements_of(train)
    check_elements((*known, *found), {"validation frames": valid})
    if extend or not elements:
        elements = (*elements, *(element for element in found if element not in elements))
    _warn_of_untrained(elements, (*known, *found))
    e0 = np.zeros(len(elements))
    if len(known) < len(elements):
        new = elements[len(known) :]
        e0[len(known) :] = isolated_energies(data.isolated_atoms, new, data, lone)
    r_cut, reach = config.model.r_cut, config.model.zbl_reach
    repulsion = ZBLRepulsion(elements, r_cut, reach) if config.model.zbl else None
    train_set = GraphDataset(train, elements, r_cut, progress, "training graphs")
    valid_set = GraphDataset(valid, elements, r_cut, progress, "validation graphs")
    learned = [subtract(s, repulsion) for s in train_set] if repulsion else train_set
    isolated, _ = given_energies(data.isolated_atoms, data, lone)
    return TrainingData(train_set, valid_set, elements, compute_statistics(learned, e0), isolated)


def read_split(config: Config) -> tuple[list[Frame], list[Frame], list[Frame]]:
    """Return training frames, validation frames and those marked as isolated atoms.

    Raises:
        UserError: as `read_frames`; there is no training file; a set has no label with a weight.
    """
    data = config.data
    if not any(as_data_file(entry).weight > 0 for entry in data.train):
        raise UserError("data.train: expected at least one file, got none")
    required = () if data.allow_missing else required_labels(config.training)
    frames = read_frames(data.train, data, required)
    lone = [frame for frame in frames if frame.is_isolated_atom]
    frames = _used(frames)
    if not frames:
        raise UserError(
            "data.train: all frames are isolated atoms or have weight 0, none is left to train on"
        )
    if data.valid:
        train = draw_frames(frames, data.num_train, data)
        valid = _used(read_frames(data.valid, data, required))
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
    check_labels([*train, *valid, *lone], required_labels(config.training), data.check_labels)
    return train, [replace(frame, weights=NO_WEIGHTING) for frame in valid], lone


def check_elements(trained: Collection[str], others: Mapping[str, Sequence[Frame]]) -> None:
    """Refuse frames to validate or test on with elements that nothing trains.

    Args:
        trained: elements of the training frames, or trained before.
        others: frames by what they are called.

    Raises:
        UserError: there are such.
    """
    for name, frames in others.items():
        unknown = [element for element in elements_of(frames) if element not in trained]
        if unknown:
            first = next(frame for frame in frames if unknown[0] in frame.symbols)
            raise UserError(
                f"{name}: {first.where} has {unknown[0]}, but no training frame has "
                f"{' '.join(unknown)}: take such frames into training, leave them out, or split "
                "otherwise"
            )


def _warn_of_untrained(elements: Sequence[str], trained: Collection[str]) -> None:
    unknown = [element for element in elements if element not in trained]
    if unknown:
        logger.warning(
            "model.elements: no training frame has %s: what the model says of them means nothing, "
            "leave them out or add frames",
            " ".join(unknown),
        )


def _used(frames: Sequence[Frame]) -> list[Frame]:
    """Return frames to train or validate on, without labels of weight 0."""

    def without_unused(frame: Frame) -> Frame:
        weights = zip(LABELS, frame.weights, strict=True)
        unused: dict[str, Any] = {label: None for label, weight in weights if weight == 0}
        return replace(frame, **unused)

    return [without_unused(f) for f in frames if not f.is_isolated_atom and any(f.weights)]


def _refuse_unlabelled(name: str, frames: Sequence[Frame], labels: Sequence[str]) -> None:
    if frames and all(getattr(frame, label) is None for frame in frames for label in labels):
        keys = ", ".join(f"data.{label}_key" for label in labels)
        raise UserError(
            f"no {name} frame has a label with a weight ({', '.join(labels)}): set {keys}"
        )


def _warn_of_shared(train: Sequence[Frame], valid: Sequence[Frame]) -> None:
    known = {structure_digest(frame) for frame in train}
    num_shared = sum(structure_digest(frame) in known for frame in valid)
    if num_shared:
        logger.warning(
            "validation frames: expected structures that are not trained on, %d of %d are: "
            "their errors say nothing of new ones, set data.valid to others",
            num_shared,
            len(valid),
        )


def required_labels(training: TrainConfig) -> tuple[str, ...]:
    """Return the labels with a weight in the loss."""
    weights = {
        "energy": training.energy_weight,
        "forces": training.forces_weight,
        "stress": training.stress_weight,
    }
    return tuple(label for label, weight in weights.items() if weight > 0)
