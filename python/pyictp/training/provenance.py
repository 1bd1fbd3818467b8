# SPDX-License-Identifier: MIT
"""What a checkpoint says of its training."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pyictp.config.data_files import LABELS
from pyictp.config.load import Config, TrainConfig
from pyictp.config.run_fields import unusual_fields
from pyictp.data.fingerprint import digest
from pyictp.data.samples import Sample
from pyictp.potential.distances import KEY, shortest_distances, smaller, unknown
from pyictp.training.prepare import TrainingData, required_labels

PRETRAINING = "pretraining"  # of a model that learned from a teacher first: who that was, where


def describe_training(data: TrainingData, config: Config) -> dict[str, Any]:
    """Return the provenance of a model that is trained from random weights."""
    files = {sample.name.rsplit(":", 1)[0] for part in (data.train, data.valid) for sample in part}
    return {
        "num_train": len(data.train),
        "num_valid": len(data.valid),
        "data_digest": digest(data.train.frames, data.valid.frames),
        "shortest_edge": data.train.shortest_edge,  # A
        **learned_from(data.train, data.elements, config.training),
        "data_files": sorted(Path(name).name for name in files),
        "fields": unusual_fields(config.data),
        "finetuned_from": None,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def learned_from(
    samples: Sequence[Sample], elements: Sequence[str], settings: TrainConfig
) -> dict[str, Any]:
    """Return what a model can know of training samples: labels and shortest distances [A]."""
    labels = required_labels(settings)
    return {
        "trained_on": [n for n in labels if any(getattr(s, n) is not None for s in samples)],
        KEY: shortest_distances((sample.graph for sample in samples), elements),
    }


def inherit(
    provenance: Mapping[str, Any], start: Mapping[str, Any], source: Path
) -> dict[str, Any]:
    """Return the provenance of a fine-tuned model: what the one it starts from knew is added.

    Args:
        provenance: of the new data.
        start: the checkpoint to start from. One that does not say what it has learned (an import)
            leaves that open: labels, and distances (0) of pairs that the new data do not have.
        source: where that was.
    """
    former = start.get("provenance", {})
    if former.get("untrained"):
        former = {"trained_on": [], KEY: {}}
    result = {**provenance, "finetuned_from": source.name}
    result[KEY] = unknown(start["model_config"]["elements"]) | provenance[KEY]
    if KEY in former:
        result[KEY] = smaller(former[KEY], provenance[KEY])
    if "shortest_edge" in former:
        result["shortest_edge"] = min(former["shortest_edge"], provenance["shortest_edge"])
    known = former.get("trained_on")
    both = {*(known or ()), *provenance["trained_on"]}
    result["trained_on"] = None if known is None else [label for label in LABELS if label in both]
    kept = (PRETRAINING, "licence", "charge", "spin")
    return result | {key: former[key] for key in kept if key in former}
