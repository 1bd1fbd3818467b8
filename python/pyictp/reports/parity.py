# SPDX-License-Identifier: MIT
"""Parity plots: prediction over label for energies, forces and stresses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units

from pyictp.common.arrays import FloatArray
from pyictp.errors import UserError
from pyictp.reports.comparison import Parity

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.axes import Axes


IMAGE_SUFFIXES = (".png", ".pdf", ".svg", ".jpg")
DENSITY_POINTS = 4000  # beyond that, single points hide how many there are
VECTOR_POINTS = 400  # beyond that, a picture of the points is smaller
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

    Energies are per atom and relative to the mean label, forces are coloured by element, or by how
    many share a spot where they are many. Where a file tells its uncertainty, force errors over it
    follow.

    Args:
        parity: labels and predictions.
        path: an image file, or a folder in which parity.png is made.
    """
    from pyictp.common.drawing import drawing, save
    from pyictp.reports.calibration import draw_spread, spreads

    if path.suffix.lower() not in IMAGE_SUFFIXES:
        path.mkdir(parents=True, exist_ok=True)
        path = path / "parity.png"
    draws = [partial(draw_panel, panel=panel) for panel in parity_panels(parity).values()]
    draws += [partial(draw_spread, spread=spread) for spread in spreads(parity)]
    with drawing(4.2 * len(draws), 3.7, columns=len(draws)) as (figure, panels):
        for axes, draw in zip(panels, draws, strict=True):
            draw(axes)
        save(figure, path)
    return path


@dataclass(frozen=True)
class Panel:
    """One parity plot."""

    title: str
    unit: str
    groups: dict[str, FloatArray]  # (n, 2) label, prediction; by element, or one group ""
    zero: str = ""  # what the axes begin from

    @property
    def points(self) -> FloatArray:
        """Return the points of all groups (n, 2)."""
        return np.concatenate(list(self.groups.values()))

    @property
    def is_dense(self) -> bool:
        """Return whether there are too many points to be shown one by one."""
        return sum(map(len, self.groups.values())) > DENSITY_POINTS

    @property
    def summary(self) -> str:
        """Return title and RMSE."""
        factor, unit = self.of_errors
        errors = factor * (self.points[:, 1] - self.points[:, 0])
        return f"{self.title}: RMSE {np.sqrt(np.square(errors).mean()):.3g} {unit}"

    @property
    def of_errors(self) -> tuple[float, str]:
        """Return factor and unit in which errors are told."""
        return (1.0, self.unit) if self.unit == "GPa" else (1e3, f"m{self.unit}")


def parity_panels(parity: Parity) -> dict[str, Panel]:
    """Return the panels of the quantities that have labels, by name of the quantity."""
    panels = {}
    if len(parity.energies):
        per_atom = parity.energies / parity.num_atoms[:, None]
        groups = {"": per_atom - per_atom[:, 0].mean()}
        panels["energy"] = Panel("energy", "eV/atom", groups, "from the mean label")
    if len(parity.forces):
        elements = sorted(set(parity.force_elements.tolist()))
        groups = {e: parity.forces[parity.force_elements == e].reshape(-1, 2) for e in elements}
        panels["forces"] = Panel("forces", "eV/Å", groups)
    if len(parity.stresses):
        nine = parity.stresses[:, NINE] / units.GPa  # as the metrics
        panels["stress"] = Panel("stress", "GPa", {"": nine.reshape(-1, 2)})
    return panels


def draw_panel(axes: Axes, panel: Panel) -> None:
    """Draw prediction over label, as points or, where they are many, as their density."""
    from pyictp.common.drawing import PALE, draw_density

    points = panel.points
    low, high = float(points.min()), float(points.max())
    if panel.is_dense:
        draw_density(axes, points)
    else:
        axes.plot([low, high], [low, high], color=PALE, linewidth=0.8, zorder=0)
        style: dict[str, Any] = {
            "markersize": 3,
            "alpha": 0.5,
            "rasterized": len(points) > VECTOR_POINTS,
        }
        for name, pairs in panel.groups.items():
            axes.plot(*pairs.T, ".", label=name or None, **style)
        if len(panel.groups) > 1:
            axes.legend(markerscale=2)
    margin = 0.03 * (high - low) or 1e-3
    axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
    axes.locator_params(nbins=6)
    axes.set_title(panel.summary)
    zero = f" {panel.zero}" if panel.zero else ""
    axes.set(xlabel=f"label{zero} [{panel.unit}]", ylabel=f"prediction{zero} [{panel.unit}]")
