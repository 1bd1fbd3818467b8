# SPDX-License-Identifier: MIT
"""Pressure and stresses of a network: derivatives of the energy, and sums over atoms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ase import Atoms
from deck import VOIGT, Deck, pair_lines, run
from pyictp import ICTPCalculator
from structures import STRUCTURES
from toys import ELEMENTS, PairToy

pytestmark = pytest.mark.lammps
TRICLINIC = STRUCTURES["triclinic cell below the cutoff"]


def strained(row: int, column: int, size: float):
    """Return the structure with x' = x (1 + strain); the cell stays lower triangular."""
    strain = np.eye(3)
    strain[row, column] += size
    return dataclasses.replace(
        TRICLINIC, positions=TRICLINIC.positions @ strain, cell=TRICLINIC.cell @ strain
    )


def energy_slope(folder, deck: Deck, entries: list[tuple[int, int]], size: float = 1e-4) -> float:
    """Return dE/dstrain by fourth-order differences inside LAMMPS."""
    slope = 0.0
    for factor, weight in ((1, 2 / 3), (-1, -2 / 3), (2, -1 / 12), (-2, 1 / 12)):
        structure = TRICLINIC
        if len(entries) == 1:
            structure = strained(*entries[0], factor * size)
        else:
            scale = 1 + factor * size
            structure = dataclasses.replace(
                TRICLINIC, positions=TRICLINIC.positions * scale, cell=TRICLINIC.cell * scale
            )
        slope += weight * run(folder, structure, deck).energy / size
    return slope


@pytest.mark.parametrize("component", range(6), ids=VOIGT)
def test_pressure_tensor_of_a_network(component, network, tmp_path):
    deck = Deck(pair_lines(network("float64")))
    row, column = ([0, 1, 2, 1, 2, 2][component], [0, 1, 2, 0, 0, 1][component])
    slope = energy_slope(tmp_path, deck, [(row, column)])
    virial = run(tmp_path, TRICLINIC, deck).virial[component]
    assert virial == pytest.approx(-slope, abs=1e-7)
    assert abs(slope) > 1e-4


def test_pressure_is_the_volume_derivative(network, tmp_path):
    deck = Deck(pair_lines(network("float64")))
    slope = energy_slope(tmp_path, deck, [(0, 0), (1, 1), (2, 2)])  # 3 V dE/dV
    assert run(tmp_path, TRICLINIC, deck).virial[:3].sum() == pytest.approx(-slope, abs=1e-7)


@pytest.mark.parametrize("name", ["triclinic", "slab", "droplet", "lone atom"])
def test_sums_over_atoms(name, network, tmp_path):
    answer = run(tmp_path, STRUCTURES[name], Deck(pair_lines(network("float64"))))
    np.testing.assert_allclose(answer.atom_virials.sum(0), answer.virial, atol=1e-9)
    nine = answer.centroid_virials.sum(0)
    np.testing.assert_allclose(nine[:6], answer.virial, atol=1e-9)
    np.testing.assert_allclose(nine[6:], nine[3:6], atol=1e-9)  # no torque on the whole
    assert answer.node_energies.sum() == pytest.approx(answer.energy, abs=1e-9)


def test_two_bodies_share_their_virial(export, tmp_path):
    answer = run(tmp_path, STRUCTURES["two clusters"], Deck(pair_lines(export(PairToy))))
    # for pairs both conventions give half of r (x) f to each: LAMMPS' own one
    np.testing.assert_allclose(answer.centroid_virials[:, :6], answer.atom_virials, atol=1e-10)
    np.testing.assert_allclose(answer.atom_virials[0], answer.atom_virials[1], atol=1e-10)


def test_stresses_of_the_ase_calculator(network, tmp_path):
    structure, deck = STRUCTURES["bulk"], Deck(pair_lines(network("float64")))
    # LAMMPS' xy is r_x g_y, ASE's has half of it and half of r_y g_x: that with axes turned round
    turned = dataclasses.replace(
        structure, positions=structure.positions[:, ::-1], cell=structure.cell[::-1, ::-1]
    )
    virials, others = (run(tmp_path, s, deck).atom_virials for s in (structure, turned))
    expected = (virials + others[:, [2, 1, 0, 5, 4, 3]]) / 2
    symbols = [ELEMENTS[number - 1] for number in structure.types]
    atoms = Atoms(symbols, structure.positions, cell=structure.cell, pbc=True)
    atoms.calc = ICTPCalculator(network("float64"))
    stresses = atoms.get_stresses()[:, [0, 1, 2, 5, 4, 3]]  # LAMMPS' order
    np.testing.assert_allclose(-stresses * atoms.get_volume(), expected, atol=1e-9)
    np.testing.assert_allclose(virials[:, :3], expected[:, :3], atol=1e-9)
    assert np.ptp(expected, axis=0).min() > 1e-4  # atoms differ
