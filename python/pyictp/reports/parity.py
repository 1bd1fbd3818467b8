# SPDX-License-Identifier: MIT
"""Parity plots: prediction over label for energies, forces and stresses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyictp.common.arrays import FloatArray
from pyictp.errors import UserError
from pyictp.reports.comparison import Parity

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.axes import Axes


IMAGE_SUFFIXES = (".png", ".pdf", ".svg", ".jpg")
MAX_VECTOR_POINTS = 20_000  # beyond that, points in a vector file are drawn as one picture
NINE = [0, 1, 2, 3, 3, 4, 4, 5, 5]  # Voigt components with off-diagonals twice


def check_plot_path(path: Path) -> None:
    """Refuse a path that is neither an image file nor a folder.

    Raises:
        UserError: it ends like another kind of file.
    """
    if path.suffix and path.suffix.lower() not in IMAGE_SUFFIXES and not path.is_dir():
        raise UserError(
            f"plot '{path}': expected an image ({' '.join(IMAGE_SUFFIXES)}) or the name of a folder"
        )


def plot_parity(parity: Parity, path: Path) -> Path:
    """Draw one panel per quantity that has labels; returns the file written.

    Energies are per atom and relative to the mean label, forces are coloured by element. Where a
    file tells its uncertainty, force errors over it follow.

    Args:
        parity: labels and predictions.
        path: an image file, or a folder in which parity.png is made.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from pyictp.reports.calibration import draw_spread, spreads

    if path.suffix.lower() not in IMAGE_SUFFIXES:
        path.mkdir(parents=True, exist_ok=True)
        path = path / "parity.png"
    drawings = [partial(draw_panel, panel=panel) for panel in parity_panels(parity).values()]
    drawings += [partial(draw_spread, spread=spread) for spread in spreads(parity)]
    figure = Figure(figsize=(4 * len(drawings), 4), layout="constrained")
    FigureCanvasAgg(figure)
    all_axes = figure.subplots(1, len(drawings), squeeze=False)[0]
    for axes, draw in zip(all_axes, drawings, strict=True):
        draw(axes)
    figure.savefig(path, dpi=150)
    return path


@dataclass(frozen=True)
class Panel:
    """One parity plot."""

    title: str
    unit: str
    groups: dict[str, FloatArray]  # (n, 2) label, prediction; by element, or one group ""

    @property
    def points(self) -> FloatArray:
        """Return the points of all groups (n, 2)."""
        return np.concatenate(list(self.groups.values()))

    @property
    def summary(self) -> str:
        """Return title and RMSE."""
        errors = self.points[:, 1] - self.points[:, 0]
        return f"{self.title}: RMSE {1e3 * np.sqrt(np.square(errors).mean()):.2f} m{self.unit}"


def parity_panels(parity: Parity) -> dict[str, Panel]:
    """Return the panels of the quantities that have labels, by name of the quantity."""
    panels = {}
    if len(parity.energies):
        per_atom = parity.energies / parity.num_atoms[:, None]
        groups = {"": per_atom - per_atom[:, 0].mean()}
        panels["energy"] = Panel("energy", "eV/atom", groups)
    if len(parity.forces):
        elements = sorted(set(parity.force_elements.tolist()))
        groups = {e: parity.forces[parity.force_elements == e].reshape(-1, 2) for e in elements}
        panels["forces"] = Panel("forces", "eV/Å", groups)
    if len(parity.stresses):
        nine = parity.stresses[:, NINE]  # as the metrics
        panels["stress"] = Panel("stress", "eV/Å³", {"": nine.reshape(-1, 2)})
    return panels


def draw_panel(axes: Axes, panel: Panel) -> None:
    """Draw prediction over label as points, with the diagonal."""
    points = panel.points
    ends = [points.min(), points.max()]
    axes.plot(ends, ends, color="0.6", linewidth=0.8, zorder=0)
    for name, pairs in panel.groups.items():
        axes.plot(
            pairs[:, 0],
            pairs[:, 1],
            ".",
            markersize=3,
            alpha=0.5,
            label=name or None,
            rasterized=len(points) > MAX_VECTOR_POINTS,
        )
    axes.set_title(panel.summary)
    axes.set_xlabel(f"label [{panel.unit}]")
    axes.set_ylabel(f"prediction [{panel.unit}]")
    if len(panel.groups) > 1:
        axes.legend(frameon=False, markerscale=2)
