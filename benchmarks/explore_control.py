#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How much of what an exploration gains is its choice of frames: the example of docs/explore.

Three ways on from the same first models: frames as `ictp explore` chooses them; as many drawn at
random from all that its dynamics saw below uncertainty.high; no new frames, but as many steps of
training. Errors are of the frames held back at 1500 K. One process and one thread; the frames are
those that the page makes, so give the folder in which it made them, or none.

    python benchmarks/explore_control.py --seeds 3 --output benchmarks/results/explore_control.json
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import machine
import report
from pyictp.common.extxyz import load_structures
from pyictp.explore.frames import to_frames
from pyictp.explore.loop import MODEL, START, TEST
from pyictp.explore.measure import measure
from pyictp.explore.retrain import export_committee, train_member
from pyictp.explore.settings import ExploreConfig, load_settings, retraining
from pyictp.explore.state import State
from pyictp.md.lammps import potential_folder

Source = tuple[Path, list[str]]  # file and overrides
EXAMPLE = Path(__file__).resolve().parents[1] / "docs" / "explore"
CONFIG = "silicon.yaml"
CHOSEN, RANDOM, NONE = "as shipped", "random frames", "no new frames"
OVERRIDES = {
    CHOSEN: [],
    # with low 0 every frame below high is a candidate, with min_distance 0 none a near duplicate
    RANDOM: ["selection.method=random", "selection.min_distance=0", "uncertainty.low=0"],
}
NOTES = {
    "force_rmse": "of the frames held back, by cycle [meV/A]; cycle 0 is the same training",
    "energy_rmse": "the same [meV/atom]",
    "deviation": "largest force deviation of the models there [eV/A]",
    "cpu_seconds": "processor seconds, LAMMPS and labels included; what goes on from the models of "
    "`as shipped` leaves out their training",
    NONE: "each training has as many steps of the optimiser as that of `as shipped`",
}


def main() -> None:
    """Explore, print a table, write JSON."""
    args = parse_arguments()
    folder = args.folder or Path(tempfile.mkdtemp(prefix="explore_control_"))
    make_frames(folder)
    data = {**machine.describe(), "rows": []}
    for seed in range(args.seeds):
        runs = {name: folder / f"{name.replace(' ', '_')}_{seed}" for name in (*OVERRIDES, NONE)}
        for name, run in runs.items():
            before = cpu_seconds()
            config = configuration(folder, seed, run, OVERRIDES.get(name, []))
            rows = (
                train_on(config, runs[CHOSEN], run) if name == NONE else explore(config, runs, name)
            )
            used = cpu_seconds() - before
            data["rows"].append({"name": name, "seed": seed, "cpu_seconds": used, **columns(rows)})
            print(f"{name}, seed {seed}: {data['rows'][-1]}", flush=True)
        report.write(args.output, data, NOTES)
    print(table(data["rows"]))


def parse_arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="of frames and explorations; default: new")
    parser.add_argument("--output", type=Path, default=Path("explore_control.json"))
    return parser.parse_args()


def cpu_seconds() -> float:
    """Return the processor time of this process and of all that it started and that ended."""
    return sum(os.times()[:4])


def make_frames(folder: Path) -> None:
    """Run LAMMPS as the page does, unless the frames are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG, "silicon.in"):
        shutil.copy(EXAMPLE / name, folder)
    lmp = Path(sys.executable).with_name("lmp")
    environment = {**os.environ, "LAMMPS_POTENTIALS": str(potential_folder())}
    for name, temperature in (("cold", 300), ("hot", 1500)):
        if (folder / f"{name}.lammpstrj").exists():
            continue
        words = ["-in", "silicon.in", "-var", "name", name, "-var", "temperature", str(temperature)]
        subprocess.run(
            [lmp, *words], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL
        )


def configuration(folder: Path, seed: int, run: Path, overrides: Sequence[str]) -> Source:
    """Return the configuration file and all overrides of an exploration."""
    words = [f"explore.output={run}", f"explore.seed={seed}", *overrides]
    if seed > 0:  # the first seed has labelled the frames to begin with
        labelled = folder / f"{CHOSEN.replace(' ', '_')}_0"
        words += [f"data.train={labelled / START}", f"explore.test={labelled / TEST}"]
    return folder / CONFIG, words


def explore(config: Source, runs: dict[str, Path], name: str) -> list[Any]:
    """Run `ictp explore`, on from the models of `as shipped`; return the test of each cycle."""
    path, overrides = config
    if name != CHOSEN and not runs[name].exists():
        shutil.copytree(runs[CHOSEN], runs[name])
        settings = load_settings(path, overrides)
        state = State(runs[name], settings)
        for cycle in range(1, settings.explore.cycles + 1):
            shutil.rmtree(runs[name] / f"cycle_{cycle}")
            state.forget(*[stage for stage in state.stages if stage.startswith(f"{cycle} ")])
    command = [sys.executable, "-m", "pyictp", "explore", "-q", str(path), *overrides]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    cycles = json.loads((runs[name] / "results.json").read_text())["cycles"]
    return [cycle["test"] for cycle in cycles]


def train_on(config: Source, shipped: Path, folder: Path) -> list[Any]:
    """Train the first models of `as shipped` on with their own frames; return the test of each."""
    settings = load_settings(*config)
    frames = to_frames(load_structures(shipped / TEST))
    by = settings.uncertainty.by
    first = shipped / "cycle_0"
    tests, former = [measure(first / MODEL, frames, by)], first
    for cycle in range(1, settings.explore.cycles + 1):
        here = folder / f"cycle_{cycle}"
        members = []
        for member in range(settings.explore.committee):
            files = tuple(first / "data" / f"{part}_{member}.extxyz" for part in ("train", "valid"))
            longer = with_as_many_steps(settings, shipped, cycle, member)
            members.append(here / f"member_{member}")
            train_member(longer, member, files, members[-1], former / f"member_{member}")
        export_committee(members, here / MODEL)
        tests.append(measure(here / MODEL, frames, by))
        former = here
    return tests


def with_as_many_steps(
    settings: ExploreConfig, shipped: Path, cycle: int, member: int
) -> ExploreConfig:
    """Return settings with the epochs that take as many steps of fewer frames as a cycle took."""
    number, epochs = settings.training.batch_size, retraining(settings).num_epochs
    steps = [
        -(
            -len(load_structures(shipped / f"cycle_{c}" / "data" / f"train_{member}.extxyz"))
            // number
        )
        for c in (0, cycle)
    ]
    changed = {**settings.retraining, "max_epochs": round(epochs * steps[1] / steps[0])}
    return replace(settings, retraining=changed)


def columns(tests: list[dict[str, float]]) -> dict[str, list[float]]:
    """Return errors and deviation by cycle."""
    keys = {
        "force_rmse": "force_rmse_mev_per_a",
        "energy_rmse": "energy_rmse_mev_per_atom",
        "deviation": "largest_deviation",
    }
    return {name: [test[key] for test in tests] for name, key in keys.items()}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the last errors of all seeds, and their medians, as a table for people."""
    titles = ("new frames", "force RMSE by seed", "median", "energy RMSE", "deviation")
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for name in (*OVERRIDES, NONE):
        own = [row for row in rows if row["name"] == name]
        force, energy, deviation = (
            [row[key][-1] for row in own] for key in ("force_rmse", "energy_rmse", "deviation")
        )
        lines.append(
            f"| {name} | {', '.join(f'{value:.1f}' for value in force)} | {median(force):.1f} | "
            f"{median(energy):.2f} | {median(deviation):.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
