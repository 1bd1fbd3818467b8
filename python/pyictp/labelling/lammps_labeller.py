# SPDX-License-Identifier: MIT
"""Labels by a potential in LAMMPS: the user's pair lines, one step, energy, forces and stress."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from pyictp.common.units import unit_factor
from pyictp.errors import UserError
from pyictp.labelling.settings import LabellerConfig
from pyictp.md.lammps import lammps_command, potential_environment, read_thermo, watch
from pyictp.md.structure import place

PRESSURES = "pxx pyy pzz pyz pxz pxy"  # in the order of ASE's stress
# what LAMMPS' unit systems have for energy and pressure; lengths are in A in both
UNITS = {"metal": ("eV", 1.0), "real": ("kcal/mol", 1.01325)}  # and bar


def lammps_labels(atoms: Atoms, settings: LabellerConfig, folder: Path) -> Atoms:
    """Return a structure with the labels of the potential that `settings.lammps` names.

    Args:
        atoms: any cell; open directions stay open.
        settings: pair lines, and the elements of types 1, 2, ...
        folder: for deck, structure and log.

    Raises:
        UserError: LAMMPS' own message, or an element that has no type.
    """
    elements = settings.elements or tuple(dict.fromkeys(atoms.get_chemical_symbols()))
    if len(elements) > 1 and not settings.elements:
        raise UserError(
            f"labeller.elements: name the elements of types 1, 2, ... ({' '.join(elements)} in the "
            "order of pair_coeff)"
        )
    strange = sorted(set(atoms.get_chemical_symbols()) - set(elements))
    if strange:
        raise UserError(
            f"labeller.elements are {' '.join(elements)}, the structure also has "
            f"{' '.join(strange)}"
        )
    placed = place(atoms, "structure")
    placed.write_data(folder / "structure.data", elements)
    (folder / "in.lammps").write_text(_deck(settings, placed.boundary))
    command = [*lammps_command(), "-in", "in.lammps", "-nocite"]
    watch(
        command,
        folder,
        "the potential in LAMMPS",
        0,
        environment={**os.environ, **potential_environment()},
    )
    thermo = read_thermo(folder / "log.lammps")
    unit, bar = UNITS[settings.units]
    energy = unit_factor(unit)
    forces = energy * np.loadtxt(folder / "forces.txt", skiprows=9, ndmin=2)[:, 1:]
    labels = {
        "energy": energy * float(thermo["PotEng"][-1]),
        "forces": placed.prism.vector_to_ase(forces),
    }
    if atoms.pbc.all():  # a box with open directions has no volume to speak of
        pressures = [thermo[name.title()][-1] for name in PRESSURES.split()]
        xx, yy, zz, yz, xz, xy = -bar * unit_factor("bar") * np.array(pressures)
        stress = placed.prism.tensor2_to_ase(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
        labels["stress"] = full_3x3_to_voigt_6_stress(stress)
    labelled = atoms.copy()
    labelled.calc = SinglePointCalculator(labelled, **labels)
    return labelled


def _deck(settings: LabellerConfig, boundary: str) -> str:
    lines = [
        f"units {settings.units}",
        "atom_style atomic",
        "atom_modify map array",
        f"boundary {boundary}",
        "box tilt large",
        "read_data structure.data",
        *settings.lammps,
        f"thermo_style custom step pe {PRESSURES}",
        "thermo_modify norm no format float %.15g",
        "run 0",
        "write_dump all custom forces.txt id fx fy fz modify sort id format float %.12g",
    ]
    return "\n".join(lines) + "\n"
