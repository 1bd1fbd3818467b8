# SPDX-License-Identifier: MIT
"""The LAMMPS that stays against a LAMMPS for each structure, and a pretraining by it."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from ase.build import bulk, molecule
from ase.cluster import Octahedron
from ase.io import read, write
from pyictp.cli.main import main
from pyictp.labelling.labellers import calculated, make_labeller
from pyictp.labelling.settings import LabellerConfig
from pyictp.labelling.teacher import make_teacher
from pyictp.md.lammps import potential_folder

pytestmark = pytest.mark.lammps
SILICON = LabellerConfig(lammps=("pair_style sw", "pair_coeff * * Si.sw Si"))


def tilted():
    atoms = bulk("Si").repeat((2, 2, 1))
    strain = np.array([[0.0, 0.03, 0.0], [0.0, 0.02, 0.01], [0.02, 0.0, 0.0]])
    atoms.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


CASES = {
    "a tilted cell": (SILICON, tilted()),
    "a cluster": (
        LabellerConfig(lammps=("pair_style lj/cut 8.0", "pair_coeff * * 0.4 2.3")),
        Octahedron("Cu", 3),
    ),
    "two elements in real units": (
        LabellerConfig(
            lammps=("pair_style lj/cut 8.0", "pair_coeff * * 0.3 2.5", "pair_coeff 1 1 2.0 1.5"),
            elements=("H", "O"),
            units="real",
        ),
        molecule("H2O"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_labels_of_a_lammps_that_stays(tmp_path, name):
    settings, atoms = CASES[name]
    teacher, label = make_teacher(settings, tmp_path), make_labeller(settings)
    rng = np.random.default_rng(0)
    for number in range(3):
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape) + 2.0
        folder = tmp_path / str(number)
        folder.mkdir()
        found, expected = calculated(atoms, teacher), label(atoms, folder)
        # the energy of two sets of constants: kcal/mol in eV agrees to 3e-7
        energy = expected.get_potential_energy()
        assert found.get_potential_energy() == pytest.approx(energy, rel=1e-6)
        scale = np.abs(expected.get_forces()).max()
        np.testing.assert_allclose(found.get_forces(), expected.get_forces(), atol=1e-6 * scale)
        assert ("stress" in found.calc.results) == bool(atoms.pbc.all())
        if atoms.pbc.all():
            np.testing.assert_allclose(found.get_stress(), expected.get_stress(), atol=1e-8)


def test_a_pretraining_by_a_potential_in_lammps(tmp_path):
    write(tmp_path / "si.extxyz", tilted())
    (tmp_path / "own.sw").write_text((potential_folder() / "Si.sw").read_text())
    path = tmp_path / "si.yaml"
    tree = {
        "pretrain": {"output": str(tmp_path / "out"), "structures": ["si.extxyz"]},
        "sampling": {"temperatures": [600], "dynamics": 3, "normal_modes": 2, "every": 5},
        "labeller": {"lammps": ["pair_style sw", "pair_coeff * * own.sw Si"]},
    }
    path.write_text(yaml.safe_dump(tree))
    assert main(["pretrain", str(path), "--frames-only"]) == 0
    frames = read(tmp_path / "out" / "frames.extxyz", ":")
    assert len(frames) == 5
    for number, atoms in enumerate(frames):
        folder = tmp_path / f"again_{number}"
        folder.mkdir()
        expected = make_labeller(SILICON)(atoms, folder)
        np.testing.assert_allclose(atoms.get_forces(), expected.get_forces(), atol=1e-5)
        np.testing.assert_allclose(atoms.get_stress(), expected.get_stress(), atol=1e-6)
