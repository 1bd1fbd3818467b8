# SPDX-License-Identifier: MIT
"""Files of MACE models, stored compressed, and mace-torch's values of them."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pyictp.graph.graph import Graph, build_graph

FOLDER = Path(__file__).parents[1] / "data" / "mace"
CASES = sorted(path.stem for path in FOLDER.glob("*.npz"))
HEADS = dict.fromkeys(
    (
        *("plain_heads", "rank1_ell3", "density_agnesi", "nonlinear_heads"),
        *("bias_heads", "charge_heads"),
    ),
    "r2scan",
)
STATES = {"charge_spin": {"charge": -1, "spin": 2}}  # as in make.py


class Reference(NamedTuple):
    """What mace-torch makes of a structure, float64."""

    graph: Graph
    numbers: np.ndarray
    volume: float | None  # A^3
    energy: float
    node_energies: np.ndarray
    forces: np.ndarray
    stress: np.ndarray | None  # eV/A^3


def unpack(name: str, folder: Path, source: Path = FOLDER) -> Path:
    """Write the file of a case as MACE has it; returns its path."""
    path = folder / f"{name}.model"
    path.write_bytes(lzma.decompress((source / f"{name}.model.xz").read_bytes()))
    return path


def references(
    name: str, atomic_numbers: list[int], r_cut: float, source: Path = FOLDER
) -> Iterator[Reference]:
    """Yield the structures of a case whose elements are all known."""
    stored = np.load(source / f"{name}.npz")
    for k in range(2):
        numbers, positions, cell, pbc, energy, node_energies, forces = (
            stored[f"{key}_{k}"]
            for key in ("numbers", "positions", "cell", "pbc", "energy", "node_energies", "forces")
        )
        if not set(numbers) <= set(atomic_numbers):
            continue
        species = [atomic_numbers.index(z) for z in numbers]
        graph = build_graph(positions, cell, pbc, species, r_cut)
        volume = abs(np.linalg.det(cell)) if pbc.all() else None
        stress = stored[f"stress_{k}"] if pbc.all() else None
        yield Reference(graph, numbers, volume, energy.item(), node_energies, forces, stress)
