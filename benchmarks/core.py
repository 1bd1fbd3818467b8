#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How far below its data a model is left alone: docs/training.md.

Forces of `models/acac` (300 K) against those of `models/acac_pretrained` (to 1200 K) along dynamics
of the latter, with cores that begin so far below the shortest distances. Two minutes.

    OMP_NUM_THREADS=1 python benchmarks/core.py train_300K.xyz
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.constraints import FixCom
from ase.io import read
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from pyictp.graph.derivatives import evaluate_graph
from pyictp.graph.graph import build_graph
from pyictp.model.ictp import ICTPModel
from pyictp.potential.calculator import ICTPCalculator
from pyictp.potential.checkpoint import build_model, load_checkpoint
from pyictp.potential.distances import distance_table

MODELS = Path(__file__).resolve().parent.parent / "models"
MARGINS = (None, 0.0, 0.05, 0.1, 0.15)  # A; None: no core
TEMPERATURES = (600, 1200)  # K


def sample(start: Atoms, temperature: float, number: int) -> list[Atoms]:
    """Return frames of dynamics, 10 fs apart, with forces."""
    atoms, rng = start.copy(), np.random.default_rng(1)
    atoms.calc = ICTPCalculator(MODELS / "acac_pretrained/model.pt", closest="ignore")
    thermalize_momenta(atoms, temperature, rng=rng)
    atoms.set_constraint(FixCom())
    friction = 0.02 / units.fs
    dynamics = Langevin(
        atoms, 0.5 * units.fs, temperature_K=temperature, friction=friction, fixcm=False, rng=rng
    )
    dynamics.run(200)
    frames = []
    for _ in range(number):
        dynamics.run(20)
        frames.append(atoms.copy())
        frames[-1].arrays["labels"] = atoms.get_forces(apply_constraint=False)
    return frames


def deviation(model: ICTPModel, frames: list[Atoms]) -> float:
    """Return the root mean square deviation of forces [meV/A]."""
    squares = []
    for atoms in frames:
        species = [model.config.elements.index(element) for element in atoms.symbols]
        graph = build_graph(atoms.positions, np.zeros((3, 3)), False, species, model.r_cut)
        squares.append((evaluate_graph(model, graph).forces.numpy() - atoms.arrays["labels"]) ** 2)
    return 1000 * np.sqrt(np.mean(squares))


def main() -> None:
    """Print a row for each temperature."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("structure", type=Path, help="acetylacetone, any file ASE reads")
    parser.add_argument("--frames", type=int, default=50)
    args = parser.parse_args()
    payload = load_checkpoint(MODELS / "acac/best.pt")
    model = build_model(payload, torch.float64).eval()
    elements = model.config.elements
    shortest = torch.from_numpy(distance_table(payload["provenance"], elements, model.r_cut))
    for temperature in TEMPERATURES:
        frames = sample(read(args.structure, 0), temperature, args.frames)
        words = []
        for margin in MARGINS:
            if margin is None:
                model.core = None
            else:
                model.repel_below(shortest - margin)
            name = "none" if margin is None else f"{margin:g} A"
            words.append(f"{name} {deviation(model, frames):.1f}")
        print(f"{temperature} K, meV/A: {', '.join(words)}")


if __name__ == "__main__":
    main()
