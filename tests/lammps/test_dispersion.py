# SPDX-License-Identifier: MIT
"""Dispersion beside a model: LAMMPS' dispersion/d3 against s-dftd3, sums, and labels without it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from blocks import blocks_run_by
from deck import Deck, Structure, pair_lines, run
from structures import STRUCTURES
from toys import MessageToy

dftd3 = pytest.importorskip("dftd3.ase", reason="the package dftd3 is not installed")
pytestmark = pytest.mark.lammps
QUANTITIES = ("energy", "forces", "node_energies", "virial", "atom_virials")
PAGE = Path(__file__).parents[2] / "docs" / "training.md"


def reference(functional: str, cutoff: float, cn_cutoff: float) -> dftd3.DFTD3:
    return dftd3.DFTD3(
        damping="d3bj",
        params_tweaks={"method": functional, "atm": False},
        realspace_cutoff={"disp2": cutoff, "cn": cn_cutoff},
    )


def benzenes() -> Atoms:
    """Return two molecules on top of each other."""
    atoms = molecule("C6H6")
    above = atoms.copy()
    above.positions += [0.3, 0.2, 3.6]
    atoms += above
    atoms.center(6)
    return atoms


def rocksalt() -> Atoms:
    """Return a rattled, sheared crystal."""
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.set_cell(atoms.cell[:] @ [[1, 0, 0], [0.04, 1, 0], [-0.03, 0.05, 1]], scale_atoms=True)
    atoms.positions += np.random.default_rng(0).normal(scale=0.05, size=(8, 3))
    return atoms


def d3_in_lammps(folder: Path, atoms: Atoms, functional: str, cutoff: float, cn: float):
    elements = sorted(set(atoms.symbols))
    types = np.array([elements.index(symbol) + 1 for symbol in atoms.symbols])
    pbc = tuple(map(bool, atoms.pbc))
    structure = Structure(atoms.positions, types, atoms.cell[:], pbc, num_types=len(elements))
    pair = [f"pair_style dispersion/d3 bj {functional} {cutoff} {cn}"]
    return run(folder, structure, Deck([*pair, "pair_coeff * * " + " ".join(elements)]))


@pytest.mark.parametrize(("functional", "name"), [("pbe", "pbe"), ("b3-lyp", "b3lyp")])
@pytest.mark.parametrize("make", [benzenes, rocksalt])
def test_same_as_an_independent_program(make, functional, name, tmp_path):
    atoms = make()
    answer = d3_in_lammps(tmp_path, atoms, functional, 12.0, 8.0)
    atoms.calc = reference(name, 12.0, 8.0)
    # LAMMPS' constants have seven digits
    assert atoms.get_potential_energy() < -0.5
    assert answer.energy == pytest.approx(atoms.get_potential_energy(), rel=3e-6)
    np.testing.assert_allclose(answer.forces, atoms.get_forces(), atol=1e-6)
    if atoms.pbc.all():
        virial = -atoms.get_volume() * atoms.get_stress()[[0, 1, 2, 5, 4, 3]]
        np.testing.assert_allclose(answer.virial, virial, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("processes", [0, pytest.param(2, marks=pytest.mark.mpi)])
@pytest.mark.parametrize("name", ["triclinic", "slab"])
def test_overlay_is_the_sum_of_its_parts(name, processes, export, tmp_path):
    structure, model = STRUCTURES[name], export(MessageToy)
    d3 = ["pair_style dispersion/d3 bj pbe 9.0 6.0", "pair_coeff * * Ta V W"]
    both = ["pair_style hybrid/overlay ictp device cpu dispersion/d3 bj pbe 9.0 6.0"]
    both += [f"pair_coeff * * ictp {model} Ta V W", "pair_coeff * * dispersion/d3 Ta V W"]
    parts = [
        run(tmp_path / "model", structure, Deck(pair_lines(model))),
        run(tmp_path / "d3", structure, Deck(d3)),
    ]
    total = run(tmp_path / "both", structure, replace(Deck(both), processes=processes))
    assert parts[1].energy < -0.1 * len(structure.types)
    for quantity in QUANTITIES:
        expected = getattr(parts[0], quantity) + getattr(parts[1], quantity)
        np.testing.assert_allclose(getattr(total, quantity), expected, atol=1e-8, err_msg=quantity)


def test_labels_without_dispersion(tmp_path, monkeypatch):
    """The recipe of docs/training.md takes away what LAMMPS adds."""
    (script,) = blocks_run_by("tests/lammps/test_dispersion.py", "python")
    cutoff, cn = map(float, re.search(r'"disp2": ([\d.]+), "cn": ([\d.]+)', script).groups())
    assert f"dispersion/d3 bj pbe {cutoff:g} {cn:g}" in PAGE.read_text()
    frames, expected = [bulk("Cu", cubic=True), molecule("CH3OH", vacuum=4.0)], []
    for atoms in frames:
        atoms.rattle(0.1, seed=3)
        atoms.calc = EMT()
        values = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        if atoms.pbc.all():
            values["stress"] = atoms.get_stress()
        expected.append(values)
        answer = d3_in_lammps(tmp_path / str(len(expected)), atoms, "pbe", cutoff, cn)
        values = dict(values)
        values["energy"] += answer.energy
        values["forces"] = values["forces"] + answer.forces
        if "stress" in values:
            voigt = -answer.virial[[0, 1, 2, 5, 4, 3]] / atoms.get_volume()
            values["stress"] = values["stress"] + voigt
        atoms.calc = SinglePointCalculator(atoms, **values)
    monkeypatch.chdir(tmp_path)
    write("with_d3.xyz", frames, format="extxyz")
    exec(compile(script, "subtract_d3.py", "exec"), {})
    for atoms, values in zip(read("without_d3.xyz", ":"), expected, strict=True):
        assert atoms.calc.results.keys() >= values.keys()
        for name, value in values.items():
            np.testing.assert_allclose(atoms.calc.results[name], value, atol=2e-5, err_msg=name)
