#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What deviations and grades cost in LAMMPS, and what they say of errors: docs/uncertainty.md.

Cost: eight acetylacetone molecules in a periodic cell, untrained models of 16 channels, the styles
take turns. Calibration: three models are trained on 100 frames at 300 K each and asked about frames
that none of them had, and about molecular dynamics of `models/acac/model.pt` at rising
temperatures, which that model labels. A quarter of an hour on one core.

    OMP_NUM_THREADS=1 python benchmarks/uncertainty.py --output benchmarks/results/uncertainty.json
    python benchmarks/uncertainty.py --only cost --rounds 8      # the other part of the file stays
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import ase.io
import machine
import numpy as np
import report
import torch
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from cases import model_config
from lammps_run import LammpsRun
from measure import TimedLammps, take_turns
from pyictp.config.load import load_config
from pyictp.data.frames import Frame, from_atoms
from pyictp.data.samples import GraphDataset
from pyictp.model.ictp import ICTPModel
from pyictp.potential.calculator import ICTPCalculator
from pyictp.potential.checkpoint import build_model, load_checkpoint
from pyictp.potential.export import export_model
from pyictp.potential.extrapolation import fit_grade, grade_of
from pyictp.potential.interface import Potential
from pyictp.potential.load import load_model
from pyictp.potential.loaded_model import LoadedModel
from pyictp.reports.comparison import Parity
from pyictp.reports.evaluate import predict
from pyictp.reports.metrics import metrics
from pyictp.training.prepare import read_split
from scipy.stats import spearmanr

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared/data/acac/train_300K.xyz"
TEACHER = ROOT / "models/acac/model.pt"
ELEMENTS = ("H", "C", "O")
CHANNELS = 16
CELL = 15.0  # A
STEPS = 200
STYLES = {  # models in the file, what the line of pair_style says
    "one model": (1, ""),
    "one model, uncertainty 10": (1, " uncertainty 10"),
    "drive first": (3, " drive first"),
    "drive first uncertainty 10": (3, " drive first uncertainty 10"),
    "drive mean": (3, " drive mean"),
    "drive mean uncertainty 10": (3, " drive mean uncertainty 10"),
}
MEMBERS = (1, 2, 3)  # seeds
TEMPERATURES = (300, 450, 600, 900, 1200)  # K
TIMESTEP, FRICTION = 0.5 * units.fs, 0.02 / units.fs
EQUILIBRATION, STRIDE, NUM_FRAMES = 1000, 20, 100  # steps, steps between frames, frames
BOND = 2.0  # A: an atom without any other closer than that has been lost
NOTES = {
    "cost": "files of untrained models, float32 with tables; first of them with a grade; NVE, a "
    "neighbor rebuild every 10 steps; cpu_seconds: processor time per step, least of all rounds",
    "ratio": "cpu_seconds / those of `one model` in the same run",
    "force_deviation, energy_deviation, grade": "as `ictp evaluate --json` has them",
    "percent_lost": f"frames in which an atom has no other within {BOND} A",
    "within_elements": "rank correlations with force errors among the atoms of one element",
    "temperature": "rank correlation of the largest grade of a frame, over all dynamics",
    "first_member": "rank correlation with the errors of the model that the grades belong to, over "
    "all dynamics",
    "few_frames": "grades of the first model above 1 [%] on the held-out frames, fitted to so many "
    "of its training frames",
}


class TimedStyle(TimedLammps):
    """A line of pair_style, for a fixed number of steps; memory is not asked for."""

    def __init__(self, run: LammpsRun) -> None:
        self.run = run
        run.steps = STEPS

    def memory(self) -> None:
        """Return nothing."""


def main() -> None:
    """Measure, print tables, write JSON."""
    args = parse_arguments()
    torch.set_num_threads(1)
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        if args.only in (None, "cost"):
            measured["cost"] = machine.describe() | cost(Path(folder), args.rounds)
            print(cost_table(measured["cost"]["rows"]), flush=True)
        if args.only in (None, "calibration"):
            measured["calibration"] = machine.describe() | calibrate(Path(folder), args.epochs)
            print(calibration_table(measured["calibration"]["rows"]))
    before = json.loads(args.output.read_text()) if args.output.exists() else {}
    report.write(args.output, before | measured, NOTES)


def parse_arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("cost", "calibration"), help="default: both")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each style")
    parser.add_argument("--epochs", type=int, default=30, help="of each training")
    parser.add_argument("--output", type=Path, default=Path("uncertainty.json"))
    return parser.parse_args()


def cost(folder: Path, rounds: int) -> dict[str, Any]:
    """Return one row per style."""
    molecules = ase.io.read(DATA, ":8")
    config = model_config(ELEMENTS, CHANNELS, 2, molecules)
    frames = from_atoms(molecules)
    models = []
    for seed in MEMBERS:
        torch.manual_seed(seed)
        models.append(ICTPModel(config))
    grade = fit_grade(models[0], (s.graph for s in GraphDataset(frames, ELEMENTS, config.r_cut)))
    for number in (1, len(models)):
        export_model(models[:number], folder / f"{number}.pt", grade=grade)
    timed = {}
    for index, (name, (number, words)) in enumerate(STYLES.items()):
        run = LammpsRun(
            folder / f"lammps-{index}",
            folder / f"{number}.pt",
            ELEMENTS,
            packed(molecules),
            device="cpu" + words,
        )
        timed[name] = TimedStyle(run)
    rows = [{"name": name, **row} for name, row in take_turns(timed, rounds).items()]
    for row in rows:
        if "absent" in row:
            raise SystemExit(f"pair_style ictp {row['name']}: {row['absent']}")
        del row["kb_per_atom"]
        row["ratio"] = row["cpu_seconds"] / rows[0]["cpu_seconds"]
    return {"rows": rows}


def packed(molecules: list[Atoms]) -> Atoms:
    """Return eight molecules on a cubic lattice in a periodic cell."""
    cell = Atoms(cell=[CELL] * 3, pbc=True)
    for place, molecule in zip(np.ndindex(2, 2, 2), molecules, strict=True):
        moved = molecule.copy()
        moved.positions += CELL / 2 * np.array(place) - moved.positions.mean(0)
        cell += moved
    return cell


def calibrate(folder: Path, epochs: int) -> dict[str, Any]:
    """Return a row per set of frames, and what is said of all of them."""
    atoms = ase.io.read(DATA, ":")
    held_out, pool = atoms[::3], [a for i, a in enumerate(atoms) if i % 3]
    ase.io.write(folder / "pool.xyz", pool)
    runs = [train(folder, seed, epochs) for seed in MEMBERS]
    payloads = [load_checkpoint(run / "best.pt") for run in runs]
    models = [build_model(payload) for payload in payloads]
    export_model(models, folder / "ensemble.pt", grade=grade_of(payloads[0]))
    ensemble = load_model(folder / "ensemble.pt")

    rows = [row("300 K, labels of the data set", held_out, ensemble)]
    sets = {kelvin: dynamics(held_out[0], kelvin) for kelvin in TEMPERATURES}
    rows += [row(f"{kelvin} K", frames, ensemble) for kelvin, frames in sets.items()]
    every = from_atoms([frame for frames in sets.values() for frame in frames])
    first = predict(load_model(runs[0]), every)
    kelvins = np.repeat(TEMPERATURES, NUM_FRAMES)
    return {
        "rows": rows,
        "temperature": float(spearmanr(kelvins, largest_grades(first)).statistic),
        "first_member": metrics(first)["uncertainty"]["grade"],
        "few_frames": few_frames(models[0], runs[0], from_atoms(held_out)),
    }


def train(folder: Path, seed: int, epochs: int) -> Path:
    """Train one member on 100 frames of the pool; return its folder."""
    run = folder / f"run{seed}"
    settings = [f"data.train=[{folder / 'pool.xyz'}]", "data.num_train=100"]
    settings += [f"data.split_seed={seed}", f"training.seed={seed}"]
    settings += [f"model.num_channels={CHANNELS}", f"training.max_epochs={epochs}"]
    settings += ["training.max_minutes=null", "training.report=false", f"training.output={run}"]
    command = [sys.executable, "-m", "pyictp", "train", str(ROOT / "configs/acac.yaml"), *settings]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return run


def dynamics(start: Atoms, kelvin: float) -> list[Atoms]:
    """Return frames of Langevin dynamics, labelled by the model that moves them."""
    atoms = Atoms(start.symbols, start.positions, calculator=ICTPCalculator(TEACHER, native=True))
    generator = np.random.default_rng(1)
    MaxwellBoltzmannDistribution(atoms, temperature_K=kelvin, rng=generator)
    run = Langevin(
        atoms, TIMESTEP, temperature_K=kelvin, friction=FRICTION, fixcm=False, rng=generator
    )
    run.run(EQUILIBRATION)
    frames = []
    for _ in range(NUM_FRAMES):
        run.run(STRIDE)
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        frames.append(Atoms(atoms.symbols, atoms.positions))
        frames[-1].calc = SinglePointCalculator(frames[-1], energy=energy, forces=forces)
    return frames


def row(name: str, atoms: list[Atoms], potential: Potential) -> dict[str, Any]:
    """Return what a potential's deviations and grades say of its errors."""
    parity = predict(potential, from_atoms(atoms))
    found = metrics(parity)
    return {
        "name": name,
        "frames": len(atoms),
        "percent_lost": 100 * float(np.mean([is_lost(frame) for frame in atoms])),
        "force_rmse_mev_per_a": found["force_rmse_mev_per_a"],
        **found["uncertainty"],
        "within_elements": within_elements(parity),
    }


def is_lost(atoms: Atoms) -> bool:
    """Return whether an atom has no other near."""
    distances = atoms.get_all_distances() + np.diag(np.full(len(atoms), np.inf))
    return bool((distances.min(1) > BOND).any())


def within_elements(parity: Parity) -> dict[str, dict[str, float]]:
    """Return the rank correlations of deviations and grades with errors, element by element."""
    errors = np.linalg.norm(parity.forces[..., 1] - parity.forces[..., 0], axis=1)
    measures = {"force_deviation": parity.force_deviations, "grade": parity.grades}
    return {
        name: {
            element: float(spearmanr(values[own], errors[own]).statistic)
            for element in ELEMENTS
            for own in [parity.force_elements == element]
        }
        for name, values in measures.items()
    }


def largest_grades(parity: Parity) -> np.ndarray:
    """Return the largest grade of each frame."""
    frames = parity.force_structures
    return np.array([parity.grades[frames == frame].max() for frame in np.unique(frames)])


def few_frames(model: ICTPModel, run: Path, held_out: list[Frame]) -> dict[int, float]:
    """Return how many grades are above 1 [%] if they are fitted to few training frames."""
    used, r_cut = read_split(load_config(run / "config.yaml"))[0], model.config.r_cut
    shares = {}
    for number in (5, 20, len(used)):
        graphs = (s.graph for s in GraphDataset(used[:number], model.config.elements, r_cut))
        graded = LoadedModel(model, grade=fit_grade(model, graphs))
        shares[number] = 100 * float((predict(graded, held_out).grades > 1).mean())
    return shares


def cost_table(rows: list[dict[str, Any]]) -> str:
    """Return rows as a table for people."""
    lines = ["| pair_style ictp | processor ms per step | relative |", "|---" * 3 + "|"]
    for one in rows:
        milliseconds = 1e3 * one["cpu_seconds"]
        lines.append(f"| {one['name']} | {milliseconds:.1f} | {one['ratio']:.2f} |")
    return "\n".join(lines)


def calibration_table(rows: list[dict[str, Any]]) -> str:
    """Return rows as a table for people."""
    columns = ["frames", "lost", "force RMSE", "deviation", "within 1, 2", "factor", "energy"]
    columns += ["grade", "above 1"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for one in rows:
        deviation, grade = one["force_deviation"], one["grade"]
        cells = [
            one["name"],
            f"{one['percent_lost']:.0f}",
            f"{one['force_rmse_mev_per_a']:.0f}",
            f"{deviation['rank_correlation']:.2f}",
            f"{deviation['percent_within_1']:.0f}, {deviation['percent_within_2']:.0f}",
            f"{deviation['factor']:.2f}",
            f"{one['energy_deviation']['rank_correlation']:.2f}",
            f"{grade['rank_correlation']:.2f}",
            f"{grade['percent_above_1']:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
