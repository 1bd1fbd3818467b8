# SPDX-License-Identifier: MIT
"""t = a N_local + b N_ghost + c: fitted to measured steps, and what it predicts for other sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

SKIN = 2.0  # A, LAMMPS' default in metal units


@dataclass(frozen=True)
class CostModel:
    """Seconds of a step on one process among many."""

    per_local: float  # a [s]
    per_ghost: float  # b [s]
    constant: float  # c [s]

    def seconds(self, num_local: float, num_ghost: float) -> float:
        """Return the time of one step."""
        return self.per_local * num_local + self.per_ghost * num_ghost + self.constant


def fit(rows: list[dict[str, Any]]) -> CostModel:
    """Return the model of the runs with the most processes, whose cores are all at work.

    a and part of c come from everything that is no communication, over N_local; b and the rest of
    c from communication, over N_ghost. Relative errors count; no coefficient is negative.
    """
    most = max(row["processes"] for row in rows)
    rows = [row for row in rows if row["processes"] == most]
    communication = np.array([row["communication"] for row in rows])
    work = np.array([row["seconds"] for row in rows]) - communication
    a, c_work = _line(np.array([row["num_local"] for row in rows]), work)
    b, c_sent = _line(np.array([row["num_ghost"] for row in rows]), communication)
    return CostModel(a, b, c_work + c_sent)


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return slope and offset, neither below zero, with least squares of relative errors."""
    matrix = np.stack([x / y, 1.0 / y], axis=1)
    both = np.linalg.lstsq(matrix, np.ones_like(y), rcond=None)[0]
    if (both >= 0.0).all():
        return float(both[0]), float(both[1])
    column = int(both[0] < 0.0)  # the one that stays
    one = float(matrix[:, column].sum() / (matrix[:, column] ** 2).sum())
    return (0.0, one) if column else (one, 0.0)


def num_ghost(num_local: float, density: float, r_cut: float) -> float:
    """Return the ghosts of a cube: a shell r_cut + SKIN wide around num_local atoms.

    Args:
        num_local: atoms of the cube.
        density: atoms per volume [1/A^3].
        r_cut: cutoff radius [A].
    """
    edge = (num_local / density) ** (1 / 3)
    return density * ((edge + 2.0 * (r_cut + SKIN)) ** 3 - edge**3)


def predict(
    model: CostModel, atoms: float, processes: int, density: float, r_cut: float
) -> dict[str, float]:
    """Return what a step of a bulk of cubic sub-domains would take; a prediction, not measured."""
    num_local = atoms / processes
    ghosts = num_ghost(num_local, density, r_cut)
    seconds = model.seconds(num_local, ghosts)
    return {
        "atoms": atoms,
        "processes": processes,
        "num_local": num_local,
        "num_ghost": ghosts,
        "seconds": seconds,
        "efficiency": model.per_local * num_local / seconds,
    }
