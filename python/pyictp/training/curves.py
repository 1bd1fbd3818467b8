# SPDX-License-Identifier: MIT
"""Pictures of a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyictp.common.files import atomic_path

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

Curve = tuple[str, tuple[tuple[str, str | None], ...], float]  # title, columns and labels, factor
Rows = Sequence[dict[str, str]]  # of log.csv; an empty text is no point

CURVES: tuple[Curve, ...] = (
    ("loss", (("train_loss", "training"), ("valid_loss", "validation")), 1.0),
    ("energy error [meV/atom]", (("valid_energy_rmse", "RMSE"), ("valid_energy_mae", "MAE")), 1e3),
    ("force error [meV/Å]", (("valid_forces_rmse", "RMSE"), ("valid_forces_mae", "MAE")), 1e3),
    ("stress error [meV/Å³]", (("valid_stress_rmse", "RMSE"), ("valid_stress_mae", "MAE")), 1e3),
    ("learning rate", (("learning_rate", None),), 1.0),
)


def plot_learning_curve(rows: Rows, path: Path) -> None:
    """Draw loss, errors and learning rate over the epochs of a log.csv.

    Args:
        rows: the log.
        path: of the PNG; nothing is written without rows.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curves = present_curves(rows)
    if not curves:
        return
    figure = Figure(figsize=(3.6 * len(curves), 3.2), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for axes, curve in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
        draw_curve(axes, rows, curve)
    with atomic_path(path) as temporary:
        canvas.print_png(temporary)


def present_curves(rows: Rows) -> list[Curve]:
    """Return the curves of which a log has at least one number."""
    return [curve for curve in CURVES if any(row[name] for row in rows for name, _ in curve[1])]


def draw_curve(axes: Axes, rows: Rows, curve: Curve) -> None:
    """Draw the columns of one curve over the epochs; what is not above zero is left out."""
    title, columns, scale = curve
    for name, label in columns:
        points = [(int(row["epoch"]), scale * float(row[name])) for row in rows if row[name]]
        points = [point for point in points if point[1] > 0]
        if points:
            marker = "." if len(points) < 20 else ""
            axes.plot(*zip(*points, strict=True), label=label, marker=marker)
    axes.set(xlabel="epoch", title=title, yscale="log")
    axes.grid(alpha=0.3, which="both", linewidth=0.4)
    if columns[0][1]:
        axes.legend(frameon=False)


def plain_log_ticks(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers, few enough not to collide."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    steps = (1, 2, 3, 5, 7) if decades < 0.8 else (1, 2, 5) if decades < 2.2 else (1,)
    axis.set_major_locator(LogLocator(subs=steps, numticks=12))
    if low > 1e-5 and high < 1e5:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
