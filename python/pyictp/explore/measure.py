# SPDX-License-Identifier: MIT
"""How good the models of a cycle are: errors and uncertainty on structures held back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyictp.data.frames import Frame
from pyictp.data.samples import make_sample
from pyictp.explore.settings import DEVIATION
from pyictp.potential.batch import evaluate_graphs
from pyictp.potential.exported import load_exported
from pyictp.reports.evaluate import evaluate_frames

KEYS = (
    *("energy_mae_mev_per_atom", "energy_rmse_mev_per_atom"),
    *("force_mae_mev_per_a", "force_rmse_mev_per_a"),
)


def measure(model: Path, frames: Sequence[Frame], by: str) -> dict[str, Any]:
    """Return errors of the mean of all models, and the largest uncertainty, on labelled frames.

    Args:
        model: exported file.
        frames: with labels.
        by: deviation [eV/A] or grade.
    """
    potential = load_exported(model)
    found = evaluate_frames(potential, frames)
    field = "force_deviations" if by == DEVIATION else "grades"
    graphs = (make_sample(f, potential.elements, potential.r_cut).graph for f in frames)
    unsure = evaluate_graphs(potential, graphs, uncertainty=True)
    largest = [getattr(one, field).max().item() for one in unsure]
    return {
        "num_structures": len(frames),
        **{key: found[key] for key in KEYS},
        f"largest_{by}": max(largest),
        f"mean_largest_{by}": sum(largest) / len(largest),
    }
