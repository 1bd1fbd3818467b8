# SPDX-License-Identifier: MIT
"""Pictures of a training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ase import units

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.axes import Axes

Curve = tuple[str, tuple[tuple[str, str | None], ...], float]  # title, columns and labels, factor
Rows = Sequence[dict[str, str]]  # of log.csv; an empty text is no point

CURVES: tuple[Curve, ...] = (
    ("loss", (("train_loss", "training"), ("valid_loss", "validation")), 1.0),
    ("energy error [meV/atom]", (("valid_energy_rmse", "RMSE"), ("valid_energy_mae", "MAE")), 1e3),
    ("force error [meV/Å]", (("valid_forces_rmse", "RMSE"), ("valid_forces_mae", "MAE")), 1e3),
    (
        "stress error [GPa]",
        (("valid_stress_rmse", "RMSE"), ("valid_stress_mae", "MAE")),
        1 / units.GPa,
    ),
    ("learning rate", (("learning_rate", None),), 1.0),
)


def plot_learning_curve(rows: Rows, path: Path) -> None:
    """Draw loss, errors and learning rate over the epochs of a log.csv.

    Args:
        rows: the log.
        path: of the PNG; nothing is written without rows.
    """
    from pyictp.common.drawing import drawing, save

    curves = present_curves(rows)
    if not curves:
        return
    with drawing(3.6 * len(curves), 3.2, columns=len(curves)) as (figure, panels):
        for axes, curve in zip(panels, curves, strict=True):
            draw_curve(axes, rows, curve)
        save(figure, path)


def present_curves(rows: Rows) -> list[Curve]:
    """Return the curves of which a log has at least one number."""
    return [curve for curve in CURVES if any(row[name] for row in rows for name, _ in curve[1])]


def draw_curve(axes: Axes, rows: Rows, curve: Curve) -> None:
    """Draw the columns of one curve over the epochs; what is not above zero is left out."""
    from matplotlib.ticker import MaxNLocator

    from pyictp.common.drawing import STEPS, plain_log_ticks

    title, columns, scale = curve
    for name, label in columns:
        points = [(int(row["epoch"]), scale * float(row[name])) for row in rows if row[name]]
        points = [point for point in points if point[1] > 0]
        if points:
            marker = "." if len(points) < 20 else ""
            axes.plot(*zip(*points, strict=True), label=label, marker=marker)
    axes.set(xlabel="epoch", title=title, yscale="log")
    plain_log_ticks(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=STEPS, integer=True))
    axes.grid(alpha=0.3, which="both", linewidth=0.4)
    if columns[0][1]:
        axes.legend()
