#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Evaluate all structures of a file in batches; compare with one at a time and write the results.

python docs/interop/batch.py MODEL FRAMES.xyz -o predicted.xyz
"""

from __future__ import annotations

import argparse
import time

import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from pyictp import ICTPCalculator, Result, evaluate_batch
from pyictp.potential.load import load_model


def main() -> None:
    """Evaluate the frames twice; print times and the largest difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="training folder, checkpoint or exported file")
    parser.add_argument("frames", help="anything ASE reads")
    parser.add_argument("--number", type=int, default=200, help="of frames, from the first on")
    parser.add_argument("-o", "--output", help="extended XYZ with energies, forces, stresses")
    args = parser.parse_args()
    torch.set_num_threads(1)
    frames = read(args.frames, f":{args.number}")
    model = load_model(args.model)
    evaluate_batch(model, frames[:2])  # the first call does more than the later ones

    start = time.perf_counter()
    results = evaluate_batch(model, frames)
    together = time.perf_counter() - start

    calculator = ICTPCalculator(model)
    start = time.perf_counter()
    forces = [calculator.get_forces(atoms) for atoms in frames]
    alone = time.perf_counter() - start

    differences = [abs(r.forces - f).max() for r, f in zip(results, forces, strict=True)]
    print(f"batched     {len(frames) / together:8.1f} structures/s")
    print(f"one by one  {len(frames) / alone:8.1f} structures/s, ratio {alone / together:.1f}")
    print(f"largest difference of a force {max(differences):.1e} eV/A")
    if args.output:
        pairs = zip(frames, results, strict=True)
        write(args.output, [labelled(atoms, result) for atoms, result in pairs], format="extxyz")


def labelled(atoms: Atoms, result: Result) -> Atoms:
    """Return a copy of a structure that carries its results, as ASE writes them to files."""
    copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    values = {name: value for name, value in vars(result).items() if value is not None}
    copy.calc = SinglePointCalculator(copy, **values)
    return copy


if __name__ == "__main__":
    main()
