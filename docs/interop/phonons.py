#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Phonons of a crystal with phonopy, forces in one batch; frequencies compared with ase.phonons.

python docs/interop/phonons.py MODEL W --structure bcc --repeat 4 --plot phonons.png
"""

from __future__ import annotations

import argparse
import tempfile

import matplotlib
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.dft.kpoints import parse_path_string
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.phonons import Phonons
from ase.units import _e, _hplanck
from phonopy import Phonopy
from phonopy.phonon.band_structure import get_band_qpoints_and_path_connections
from phonopy.structure.atoms import PhonopyAtoms
from pyictp import ICTPCalculator, evaluate_batch

DISPLACEMENT = 0.01  # A
THZ_PER_EV = _e / _hplanck * 1e-12


def main() -> None:
    """Relax the crystal, print frequencies of both codes, draw bands and density of states."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="training folder or checkpoint: float64 is needed")
    parser.add_argument("symbol", help="element, or formula as ase.build.bulk takes it")
    parser.add_argument("--structure", default="bcc", help="as ase.build.bulk takes it")
    parser.add_argument("--a", type=float, help="lattice constant to start from [A]")
    parser.add_argument("--repeat", type=int, default=4, help="supercell; even for zone boundaries")
    parser.add_argument("--plot", help="picture of bands and density of states")
    args = parser.parse_args()
    atoms = bulk(args.symbol, args.structure, a=args.a)
    calculator = ICTPCalculator(args.model, dtype="float64")
    atoms.calc = calculator
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-6, steps=200)
    print(f"primitive vectors {np.round(atoms.cell.lengths(), 4)} A")

    phonon = with_phonopy(atoms, calculator.potential, args.repeat)
    points = special_points(atoms, args.repeat)
    phonon.run_qpoints(list(points.values()))
    expected = with_ase(atoms, args.repeat, list(points.values()))
    print(f"{'point':<6} {'phonopy [THz]':<32} {'ase.phonons [THz]':<32}")
    for name, ours, other in zip(points, phonon.qpoints.frequencies, expected, strict=True):
        print(f"{name:<6} {row(ours):<32} {row(other):<32}")
    difference = abs(np.array(phonon.qpoints.frequencies) - expected).max()
    print(f"largest difference {difference:.4f} THz")
    if args.plot:
        draw(phonon, atoms, args.plot)


def row(frequencies: np.ndarray) -> str:
    """Return frequencies as text; imaginary ones are negative."""
    return " ".join(f"{value:8.3f}" for value in frequencies)


def with_phonopy(atoms: Atoms, potential: object, repeat: int) -> Phonopy:
    """Return force constants of a supercell; the forces of all displacements come in one call."""
    cell = PhonopyAtoms(atoms.symbols, cell=atoms.cell.array, positions=atoms.positions)
    phonon = Phonopy(cell, supercell_matrix=[repeat] * 3, primitive_matrix=np.eye(3))
    phonon.generate_displacements(distance=DISPLACEMENT)
    supercells = [
        Atoms(s.symbols, s.positions, cell=s.cell, pbc=True)
        for s in phonon.supercells_with_displacements
    ]
    phonon.forces = [result.forces for result in evaluate_batch(potential, supercells)]
    phonon.produce_force_constants()
    phonon.symmetrize_force_constants()
    return phonon


def with_ase(atoms: Atoms, repeat: int, points: list[np.ndarray]) -> np.ndarray:
    """Return frequencies (points, 3 N) [THz] of ase.phonons."""
    with tempfile.TemporaryDirectory() as folder:
        phonons = Phonons(
            atoms, atoms.calc, (repeat,) * 3, delta=DISPLACEMENT, name=f"{folder}/phonons"
        )
        phonons.run()
        phonons.read(acoustic=True)
        return phonons.band_structure(points, verbose=False) * THZ_PER_EV


def special_points(atoms: Atoms, repeat: int) -> dict[str, np.ndarray]:
    """Return the special points that the supercell holds: there force constants are not cut off."""
    points = atoms.cell.bandpath(npoints=0).special_points
    return {
        name: point
        for name, point in points.items()
        if np.allclose(repeat * point, np.round(repeat * point), atol=1e-6)
    }


def draw(phonon: Phonopy, atoms: Atoms, path: str) -> None:
    """Write bands and density of states to a picture."""
    matplotlib.use("Agg")  # phonopy draws with pyplot, which else asks for a screen
    lines = parse_path_string(atoms.cell.bandpath(npoints=0).path)
    points = atoms.cell.bandpath(npoints=0).special_points
    corners = [[points[name] for name in line] for line in lines]
    segments, connections = get_band_qpoints_and_path_connections(corners, npoints=51)
    names = [name.replace("G", "$\\Gamma$") for line in lines for name in line]
    phonon.run_band_structure(segments, path_connections=connections, labels=names)
    phonon.run_mesh(mesh=60.0)
    phonon.run_total_dos()
    plot = phonon.plot_band_structure_and_dos()
    bands, *_, density = (axes for axes in plot.gcf().axes if axes.get_visible())
    bands.set_ylabel("frequency [THz]")
    density.set_xlabel("states per cell\n[1/THz]")
    density.xaxis.get_major_locator().set_params(prune="lower")  # 0 would touch the label of N
    plot.savefig(path, dpi=120, bbox_inches="tight")
    plot.close()
    print(f"picture: {path}")


if __name__ == "__main__":
    main()
