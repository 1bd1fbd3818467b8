#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How pair_style ictp scales over processes and sizes, inside LAMMPS; the yardstick model.

For each size two series: strong scaling (that box on every number of processes) and weak scaling
(that box per process). Where the time went is what the pair style and LAMMPS print at the end of a
run. A cost model is fitted to the runs and says what larger ones would take. Without options: 1 and
2 processes, no memory. Elsewhere, for instance

    python benchmarks/scaling.py --processes 64 128 256 --launch "srun -n {n}" --replicate 10
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import breakdown
import cost_model
import machine
import report
import torch
from cases import R_CUT, Case, alloy
from lammps_run import LammpsRun
from pyictp.model.ictp import ICTPModel
from pyictp.potential.export import export_model
from scaling_figure import draw
from scaling_table import memory_table, prediction_table, table

ROOT = Path(__file__).resolve().parent.parent
PREDICTIONS = [(1e5, 2), (1e6, 16), (1e6, 128), (1e7, 1024), (1e8, 1024), (1e8, 16384)]

NOTES = {
    "seconds": "of a step: constant energy, a neighbor list every 10 steps; the fastest of all "
    "rounds, in which the numbers of processes take turns",
    "cpu_seconds": "processor time of a step, mean over processes, least of all rounds; on a "
    "machine that is busy otherwise cpu_efficiency tells more than efficiency",
    "efficiency": "of strong scaling t_1 p_1 / (t_p p), of weak scaling t_1 / t_p",
    "phases": "seconds per evaluation, mean over processes, of the fastest round",
    "outside": "share of a step that is neither the model nor communication of the pair style: "
    "graph, scatter (forces, tallies, checks), neighbor lists, LAMMPS",
    "peak_mb": "highest resident memory (VmHWM), one process, program and libraries included",
    "kb_per_atom": "the same less that of a cell of two atoms, per atom more",
    "cost_model": "seconds = per_local N_local + per_ghost N_ghost + constant",
    "predictions": "of the cost model for bulk in cubic sub-domains: not measured",
}


def main() -> None:
    """Measure, print tables, write JSON and a picture."""
    args = parse_arguments()
    torch.set_num_threads(1)
    case = Case(channels=args.channels, dtype=args.dtype)
    data: dict[str, Any] = {**machine.describe(), "load_before": os.getloadavg()[0]}
    data |= {"model": f"{args.channels} channels, {args.dtype}", "device": args.device}
    data |= {"rows": [], "memory": []}
    before = earlier(args.output, data) if args.again else data
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        model = Path(folder) / "model.pt"
        torch.manual_seed(0)
        export_model(ICTPModel(case.model_config()), model, case.dtype)
        for cells in args.cells:
            rows = faster(measure_size(cells, case, model, args), before["rows"])
            add_efficiencies(rows)
            print(table(rows), flush=True)
            data["rows"] += rows
        data["cost_model"] = vars(cost_model.fit(data["rows"]))
        data["memory"] = measure_memory(args.memory, case, model, args.device) or before["memory"]
    data["predictions"] = predictions(data)
    print(memory_table(data["memory"]) + prediction_table(data), flush=True)
    report.write(args.output, data, NOTES)
    draw(data, args.output.with_suffix(".png"))


def parse_arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--launch", default="", help='as in "srun -n {n}"; default mpiexec')
    parser.add_argument("--cells", nargs="+", type=int, default=[6, 9, 13], help="2 N^3 atoms")
    parser.add_argument("--replicate", type=int, default=1, help="times each edge of each box")
    parser.add_argument("--memory", nargs="*", type=int, default=[], help="cells per edge")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--again", action="store_true", help="what the output file holds counts as a round too"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="of a timed run, about")
    parser.add_argument("--folder", type=Path, help="for temporary files, seen by every node")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results" / "scaling.json"
    )
    return parser.parse_args()


def measure_size(
    cells: int, case: Case, model: Path, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return a row per series and number of processes, for one size of box."""
    runs: dict[tuple[str, int], LammpsRun] = {}
    for series in ("strong", "weak"):
        for processes in args.processes:
            factors = split(processes if series == "weak" else 1)
            x, y, z = (args.replicate * factor for factor in factors)
            folder = model.parent / f"{series}-{cells}-{processes}"
            runs[series, processes] = LammpsRun(
                folder, model, case.elements, alloy(cells), processes, args.device,
                replicate=(x, y, z), launch=args.launch,
            )  # fmt: skip
    samples: dict[tuple[str, int], list[tuple[float, float, breakdown.Breakdown]]] = {}
    for number in range(args.rounds):
        for key, run in runs.items():
            if key[0] == "weak" and key[1] == 1:
                samples[key] = samples["strong", 1]  # the same run
                continue
            if number == 0:
                run.choose_steps(args.seconds)
            seconds = run.measure()
            samples.setdefault(key, []).append((*seconds, breakdown.parse(run.output())))
    rows = [as_row(*key, cells * args.replicate, taken) for key, taken in samples.items()]
    return sorted(rows, key=lambda row: (row["series"], row["processes"]))


def earlier(path: Path, data: dict[str, Any]) -> dict[str, Any]:
    """Return an earlier report of the same code on the same processor.

    Raises:
        SystemExit: if the file is of another one.
    """
    before = json.loads(path.read_text())
    for key in ("cpu", "versions", "model", "device"):
        if before[key] != data[key]:
            raise SystemExit(f"error: {path} is of {key} {before[key]}, this is {data[key]}")
    return before


def faster(rows: list[dict[str, Any]], before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each row or the one of an earlier report, whichever took less time."""
    keys = ("series", "cells", "processes")
    kept = []
    for row in rows:
        same = [other for other in before if all(other[key] == row[key] for key in keys)]
        best = min([row, *same], key=lambda one: one["seconds"])
        kept.append(best | {"cpu_seconds": min(one["cpu_seconds"] for one in [row, *same])})
    return kept


def split(processes: int) -> tuple[int, int, int]:
    """Return three factors of a number, as equal as can be, the largest first."""
    best = (processes, 1, 1)
    for z in range(1, round(processes ** (1 / 3)) + 1):
        for y in range(z, processes // z + 1):
            x = processes // (y * z)
            if x * y * z == processes and x >= y and x - z < best[0] - best[2]:
                best = (x, y, z)
    return best


def as_row(
    series: str,
    processes: int,
    cells: int,
    taken: list[tuple[float, float, breakdown.Breakdown]],
) -> dict[str, Any]:
    """Return the fastest sample as plain values."""
    seconds, _, parts = min(taken, key=lambda sample: sample[0])
    return {
        "series": series,
        "cells": cells,
        "processes": processes,
        "atoms": parts.atoms,
        "num_local": parts.num_local,
        "num_ghost": parts.num_ghost,
        "seconds": seconds,
        "cpu_seconds": min(cpu for _, cpu, _ in taken),
        "us_per_atom": 1e6 * seconds / parts.atoms,
        "phases": parts.phases,
        "slowest": parts.slowest,
        "sections": parts.sections,
        "communication": parts.communication,
        "outside": parts.outside / seconds,
    }


def add_efficiencies(rows: list[dict[str, Any]]) -> None:
    """Add efficiencies against the fewest processes of the same series and box."""
    for row in rows:
        first = min(
            (other for other in rows if other["series"] == row["series"]),
            key=lambda other: other["processes"],
        )
        ideal = first["processes"] / row["processes"] if row["series"] == "strong" else 1.0
        row["efficiency"] = first["seconds"] * ideal / row["seconds"]
        row["cpu_efficiency"] = first["cpu_seconds"] * ideal / row["cpu_seconds"]


def measure_memory(
    sizes: list[int], case: Case, model: Path, device: str
) -> list[dict[str, float]]:
    """Return peaks of memory of one process for boxes of so many cells per edge."""
    rows: list[dict[str, float]] = []
    for cells in [1, *sizes] if sizes else []:
        atoms = alloy(cells)
        run = LammpsRun(model.parent / "memory", model, case.elements, atoms, 1, device)
        peak = run.peak_memory(atoms)
        row = {"atoms": len(atoms), "peak_mb": peak / 1e3}
        if rows:
            row["kb_per_atom"] = (peak - 1e3 * rows[0]["peak_mb"]) / (len(atoms) - rows[0]["atoms"])
        rows.append(row)
    return rows


def predictions(data: dict[str, Any]) -> list[dict[str, float]]:
    """Return what the cost model says of larger systems."""
    model = cost_model.CostModel(**data["cost_model"])
    density = 2 / 3.1**3  # of the yardstick [1/A^3]
    return [
        cost_model.predict(model, atoms, processes, density, R_CUT)
        for atoms, processes in PREDICTIONS
    ]


if __name__ == "__main__":
    main()
