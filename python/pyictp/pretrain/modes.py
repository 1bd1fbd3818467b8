# SPDX-License-Identifier: MIT
"""The minimum near a structure and its Hessian, by the teacher: what normal modes are made of."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.optimize import FIRE
from ase.vibrations import Vibrations
from numpy.typing import NDArray

from pyictp.common.files import atomic_path

FMAX = 0.02  # eV/A: forces at a minimum
STEPS = 1000  # of the relaxation


@dataclass(frozen=True)
class Modes:
    """A minimum."""

    positions: NDArray[np.float64]  # (N, 3) [A]
    hessian: NDArray[np.float64]  # (3N, 3N) [eV/A^2]


def _file(folder: Path, number: int) -> Path:
    return folder / "modes" / f"{number:05}.npz"


def has_modes(folder: Path, number: int) -> bool:
    """Return whether a minimum was looked for, found or not."""
    return _file(folder, number).exists()


def load_modes(folder: Path, number: int) -> Modes | None:
    """Return the minimum near a structure; None where none was found."""
    with np.load(_file(folder, number)) as known:
        return Modes(known["positions"], known["hessian"]) if known.files else None


def write_no_modes(folder: Path, number: int) -> None:
    """Note that there is no minimum."""
    _write(folder, number, {})


def find_modes(start: Atoms, teacher: Any, folder: Path, number: int) -> None:
    """Look for the minimum near a structure, write it with its Hessian by finite differences.

    Forces already calculated are not calculated again after the process was killed.

    Args:
        start: the structure.
        teacher: a calculator.
        folder: of the sampling.
        number: of the structure.
    """
    atoms = start.copy()
    atoms.calc = teacher
    if not FIRE(atoms, logfile=None).run(fmax=FMAX, steps=STEPS):
        write_no_modes(folder, number)
        return
    file = _file(folder, number)
    file.parent.mkdir(parents=True, exist_ok=True)
    vibrations = Vibrations(atoms, name=str(file.with_suffix("")))
    vibrations.clean(empty_files=True)  # of a killed process
    vibrations.run()
    hessian = vibrations.get_vibrations().get_hessian_2d()
    _write(folder, number, {"positions": atoms.positions, "hessian": hessian})
    shutil.rmtree(file.with_suffix(""))


def _write(folder: Path, number: int, arrays: dict[str, NDArray[np.float64]]) -> None:
    file = _file(folder, number)
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as temporary, temporary.open("wb") as opened:
        np.savez(opened, allow_pickle=False, **arrays)
