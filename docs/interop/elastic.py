#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Elastic constants of a crystal from stresses, and the same from energies.

python docs/interop/elastic.py MODEL W --structure bcc
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.stress import voigt_6_to_full_3x3_strain
from ase.units import GPa
from pyictp import ICTPCalculator

FORCE_TOLERANCE = 1e-6  # eV/A


def main() -> None:
    """Relax the crystal, strain it both ways and print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="training folder or checkpoint: float64 is needed")
    parser.add_argument("symbol", help="element, or formula as ase.build.bulk takes it")
    parser.add_argument("--structure", default="bcc", help="as ase.build.bulk takes it")
    parser.add_argument("--a", type=float, help="lattice constant to start from [A]")
    parser.add_argument("--strain", type=float, default=2e-3)
    args = parser.parse_args()
    atoms = bulk(args.symbol, args.structure, a=args.a, cubic=True)
    atoms.calc = ICTPCalculator(args.model, dtype="float64")
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=FORCE_TOLERANCE, steps=200)
    print(f"a = {atoms.cell.lengths()[0]:.4f} A")
    by_stress, by_energy = from_stress(atoms, args.strain), from_energy(atoms, args.strain)
    for name, constants in (("stress", by_stress), ("energy", by_energy)):
        print(f"elastic constants from {name} [GPa]")
        print(np.round(constants / GPa, 1) + 0.0)  # without the sign of -0.0
    print(f"largest difference {abs(by_stress - by_energy).max() / GPa:.3f} GPa")
    print(f"bulk modulus {by_stress[:3, :3].mean() / GPa:.1f} GPa")


def strained(atoms: Atoms, strain: np.ndarray) -> Atoms:
    """Return the crystal under a strain (6,), Voigt, its atoms relaxed inside the cell."""
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ voigt_6_to_full_3x3_strain(strain), scale_atoms=True)
    copy.calc = atoms.calc
    BFGS(copy, logfile=None).run(fmax=FORCE_TOLERANCE, steps=200)
    return copy


def from_stress(atoms: Atoms, step: float) -> np.ndarray:
    """Return C (6, 6) [eV/A^3]: C_ij = d(stress_i)/d(strain_j), central differences."""
    rows = []
    for strain in step * np.eye(6):
        up, down = (strained(atoms, sign * strain).get_stress() for sign in (1, -1))
        rows.append((up - down) / (2 * step))
    constants = np.array(rows)
    return 0.5 * (constants + constants.T)


def from_energy(atoms: Atoms, step: float) -> np.ndarray:
    """Return C (6, 6) [eV/A^3]: C_ij = d2(energy)/d(strain_i)d(strain_j) / volume."""

    def energy(*strains: np.ndarray) -> float:
        return strained(atoms, np.sum(strains, axis=0)).get_potential_energy()

    unit = step * np.eye(6)
    curvature = np.empty((6, 6))
    for i, j in itertools.combinations_with_replacement(range(6), 2):
        mixed = sum(p * q * energy(p * unit[i], q * unit[j]) for p in (1, -1) for q in (1, -1))
        curvature[i, j] = curvature[j, i] = mixed / (4 * step**2)
    return curvature / atoms.get_volume()


if __name__ == "__main__":
    main()
