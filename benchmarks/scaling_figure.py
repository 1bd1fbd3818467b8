# SPDX-License-Identifier: MIT
"""The picture of a scaling measurement: efficiencies, where the time goes, memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

Row = dict[str, Any]

COLORS = {
    "forward": "#4e79a7",
    "backward": "#a0cbe8",
    "exchange": "#e15759",
    "graph": "#f28e2b",
    "scatter": "#59a14f",
    "LAMMPS": "#9c9c9c",
}


def draw(data: dict[str, Any], path: Path) -> None:
    """Draw the report of scaling.py."""
    panels = 3 if data["memory"] else 2
    figure, axes = plt.subplots(1, panels, figsize=(5 * panels, 4.6), layout="constrained")
    _draw_efficiency(axes[0], data["rows"])
    _draw_breakdown(axes[1], data["rows"])
    if data["memory"]:
        _draw_memory(axes[2], data["memory"])
    device = data["gpu"] if data["device"] == "cuda" else data["cpu"]
    figure.suptitle(f"pair_style ictp, {data['model']}; {device}, {data['date']}", fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw_efficiency(axes: Axes, rows: list[Row]) -> None:
    sizes = sorted({row["cells"] for row in rows})
    for number, cells in enumerate(sizes):
        for series, line in (("strong", "-"), ("weak", "--")):
            mine = [row for row in rows if (row["cells"], row["series"]) == (cells, series)]
            label = f"{series}, {mine[0]['atoms']} atoms" + " per process" * (series == "weak")
            processes = [row["processes"] for row in mine]
            efficiency = [row["efficiency"] for row in mine]
            axes.plot(processes, efficiency, line, marker="o", color=f"C{number}", label=label)
    ticks = sorted({row["processes"] for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.axhline(1.0, color="0.7", linewidth=0.8)
    axes.set(xlabel="processes", ylabel="parallel efficiency", ylim=(0.0, 1.15))
    axes.legend(fontsize=8, loc="lower left")


def _draw_breakdown(axes: Axes, rows: list[Row]) -> None:
    """Stack the phases of every run, per local atom; runs of one box side by side."""
    kept = [row for row in rows if row["series"] == "strong" or row["efficiency"] != 1.0]
    kept.sort(key=lambda row: (row["cells"], row["processes"], row["series"]))
    bottom = [0.0] * len(kept)
    for name, color in COLORS.items():
        heights = [1e6 * _part(row, name) / row["num_local"] for row in kept]
        axes.bar(range(len(kept)), heights, bottom=bottom, color=color, label=name)
        bottom = [a + b for a, b in zip(bottom, heights, strict=True)]
    labels = [f"{row['processes']} x {row['num_local']:.0f}" for row in kept]
    axes.set_xticks(range(len(kept)), labels, rotation=60, fontsize=8)
    axes.set(xlabel="processes x atoms per process", ylabel="us per local atom and step")
    axes.set_ylim(0.0, 1.35 * max(bottom))
    axes.legend(fontsize=8, ncols=3, loc="upper center")


def _part(row: Row, name: str) -> float:
    return sum(row["sections"].values()) if name == "LAMMPS" else row["phases"][name]


def _draw_memory(axes: Axes, rows: list[Row]) -> None:
    axes.plot([row["atoms"] for row in rows], [row["peak_mb"] / 1e3 for row in rows], "o-")
    for row in rows:
        if "kb_per_atom" in row:
            place = (row["atoms"], row["peak_mb"] / 1e3)
            text = f"{row['kb_per_atom']:.0f} kB/atom"
            axes.annotate(text, place, (8, -10), textcoords="offset points", fontsize=8)
    axes.set(xlabel="atoms on one process", ylabel="peak resident memory [GB]", ylim=(0.0, None))
    axes.set_xlim(right=1.25 * max(row["atoms"] for row in rows))
