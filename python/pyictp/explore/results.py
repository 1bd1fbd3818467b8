# SPDX-License-Identifier: MIT
"""What came out of an exploration: results.json, results.png, and a table for people."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pyictp import __version__
from pyictp.common.drawing import COLORS, PALE, drawing, save
from pyictp.common.files import atomic_path
from pyictp.explore.settings import DEVIATION, UNITS, UncertaintyConfig


def collect(
    stages: Mapping[str, Any], uncertainty: UncertaintyConfig, ended: str
) -> dict[str, Any]:
    """Return the numbers of all cycles whose models are measured.

    Args:
        stages: of the state.
        uncertainty: resolved.
        ended: why the loop is where it is.
    """
    cycles: list[dict[str, Any]] = []
    while f"{len(cycles)} measure" in stages:
        number = len(cycles)
        row: dict[str, Any] = {"cycle": number, **stages[f"{number} train"]}
        row["test"] = stages[f"{number} measure"] or None
        if number:
            row["dynamics"] = _sums(stages[f"{number} dynamics"]["runs"])
            row |= {name: stages[f"{number} {name}"] for name in ("select", "label")}
        cycles.append(row)
    return {
        "ended": ended,
        "uncertainty": {
            "by": uncertainty.by,
            "unit": UNITS[uncertainty.by],
            "low": uncertainty.low,
            "high": uncertainty.high,
        },
        "cycles": cycles,
        "pyictp": __version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def _sums(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "runs": runs,
        "looks": sum(run["looks"] for run in runs),
        "below": sum(run["below"] for run in runs),
        "between": sum(run["between"] for run in runs),
        "halted": sum(run["halted"] for run in runs),
        "largest": max(run["largest"] for run in runs),
    }


def table(results: Mapping[str, Any]) -> list[str]:
    """Return the results as lines for people."""
    by, unit = results["uncertainty"]["by"], results["uncertainty"]["unit"]
    title = f"{'cycle':>5} {'frames':>7} {'force RMSE':>11} {'energy RMSE':>12} {by:>10}"
    title += f" {'below':>7} {'between':>8} {'halted':>7}"
    units = f"{'':>13} {'meV/A':>11} {'meV/atom':>12} {unit:>10} {'of the looks':>16} {'runs':>7}"
    lines = [title, units]
    for row in results["cycles"]:
        test, seen = row["test"], row.get("dynamics")
        line = f"{row['cycle']:>5} {row['frames']:>7}"
        if test:
            line += f" {test['force_rmse_mev_per_a']:>11.1f}"
            line += f" {test['energy_rmse_mev_per_atom']:>12.2f} {test[f'largest_{by}']:>10.3g}"
        else:
            line += f" {'-':>11} {'-':>12} {'-':>10}"
        if seen:
            line += (
                f" {seen['below'] / seen['looks']:>7.0%} {seen['between'] / seen['looks']:>8.0%}"
            )
            line += f" {seen['halted']:>3}/{len(seen['runs'])}"
        lines.append(line)
    return lines


def write(results: Mapping[str, Any], folder: Path) -> None:
    """Write results.json and results.png."""
    with atomic_path(folder / "results.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")
    if results["cycles"]:
        _draw(results, folder / "results.png")


def _draw(results: Mapping[str, Any], path: Path) -> None:
    """Draw errors on the frames held back, and the uncertainty there and in the dynamics."""
    wanted, rows = results["uncertainty"], results["cycles"]
    tested = [row for row in rows if row["test"]]
    height, count = (5.0, 2) if tested else (3.2, 1)
    with drawing(6.4, height, rows=count, sharex=True) as (figure, panels):
        if tested:
            _draw_errors(panels[0], tested)
        _draw_uncertainty(panels[-1], rows, wanted)
        panels[-1].set(xlabel="models of cycle", xlim=(-0.5, len(rows) - 0.5))
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        save(figure, path)


def _draw_errors(axes: Axes, tested: list[dict[str, Any]]) -> None:
    cycles = [row["cycle"] for row in tested]
    errors = [row["test"]["force_rmse_mev_per_a"] for row in tested]
    axes.plot(cycles, errors, "o-", color=COLORS[1])
    # room for the words above the largest
    axes.set(ylabel="force RMSE of frames\nheld back [meV/Å]", ylim=(0, 1.2 * max(errors) or 1.0))
    for row, error in zip(tested, errors, strict=True):
        axes.annotate(
            f"{row['frames']} frames",
            *((row["cycle"], error), (0, 7)),
            textcoords="offset points",
            ha="center",
            fontsize="small",
        )


def _draw_uncertainty(axes: Axes, rows: list[dict[str, Any]], wanted: Mapping[str, Any]) -> None:
    by = wanted["by"]
    tested = [row for row in rows if row["test"]]
    if tested:
        values = [row["test"][f"largest_{by}"] for row in tested]
        axes.plot(
            [row["cycle"] for row in tested], values, "o-", color=COLORS[1], label="held back"
        )
    # the dynamics of a cycle ran with the models of the one before
    seen = [row for row in rows if "dynamics" in row]
    if seen:
        values = [row["dynamics"]["largest"] for row in seen]
        axes.plot(
            *([row["cycle"] - 1 for row in seen], values, "s--"), color=COLORS[2], label="dynamics"
        )
    for name in ("low", "high"):
        axes.axhline(wanted[name], color=PALE, linewidth=0.8, linestyle=":")
        axes.annotate(
            name, (1, wanted[name]), xycoords=("axes fraction", "data"), va="bottom", ha="right"
        )
    what = "force deviation\n[eV/Å]" if by == DEVIATION else "grade"
    axes.set(ylabel=f"largest {what}", ylim=(0, 1.1 * axes.get_ylim()[1]))  # room for "high"
    if tested or seen:
        axes.legend()
