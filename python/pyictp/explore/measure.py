# SPDX-License-Identifier: MIT
"""How good the models of a cycle are: errors and uncertainty on structures held back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyictp.data.frames import Frame
from pyictp.explore.settings import DEVIATION
from pyictp.potential.exported import load_exported
from pyictp.reports.evaluate import predict
from pyictp.reports.metrics import metrics

KEYS = (
    *("energy_mae_mev_per_atom", "energy_rmse_mev_per_atom"),
    *("force_mae_mev_per_a", "force_rmse_mev_per_a"),
)


def measure(model: Path, frames: Sequence[Frame], by: str) -> dict[str, Any]:
    """Return errors of the mean of all models, and the largest uncertainty, on labelled frames.

    Args:
        model: exported file.
        frames: with labels, forces among them.
        by: deviation [eV/A] or grade.
    """
    parity = predict(load_exported(model), frames)
    found = metrics(parity)
    unsure = parity.force_deviations if by == DEVIATION else parity.grades
    assert unsure is not None  # the models of a cycle are several, each with its grade
    indices = np.unique(parity.force_structures)
    largest = [float(unsure[parity.force_structures == index].max()) for index in indices]
    return {
        "num_structures": len(frames),
        **{key: found[key] for key in KEYS},
        f"largest_{by}": max(largest),
        f"mean_largest_{by}": sum(largest) / len(largest),
    }
