# SPDX-License-Identifier: MIT
"""How far an exported file is from the trained models, on structures that they were trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from pyictp.config.data_files import as_data_file
from pyictp.config.load import DataConfig
from pyictp.graph.graph import Graph
from pyictp.model.ictp import ICTPModel
from pyictp.potential.batch import evaluate_graphs
from pyictp.potential.exported import load_exported
from pyictp.potential.loaded_model import LoadedModel

Item = TypeVar("Item")
NUM_FRAMES = 20
LARGEST = 20e6  # bytes of training files that are read without being asked


@dataclass(frozen=True)
class Deviation:
    """Of the forces of a file from those of the models in float64 [eV/A]."""

    num_frames: int
    largest: float
    rms: float

    def __str__(self) -> str:
        """Return the line for people."""
        return (
            f"on {self.num_frames} training frames: forces at most {self.largest:.1e} eV/A from "
            f"the trained model in float64, RMS {self.rms:.1e}"
        )


def at_hand(section: DataConfig) -> list[str]:
    """Return the training files of a run, none if one is missing or all are large."""
    paths = [as_data_file(entry).file for entry in section.train]
    there = all(Path(path).is_absolute() and Path(path).is_file() for path in paths)
    return paths if there and sum(Path(p).stat().st_size for p in paths) < LARGEST else []


def spread(items: Sequence[Item], number: int = NUM_FRAMES) -> list[Item]:
    """Return `number` items at equal distances, the first and the last among them."""
    if len(items) <= number:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, number).round().astype(int)]


def compare(path: str | Path, models: Sequence[ICTPModel], graphs: Sequence[Graph]) -> Deviation:
    """Return how far the forces of an exported file are from those of its models, on average.

    Args:
        path: the file.
        models: it was made of, in float64 on the CPU.
        graphs: one structure each.
    """
    found = evaluate_graphs(load_exported(path), graphs)
    members = zip(*(evaluate_graphs(LoadedModel(m), graphs) for m in models), strict=True)
    right = (torch.stack([one.forces for one in several]).mean(0) for several in members)
    differences = [(one.forces - two).numpy() for one, two in zip(found, right, strict=True)]
    squares = np.concatenate([difference.ravel() for difference in differences]) ** 2
    return Deviation(len(graphs), math.sqrt(squares.max()), math.sqrt(squares.mean()))
