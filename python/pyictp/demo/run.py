# SPDX-License-Identifier: MIT
"""The demo: label, train, evaluate, export, run in LAMMPS beside the teacher, report."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any

from pyictp.common.progress import Counter, Stages
from pyictp.demo.alloy import ELEMENTS, teacher_commands
from pyictp.demo.runs import Dynamics
from pyictp.errors import UserError

NUM_STAGES = 6


def prepare_folder(output: Path, overwrite: bool) -> None:
    """Make the output folder, with the training configuration in it.

    Raises:
        UserError: it holds something already and may not be overwritten.
    """
    if output.exists() and any(output.iterdir()):
        if not overwrite:
            raise UserError(
                f"folder '{output}' is not empty: give another --output, or --overwrite"
            )
        if not (output / "demo.yaml").is_file():
            raise UserError(
                f"folder '{output}' holds no earlier demo and is kept: give another --output"
            )
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)
    text = resources.files("pyictp.demo").joinpath("demo.yaml").read_text()
    (output / "demo.yaml").write_text(text)


def run_demo(
    output: Path, overrides: list[str], dynamics: Dynamics | None = None
) -> tuple[Path, dict[str, Any]]:
    """Run all stages in `output`; return its report and what the report says."""
    from pyictp.demo.label import Sampling, write_dataset
    from pyictp.demo.report import collect, write_report

    dynamics = dynamics or Dynamics()
    stages, sampling = Stages(NUM_STAGES), Sampling()
    commands = Commands(output, stages)
    num_cells = sum(count for _, count in sampling.num_cells)
    num_frames = num_cells * sampling.frames_per_cell
    with stages.stage(f"label {num_frames} frames of {num_cells} cells with the teacher"):
        counter = Counter(num_cells, "cells")
        write_dataset(sampling, output / "data", dynamics.processes, counter.advance)
        counter.close()
    with stages.stage("train"):
        commands.ictp("train", "demo.yaml", *overrides)
    with stages.stage("evaluate on held-out cells"):
        commands.ictp(
            "evaluate", "training", "data/test.xyz", "--json", "test.json", "--plot", "test.png"
        )
    with stages.stage("export"):
        commands.ictp("export", "training", "-o", "model.pt")
    with stages.stage("run LAMMPS: ictp and teacher"):
        run_dynamics(output, dynamics)
    with stages.stage("report"):
        results = collect(output, dynamics, sampling, stages.seconds, commands.shown)
        (output / "results.json").write_text(json.dumps(results["numbers"], indent=2) + "\n")
        report = write_report(output, results)
    return report, results


class Commands:
    """Runs `ictp` commands in the demo's folder and remembers how a user would type them."""

    def __init__(self, folder: Path, stages: Stages) -> None:
        self.folder, self.stages = folder, stages
        self.shown: list[str] = []

    def ictp(self, *words: str) -> None:
        """Run one command, its output on the screen.

        Raises:
            UserError: it failed.
        """
        self.shown.append(" ".join(["ictp", *words]))
        self.stages.note(self.shown[-1])
        done = subprocess.run(
            [sys.executable, "-m", "pyictp", *words], cwd=self.folder, check=False
        )
        if done.returncode != 0:
            raise UserError(
                f"the demo stopped: '{self.shown[-1]}' failed in '{self.folder}', see above"
            )


def ictp_commands(output: Path) -> list[str]:
    """Return the LAMMPS lines that load the plugin and the exported model."""
    from pyictp.native import plugin_path

    model = output / "model.pt"
    return [
        f'plugin load "{plugin_path()}"',
        "pair_style ictp",
        f'pair_coeff * * "{model}" {" ".join(ELEMENTS)}',
    ]


def run_dynamics(output: Path, dynamics: Dynamics) -> None:
    """Run ictp and teacher side by side, then the teacher on the trajectory of ictp."""
    from pyictp.demo.label import single_threaded
    from pyictp.demo.runs import Run, rerun_deck, run_lammps

    teacher = teacher_commands()
    decks = side_by_side(dynamics, {"ictp": ictp_commands(output), "teacher": teacher})
    runs = [Run(name, output / "lammps" / name, deck) for name, deck in decks.items()]
    counter = Counter(2 * dynamics.num_steps, "steps")
    with single_threaded(), ThreadPoolExecutor(dynamics.processes) as pool:
        for log in [pool.submit(run_lammps, run, counter.advance) for run in runs]:
            log.result()
        trajectory = "../ictp-nve/nve.dump"
        deck = rerun_deck(teacher, dynamics.nve_repeat, trajectory, dynamics.nve_every)
        run_lammps(Run("teacher-rerun", output / "lammps" / "teacher-rerun", deck))
    counter.close()


def side_by_side(d: Dynamics, potentials: dict[str, list[str]]) -> dict[str, str]:
    """Return the decks of all potentials, {name of the run: deck}, the longest of each first."""
    from pyictp.demo.runs import npt_deck, nve_deck

    decks = {}
    for name, lines in potentials.items():
        decks[f"{name}-nve"] = nve_deck(
            lines, d.nve_repeat, d.nve_temperature, d.nve_equilibrate, d.nve_steps, d.nve_every
        )
        for temperature in d.npt_temperatures:
            decks[f"{name}-npt-{temperature:.0f}K"] = npt_deck(
                lines, d.npt_repeat, temperature, d.npt_equilibrate, d.npt_steps
            )
    return decks


def summary(results: dict[str, Any]) -> str:
    """Return the goals and the numbers behind them as lines for people."""
    lines = ["", f"{'':36} {'goal':>22} {'measured':>22}"]
    for goal in results["goals"]:
        verdict = "met" if goal["met"] else "MISSED"
        lines.append(f"{goal['title']:<36} {goal['goal']:>22} {goal['measured']:>22}  {verdict}")
    lines.append("")
    lines += [f"{r['title']:<36} {r['teacher']:>22} {r['ictp']:>22}" for r in results["table"]]
    return "\n".join(lines)
