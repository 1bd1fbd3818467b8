# SPDX-License-Identifier: MIT
"""Tables of the report: rounded numbers under headings with units."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_ROWS = 15
HEADLINE = (  # name, unit, stem and ending of the JSON key
    ("energy", "meV", "energy_{}_mev"),
    ("energy per atom", "meV/atom", "energy_{}_mev_per_atom"),
    ("forces", "meV/Å", "force_{}_mev_per_a"),
    ("stress", "meV/Å³", "stress_{}_mev_per_a3"),
    ("stress", "GPa", "stress_{}_gpa"),
)
COLUMNS = (  # JSON key, heading, unit
    ("force_rmse_mev_per_a", "force RMSE", "meV/Å"),
    ("energy_rmse_mev_per_atom", "energy RMSE", "meV/atom"),
    ("stress_rmse_mev_per_a3", "stress RMSE", "meV/Å³"),
    ("force_mae_mev_per_a", "force MAE", "meV/Å"),
    ("force_rmse_percent", "of RMS force", "%"),
    ("num_structures", "frames", ""),
    ("num_atoms", "atoms", ""),
)
WORST_COLUMNS = (
    ("group", "group", ""),
    ("formula", "formula", ""),
    ("energy_error_mev_per_atom", "energy error", "meV/atom"),
    ("energy_error_mev", "energy error", "meV"),
    ("force_rmse_mev_per_a", "force RMSE", "meV/Å"),
    ("max_force_error_mev_per_a", "largest force error", "meV/Å"),
    ("atom", "at atom", ""),
)
BREAKDOWNS = (  # JSON key, title, first heading
    ("per_element", "Errors by element", "element"),
    ("per_group", "Errors by group", "group"),
    ("per_composition", "Errors by composition", "composition"),
)
UNCERTAINTY_ROWS = (  # JSON key, name
    ("force_deviation", "deviation of forces"),
    ("energy_deviation", "deviation of energies"),
    ("grade", "grade"),
)
UNCERTAINTY_COLUMNS = (  # JSON key, heading, unit
    ("rank_correlation", "rank correlation", ""),
    ("rank_correlation_frames", "largest of a frame", ""),
    ("percent_within_1", "within 1", "%"),
    ("percent_within_2", "within 2", "%"),
    ("factor", "factor", ""),
    ("percent_above_1", "above 1", "% of atoms"),
)


@dataclass(frozen=True)
class Head:
    """Heading of a column."""

    name: str
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """One table, its cells ready to be shown."""

    title: str
    heads: Sequence[Head]
    rows: Sequence[Sequence[str]]
    bars: Sequence[int] = ()  # of each row, percent of the longest; of the first number
    note: str = ""


def number(value: float | None, signed: bool = False) -> str:
    """Return three significant digits, all digits of whole numbers, a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return str(value)
    if 0 < abs(value) < 5e-4:
        return "<0.001"  # the JSON file has it in full
    text = f"{value:.0f}" if abs(value) >= 999.5 else f"{value:#.3g}".rstrip(".")
    text = "0" if value == 0 else text.replace("-", "−")
    return f"+{text}" if signed and value > 0 else text


def headline_table(result: Mapping[str, Any]) -> Table:
    """Return MAE and RMSE of the quantities with labels."""
    rows = []
    for name, unit, key in HEADLINE:
        mae, rmse = result[key.format("mae")], result[key.format("rmse")]
        if rmse is not None:
            rows.append([f"{name} [{unit}]", number(mae), number(rmse)])
    return Table("Errors", [Head(""), Head("MAE"), Head("RMSE")], rows)


def breakdown_tables(result: Mapping[str, Any]) -> list[Table]:
    """Return one table per breakdown of more than one row, largest error first."""
    return [
        _breakdown(title, heading, result[key])
        for key, title, heading in BREAKDOWNS
        if len(result[key]) > 1
    ]


def _breakdown(title: str, heading: str, values: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = [c for c in COLUMNS if any(row.get(c[0]) is not None for row in values.values())]
    ranking = columns[0][0]  # forces where there are any, else what comes next
    ordered = sorted(values.items(), key=lambda item: -(item[1][ranking] or 0.0))
    shown = ordered[:MAX_ROWS]
    longest = max((row[ranking] or 0.0 for _, row in shown), default=0.0) or 1.0
    note = ""
    if len(ordered) > MAX_ROWS:
        note = f"The {MAX_ROWS} of {len(ordered)} with the largest errors."
    return Table(
        title=title,
        heads=[Head(heading), *(Head(name, unit) for _, name, unit in columns)],
        rows=[[name, *(number(row.get(key)) for key, _, _ in columns)] for name, row in shown],
        bars=[round(100 * (row[ranking] or 0.0) / longest) for _, row in shown],
        note=note,
    )


def uncertainty_table(result: Mapping[str, Any]) -> Table | None:
    """Return how well deviations and grades tell errors, None if the model file has neither."""
    found = result["uncertainty"]
    keys = [key for key, _, _ in UNCERTAINTY_COLUMNS]
    rows = [
        [name, *(_with_scaled(found[row], key) for key in keys)]
        for row, name in UNCERTAINTY_ROWS
        if row in found
    ]
    heads = [Head(""), *(Head(name, unit) for _, name, unit in UNCERTAINTY_COLUMNS)]
    return Table("Uncertainty", heads, rows) if rows else None


def _with_scaled(values: Mapping[str, Any], key: str) -> str:
    scaled = values.get(f"{key}_scaled")
    return number(values.get(key)) + (f" ({number(scaled)})" if scaled is not None else "")


def worst_tables(result: Mapping[str, Any]) -> list[Table]:
    """Return the frames with the largest errors, by forces and by energy; none of one frame."""
    if result["num_structures"] < 2:
        return []
    titles = {"by_forces": "By force RMSE", "by_energy": "By energy error per atom"}
    worst = result["worst_frames"]
    return [_worst(titles[key], worst[key]) for key in titles if worst[key]]


def _worst(title: str, frames: Sequence[Mapping[str, Any]]) -> Table:
    rows = [{**frame, "atom": _atom(frame)} for frame in frames]
    alike = {"formula"} if len({row["formula"] for row in rows}) == 1 else set()
    columns = [
        c
        for c in WORST_COLUMNS
        if c[0] not in alike and any(row[c[0]] not in (None, "") for row in rows)
    ]
    names = _short_names([row["frame"] for row in rows])
    cells = [
        [name, *(_cell(key, row[key]) for key, _, _ in columns)]
        for name, row in zip(names, rows, strict=True)
    ]
    return Table(title, [Head("frame"), *(Head(name, unit) for _, name, unit in columns)], cells)


def _atom(frame: Mapping[str, Any]) -> str | None:
    atom, element = frame["max_force_error_atom"], frame["max_force_error_element"]
    return None if atom is None else f"{atom} ({element})"


def _cell(key: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    return number(value, signed=key.startswith("energy_error"))


def _short_names(names: Sequence[str]) -> list[str]:
    """Return file:frame names without the folders that all files share."""
    files = [Path(name.rsplit(":", 1)[0]) for name in names]
    if any(file.is_absolute() != files[0].is_absolute() for file in files):
        return list(names)
    common = os.path.commonpath([file.parent for file in files])
    return [str(Path(name).relative_to(common)) if common else name for name in names]
