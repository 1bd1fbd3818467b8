# SPDX-License-Identifier: MIT
"""Labels by a potential in LAMMPS, against slopes of its own energies."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones
from ase.units import kcal, mol
from pyictp.errors import UserError
from pyictp.explore.labeller_check import check_labeller
from pyictp.labelling.labellers import make_labeller
from pyictp.labelling.settings import LabellerConfig

pytestmark = pytest.mark.lammps
SILICON = LabellerConfig(lammps=("pair_style sw", "pair_coeff * * Si.sw Si"))


@pytest.fixture
def label(tmp_path):
    """Return a function that labels in folders of their own."""

    def run(settings, atoms):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return make_labeller(settings)(atoms, folder)

    return run


def test_a_tilted_cell_in_its_own_orientation(label):
    atoms = bulk("Si").repeat((2, 2, 1))
    atoms.rattle(0.1, seed=1)
    strain = np.array([[0.0, 0.03, 0.0], [0.0, 0.02, 0.01], [0.02, 0.0, 0.0]])
    atoms.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
    found, step = label(SILICON, atoms), 1e-3

    def slope(change):
        energies = []
        for sign in (step, -step):
            moved = atoms.copy()
            change(moved, sign)
            energies.append(label(SILICON, moved).get_potential_energy())
        return (energies[0] - energies[1]) / (2 * step)

    def push(moved, sign):
        moved.positions[0, 1] += sign

    def shear(moved, sign):
        tensor = np.eye(3)
        tensor[1, 2] = tensor[2, 1] = sign / 2
        moved.set_cell(moved.cell @ tensor, scale_atoms=True)

    assert found.get_forces()[0, 1] == pytest.approx(-slope(push), abs=1e-4)
    assert found.get_stress()[3] == pytest.approx(slope(shear) / atoms.get_volume(), abs=1e-6)
    assert abs(found.get_stress()[3]) > 1e-3


def test_two_elements_in_real_units_and_open_boundaries(label):
    """Lennard-Jones as ASE has it, of hydrogen (type 1) alone, the last of the structure's."""
    lines = ("pair_style lj/cut 8.0", "pair_coeff * * 0.0 2.5", "pair_coeff 1 1 2.0 2.5")
    settings = LabellerConfig(
        lammps=(*lines, "pair_modify shift yes"), elements=("H", "O"), units="real"
    )
    atoms = molecule("H2O")
    atoms.positions *= 2.5
    found = label(settings, atoms)
    pair = atoms[1:]
    pair.calc = LennardJones(epsilon=2.0 * kcal / mol, sigma=2.5, rc=8.0)
    assert found.get_potential_energy() == pytest.approx(pair.get_potential_energy(), abs=1e-6)
    np.testing.assert_allclose(found.get_forces()[1:], pair.get_forces(), atol=1e-6)
    assert np.abs(found.get_forces()[1:]).max() > 1e-3
    assert not found.get_forces()[0].any()
    assert found.get_chemical_symbols() == ["O", "H", "H"]
    assert "stress" not in found.calc.results


def test_labels_of_the_data_do_not_hide_those_of_lammps(tmp_path, caplog):
    """Silicon that a pair potential of another kind has labelled."""
    atoms = bulk("Si").repeat((2, 1, 1))
    atoms.rattle(0.1, seed=1)
    atoms.calc = LennardJones(sigma=2.0, epsilon=0.1, rc=5.0)
    atoms.info["energy"] = atoms.get_potential_energy()
    atoms.set_array("forces", atoms.get_forces())
    atoms.calc = None
    check = check_labeller([atoms], SILICON, tmp_path / "wrong")
    assert check.energy > 3.0  # eV/atom
    assert check.forces > 0.5
    assert "the labeller differs from data.train in forces by" in caplog.text


def test_mistakes_are_one_line(label):
    atoms = bulk("Si")
    wrong = LabellerConfig(lammps=("pair_style sw", "pair_coeff * * no.sw Si"))
    with pytest.raises(UserError, match=r"the potential in LAMMPS failed: ERROR.*no\.sw"):
        label(wrong, atoms)
    with pytest.raises(UserError, match=r"labeller.elements are Ge, the structure also has Si"):
        label(LabellerConfig(lammps=SILICON.lammps, elements=("Ge",)), atoms)
    mixed = bulk("SiC", "zincblende", a=4.3)
    with pytest.raises(UserError, match=r"labeller.elements: name the elements of types 1, 2"):
        label(SILICON, mixed)
