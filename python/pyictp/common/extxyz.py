# SPDX-License-Identifier: MIT
"""Extended XYZ between the steps of one program: written whole or not at all, read as written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from ase import Atoms
from ase.io import read, write

from pyictp.common.files import atomic_path


def save_structures(path: Path, structures: Sequence[Atoms]) -> None:
    """Write structures; backslashes in texts are escaped, which ASE's writer leaves out."""
    copies = []
    for atoms in structures:
        copies.append(atoms.copy())
        copies[-1].calc = atoms.calc
        for key, value in atoms.info.items():
            if isinstance(value, str):
                copies[-1].info[key] = value.replace("\\", "\\\\")
    with atomic_path(path) as temporary:
        write(temporary, copies, format="extxyz")


def load_structures(path: Path) -> list[Atoms]:
    """Return all structures of a file; none where there is no file."""
    if not path.exists() or not path.stat().st_size:
        return []
    return cast("list[Atoms]", read(path, ":", format="extxyz"))


def load_structure(path: Path) -> Atoms:
    """Return the last structure of a file."""
    return cast("Atoms", read(path, format="extxyz"))
