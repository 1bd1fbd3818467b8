# SPDX-License-Identifier: MIT
"""Phonons of a crystal by displacements in a supercell, with phonopy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.cell import Cell
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms
from phonopy.structure.cells import guess_primitive_matrix

from pyictp.common.arrays import FloatArray

DISPLACEMENT = 0.01  # A
LENGTH = 11.0  # A, of the supercell at least
MESH = 40.0  # density of q-points of sums, as phonopy counts it [A]
TEMPERATURE = 300.0  # K
BAND_POINTS = 200
ZERO = 0.05  # THz: what acoustic modes at G deviate from 0 by rounding


@dataclass(frozen=True)
class Phonons:
    """Frequencies of a crystal; imaginary ones are negative."""

    points: dict[str, FloatArray]  # special point: (3 n,) [THz]
    path: FloatArray  # (Q,) length along the bands [1/A]
    bands: FloatArray  # (Q, 3 n) [THz]
    ticks: dict[float, str]  # special points along the path
    density_frequencies: FloatArray  # (F,) [THz]
    density: FloatArray  # (F,) [states/THz and cell]
    lowest: float  # [THz] of mesh and path
    zero_point: float  # [eV/atom]
    heat_capacity: float  # at TEMPERATURE, constant volume [k_B/atom]
    supercell: tuple[int, int, int]  # of the conventional cell


def repeats(atoms: Atoms, length: float = LENGTH) -> tuple[int, int, int]:
    """Return how many cells make a supercell of at least `length` [A] along each vector."""
    a, b, c = (int(np.ceil(length / side)) for side in atoms.cell.lengths())
    return a, b, c


def force_constants(atoms: Atoms, length: float = LENGTH) -> Phonopy:
    """Return phonopy with the force constants of a relaxed conventional cell.

    Args:
        atoms: the cell.
        length: of the supercell at least [A].
    """
    supercell = repeats(atoms, length)
    cell = PhonopyAtoms(atoms.symbols, cell=atoms.cell.array, positions=atoms.positions)
    primitive = guess_primitive_matrix(cell)
    phonon = Phonopy(cell, supercell_matrix=np.diag(supercell), primitive_matrix=primitive)
    phonon.generate_displacements(distance=DISPLACEMENT)
    displaced = phonon.supercells_with_displacements or []
    phonon.forces = [_forces(one, atoms) for one in displaced]
    phonon.produce_force_constants()
    phonon.symmetrize_force_constants()
    return phonon


def phonons(atoms: Atoms) -> Phonons:
    """Return the phonons of a relaxed conventional cell."""
    phonon = force_constants(atoms)
    path = Cell(phonon.primitive.cell).bandpath(npoints=BAND_POINTS)
    bands = np.array(phonon.run_qpoints(path.kpts).frequencies)
    along, ticks, labels = path.get_linear_kpoint_axis()
    special = phonon.run_qpoints(list(path.special_points.values())).frequencies
    mesh = phonon.run_mesh(MESH)
    states = phonon.run_total_dos()
    thermal = phonon.run_thermal_properties(
        temperatures=[0.0, TEMPERATURE], exclude_gamma_acoustic=True
    )
    assert thermal.free_energy is not None
    assert thermal.heat_capacity is not None
    number = len(phonon.primitive)
    lowest = min(bands.min(), np.array(mesh.frequencies).min())
    kj_per_mol, gas_constant = 96.48533212, 8.31446261815324  # of 1 eV; J/(K mol)
    return Phonons(
        points=dict(zip(path.special_points, np.array(special), strict=True)),
        path=along,
        bands=bands,
        ticks=dict(zip(ticks.tolist(), labels, strict=True)),
        density_frequencies=np.array(states.frequency_points),
        density=np.array(states.dos),
        lowest=float(lowest),
        zero_point=float(thermal.free_energy[0]) / kj_per_mol / number,
        heat_capacity=float(thermal.heat_capacity[1]) / gas_constant / number,
        supercell=repeats(atoms),
    )


def _forces(supercell: PhonopyAtoms, atoms: Atoms) -> FloatArray:
    moved = Atoms(supercell.symbols, supercell.positions, cell=supercell.cell, pbc=True)
    moved.calc = atoms.calc
    return np.array(moved.get_forces())
