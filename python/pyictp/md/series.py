# SPDX-License-Identifier: MIT
"""Runs of several structures, or at several temperatures: a folder each, one table, one picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyictp.common.files import write_json
from pyictp.common.progress import logger
from pyictp.errors import UserError
from pyictp.md.settings import Request

TABLE, PICTURE = "runs.json", "runs.png"
COLUMNS = {  # of the table: key of summary.json, title, digits
    "temperature_K": ("T [K]", ".1f"),
    "pressure_bar": ("p [bar]", ".0f"),
    "density_g_per_cm3": ("density [g/cm3]", ".4f"),
    "energy_eV_per_atom": ("energy [eV/atom]", ".4f"),
    "largest_grade": ("grade", ".3f"),
}


@dataclass(frozen=True)
class Run:
    """One run of a series."""

    name: str  # of its folder
    structure: str
    temperature: float  # K


def plan(structures: Sequence[str], temperatures: Sequence[float]) -> list[Run]:
    """Return the runs of all structures at all temperatures; names tell what differs.

    Raises:
        UserError: a temperature or a structure is there twice.
    """
    for what, values in (("--temperature", temperatures), ("structure", structures)):
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise UserError(f"{what} {twice[0]} is given twice: leave one out")
    stems = [Path(name.rstrip("/")).stem for name in structures]
    # data of several folders may have the same name: numbers tell them apart
    labels = stems if len(set(stems)) == len(stems) else [f"{i}_{s}" for i, s in enumerate(stems)]
    return [
        Run(_name(label, t, len(structures), len(temperatures)), structure, t)
        for label, structure in zip(labels, structures, strict=True)
        for t in temperatures
    ]


def _name(label: str, temperature: float, structures: int, temperatures: int) -> str:
    words = [label] * (structures > 1) + [f"{temperature:g}K"] * (temperatures > 1)
    return "_".join(words)


def run_series(
    runs: Sequence[Run],
    request: Request,
    output: Path,
    run_one: Callable[[str, Request, Path], int],
    say: Callable[[str], None],
) -> int:
    """Do all runs, one after another; return 0, or as `run_md` where a signal ended one.

    What one run cannot do is said, and the others are done.

    Args:
        runs: of `plan`.
        request: of all of them but for the temperature.
        output: folder of their folders, the table and the picture.
        run_one: runs a structure into a folder, as `run_md`.
        say: takes lines for people.

    Raises:
        UserError: several temperatures for what has none; some runs failed.
    """
    if request.ensemble == "minimize" and len({run.temperature for run in runs}) > 1:
        raise UserError("--temperature: several with --ensemble minimize, which has none: give one")
    failed, status, done = [], 0, list[dict[str, Any]]()
    for number, run in enumerate(runs, start=1):
        say(f"\n{run.name} ({number} of {len(runs)})")
        try:
            own = replace(request, temperature=run.temperature)
            status = run_one(run.structure, own, output / run.name)
        except UserError as error:
            logger.warning("%s: %s", run.name, error)
            failed.append(run.name)
            continue
        summary = output / run.name / "summary.json"
        if summary.is_file():  # not where only decks are written
            done.append(_row(run, json.loads(summary.read_text())))
        if status:
            break
    if done:
        _conclude(done, output, say)
    if failed:
        raise UserError(f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}")
    return status


def _row(run: Run, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the table and the picture have of a run; averages as {mean, error}."""
    atoms, total = summary["atoms"], summary.get("total_energy_eV")
    if total is None:
        energy = {"mean": summary["energy_end_eV"] / atoms, "error": None}
    else:
        energy = {key: value if value is None else value / atoms for key, value in total.items()}
    plain = ("temperature_K", "pressure_bar", "density_g_per_cm3", "diffusion", "interrupted")
    row = {key: summary[key] for key in plain if key in summary}
    grade = summary.get("largest_grade")
    return {
        "name": run.name,
        "structure": run.structure,
        "temperature_target_K": summary["temperature_target_K"],
        **row,
        "energy_eV_per_atom": energy,
        "largest_grade": None if grade is None else {"mean": grade["value"], "error": None},
        "closer_than_training_data": summary.get("closer_than_training_data"),
    }


def _conclude(rows: Sequence[dict[str, Any]], output: Path, say: Callable[[str], None]) -> None:
    from pyictp.md.series_picture import draw_runs

    write_json(output / TABLE, list(rows))
    say("\n" + "\n".join(table(rows)))
    draw_runs(output / PICTURE, rows)
    say(f"wrote '{output}': {TABLE}, {PICTURE}")


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a title and a line for each run, with standard errors where they are known."""
    known = [key for key in COLUMNS if any(row.get(key) for row in rows)]
    cells = [["run", *(COLUMNS[key][0] for key in known)]]
    for row in rows:
        cells.append([row["name"], *(_cell(row.get(key), COLUMNS[key][1]) for key in known)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def _cell(average: Mapping[str, float | None] | None, digits: str) -> str:
    if average is None:
        return "-"
    mean, error = average["mean"], average["error"]
    return f"{mean:{digits}}" + (f" +- {error:{digits}}" if error else "")
