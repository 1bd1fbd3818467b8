# SPDX-License-Identifier: MIT
"""What is timed: structures, architectures and the list of cases of each sweep."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from pyictp.config.load import ModelConfig
from pyictp.data.samples import species_of
from pyictp.graph.graph import build_graph

R_CUT = 5.0  # A
ELEMENTS = {"alloy": ("Ta", "V", "Cr", "W"), "water": ("H", "O"), "aspirin": ("H", "C", "O")}
CELLS = {"alloy": 6, "water": 4}  # cells per edge: 432 atoms; 64 molecules

# Aspirin, optimised geometry: element, x, y, z [A].
ASPIRIN = """
O 1.2333 0.5540 0.7792    O -0.6952 -2.7148 -0.7502  O 0.7958 -2.1843 0.8685
O 1.7813 0.8105 -1.4821   C -0.0857 0.6088 0.4403    C -0.7927 -0.5515 0.1244
C -0.7288 1.8464 0.4133   C -2.1426 -0.4741 -0.2184  C -2.0787 1.9238 0.0706
C -2.7855 0.7636 -0.2453  C -0.1409 -1.8536 0.1477   C 2.1094 0.6715 -0.3113
C 3.5305 0.5996 0.1635    H -0.1851 2.7545 0.6593    H -2.7247 -1.3605 -0.4564
H -2.5797 2.8872 0.0506   H -3.8374 0.8238 -0.5090   H 3.7290 1.4184 0.8593
H 4.2045 0.6969 -0.6924   H 3.7105 -0.3659 0.6426    H -0.2555 -3.5916 -0.7337
"""


@dataclass(frozen=True)
class Case:
    """One architecture on one structure in one precision."""

    system: str = "alloy"  # alloy | water
    channels: int = 64
    l_max_hidden: int = 1
    dtype: str = "float32"
    cells: int = 6  # per edge of the box
    r_cut: float = R_CUT  # A

    def __str__(self) -> str:
        """Return a name for people."""
        rank = f"l_max_hidden {self.l_max_hidden}"
        name = f"{self.system}, {self.channels} channels, {rank}, {self.dtype}"
        return name if self.r_cut == R_CUT else f"{name}, r_cut {self.r_cut:g} A"

    @property
    def elements(self) -> tuple[str, ...]:
        """Return the elements in the order of the model's species."""
        return ELEMENTS[self.system]

    def structure(self) -> Atoms:
        """Return what is timed."""
        return alloy(self.cells) if self.system == "alloy" else water(self.cells)

    def tiny(self) -> Atoms:
        """Return a cell of two or three atoms: what the program needs without a system."""
        return alloy(1) if self.system == "alloy" else water(1)

    def large(self) -> Atoms:
        """Return eight times what is timed, for memory: loading a model has a peak of its own."""
        return dataclasses.replace(self, cells=2 * self.cells).structure()

    def model_config(self) -> ModelConfig:
        """Return the yardstick's architecture: two layers, l_max_edge 3, correlation 3."""
        structures = [self.structure()]
        return model_config(self.elements, self.channels, self.l_max_hidden, structures, self.r_cut)


def model_config(
    elements: tuple[str, ...],
    channels: int,
    l_max_hidden: int,
    structures: list[Atoms],
    r_cut: float = R_CUT,
) -> ModelConfig:
    """Return the architecture, normalised by the mean number of neighbors of the structures."""
    return ModelConfig(
        elements=elements,
        r_cut=r_cut,
        num_channels=channels,
        l_max_hidden=l_max_hidden,
        avg_num_neighbors=float(
            np.mean([num_neighbors(atoms, elements, r_cut) for atoms in structures])
        ),
    )


def num_neighbors(atoms: Atoms, elements: tuple[str, ...], r_cut: float = R_CUT) -> float:
    """Return the mean number of neighbors closer than r_cut [A]."""
    species = species_of(atoms.numbers, elements)
    graph = build_graph(atoms.positions, np.array(atoms.cell), atoms.pbc, species, r_cut)
    return graph.num_edges / len(atoms)


def alloy(cells: int) -> Atoms:
    """Return bcc Ta-V-Cr-W, a = 3.1 A, 2 * cells**3 atoms, rattled by 0.1 A."""
    atoms = bulk("W", "bcc", a=3.1, cubic=True) * (cells, cells, cells)
    symbols = np.resize(ELEMENTS["alloy"], len(atoms))
    atoms.set_chemical_symbols(list(np.random.default_rng(0).permutation(symbols)))
    atoms.rattle(0.1, seed=1)
    return atoms


def water(cells: int) -> Atoms:
    """Return cells**3 rigid molecules at 1 g/cm^3, turned at random, centers on a cubic lattice."""
    generator = np.random.default_rng(0)
    spacing = (18.015 / 0.602214) ** (1 / 3)  # A
    angle = np.deg2rad(104.5 / 2)
    molecule = 0.96 * np.array(
        [[0, 0, 0], [np.sin(angle), np.cos(angle), 0], [-np.sin(angle), np.cos(angle), 0]]
    )
    positions = []
    for place in itertools.product(range(cells), repeat=3):
        turn, _ = np.linalg.qr(generator.normal(size=(3, 3)))
        positions.append(molecule @ turn + spacing * np.array(place))
    length = spacing * max(cells, 3)  # a lone molecule in a box of its own
    return Atoms("OHH" * cells**3, np.concatenate(positions), cell=[length] * 3, pbc=True)


def aspirin(count: int, file: Path | None = None) -> list[Atoms]:
    """Return aspirin molecules: frames of an rMD17 npz file, or one geometry rattled by 0.05 A."""
    if file is not None:
        with np.load(file) as data:
            numbers, positions = data["nuclear_charges"], data["coords"][:count]
        return [Atoms(numbers, frame) for frame in positions]
    words = np.array(ASPIRIN.split()).reshape(-1, 4)
    molecules = [Atoms(list(words[:, 0]), words[:, 1:].astype(float)) for _ in range(count)]
    for seed, molecule in enumerate(molecules):
        molecule.rattle(0.05, seed=seed)
    return molecules


def as_plain(atoms: Atoms) -> dict[str, Any]:
    """Return a structure as plain values: numbers, positions [A], cell [A], pbc."""
    return {
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": np.array(atoms.cell).tolist(),
        "pbc": atoms.pbc.tolist(),
    }
