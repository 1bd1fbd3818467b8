# SPDX-License-Identifier: MIT
"""Pictures of the report, each a small vector drawing that an HTML page can hold."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pyictp.common.arrays import FloatArray
from pyictp.common.drawing import STEPS, drawing, plain_log_ticks
from pyictp.reports.calibration import Spread, draw_spread, spreads
from pyictp.reports.comparison import Parity
from pyictp.reports.parity import Panel, draw_panel, parity_panels
from pyictp.training.curves import Curve, Rows, draw_curve, present_curves

SIZE = (4.2, 3.3)  # inches
HistogramType = Literal["step", "stepfilled"]
NOUNS = {"energy": "energy", "forces": "force", "stress": "stress"}
HISTOGRAM_MIN = 8  # values below which a histogram says nothing
HISTOGRAM_REACH = 99.5  # percentile of |error| that the axis shows


@dataclass(frozen=True)
class Picture:
    """A drawing in text form, with what stands below it."""

    uri: str
    title: str  # read out where pictures are not shown
    caption: str = ""


def _picture(figure: Figure, title: str, caption: str = "") -> Picture:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", dpi=200, metadata={"Date": None, "Creator": None})
    text = base64.b64encode(buffer.getvalue()).decode()
    return Picture(f"data:image/svg+xml;base64,{text}", title, caption)


def learning_curves(rows: Rows) -> list[Picture]:
    """Return one picture per quantity that a log.csv holds, over epochs and over time."""
    return [_learning_curve(rows, curve) for curve in present_curves(rows)]


def _learning_curve(rows: Rows, curve: Curve) -> Picture:
    with drawing(*SIZE) as (figure, (axes,)):
        draw_curve(axes, rows, curve)
        _add_time(axes, rows)
        return _picture(figure, f"{curve[0]} over epochs")


def _add_time(axes: Axes, rows: Rows) -> None:
    """Put the time of training on top, in seconds, minutes or hours."""
    times = [(int(row["epoch"]), float(row["seconds"])) for row in rows if row.get("seconds")]
    if len(times) < 2 or times[-1][1] <= times[0][1]:
        return
    total = times[-1][1]
    size, unit = (1, "s") if total < 180 else (60, "min") if total < 180 * 60 else (3600, "h")
    x, y = np.array([(0, 0), *times], dtype=np.float64).T
    rise = np.maximum.accumulate(y / size + 1e-9 * np.arange(len(y)))  # strictly: inverted below
    slope = rise[-1] / x[-1]
    x = np.concatenate([[-x[-1]], x, [2 * x[-1]]])  # the axis reaches past the ends
    rise = np.concatenate([[-slope * x[-2]], rise, [rise[-1] + slope * x[-2]]])
    top = axes.secondary_xaxis(
        "top",
        functions=(
            lambda e: np.interp(np.asarray(e), x, rise),
            lambda t: np.interp(np.asarray(t), rise, x),
        ),
    )
    top.xaxis.set_major_locator(MaxNLocator(6, steps=STEPS))
    top.set_xlabel(f"time [{unit}]")


def parity_plots(parity: Parity) -> list[Picture]:
    """Return prediction over label of each quantity that has labels."""
    return [_parity_plot(panel) for panel in parity_panels(parity).values()]


def _parity_plot(panel: Panel) -> Picture:
    with drawing(4.2, 3.7) as (figure, (axes,)):
        draw_panel(axes, panel)
        shared = f"All {len(panel.points)} pairs; the colour says how many share a spot."
        return _picture(figure, panel.summary, shared if panel.is_dense else "")


def error_histograms(parity: Parity) -> list[Picture]:
    """Return the distributions of the errors, those of forces by element."""
    found = []
    for name, panel in parity_panels(parity).items():
        factor, unit = panel.of_errors
        errors = {g: factor * (pairs[:, 1] - pairs[:, 0]) for g, pairs in panel.groups.items()}
        if len(panel.points) >= HISTOGRAM_MIN and any(np.ptp(e) > 0 for e in errors.values()):
            found.append(_histogram(f"{NOUNS[name]} errors", unit, errors))
    return found


def _histogram(title: str, unit: str, errors: Mapping[str, FloatArray]) -> Picture:
    everything = np.concatenate(list(errors.values()))
    reach = float(np.percentile(np.abs(everything), HISTOGRAM_REACH))
    number = int(np.clip(np.sqrt(len(everything)), 8, 60))
    edges = np.linspace(-reach, reach, number + 1)
    with drawing(*SIZE) as (figure, (axes,)):
        for name, values in errors.items():
            kind: HistogramType = "stepfilled" if len(errors) == 1 else "step"
            weights = np.full(len(values), 100 / len(values))
            clipped = np.clip(values, -reach, reach)
            axes.hist(clipped, edges.tolist(), weights=weights, histtype=kind, label=name or None)
        axes.axvline(0, color="0.6", linewidth=0.7)
        axes.set(title=title, xlabel=f"prediction − label [{unit}]", ylabel="share per bin [%]")
        axes.locator_params(axis="x", nbins=7)
        if len(errors) > 1:
            _legend(axes, len(errors))
        beyond = int((np.abs(everything) > reach).sum())
        which = "the error" if beyond == 1 else f"the {beyond} errors"
        caption = f"The outermost bins also hold {which} beyond." if beyond else ""
        return _picture(figure, title, caption)


def uncertainty_plots(parity: Parity) -> list[Picture]:
    """Return force errors over deviations and grades, where a file tells them."""
    return [_uncertainty_plot(spread) for spread in spreads(parity)]


def _uncertainty_plot(spread: Spread) -> Picture:
    with drawing(*SIZE) as (figure, (axes,)):
        draw_spread(axes, spread)
        caption = f"{len(spread.values)} atoms; lines: bins of equal numbers of them."
        return _picture(figure, spread.title, caption)


def _legend(axes: Axes, number: int) -> None:
    axes.legend(ncols=1 if number < 6 else 2)


def force_magnitude(rows: Sequence[Mapping[str, Any]]) -> list[Picture]:
    """Return errors and directions over the labelled force, of `by_force_magnitude`."""
    rows = [row for row in rows if row["force_median_mev_per_a"] > 0]
    if len(rows) < 2:
        return []
    x = [row["force_median_mev_per_a"] for row in rows]
    pictures = []
    for key, title, label in (
        ("error_{}_mev_per_a", "force error", "|error| [meV/Å]"),
        ("angle_{}_deg", "direction error", "angle between forces [°]"),
    ):
        with drawing(*SIZE) as (figure, (axes,)):
            for part, name, line in (("90", "90th percentile", "--"), ("median", "median", "-")):
                axes.plot(x, [row[key.format(part)] for row in rows], line, marker=".", label=name)
            if key.startswith("error"):
                axes.plot(x, [0.1 * value for value in x], ":", color="0.6", label="10 % of force")
            axes.set(title=f"{title} over force", xlabel="|force| [meV/Å]", ylabel=label)
            axes.set(xscale="log", yscale="log")
            plain_log_ticks(axes.xaxis)
            plain_log_ticks(axes.yaxis)
            axes.grid(alpha=0.3, which="major", linewidth=0.4)
            axes.legend()
            pictures.append(_picture(figure, f"{title} over force"))
    return pictures
