# SPDX-License-Identifier: MIT
"""The picture of a benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from cases import R_CUT
from matplotlib.axes import Axes

Row = dict[str, Any]

STYLES: dict[tuple[str, int], tuple[str, str, str]] = {  # label, color, line
    ("flashcart", 1): ("FlashCart 0.1.0, eager", "#b07aa1", "-"),
    ("flashcart-compiled", 1): ("FlashCart 0.1.0, compiled", "#b07aa1", ":"),
    ("mace", 1): ("MACE-torch 0.3.16", "#e15759", "-"),
    ("ictp-ase", 1): ("pyictp, ASE calculator", "#76b7b2", "-"),
    ("ictp-lammps", 1): ("pair_style ictp, 1 process", "#4e79a7", "-"),
    ("ictp-lammps", 2): ("pair_style ictp, 2 processes", "#4e79a7", "--"),
}


def draw(data: dict[str, Any], path: Path) -> None:
    """Draw time over channels, memory and training steps of a report."""
    yardstick = [
        row
        for row in data["rows"]
        if (row["system"], row["l_max_hidden"], row["dtype"]) == ("alloy", 1, "float32")
        and row.get("r_cut", R_CUT) == R_CUT
        and "us_per_atom" in row
    ]
    atoms = max((row["atoms"] for row in yardstick), default=0)
    yardstick = [row for row in yardstick if row["atoms"] == atoms]
    training = [row for row in data["training"] if "seconds" in row]
    if not yardstick:
        return
    figure, axes = plt.subplots(
        1, 3 if training else 2, figsize=(14 if training else 11, 5), layout="constrained"
    )
    _draw_times(axes[0], yardstick, data["limits_of_one_core"])
    _draw_memory(axes[1], yardstick)
    if training:
        _draw_training(axes[2], training)
    device = data["gpu"] or data["cpu"]
    figure.suptitle(f"bcc Ta-V-Cr-W, {atoms} atoms, float32; {device}, {data['date']}")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw_times(axes: Axes, rows: list[Row], limits: dict[str, float]) -> None:
    """Draw lines over channels; ours with numbers, two processes below their line."""
    for (code, processes), (label, color, line) in STYLES.items():
        mine = [row for row in rows if (row["code"], row["processes"]) == (code, processes)]
        mine.sort(key=lambda row: row["channels"])
        if mine:
            x, y = [row["channels"] for row in mine], [row["us_per_atom"] for row in mine]
            axes.plot(x, y, line, marker="o", markersize=4, color=color, label=label)
        place = {"ictp-ase": None, "ictp-lammps": (0, -12 if processes > 1 else 5)}.get(
            code, (0, 5)
        )
        for row in mine if place else []:
            text, point = _digits(row["us_per_atom"]), (row["channels"], row["us_per_atom"])
            axes.annotate(
                text, point, place, textcoords="offset points", ha="center", fontsize=8, color=color
            )
    if rows[0]["device"] == "cpu":
        least = sorted({(row["channels"], row["mflop_per_atom"]) for row in rows})
        times = [1e3 * mflop / limits["float32_gflops"] for _, mflop in least]
        label = "arithmetic at the speed of matrix products"
        axes.plot([c for c, _ in least], times, ":", marker=".", color="0.5", label=label)
    axes.set(xscale="log", yscale="log", xlabel="channels", ylabel="µs per atom and step")
    axes.set_title("energy, forces, stress")
    channels = sorted({row["channels"] for row in rows})
    axes.set_xticks(channels, [str(c) for c in channels])
    axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    axes.margins(0.12)
    axes.grid(alpha=0.3)


def _draw_memory(axes: Axes, rows: list[Row]) -> None:
    known = [row for row in rows if row.get("kb_per_atom", 0) > 0 and row["processes"] == 1]
    channels = sorted({row["channels"] for row in known})
    codes = [key for key in STYLES if any((r["code"], r["processes"]) == key for r in known)]
    width = 0.8 / max(len(codes), 1)
    for i, (code, processes) in enumerate(codes):
        _, color, _ = STYLES[code, processes]
        mine = {row["channels"]: row["kb_per_atom"] for row in known if row["code"] == code}
        places = [channels.index(c) + (i + 0.5) * width - 0.4 for c in mine]
        bars = axes.bar(places, list(mine.values()), width * 0.92, color=color)
        axes.bar_label(bars, [_digits(value) for value in mine.values()], fontsize=8)
    axes.set(xlabel="channels", ylabel="kB per atom above the program")
    axes.set_title("peak memory, one process")
    axes.set_xticks(range(len(channels)), [str(c) for c in channels])
    if known:
        axes.set(yscale="log", ylim=(10, 2 * max(row["kb_per_atom"] for row in known)))
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)


def _digits(value: float) -> str:
    """Return a number with about two digits, without an exponent."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _draw_training(axes: Axes, rows: list[Row]) -> None:
    colors = {"ictp": ("pyictp", "#4e79a7"), "mace": ("MACE-torch 0.3.16", "#e15759")}
    ranks = sorted({row["l_max_hidden"] for row in rows})
    for i, (code, (label, color)) in enumerate(colors.items()):
        mine = {row["l_max_hidden"]: row["seconds"] for row in rows if row["code"] == code}
        places = [ranks.index(rank) + (i - 0.5) * 0.4 for rank in mine]
        bars = axes.bar(places, list(mine.values()), 0.37, color=color, label=label)
        axes.bar_label(bars, fmt="%.3f", fontsize=8)
    axes.set(
        xlabel="l_max_hidden",
        ylabel="s per step",
        title="training step: 5 aspirin, 64 channels, 2 threads",
    )
    axes.set_xticks(range(len(ranks)), [str(rank) for rank in ranks])
    axes.margins(y=0.12)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
