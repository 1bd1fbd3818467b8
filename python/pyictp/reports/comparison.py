# SPDX-License-Identifier: MIT
"""Labels and predictions side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyictp.common.arrays import FloatArray, IntArray


@dataclass(frozen=True)
class Structure:
    """What is said of one structure beside its errors."""

    name: str  # file:frame index
    group: str  # config_type or group of the file, "" where there is none
    formula: str  # of all atoms, for example H128O64
    composition: str  # the same ratio in least numbers: H2O
    num_atoms: int


@dataclass(frozen=True)
class Parity:
    """Labels and predictions side by side, of the structures that have the label."""

    energies: FloatArray  # (K, 2) label, prediction [eV]
    num_atoms: FloatArray  # (K,) of the structures with an energy
    energy_structures: IntArray  # (K,) index into structures
    forces: FloatArray  # (M, 3, 2) [eV/A]
    force_elements: NDArray[np.str_]  # (M,) element of each atom with forces
    force_structures: IntArray  # (M,) index into structures
    force_atoms: IntArray  # (M,) index of the atom in its structure
    stresses: FloatArray  # (L, 6, 2) Voigt xx yy zz yz xz xy [eV/A^3]
    stress_structures: IntArray  # (L,) index into structures
    structures: tuple[Structure, ...]
    # what a model file tells of its uncertainty, None if it cannot:
    energy_deviations: FloatArray | None = None  # (K,) [eV]
    force_deviations: FloatArray | None = None  # (M,) [eV/A] sqrt(mean over models |F - <F>|^2)
    grades: FloatArray | None = None  # (M,)

    @property
    def num_structures(self) -> int:
        """Return the number of structures, with or without labels."""
        return len(self.structures)
