# SPDX-License-Identifier: MIT
"""A crystal at rest: its cell, equation of state and elastic constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.eos import EquationOfState
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE
from ase.stress import voigt_6_to_full_3x3_strain
from ase.units import GPa

from pyictp.common.arrays import FloatArray
from pyictp.errors import UserError

FORCE_TOLERANCE = 1e-5  # eV/A
STEPS = 500
SYMMETRY_TOLERANCE = 1e-3  # A
STRAIN = 2e-3
VOLUMES = np.linspace(0.94, 1.06, 7)  # of the relaxed one


def relax(atoms: Atoms, what: str, cell: str = "fixed", tolerance: float = FORCE_TOLERANCE) -> None:
    """Move atoms, and the cell where it is not `fixed`: `free`, or its shape at constant volume.

    Raises:
        UserError: the forces do not become small.
    """
    if len(atoms) == 1 and cell == "fixed":
        return
    moved: Any = atoms
    if cell != "fixed":
        moved = FrechetCellFilter(atoms, constant_volume=cell == "shape")
    if BFGS(moved, logfile=None).run(fmax=tolerance, steps=STEPS):
        return
    # from far away BFGS may run into a wall, where the steps of FIRE are short
    if not FIRE(moved, logfile=None).run(fmax=tolerance, steps=4 * STEPS):
        raise UserError(
            f"{what}: the forces stay above {tolerance:g} eV/A after {5 * STEPS} steps: expected "
            "a structure near a minimum and a potential without noise (float64)"
        )


def conventional(atoms: Atoms) -> Atoms:
    """Return the conventional cell in its standard orientation, with the calculator."""
    dataset = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    found = spglib.standardize_cell(dataset, symprec=SYMMETRY_TOLERANCE)
    if found is None:
        raise UserError("spglib finds no cell: are two atoms on one spot?")
    cell, positions, numbers = found
    standard = Atoms(numbers, cell=cell, scaled_positions=positions, pbc=True)
    standard.calc = atoms.calc
    return standard


def space_group(atoms: Atoms) -> str:
    """Return the symbol of the space group."""
    dataset = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    return str(spglib.get_spacegroup(dataset, symprec=SYMMETRY_TOLERANCE))


def relaxed(atoms: Atoms, calculator: Calculator) -> Atoms:
    """Return the conventional cell of the relaxed crystal."""
    moved = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    moved.calc = calculator
    relax(moved, "cell", "free")
    standard = conventional(moved)
    relax(standard, "cell", "free")
    return standard


@dataclass(frozen=True)
class StateEquation:
    """Birch-Murnaghan's equation of state through energies of strained cells."""

    volumes: FloatArray  # (K,) [A^3/atom]
    energies: FloatArray  # (K,) [eV/atom]
    volume: float  # at zero pressure [A^3/atom]
    energy: float  # there [eV/atom]
    bulk_modulus: float  # [GPa]
    derivative: float  # of it by pressure


def equation_of_state(atoms: Atoms) -> StateEquation:
    """Return the fit; atoms and the shape of the cell are relaxed at each volume."""
    volumes, energies = [], []
    for factor in VOLUMES:
        strained = scaled(atoms, factor)
        relax(strained, "equation of state", "shape")
        volumes.append(strained.get_volume() / len(atoms))
        energies.append(strained.get_potential_energy() / len(atoms))
    return fit_state(volumes, energies)


def fit_state(volumes: Sequence[float], energies: Sequence[float]) -> StateEquation:
    """Return the fit of volumes [A^3/atom] in ascending order and energies [eV/atom].

    Raises:
        UserError: no energy is the lowest.
    """
    fit = EquationOfState(volumes, energies, eos="birchmurnaghan")
    try:
        volume, energy, modulus = fit.fit(warn=False)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"equation of state: no minimum of the energy: {error}") from error
    derivative = float(fit.eos_parameters[2])
    return StateEquation(
        np.array(volumes), np.array(energies), volume, energy, modulus / GPa, derivative
    )


def elastic_constants(atoms: Atoms, strain: float = STRAIN) -> FloatArray:
    """Return C (6, 6) [GPa], Voigt: d(stress)/d(strain), central, atoms relaxed at each strain."""
    rows = []
    for unit in strain * np.eye(6):
        up, down = (_strained(atoms, sign * unit).get_stress() for sign in (1, -1))
        rows.append((up - down) / (2 * strain))
    constants = np.array(rows) / GPa
    return 0.5 * (constants + constants.T)


def _strained(atoms: Atoms, strain: FloatArray) -> Atoms:
    copy = _copy(atoms)
    copy.set_cell(atoms.cell.array @ voigt_6_to_full_3x3_strain(strain), scale_atoms=True)
    relax(copy, "elastic constants")
    return copy


def scaled(atoms: Atoms, factor: float) -> Atoms:
    """Return a crystal with a volume that is `factor` times its own."""
    strained = _copy(atoms)
    strained.set_cell(atoms.cell.array * factor ** (1 / 3), scale_atoms=True)
    return strained


def _copy(atoms: Atoms) -> Atoms:
    copy = atoms.copy()
    copy.calc = atoms.calc
    return copy


@dataclass(frozen=True)
class Moduli:
    """Averages over orientations of the grains of a polycrystal (Voigt, Reuss and Hill)."""

    bulk: float  # Hill's [GPa]
    shear: float  # Hill's [GPa]
    young: float  # [GPa]
    poisson: float
    stable: bool  # every strain costs energy (Born)


def moduli(constants: FloatArray) -> Moduli:
    """Return the moduli of C (6, 6) [GPa].

    Source: R. Hill, Proc. Phys. Soc. A 65, 349 (1952).
    """
    stable = bool(np.linalg.eigvalsh(constants).min() > 0)
    compliance: FloatArray = np.linalg.inv(constants).astype(np.float64)
    c_normal, c_mixed, c_shear = _sums(constants)
    s_normal, s_mixed, s_shear = _sums(compliance)
    bulk = 0.5 * ((c_normal + 2 * c_mixed) / 9 + 1 / (s_normal + 2 * s_mixed))
    voigt = (c_normal - c_mixed + 3 * c_shear) / 15
    reuss = 15 / (4 * s_normal - 4 * s_mixed + 3 * s_shear)
    shear = 0.5 * (voigt + reuss)
    young = 9 * bulk * shear / (3 * bulk + shear)
    return Moduli(bulk, shear, young, young / (2 * shear) - 1, stable)


def _sums(matrix: FloatArray) -> tuple[float, float, float]:
    """Return M11+M22+M33, M12+M23+M13 and M44+M55+M66."""
    mixed = matrix[0, 1] + matrix[1, 2] + matrix[0, 2]
    return float(np.trace(matrix[:3, :3])), float(mixed), float(np.trace(matrix[3:, 3:]))
