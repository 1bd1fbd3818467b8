# SPDX-License-Identifier: MIT
"""Averages over time, with their errors, and the drift of an energy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

EQUAL = 1e-13  # relative: rounding


@dataclass(frozen=True)
class Average:
    """A time average and its standard error, which knows that neighboring samples are alike."""

    mean: float
    error: float
    independent: float = math.inf  # samples that would say as much if they were independent


def time_average(values: np.ndarray) -> Average:
    """Return the mean of (T,) equally spaced samples of a stationary run.

    The variance of the mean is that of independent samples times g = 1 + 2 sum (1 - t/T) C(t), with
    the normalised autocorrelation C summed up to its first zero.
    Source: J. D. Chodera et al., J. Chem. Theory Comput. 3, 26 (2007), equations 5 to 7.
    """
    number, deviations = len(values), values - values.mean()
    variance = float(np.square(deviations).mean())
    if variance <= (EQUAL * np.abs(values).max()) ** 2:
        return Average(float(values.mean()), 0.0)
    spectrum = np.fft.rfft(deviations, 2 * number)  # padded: no correlation across the ends
    correlation = np.fft.irfft(np.square(np.abs(spectrum)))[:number]
    correlation /= variance * np.arange(number, 0, -1)
    crossings = np.flatnonzero(correlation <= 0)
    lags = np.arange(1, crossings[0] if len(crossings) else number)
    inefficiency = 1.0 + 2.0 * float(((1.0 - lags / number) * correlation[lags]).sum())
    independent = number / max(inefficiency, 1.0)
    error = np.sqrt(variance / max(independent - 1.0, 1.0))
    return Average(float(values.mean()), float(error), independent)


def energy_drift(times: np.ndarray, energies: np.ndarray, num_atoms: int) -> float:
    """Return the slope of a straight line through the total energy [meV/atom/ps].

    Args:
        times: (T,) [ps].
        energies: (T,) of the whole cell [eV].
        num_atoms: atoms in the cell.
    """
    return float(np.polyfit(times, energies, 1)[0]) / num_atoms * 1000.0
