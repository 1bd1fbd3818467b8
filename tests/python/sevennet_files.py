# SPDX-License-Identifier: MIT
"""Checkpoints of SevenNet, stored compressed, and sevenn's values of them."""

from __future__ import annotations

import lzma
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from pyictp.foreign import installed

SEVENN = "ICTP_TEST_SEVENN"
FOLDER = Path(__file__).parents[1] / "data" / "sevennet"
CASES = sorted(path.stem for path in FOLDER.glob("*.npz"))
HEADS = {"methods": "r2scan"}
# name here: name in sevenn, method
RELEASED = {
    "sevennet-0": ("SEVENNET_0_11Jul2024", None),
    "sevennet-0-22may2024": ("SEVENNET_0_22May2024", None),
    "sevennet-l3i5": ("SEVENNET_l3i5", None),
    "sevennet-mf-0": ("SEVENNET_MF_0", "PBE"),
}


def unpack(name: str, folder: Path, source: Path = FOLDER) -> Path:
    """Write the file of a case as sevenn has it; returns its path."""
    path = folder / f"{name}.pth"
    path.write_bytes(lzma.decompress((source / f"{name}.pth.xz").read_bytes()))
    return path


def install_small(name: str, site: Path) -> Path:
    """Put a case in the place of SevenNet-0, in a package that cannot be imported; return `site`.

    `site` is for the path of modules.
    """
    released = site / "sevenn" / installed.FOLDER / installed.RELEASED["sevennet-0"][1]
    released.parent.mkdir(parents=True)
    (site / "sevenn" / "__init__.py").write_text("raise RuntimeError('imported')")
    unpack(name, released.parent).rename(released)
    return site


def python_with_sevenn() -> str:
    """Return a python of an environment with sevenn; skip where none is named."""
    python = os.environ.get(SEVENN)
    if not python:
        pytest.skip(f"{SEVENN} names no python of an environment with sevenn")
    return python


def released_file(name: str) -> Path:
    """Return the file of a released model in that environment; sevenn itself says where."""
    constant, _ = RELEASED[name]
    program = f"import sevenn._const as found; print(found.{constant})"
    command = [python_with_sevenn(), "-c", program]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())


def matter() -> dict[str, Atoms]:
    """Return rattled crystals, a molecule, a slab and water."""
    rng = np.random.default_rng(3)
    found = {
        "copper": bulk("Cu", cubic=True) * (2, 2, 2),
        "alloy": bulk("Ta", "bcc", a=3.2, cubic=True) * (2, 2, 2),
        "oxide": bulk("MgO", "rocksalt", a=4.21, cubic=True),
        "salt": bulk("NaCl", "rocksalt", a=5.64, cubic=True),
        "molecule": molecule("CH3CH2OH"),
        "slab": fcc111("Al", (2, 2, 4), vacuum=8.0, periodic=True),
        "water": Atoms(cell=3 * [2 * 3.1], pbc=True),
    }
    found["alloy"].symbols[:] = rng.choice(["Ta", "V", "Cr", "W"], 16)
    strain = np.eye(3) + 0.03 * rng.normal(size=(3, 3))
    found["alloy"].set_cell(found["alloy"].cell @ strain, scale_atoms=True)
    for place in np.ndindex(2, 2, 2):
        one = molecule("H2O")
        one.rotate(rng.uniform(0.0, 360.0), rng.normal(size=3))
        one.translate(3.1 * np.array(place))
        found["water"] += one
    for name, atoms in found.items():
        atoms.rattle(0.02 if name in ("molecule", "water") else 0.08, rng=rng)
    return found
