# SPDX-License-Identifier: MIT
"""Numbers from trajectories: radial distribution, energy drift, averages, force deviations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Average:
    """A time average and its standard error."""

    mean: float
    error: float


def radial_distribution(
    positions: np.ndarray, boxes: np.ndarray, r_max: float, num_bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bin centers and the radial distribution function g(r), averaged over frames.

    g(r) = (counts of pairs at r) / (N rho 4 pi r^2 dr): 1 for an ideal gas.

    Args:
        positions: (T, N, 3) [A].
        boxes: (T, 3) edges of the orthogonal periodic box [A].
        r_max: largest distance [A], half the smallest edge or less.
        num_bins: bins between 0 and r_max.

    Returns:
        r (num_bins,) [A] and g (num_bins,), dimensionless.

    Raises:
        ValueError: r_max is more than half an edge: nearest images no longer are all pairs.
    """
    if r_max > 0.5 * boxes.min():
        limit = f"{0.5 * boxes.min():.3f} A"
        raise ValueError(f"r_max {r_max} A: expected half the smallest box edge ({limit}) or less")
    edges = np.linspace(0.0, r_max, num_bins + 1)
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    num_atoms = positions.shape[1]
    first, second = np.triu_indices(num_atoms, k=1)
    g = np.zeros(num_bins)
    for frame, box in zip(positions, boxes, strict=True):
        vectors = frame[first] - frame[second]
        vectors -= box * np.round(vectors / box)
        counts, _ = np.histogram(np.sqrt((vectors**2).sum(axis=1)), bins=edges)
        g += 2.0 * counts / (num_atoms * (num_atoms / box.prod()) * shells)
    return 0.5 * (edges[1:] + edges[:-1]), g / len(positions)


def energy_drift(times: np.ndarray, energies: np.ndarray, num_atoms: int) -> float:
    """Return the slope of a straight line through the total energy [meV/atom/ps].

    Args:
        times: (T,) [ps].
        energies: (T,) of the whole cell [eV].
        num_atoms: atoms in the cell.
    """
    return float(np.polyfit(times, energies, 1)[0]) / num_atoms * 1000.0


def block_average(values: np.ndarray, num_blocks: int = 5) -> Average:
    """Return the mean and its standard error, from means of blocks longer than correlations."""
    blocks = np.array([block.mean() for block in np.array_split(values, num_blocks)])
    return Average(float(values.mean()), float(blocks.std(ddof=1) / np.sqrt(num_blocks)))


def rmse(values: np.ndarray, reference: np.ndarray) -> float:
    """Return the root mean square difference over all components."""
    return float(np.sqrt(np.mean((values - reference) ** 2)))


def rmse_by_type(values: np.ndarray, reference: np.ndarray, types: np.ndarray) -> dict[int, float]:
    """Return the root mean square difference of force components of each atom type.

    Args:
        values: (T, N, 3).
        reference: (T, N, 3).
        types: (N,).
    """
    chosen = {int(kind): types == kind for kind in np.unique(types)}
    return {kind: rmse(values[:, mask], reference[:, mask]) for kind, mask in chosen.items()}
