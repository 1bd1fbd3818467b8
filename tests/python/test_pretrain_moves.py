# SPDX-License-Identifier: MIT
"""Turns about bonds and displacements along modes, against geometry and equipartition."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.vibrations import Vibrations
from pyictp.pretrain.modes import find_modes, load_modes
from pyictp.pretrain.moves import (
    BONDED,
    count_parts,
    displace,
    reduced_distances,
    turn,
    turnable_bonds,
)


@pytest.mark.parametrize(
    ("name", "number"),
    [("trans-butane", 3), ("C6H6", 0), ("C2H4", 0), ("H2O", 0), ("CH3CH2OH", 2), ("C2H6", 1)],
)
def test_bonds_that_turn(name, number):
    """By hand: methyl groups and OH turn, rings and double bonds do not."""
    assert len(turnable_bonds(molecule(name))) == number


def test_a_turn_keeps_bonds_and_angles():
    atoms = molecule("trans-butane")
    near = reduced_distances(atoms) < BONDED
    within = (near | (near.astype(int) @ near > 0)) & ~np.eye(len(atoms), dtype=bool)
    before, angles = atoms.get_all_distances(), set()
    for seed in range(20):
        turned = turn(atoms, np.random.default_rng(seed))
        if turned is None:
            continue
        np.testing.assert_allclose(turned.get_all_distances()[within], before[within], atol=1e-10)
        carbons = [i for i, symbol in enumerate(atoms.symbols) if symbol == "C"]
        chain = sorted(carbons, key=lambda i: atoms.positions[i, 0])
        angles.add(round(turned.get_dihedral(*_along(atoms, chain)) / 60))
    assert len(angles) > 3


def _along(atoms, carbons):
    """Return the carbons from one end of the chain to the other."""
    distances = atoms.get_all_distances()
    ends = max(
        ((i, j) for i in carbons for j in carbons), key=lambda pair: distances[pair[0], pair[1]]
    )
    return sorted(carbons, key=lambda i: distances[ends[0], i])


def test_parts():
    pair = molecule("H2O")
    other = molecule("CH4")
    other.translate([6, 0, 0])
    assert count_parts(pair) == 1
    assert count_parts(pair + other) == 2


def test_displacements_have_the_energy_of_equipartition():
    """A spring: <k x^2/2> = kT/2; the five motions of the whole are not displaced."""
    k, temperature = 35.0, 500.0
    spring = np.zeros((6, 6))
    spring[np.ix_([2, 5], [2, 5])] = [[k, -k], [-k, k]]
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 1.0]])
    rng = np.random.default_rng(0)
    found = [displace(atoms, spring, temperature, rng) for _ in range(4000)]
    stretch = np.array([a.get_distance(0, 1) - 1.0 for a in found])
    assert k * np.mean(stretch**2) == pytest.approx(units.kB * temperature, rel=0.07)
    across = np.array([a.positions[:, :2] for a in found])
    assert np.abs(across).max() < 1e-12
    centers = np.array([a.get_center_of_mass() for a in found])
    assert np.ptp(centers, axis=0).max() < 1e-12


def test_frequencies_are_those_of_ase(tmp_path):
    """Copper cells far from their minimum: relaxed, and a Hessian with ASE's frequencies."""
    start = bulk("Cu", cubic=True)
    start.rattle(0.05, seed=1)
    find_modes(start, EMT(), tmp_path, 0)
    modes = load_modes(tmp_path, 0)
    atoms = start.copy()
    atoms.positions = modes.positions
    atoms.calc = EMT()
    assert np.abs(atoms.get_forces()).max() < 0.02
    assert np.abs(modes.hessian - modes.hessian.T).max() < 1e-8
    reference = Vibrations(atoms, name=str(tmp_path / "other"))
    reference.run()
    np.testing.assert_allclose(
        modes.hessian, reference.get_vibrations().get_hessian_2d(), atol=1e-8
    )
    # 0.5 x.H.x of displacements: kT/2 for each of the 9 modes that are no translation
    rng, energies = np.random.default_rng(1), []
    for _ in range(2000):
        x = (displace(atoms, modes.hessian, 300.0, rng).positions - atoms.positions).ravel()
        energies.append(x @ modes.hessian @ x / 2)
    assert np.mean(energies) == pytest.approx(9 * units.kB * 300 / 2, rel=0.05)
