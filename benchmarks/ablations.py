#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What pays in training: the same data and number of epochs, one setting changed at a time.

Every run is a real `ictp train` of a configuration of `configs/` with overrides; rows say what
came of it and what it cost. An epoch count rather than a time limit, so that a busy machine does
not decide; processor seconds say what an epoch costs. With --repeat the spread over seeds too.
With --minutes the time is the same instead, for settings that change what a step costs: that
wants a core of its own.

    python benchmarks/ablations.py configs/acac.yaml --epochs 25
    python benchmarks/ablations.py configs/acac.yaml --minutes 4 --only "16 channels"
    python benchmarks/ablations.py configs/acac.yaml --only "as shipped" --only "r_cut 4" --jobs 2
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import machine
import report

ABLATIONS: dict[str, list[str]] = {
    "as shipped": [],
    "published recipe": [
        "training.optimizer=adam",
        "training.learning_rate=0.01",
        "training.amsgrad=true",
        "training.weight_decay=5e-7",
        "training.schedule=plateau",
        "training.batch_size=5",
        "training.energy_weight=1.0",
        "training.radial_knots=null",
    ],
    "adam, learning rate 0.01": ["training.optimizer=adam", "training.learning_rate=0.01"],
    "adam, learning rate 0.03": ["training.optimizer=adam"],
    "learning rate 0.01": ["training.learning_rate=0.01"],
    "learning rate 0.06": ["training.learning_rate=0.06"],
    "no warm-up": ["training.warmup_fraction=0"],
    "warm-up over a tenth": ["training.warmup_fraction=0.1"],
    "plateau schedule": ["training.schedule=plateau", "training.plateau_patience=3"],
    "batches of 2": ["training.batch_size=2"],
    "batches of 10": ["training.batch_size=10"],
    "average 0.999": ["training.ema_decay=0.999"],
    "no average": ["training.ema_decay=null"],
    "no decay of matrices": ["training.matrix_decay=0"],
    "decay 0.03": ["training.matrix_decay=0.03"],
    "decay 0.01": ["training.matrix_decay=0.01"],
    "energy weight 1": ["training.energy_weight=1.0"],
    "energy weight 1000": ["training.energy_weight=1000.0"],
    "forces weight 1": ["training.forces_weight=1.0"],
    "networks on every edge": ["training.radial_knots=null"],
    "float64": ["training.dtype=float64"],
    "16 channels": ["model.num_channels=16"],
    "64 channels": ["model.num_channels=64"],
    "l_max_hidden 0": ["model.l_max_hidden=0"],
    "l_max_hidden 1": ["model.l_max_hidden=1"],
    "64 channels, l_max_hidden 1": ["model.num_channels=64", "model.l_max_hidden=1"],
    "64 channels, l_max_hidden 0": ["model.num_channels=64", "model.l_max_hidden=0"],
    "l_max_edge 2": ["model.l_max_edge=2"],
    "correlation 2": ["model.correlation=2"],
    "16 radial functions": ["model.num_radial=16"],
    "radial_scale 3": ["model.radial_scale=3.0"],
    "radial_scale 6": ["model.radial_scale=6.0"],
    "radial_scale 12": ["model.radial_scale=12.0"],
    "radial network 32, 32": ["model.radial_hidden=[32, 32]"],
    "r_cut 4": ["model.r_cut=4.0"],
    "no isolated atoms": ["data.isolated_atoms=null"],
    # 12.13 neighbors in acac, the sum over which is else divided by that
    "square root of neighbors": ["model.avg_num_neighbors=3.482"],
    "100 frames, 300 epochs": ["data.num_train=100", "training.max_epochs=300"],
}

# changes of the model that no option makes, by their names in changed_model.py
CHANGED = {
    "Chebyshev functions": "chebyshev",
    "features normalised": "normalised",
    "radial functions per pair of elements": "pairs",
}
ABLATIONS |= {name: [] for name in CHANGED}
ABLATIONS["radial functions per pair of elements"] = ["training.radial_knots=null"]

NOTES = {
    "forces_rmse": "of validation, the averaged weights at the end [meV/A]",
    "energy_rmse": "the same [meV/atom]",
    "steps": "of the optimiser",
    "cpu_seconds": "processor seconds of the whole run, reading and validation included",
    "epochs": "of a training; null: minutes, of a core of its own",
    "seeds": "trainings that the mean and the spread are of",
}


def main() -> None:
    """Train, print a table, write JSON."""
    args = parse_arguments()
    chosen = [name for name in ABLATIONS if args.only is None or name in args.only]
    jobs = [(name, seed) for seed in range(args.repeat) for name in chosen]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(args.jobs) as pool:
        runs = list(pool.map(lambda job: train(args, Path(folder), *job), jobs))
    rows = [
        summary(name, [r for r, job in zip(runs, jobs, strict=True) if job[0] == name])
        for name in chosen
    ]
    data = {**machine.describe(), "config": args.config.name}
    data |= {"epochs": None if args.minutes else args.epochs, "minutes": args.minutes}
    data |= {"overrides": args.overrides, "rows": rows}
    print(table(rows))
    report.write(args.output, data, NOTES)


def parse_arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="for all runs")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--minutes", type=float, help="train for so long, not for epochs")
    parser.add_argument(
        "--only",
        action="append",
        choices=ABLATIONS,
        metavar="NAME",
        help="one setting, again for more; default: all",
    )
    parser.add_argument("--repeat", type=int, default=1, help="seeds per setting")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, a thread each")
    parser.add_argument("--output", type=Path, default=Path("ablations.json"))
    return parser.parse_args()


def train(args: argparse.Namespace, folder: Path, name: str, seed: int) -> dict[str, float]:
    """Train once; return the last row of log.csv in meV and the processor time."""
    run = folder / f"{len(list(folder.iterdir()))}-{seed}"
    run.mkdir()
    settings = [f"training.output={run / 'run'}", f"training.seed={seed}"]
    epochs = "null" if args.minutes else args.epochs
    settings += [f"training.max_epochs={epochs}"]
    settings += [f"training.max_minutes={args.minutes or 'null'}"]
    settings += ["training.report=false", *args.overrides, *ABLATIONS[name]]
    program = ["-m", "pyictp"]
    if name in CHANGED:
        program = [str(Path(__file__).with_name("changed_model.py")), CHANGED[name]]
    command = [sys.executable, *program, "train", str(args.config), *settings]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"ablation '{name}' failed: {' '.join(command)}")
    return result(run / "run" / "log.csv", usage)


def result(log: Path, usage: resource.struct_rusage) -> dict[str, float]:
    """Return what a run reached and cost."""
    with log.open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    return {
        "steps": int(last["step"]),
        "forces_rmse": 1e3 * float(last["valid_forces_rmse"]),
        "energy_rmse": 1e3 * float(last["valid_energy_rmse"]),
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
    }


def summary(name: str, runs: list[dict[str, float]]) -> dict[str, Any]:
    """Return means over seeds, and half the range of the force error."""
    mean = {key: sum(run[key] for run in runs) / len(runs) for key in runs[0]}
    forces = [run["forces_rmse"] for run in runs]
    return {"name": name, **mean, "spread": (max(forces) - min(forces)) / 2, "seeds": len(runs)}


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as a table for people."""
    lines = ["| setting | forces meV/A | energy meV/atom | steps | processor s |", "|---" * 5 + "|"]
    for row in rows:
        spread = f" ± {row['spread']:.2f}" if row["seeds"] > 1 else ""
        lines.append(
            f"| {row['name']} | {row['forces_rmse']:.2f}{spread} | {row['energy_rmse']:.3f} "
            f"| {row['steps']:.0f} | {row['cpu_seconds']:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
