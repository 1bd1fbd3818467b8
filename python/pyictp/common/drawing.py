# SPDX-License-Identifier: MIT
"""How pictures look: colours, figures, plain ticks. Imports matplotlib, which is slow."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from cycler import cycler
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from pyictp.common.arrays import FloatArray
from pyictp.common.files import atomic_path

COLORS = ("#2f5d8a", "#d98032", "#4f9d69", "#b0413e", "#7d6bab", "#8a6d4f", "#c77ba8", "#7a7a7a")
PLAIN = "#4d4d4d"
PALE = "#bbbbbb"  # lines to compare with: a diagonal, zero
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.7,
    "axes.labelcolor": "#333333",
    "axes.prop_cycle": cycler(color=COLORS),
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "svg.hashsalt": "ictp",  # the same numbers give the same file
}
DENSITY = LinearSegmentedColormap.from_list("density", ["#9dbbd9", "#2f5d8a", "#142a44"])
DENSITY_BINS = 150
STEPS = (1, 2, 5, 10)  # between ticks, times a power of ten
DPI = 150


@contextmanager
def drawing(
    width: float, height: float, rows: int = 1, columns: int = 1, sharex: bool = False
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Yield a figure [inches] in the house style and its panels, row by row."""
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, list(figure.subplots(rows, columns, sharex=sharex, squeeze=False).flat)


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the file's ending; an older file is replaced at once."""
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format=path.suffix[1:].lower())


def draw_density(axes: Axes, points: FloatArray) -> None:
    """Draw (n, 2) points as squares whose colour says how many share one, with the diagonal."""
    low, high = float(points.min()), float(points.max())
    x = y = np.linspace(low, high, DENSITY_BINS + 1)
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=(x, y))
    image = axes.pcolormesh(
        x, y, np.ma.masked_equal(counts.T, 0), norm=LogNorm(), cmap=DENSITY, rasterized=True
    )
    axes.plot([low, high], [low, high], color=PALE, linewidth=0.6, zorder=0)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.8, label="pairs", pad=0.02)
    plain_log_ticks(bar.ax.yaxis)


def plain_log_ticks(axis: Axis) -> None:
    """Label a logarithmic axis with numbers that people write, few enough not to collide."""
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    if decades < 0.8:
        axis.set_major_locator(MaxNLocator(6, steps=STEPS))
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.2 else (1,), numticks=12))
    if low > 1e-5 and high < 1e5:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
