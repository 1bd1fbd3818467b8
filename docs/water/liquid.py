#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run a trained water model as a liquid in LAMMPS and hold it against the frames it learned from.

python docs/water/liquid.py MODEL FRAMES.extxyz [...] -o FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.geometry import get_distances
from ase.io import read, write
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pyictp.md.analysis import radial_distributions
from pyictp.md.lammps import lammps_command, read_frames, read_thermo, seconds_per_step
from pyictp.native import plugin_path

HERE = Path(__file__).resolve().parent
TIME_STEP = 0.0005  # ps
BINS = 90  # of the distributions
SKIPPED = 0.2  # of the run, before averages


def main() -> None:
    """Run 64 and 512 molecules, write liquid.json and liquid.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="exported file")
    parser.add_argument("frames", nargs="+", help="labelled frames of the same cell")
    parser.add_argument("-o", "--output", type=Path, default=Path("water-md"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--large-steps", type=int, default=400)
    args = parser.parse_args()
    frames = [frame for name in args.frames for frame in read(name, ":")]
    args.output.mkdir(parents=True, exist_ok=True)
    write_start(frames[0], args.output / "water.data")
    result = {}
    for name, repeat, steps in (("small", 1, args.steps), ("large", 2, args.large_steps)):
        log = run(args, name, repeat, steps)
        result[name] = describe(log, read_frames(args.output / f"{name}.dump")[1])
        print(name, json.dumps(result[name]))
    _, small = read_frames(args.output / "small.dump")
    small = small[int(SKIPPED * len(small)) :]
    r_max = min(frame.cell.lengths().min() for frame in frames) / 2 - 1e-6
    curves = {
        "ictp in LAMMPS": oxygen_distribution(small, r_max),
        "training frames": oxygen_distribution(frames, r_max),
    }
    for name, (r, g) in curves.items():
        first = int(np.argmax(g))
        result[f"first O-O peak, {name}"] = {"r_A": float(r[first]), "g": float(g[first])}
    (args.output / "liquid.json").write_text(json.dumps(result, indent=1) + "\n")
    draw(curves, args.output / "liquid.png")
    print(json.dumps(result, indent=1))


def write_start(frame: Atoms, path: Path) -> None:
    """Write the data file of the first frame: type 1 hydrogen, type 2 oxygen."""
    write(path, frame, format="lammps-data", specorder=["H", "O"], masses=True)


def run(args: argparse.Namespace, name: str, repeat: int, steps: int) -> Path:
    """Run water.in; return its log."""
    variables = {
        "model": Path(args.model).resolve(),
        "data": "water.data",
        "repeat": repeat,
        "steps": steps,
        "dump": f"{name}.dump",
    }
    command = ["mpiexec", "-n", str(args.processes), *lammps_command()]
    command += ["-in", str(HERE / "water.in"), "-log", f"{name}.log", "-screen", "none"]
    for key, value in variables.items():
        command += ["-var", key, str(value)]
    environment = {**os.environ, "LAMMPS_PLUGIN_PATH": str(plugin_path().parent)}
    subprocess.run(command, cwd=args.output, env=environment, check=True)
    return args.output / f"{name}.log"


def describe(log: Path, frames: list[Atoms]) -> dict[str, float]:
    """Return what tells a stable liquid: temperature, whole molecules, mobility, time."""
    thermo = read_thermo(log)
    num_atoms = len(frames[0])
    kept = slice(int(SKIPPED * len(thermo["Temp"])), None)
    moved = (frames[-1].positions - frames[0].positions)[frames[0].numbers == 8]
    return {
        "atoms": num_atoms,
        "time_ps": float(thermo["Step"][-1] * TIME_STEP),
        "temperature_K": float(thermo["Temp"][kept].mean()),
        "pressure_bar": float(thermo["Press"][kept].mean()),
        "broken_molecules": int(broken_molecules(frames[-1])),
        "oxygen_displacement_A": float(np.sqrt((moved**2).sum(axis=1).mean())),
        "us_per_atom_and_step": 1e6 * seconds_per_step(log) / num_atoms,
    }


def broken_molecules(frame: Atoms) -> int:
    """Return how many oxygens do not have two hydrogens within 1.3 A."""
    oxygen, hydrogen = (frame.positions[frame.numbers == number] for number in (8, 1))
    _, distances = get_distances(oxygen, hydrogen, cell=frame.cell, pbc=True)
    return int(((distances < 1.3).sum(axis=1) != 2).sum())


def oxygen_distribution(frames: list[Atoms], r_max: float) -> tuple[np.ndarray, np.ndarray]:
    """Return r [A] and g(r) of pairs of oxygens."""
    r, g = radial_distributions([frame[frame.numbers == 8] for frame in frames], r_max, BINS)
    return r, g["O-O"]


def draw(curves: dict[str, tuple[np.ndarray, np.ndarray]], path: Path) -> None:
    """Draw the O-O distributions over each other."""
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.axhline(1.0, color="0.8", linewidth=0.8)
    for (name, (r, g)), color in zip(curves.items(), ("#d95f02", "#4d4d4d"), strict=True):
        axes.plot(r, g, color=color, label=name)
    axes.set(xlabel="O–O distance r [Å]", ylabel="g(r)", xlim=(2.0, None), ylim=(0, None))
    axes.legend(frameon=False)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
