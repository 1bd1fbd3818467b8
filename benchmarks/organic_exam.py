#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What models/organic knows of molecules of other scaffolds, beside its teacher GFN2-xTB.

    python benchmarks/organic_exam.py models/organic          # all but dynamics
    python benchmarks/organic_exam.py models/organic --picoseconds 100

Molecules are drawn from configs/organic_exam.smi. At rest: both relax the same start, bonds and
positions are compared, and the vibrations there. Torsions: every single bond of no ring is turned
by steps of 15 degrees, all else fixed, energies relative to their lowest; those above 2 eV are
collisions and left out. Dynamics: all molecules in one box, 25 A apart, Langevin at first and then
Nose-Hoover; a molecule is broken if a bond of the start is 1.6 times the covalent radii long or
another pair of its atoms is bonded.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from ase.calculators.calculator import Calculator
from machine import describe
from pyictp import ICTPCalculator
from pyictp.md.lammps import read_frames
from pyictp.pretrain.moves import reduced_distances, turnable_bonds
from pyictp.pretrain.smiles import embed
from pyictp.properties.crystals import relax
from pyictp.properties.measure import calculator
from pyictp.properties.molecules import BONDED, vibrations

ROOT = Path(__file__).resolve().parent.parent
TEACHER = "GFN2-xTB"
NOISE = 1e-3  # eV/A
STEP = 15.0  # degrees
COLLISION = 2.0  # eV
SPACING = 25.0  # A
BROKEN = 1.6  # times the covalent radii
SLOW = 100.0  # 1/cm: modes below are turns and bends of floppy molecules


def main() -> None:
    """Measure what is asked for; print it and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a folder of models/: checkpoint and exported file")
    parser.add_argument("--molecules", type=int, default=24)
    parser.add_argument("--picoseconds", type=float, help="dynamics instead of the rest")
    parser.add_argument("--temperatures", nargs="+", type=float, default=[300.0, 600.0])
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/organic.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    molecules = drawn(args.molecules)
    report = json.loads(args.output.read_text()) if args.output.is_file() else {}
    if args.picoseconds:
        report["dynamics"] = dynamics(args.model, molecules, args.picoseconds, args.temperatures)
    else:
        ours, theirs = calculator(args.model, "ignore"), calculator(TEACHER)
        report["torsions"] = torsions(molecules, ours, theirs)
        exported = ICTPCalculator(Path(args.model) / "model.pt", closest="ignore")
        report["speed"] = speed(molecules, exported, theirs)
        report["rest"] = rest(molecules, ours, theirs)
    args.output.write_text(json.dumps({**report, **describe()}, indent=1) + "\n")
    print(json.dumps(report, indent=1))


def drawn(number: int) -> dict[str, Atoms]:
    """Return molecules of the exam, evenly from its list, with hydrogens in place."""
    words = (ROOT / "configs/organic_exam.smi").read_text().split()
    places = np.linspace(0, len(words) - 1, number).round().astype(int)
    return {words[i]: embed(words[i], 1, 0)[0] for i in places}


def rest(molecules: dict[str, Atoms], ours: Calculator, theirs: Calculator) -> dict[str, float]:
    """Return how far minima and vibrations are from the teacher's."""
    bonds, moved, waves = [], [], []
    for name, start in molecules.items():
        one, other = at_rest(start, ours), at_rest(start, theirs)
        if not (bonded(one) == bonded(other)).all():
            raise SystemExit(f"{name}: other bonds than those of {TEACHER} at rest")
        i, j = np.nonzero(np.triu(bonded(other)))
        bonds.append(lengths(one, i, j) - lengths(other, i, j))
        found, wanted = vibrations(one), vibrations(other)
        fast = wanted > SLOW
        waves.append((found - wanted)[fast])
        minimize_rotation_and_translation(other, one)
        moved.append(rms(one.positions - other.positions) * 3**0.5)
    shifts, far = np.concatenate(bonds), np.concatenate(waves)
    return {
        "molecules": len(molecules),
        "bonds": len(shifts),
        "bond_mae_A": float(np.abs(shifts).mean()),
        "bond_max_A": float(np.abs(shifts).max()),
        "position_rmsd_median_A": float(np.median(moved)),
        "vibrations": len(far),
        "wavenumber_mae_per_cm": float(np.abs(far).mean()),
        "wavenumber_rmse_per_cm": rms(far),
    }


def at_rest(start: Atoms, of: Calculator) -> Atoms:
    """Return the nearest minimum, as well as the noise of the teacher's forces lets it be found."""
    atoms = start.copy()
    atoms.calc = of
    relax(atoms, "molecule", tolerance=NOISE)
    return atoms


def torsions(molecules: dict[str, Atoms], ours: Calculator, theirs: Calculator) -> dict[str, float]:
    """Return errors of energies along turns about single bonds."""
    errors, heights = [], []
    for start in molecules.values():
        for i, j, side in turnable_bonds(start):
            turns = [turned(start, i, j, side, angle) for angle in np.arange(0.0, 360.0, STEP)]
            found, wanted = (energies(turns, one) for one in (ours, theirs))
            wanted -= wanted.min()
            kept = wanted < COLLISION
            found -= found[kept].mean() - wanted[kept].mean()
            errors.append((found - wanted)[kept])
            heights.append(wanted[kept].max())
    return {
        "scans": len(errors),
        "rmse_mev": 1e3 * rms(np.concatenate(errors)),
        "median_of_scans_mev": 1e3 * float(np.median([rms(one) for one in errors])),
        "mean_height_mev": 1e3 * float(np.mean(heights)),
    }


def speed(molecules: dict[str, Atoms], ours: Calculator, theirs: Calculator) -> dict[str, float]:
    """Return milliseconds of an evaluation, averaged over the molecules, one thread each."""
    ms = [
        1e3 * np.mean([seconds(m.copy(), one) for m in molecules.values()])
        for one in (ours, theirs)
    ]
    return {"ms": ms[0], "ms_teacher": ms[1], "times": ms[1] / ms[0]}


def seconds(atoms: Atoms, of: Calculator) -> float:
    """Return the least time of three evaluations."""
    atoms.calc, least = of, np.inf
    for _ in range(4):
        atoms.rattle(0.01, rng=np.random.default_rng(0))
        begin = time.perf_counter()
        atoms.get_forces()
        least = min(least, time.perf_counter() - begin)
    return least


def dynamics(
    model: str, molecules: dict[str, Atoms], picoseconds: float, temperatures: Sequence[float]
) -> list[dict[str, Any]]:
    """Run all molecules in one box; return which broke, by temperature."""
    box, number = Atoms(pbc=True), int(np.ceil(len(molecules) ** (1 / 3)))
    for place, molecule in zip(
        np.ndindex(number, number, number), molecules.values(), strict=False
    ):
        moved = molecule.copy()
        moved.positions += SPACING * np.array(place) - moved.positions.mean(axis=0)
        box += Atoms(moved.numbers, moved.positions)
    box.cell = [number * SPACING] * 3
    folder = ROOT / "runs/organic_dynamics"
    folder.mkdir(parents=True, exist_ok=True)
    ase.io.write(folder / "box.xyz", box, format="extxyz")
    rows = []
    for temperature in temperatures:
        run = folder / f"{temperature:g}"
        file = f"{model}/model.pt"
        command = [sys.executable, "-m", "pyictp", "md", str(folder / "box.xyz"), file, "-q"]
        command += ["--temperature", f"{temperature:g}", "--time", f"{picoseconds:g}"]
        command += ["--equilibrate", "1", "--uncertainty", "0", "-o", str(run), "--overwrite"]
        subprocess.run(command, check=True)
        _, frames = read_frames(run / "trajectory.lammpstrj")
        rows.append({"temperature": temperature, "ps": picoseconds, "frames": len(frames)})
        rows[-1]["broken"] = broken(molecules, frames)
        rows[-1]["molecules"] = len(molecules)
    return rows


def broken(molecules: dict[str, Atoms], frames: Sequence[Atoms]) -> dict[str, float]:
    """Return the molecules that lost or found a bond, with the share of frames where they had."""
    first, found = 0, {}
    for name, molecule in molecules.items():
        atoms = slice(first, first + len(molecule))
        bad = [not same_bonds(molecule, whole(frame[atoms])) for frame in frames]
        first += len(molecule)
        if any(bad):
            found[name] = float(np.mean(bad))
    return found


def whole(atoms: Atoms) -> Atoms:
    """Return a molecule put together across the faces of the box."""
    return Atoms(
        atoms.numbers,
        atoms.positions[0] + atoms.get_distances(0, range(len(atoms)), mic=True, vector=True),
    )


def same_bonds(before: Atoms, after: Atoms) -> bool:
    """Return whether no bond broke and none was made, vibrations allowed."""
    was, reduced = bonded(before), reduced_distances(after)
    return bool((reduced[was] < BROKEN).all() and (reduced[~was] > 1.0).all())


def bonded(atoms: Atoms) -> np.ndarray:
    """Return (N, N), whether two atoms are bonded."""
    return reduced_distances(atoms) < BONDED


def lengths(atoms: Atoms, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Return distances of pairs [A]."""
    return np.linalg.norm(atoms.positions[i] - atoms.positions[j], axis=1)


def turned(atoms: Atoms, i: int, j: int, side: np.ndarray, angle: float) -> Atoms:
    """Return the molecule with the side of j turned by an angle [degrees] about i-j."""
    part = Atoms(atoms.numbers[side], atoms.positions[side])
    part.rotate(angle, atoms.positions[j] - atoms.positions[i], center=atoms.positions[j])
    found = atoms.copy()
    found.positions[side] = part.positions
    return found


def energies(frames: Sequence[Atoms], of: Calculator) -> np.ndarray:
    """Return the energies [eV]."""
    found = []
    for frame in frames:
        frame.calc = of
        found.append(frame.get_potential_energy())
    return np.array(found)


def rms(values: np.ndarray) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


if __name__ == "__main__":
    main()
