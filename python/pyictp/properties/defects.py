# SPDX-License-Identifier: MIT
"""What breaks a crystal of one element: a vacancy, surfaces."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import surface

from pyictp.properties.crystals import relax
from pyictp.properties.lattice_dynamics import repeats

TOLERANCE = 1e-3  # eV/A: errors of energies are far below 1 meV
VACANCY_LENGTH = 10.0  # A, of the supercell at least
THICKNESS = 14.0  # A, of a slab at least
VACUUM = 12.0  # A, on each side
FACES = ((1, 0, 0), (1, 1, 0), (1, 1, 1))  # of cubic crystals
PER_M2 = 16.02176634  # J/m^2 of 1 eV/A^2


def vacancy_energy(atoms: Atoms) -> float:
    """Return the energy [eV] of taking an atom out and putting it into the bulk, cell fixed."""
    whole = atoms.repeat(repeats(atoms, VACANCY_LENGTH))
    whole.calc = atoms.calc
    number, energy = len(whole), whole.get_potential_energy()
    del whole[0]
    relax(whole, "vacancy", tolerance=TOLERANCE)
    return float(whole.get_potential_energy() - (number - 1) / number * energy)


def surface_energies(atoms: Atoms) -> dict[str, float]:
    """Return energies [J/m^2] of relaxed low-index faces of a cubic crystal."""
    per_atom = atoms.get_potential_energy() / len(atoms)
    return {f"({''.join(map(str, f))})": _surface_energy(atoms, f, per_atom) for f in FACES}


def _surface_energy(atoms: Atoms, face: tuple[int, int, int], per_atom: float) -> float:
    one = surface(atoms, face, 1, periodic=True)
    height = one.get_volume() / _area(one)
    slab = surface(atoms, face, int(np.ceil(THICKNESS / height)), vacuum=VACUUM, periodic=True)
    slab.calc = atoms.calc
    relax(slab, f"surface {face}", tolerance=TOLERANCE)
    excess = slab.get_potential_energy() - len(slab) * per_atom
    return float(PER_M2 * excess / (2 * _area(slab)))


def _area(slab: Atoms) -> float:
    return float(np.linalg.norm(np.cross(slab.cell[0], slab.cell[1])))
