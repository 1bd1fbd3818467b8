# SPDX-License-Identifier: MIT
"""Parity plots: prediction over label for energies, forces and stresses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pyictp.errors import UserError

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]

IMAGE_SUFFIXES = (".png", ".pdf", ".svg", ".jpg")


@dataclass(frozen=True)
class Parity:
    """Labels and predictions side by side, of the structures that have the label."""

    energies: FloatArray  # (K, 2) label, prediction [eV]
    num_atoms: FloatArray  # (K,) of the structures with an energy
    forces: FloatArray  # (M, 3, 2) [eV/A]
    force_elements: NDArray[np.str_]  # (M,) element of each atom with forces
    stresses: FloatArray  # (L, 6, 2) Voigt xx yy zz yz xz xy [eV/A^3]
    num_structures: int


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

    Energies are per atom and relative to the mean label, forces are coloured by element.

    Args:
        parity: labels and predictions.
        path: an image file, or a folder in which parity.png is made.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if path.suffix.lower() not in IMAGE_SUFFIXES:
        path.mkdir(parents=True, exist_ok=True)
        path = path / "parity.png"
    panels = _panels(parity)
    figure = Figure(figsize=(4 * len(panels), 4), layout="constrained")
    FigureCanvasAgg(figure)
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, unit, groups) in zip(all_axes, panels, strict=True):
        _draw(axes, title, unit, groups)
    figure.savefig(path, dpi=150)
    return path


def _panels(parity: Parity) -> list[tuple[str, str, dict[str, NDArray[np.float64]]]]:
    """Return title, unit and point pairs (n, 2) by group of every panel."""
    panels = []
    if len(parity.energies):
        per_atom = parity.energies / parity.num_atoms[:, None]
        panels.append(("energy", "eV/atom", {"": per_atom - per_atom[:, 0].mean()}))
    if len(parity.forces):
        elements = sorted(set(parity.force_elements.tolist()))
        chosen = {e: parity.forces[parity.force_elements == e].reshape(-1, 2) for e in elements}
        panels.append(("forces", "eV/Å", chosen))
    if len(parity.stresses):
        nine = parity.stresses[
            :, [0, 1, 2, 3, 3, 4, 4, 5, 5]
        ]  # off-diagonals twice, as the metrics
        panels.append(("stress", "eV/Å³", {"": nine.reshape(-1, 2)}))
    return panels


def _draw(axes: Axes, title: str, unit: str, groups: dict[str, NDArray[np.float64]]) -> None:
    points = np.concatenate(list(groups.values()))
    ends = [points.min(), points.max()]
    axes.plot(ends, ends, color="0.6", linewidth=0.8, zorder=0)
    for name, pairs in groups.items():
        axes.plot(pairs[:, 0], pairs[:, 1], ".", markersize=3, alpha=0.5, label=name or None)
    rmse = 1e3 * np.sqrt(np.square(points[:, 1] - points[:, 0]).mean())
    axes.set_title(f"{title}: RMSE {rmse:.2f} m{unit}")
    axes.set_xlabel(f"label [{unit}]")
    axes.set_ylabel(f"prediction [{unit}]")
    if len(groups) > 1:
        axes.legend(frameon=False, markerscale=2)
