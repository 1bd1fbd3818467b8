# SPDX-License-Identifier: MIT
"""Ratios, tables on the screen and the JSON file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]

NOTES = {
    "us_per_atom": "wall time per atom and step (energy, forces, stress), least of all samples",
    "median_us_per_atom": "the same, median",
    "cpu_us_per_atom": "processor time of one process instead of wall time; on a machine that is "
    "busy otherwise the better of the two to compare",
    "ictp-lammps": "pair_style ictp inside LAMMPS: NVE, a neighbor rebuild every 10 steps, one "
    "thread per process",
    "ictp-ase": "ICTPCalculator on the exported file, atoms moved before each step, graph included",
    "peers": "eager (or torch.compile, without stress), one thread, weights frozen, graph built "
    "before: neighbor list not included, which favours the peer",
    "kb_per_atom": "peak resident memory (VmHWM) less that of the same program with a tiny cell "
    "(2 atoms or 1 molecule), per atom more, ghosts included; summed over processes; ours with 8 "
    "times the atoms of the timing, because loading a model has a peak that hides smaller cells",
    "phases": "what the pair style says of where the time of the last run went",
    "mflop_per_atom": "operations a good algorithm needs, counted by benchmarks/operations.py",
    "gflops": "mflop_per_atom / us_per_atom",
    "share_of_peak": "gflops / (matrix products of one core in this run * processes)",
    "imported": "pair_style ictp with the model of mace, imported from its file",
    "symmetrix": "symmetrix-xl's ASE calculator with the same file, compiled for it before",
    "times_mace": "how many times faster than mace in the same case of this run",
    "times_mace_cpu": "the same of processor times",
    "training": "seconds per step: 5 aspirin molecules, energy and force loss, Adam (amsgrad)",
}


def add_ratios(rows: list[Row], limits: dict[str, float]) -> None:
    """Add `times_mace`, `speedup` over one process and, for ours on a CPU, `share_of_peak`."""
    for row in (row for row in rows if "us_per_atom" in row):
        mace = _partner(rows, row, code="mace", processes=1)
        one = _partner(rows, row, processes=1)
        if mace:
            row["times_mace"] = mace["us_per_atom"] / row["us_per_atom"]
            row["times_mace_cpu"] = mace["cpu_us_per_atom"] / row["cpu_us_per_atom"]
        if one and row["processes"] > 1:
            row["speedup"] = one["us_per_atom"] / row["us_per_atom"]
        if "gflops" in row and row["device"] == "cpu":
            peak = limits[f"{row['dtype']}_gflops"] * row["processes"]
            row["share_of_peak"] = row["gflops"] / peak


def add_training_ratios(rows: list[Row]) -> None:
    """Add `times_mace` to training steps."""
    mace = {row["l_max_hidden"]: row for row in rows if row["code"] == "mace" and "seconds" in row}
    for row in rows:
        if row["l_max_hidden"] in mace and "seconds" in row:
            row["times_mace"] = mace[row["l_max_hidden"]]["seconds"] / row["seconds"]


def _partner(rows: list[Row], row: Row, **wanted: Any) -> Row | None:
    same = {
        key: row[key]
        for key in (
            *("system", "channels", "l_max_hidden", "dtype", "cells", "r_cut"),
            *("code", "processes"),
        )
    }
    same |= wanted
    found = (r for r in rows if "us_per_atom" in r and same.items() <= r.items())
    return next(found, None)


COLUMNS: list[tuple[str, int, Callable[[Row], str]]] = [
    ("code", 18, lambda row: row["code"]),
    ("proc", 4, lambda row: str(row["processes"])),
    ("us/atom", 9, lambda row: f"{row['us_per_atom']:.1f}"),
    ("median", 9, lambda row: f"{row['median_us_per_atom']:.1f}"),
    ("cpu us", 8, lambda row: f"{row['cpu_us_per_atom']:.1f}"),
    ("vs mace", 8, lambda row: f"{row['times_mace']:.2f}x"),
    ("its cpu", 8, lambda row: f"{row['times_mace_cpu']:.2f}x"),
    ("speedup", 8, lambda row: f"{row['speedup']:.2f}x"),
    ("kB/atom", 8, lambda row: f"{row['kb_per_atom']:.0f}"),
    ("GFLOP/s", 8, lambda row: f"{row['gflops']:.1f}"),
    ("of peak", 8, lambda row: f"{100 * row['share_of_peak']:.1f}%"),
]


def table(rows: list[Row]) -> str:
    """Return the rows of one case for people."""
    lines = [" ".join(name.rjust(width) for name, width, _ in COLUMNS)]
    for row in rows:
        if "absent" in row:
            lines.append(f"{row['code']:>18} absent: {row['absent']}")
        else:
            lines.append(" ".join(_cell(row, show).rjust(width) for _, width, show in COLUMNS))
    return "\n".join(lines)


def _cell(row: Row, show: Callable[[Row], str]) -> str:
    try:
        return show(row)
    except KeyError:
        return "-"


def training_table(rows: list[Row]) -> str:
    """Return the training steps for people."""
    lines = []
    for row in rows:
        name = f"l_max_hidden {row['l_max_hidden']}  {row['code']:<6}"
        if "absent" in row:
            lines.append(f"{name} absent: {row['absent']}")
        else:
            ratio = f"  {row['times_mace']:.2f}x mace" if "times_mace" in row else ""
            text = f"{row['seconds']:.3f} s (median {row['median_seconds']:.3f} s)"
            lines.append(f"{name} {text}{ratio}")
    return "\n".join(lines)


def write(path: Path, report: dict[str, Any], notes: dict[str, str] = NOTES) -> None:
    """Write the report with numbers of four digits, and what they mean."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_rounded({**report, "notes": notes}), indent=1) + "\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, (list, tuple)) else value
