# SPDX-License-Identifier: MIT
"""Averages over time, with their errors, and the drift of an energy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Average:
    """A time average and its standard error."""

    mean: float
    error: float


def block_average(values: np.ndarray, num_blocks: int = 5) -> Average:
    """Return the mean and its standard error, from means of blocks longer than correlations."""
    blocks = np.array([block.mean() for block in np.array_split(values, num_blocks)])
    return Average(float(values.mean()), float(blocks.std(ddof=1) / np.sqrt(num_blocks)))


def energy_drift(times: np.ndarray, energies: np.ndarray, num_atoms: int) -> float:
    """Return the slope of a straight line through the total energy [meV/atom/ps].

    Args:
        times: (T,) [ps].
        energies: (T,) of the whole cell [eV].
        num_atoms: atoms in the cell.
    """
    return float(np.polyfit(times, energies, 1)[0]) / num_atoms * 1000.0
