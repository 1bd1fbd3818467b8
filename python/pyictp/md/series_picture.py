# SPDX-License-Identifier: MIT
"""The picture of a series of runs: averages over temperature, or beside one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from pyictp.common.drawing import COLORS, drawing, save

WIDTH, HEIGHT = 6.4, 2.0  # inches, of a panel
PANELS = {
    "energy_eV_per_atom": "energy\n[eV/atom]",
    "density_g_per_cm3": "density\n[g/cm³]",
    "pressure_bar": "pressure\n[GPa]",
}
GPA_PER_BAR = 1e-4
Row = Mapping[str, Any]


def draw_runs(path: Path, rows: Sequence[Row]) -> None:
    """Draw energy, density and pressure with their errors: over temperature where it varies.

    Args:
        path: of the PNG.
        rows: of `runs.json`.
    """
    keys = [key for key in PANELS if any(row.get(key) for row in rows)]
    varied = len({row["temperature_target_K"] for row in rows}) > 1
    with drawing(WIDTH, HEIGHT * len(keys) + 0.5, rows=len(keys), sharex=True) as (figure, panels):
        for axes, key in zip(panels, keys, strict=True):
            axes.set_ylabel(PANELS[key])
            axes.ticklabel_format(axis="y", useOffset=False)
            (_over_temperature if varied else _side_by_side)(axes, key, rows)
        if varied:
            panels[-1].set_xlabel("temperature [K]")
            if len({row["structure"] for row in rows}) > 1:
                panels[0].legend()
        figure.align_ylabels(panels)
        save(figure, path)


def _over_temperature(axes: Axes, key: str, rows: Sequence[Row]) -> None:
    for number, structure in enumerate(dict.fromkeys(row["structure"] for row in rows)):
        own = [row for row in rows if row["structure"] == structure and row.get(key)]
        own.sort(key=lambda row: row["temperature_K"]["mean"])
        x = [row["temperature_K"]["mean"] for row in own]
        color, label = COLORS[number % len(COLORS)], Path(structure).stem
        _points(axes, key, x, own, fmt="o-", color=color, label=label)


def _side_by_side(axes: Axes, key: str, rows: Sequence[Row]) -> None:
    own = [(x, row) for x, row in enumerate(rows) if row.get(key)]
    _points(axes, key, [x for x, _ in own], [row for _, row in own], fmt="o", color=COLORS[0])
    axes.set_xticks(range(len(rows)), [row["name"] for row in rows], rotation=20, ha="right")
    axes.set_xlim(-0.5, len(rows) - 0.5)


def _points(axes: Axes, key: str, x: Sequence[float], rows: Sequence[Row], **style: Any) -> None:
    factor = GPA_PER_BAR if key == "pressure_bar" else 1.0
    means = factor * np.array([row[key]["mean"] for row in rows])
    errors = factor * np.array([row[key]["error"] or 0.0 for row in rows])
    axes.errorbar(x, means, errors, capsize=2.5, markersize=4, linewidth=1.0, **style)
