# SPDX-License-Identifier: MIT
"""Labellers: the ready ones against their own codes, and every way in which a label can fail."""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import read, write
from explore_toys import write_loop
from pyictp.common.extxyz import load_structures, save_structures
from pyictp.config.load import DataConfig
from pyictp.errors import UserError
from pyictp.explore.frames import read_sources
from pyictp.explore.labeller_check import Check, check_labeller
from pyictp.explore.loop import Exploration
from pyictp.explore.retrain import _member_config
from pyictp.explore.settings import load_settings
from pyictp.labelling.label_pool import forget_failures, label_structures
from pyictp.labelling.labellers import make_labeller
from pyictp.labelling.settings import LabellerConfig, Xtb
from pyictp.training.prepare import required_labels
from train_toys import emt_frames

EMT_LABELS = LabellerConfig(calculator="ase.calculators.emt.EMT")
# labels structures but for those whose info says what shall go wrong
TROUBLE = """
import os
import numpy as np
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

def label(atoms):
    kind = atoms.info.get("kind", "")
    if kind == "raise":
        raise RuntimeError("no\\nconvergence")
    if kind == "crash":
        os._exit(3)
    atoms.calc = EMT()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    labels = {"energy": energy, "forces": forces}
    if kind == "nan":
        forces[0, 0] = np.nan
    if kind == "impossible":
        forces[0, 0] = 3e4
    if kind == "bare":
        del labels["forces"]
    if kind == "moved":
        atoms.positions += 0.1
    if kind == "fewer":
        return atoms[:-1]
    if kind == "nothing":
        return None
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms
"""
REASONS = {
    "raise": "RuntimeError: no convergence",
    "crash": "the labeller's process ended with status 3",
    "nan": "'atoms' frame 0 field 'forces': value [0, 0] is NaN or infinite",
    "bare": "labeller: no forces came back",
    "moved": "labeller: the atoms came back moved: expected labels, no relaxation",
    "fewer": "labeller: expected the structure's own atoms in their order back, got Cu2Ni for "
    "Cu3Ni",
    "nothing": "labeller: expected ase.Atoms back, got NoneType",
}


def structures(number=3):
    """Return cells without labels, and the labels they should get."""
    labelled = emt_frames(number)
    bare = [atoms.copy() for atoms in labelled]
    return bare, labelled


def assert_labels(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.get_potential_energy() == pytest.approx(other.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(one.get_forces(), other.get_forces(), atol=1e-6)
        np.testing.assert_allclose(one.get_stress(), other.get_stress(), atol=1e-6)


def test_an_ase_calculator_in_two_processes(tmp_path):
    bare, expected = structures(4)
    for number, atoms in enumerate(bare):
        atoms.info["run"] = number
    found, failed = label_structures(bare, replace(EMT_LABELS, processes=2), tmp_path)
    assert_labels(found, expected)
    assert [atoms.info["run"] for atoms in found] == [0, 1, 2, 3]
    assert failed == []
    names = [*(f"000{i}.extxyz" for i in range(4)), "labeller.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_what_is_done_is_not_done_again(tmp_path):
    bare, expected = structures(2)
    label_structures(bare, EMT_LABELS, tmp_path)
    (tmp_path / "0001.extxyz").unlink()
    (tmp_path / "0001.work.123").mkdir()  # of a killed process
    before = (tmp_path / "0000.extxyz").stat().st_mtime_ns
    assert_labels(label_structures(bare, EMT_LABELS, tmp_path)[0], expected)
    assert (tmp_path / "0000.extxyz").stat().st_mtime_ns == before
    assert not (tmp_path / "0001.work.123").exists()
    started = []
    label_structures(bare, replace(EMT_LABELS, timeout=1.0), tmp_path, lambda: started.append(1))
    assert started == []
    other = replace(EMT_LABELS, arguments={"asap_cutoff": True})
    found, _ = label_structures(bare, other, tmp_path)  # another labeller keeps nothing
    assert found[0].get_potential_energy() != expected[0].get_potential_energy()


def test_failures_drop_their_structure_only(tmp_path):
    script = tmp_path / "trouble.py"
    script.write_text(TROUBLE)
    settings = LabellerConfig(function=f"{script}:label")
    bare, expected = structures(len(REASONS) + 2)
    for atoms, kind in zip(bare[1:], REASONS, strict=False):
        atoms.info["kind"] = kind
    found, failed = label_structures(bare, settings, tmp_path / "labels")
    for one, other in zip(found, [expected[0], expected[-1]], strict=True):
        assert one.get_potential_energy() == pytest.approx(other.get_potential_energy(), abs=1e-6)
    assert dict(failed) == dict(enumerate(REASONS.values(), start=1))
    assert label_structures(bare, settings, tmp_path / "labels")[1] == failed  # remembered
    forget_failures(tmp_path / "labels")
    assert not list((tmp_path / "labels").glob("*.failed"))


def test_labels_that_no_matter_has_are_failures(tmp_path):
    script, folder = tmp_path / "trouble.py", tmp_path / "labels"
    script.write_text(TROUBLE)
    settings = LabellerConfig(function=f"{script}:label")
    bare, expected = structures(3)
    bare[1].info["kind"] = "impossible"
    found, failed = label_structures(bare, settings, folder)
    assert (len(found), failed) == (3, [])  # data.check_labels: false
    assert label_structures(bare, settings, folder, believed=("energy", "stress"))[1] == []
    found, failed = label_structures(bare, settings, folder, believed=("energy", "forces"))
    assert [atoms.get_potential_energy() for atoms in found] == pytest.approx(
        [expected[i].get_potential_energy() for i in (0, 2)], abs=1e-6
    )
    ((index, reason),) = failed
    assert index == 1
    assert reason.startswith("labeller: forces: a component of 3e+04 eV/A, expected below 100: ")
    assert label_structures(bare, settings, folder, believed=("forces",))[1] == failed  # remembered
    with pytest.raises(UserError, match=r"fails on a structure of .*: labeller: forces: a c"):
        check_labeller(bare[1:2], settings, tmp_path / "check", ("forces",))
    assert not list((tmp_path / "check").glob("0000.*"))  # the next start asks again


@pytest.mark.parametrize("checked", [True, False])
def test_check_labels_reaches_labels_and_trainings(tmp_path, checked):
    loop = write_loop(tmp_path, data={"check_labels": checked})
    config = load_settings(loop)
    files = (tmp_path / "start.extxyz", tmp_path / "test.extxyz")
    for start in (None, tmp_path / "former"):
        member = _member_config(config, 0, files, tmp_path / "member", start)
        assert member.data.check_labels is checked
    believed = Exploration(config, tmp_path / "loop").believed()
    assert believed == (required_labels(config.training) if checked else ())


def test_a_label_that_takes_too_long(tmp_path):
    script = tmp_path / "slow.py"
    script.write_text("import time\n\ndef label(atoms):\n    time.sleep(1000)\n")
    settings = LabellerConfig(function=f"{script}:label", timeout=0.01)
    found, failed = label_structures(structures(1)[0], settings, tmp_path / "labels")
    assert (found, failed) == ([], [(0, "no label after 0.01 minutes (labeller.timeout)")])


def test_a_command(tmp_path):
    script = tmp_path / "label.py"
    script.write_text(
        "import sys\nfrom ase.io import read, write\nfrom ase.calculators.emt import EMT\n"
        "atoms = read(sys.argv[1])\nif atoms.info['step'] == 1:\n"
        "    print('working'); sys.exit('SCF did not converge')\n"
        "if atoms.info['step'] == 2:\n    sys.exit()\n"
        "atoms.calc = EMT()\natoms.get_stress()\natoms.get_forces()\nwrite(sys.argv[2], atoms)\n"
    )
    bare, expected = structures(3)
    for step, atoms in enumerate(bare):
        atoms.info["step"] = step
    settings = LabellerConfig(command=f"{sys.executable} {script} {{input}} {{output}}")
    found, failed = label_structures(bare, settings, tmp_path / "labels")
    assert_labels(found, expected[:1])
    python = f"'{sys.executable}'"
    kept = [tmp_path / "labels" / f"000{number}_failed" for number in (1, 2)]
    assert failed == [
        (1, f"{python} ended with status 1: SCF did not converge (see '{kept[0]}')"),
        (2, f"{python} wrote no file {{output}} ('output.extxyz') (see '{kept[1]}')"),
    ]
    assert "working" in (tmp_path / "labels" / "0001_failed" / "messages.txt").read_text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"calculator": "no.such.Calculator"}, "Python package 'no' not found"),
        ({"calculator": "ase.calculators.emt.ETM"}, "'ase.calculators.emt' has no 'ETM'"),
        (
            {"calculator": "fractions.Fraction", "arguments": {"no_such": 1}},
            "labeller: fractions.Fraction does not start: TypeError",
        ),
        ({"function": "/nowhere/label.py:label"}, "labeller.function: cannot import"),
        ({"function": "math:pie"}, "'math' has no 'pie'"),
        ({"command": "no_such_code {input}"}, "got 'no_such_code', which is none: install it"),
        ({"command": "./here.sh {input}"}, "got './here.sh', which is none: install it"),
        ({"command": " "}, "labeller.command: expected a program on the PATH, beside the"),
    ],
)
def test_a_labeller_that_is_not_there(settings, message):
    with pytest.raises(UserError, match=re.escape(message)):
        make_labeller(LabellerConfig(**settings))


def test_the_methods_are_those_of_tblite():
    interface = pytest.importorskip("tblite.interface", reason="tblite is not installed")
    assert set(get_args(Xtb)) == set(interface.Calculator._loader)


def test_a_labeller_that_is_not_there_ends_the_loop(tmp_path):
    with pytest.raises(UserError, match=r"labeller.calculator: Python package 'no' not found"):
        label_structures(structures(1)[0], LabellerConfig(calculator="no.such.One"), tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("tblite") is None, reason="tblite is not installed")
@pytest.mark.parametrize("method", ["GFN1-xTB", "GFN2-xTB"])
def test_xtb_forces_are_slopes_of_its_energies(method, tmp_path):
    labeller = make_labeller(LabellerConfig(xtb=method))
    atoms = molecule("CH3OH")
    atoms.rattle(0.05, seed=1)
    forces = labeller(atoms, tmp_path).get_forces()
    energies = []
    for shift in (0.005, -0.005):
        moved = atoms.copy()
        moved.positions[1, 2] += shift
        energies.append(labeller(moved, tmp_path).get_potential_energy())
    assert forces[1, 2] == pytest.approx(-(energies[0] - energies[1]) / 0.01, abs=2e-3)
    assert np.abs(forces).max() > 0.1


def test_the_labeller_is_compared_with_the_data(tmp_path, caplog):
    known = emt_frames(2)
    assert check_labeller(known, EMT_LABELS, tmp_path / "same").forces < 1e-6
    assert not caplog.records
    for atoms in known:
        atoms.calc.results["forces"] = 2 * atoms.get_forces()
    check = check_labeller(known, EMT_LABELS, tmp_path / "other")
    expected = np.sqrt(np.mean((known[0].get_forces() / 2) ** 2))
    assert check.forces == pytest.approx(expected, rel=1e-5)
    assert "are method, units and energy zero the same?" in caplog.text
    with pytest.raises(UserError, match=r"the labeller fails on a structure of data.train"):
        check_labeller([bulk("Si")], EMT_LABELS, tmp_path / "strange")


DOUBLED = """
import sys
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write


def label(atoms):
    assert atoms.calc is None and not {"energy", "forces", "stress"} & {*atoms.info, *atoms.arrays}
    atoms.calc = EMT()
    energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    labels = {"energy": energy, "forces": FACTOR * forces, "stress": FACTOR * stress}
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms


if __name__ == "__main__":
    write(sys.argv[2], label(read(sys.argv[1])))
"""
FOREIGN = "ase.calculators.lj.LennardJones"


def labellers(folder, factor):
    """Return labellers that give `factor` times the forces and stresses of EMT."""
    script = folder / f"times_{factor}.py"
    script.write_text(DOUBLED.replace("FACTOR", str(factor)))
    return {
        "function": LabellerConfig(function=f"{script}:label"),
        "command": LabellerConfig(command=f"{sys.executable} {script} {{input}} {{output}}"),
    }


@pytest.mark.parametrize("where", ["arrays", "calculator", "file"])
@pytest.mark.parametrize("method", ["function", "command", "calculator"])
def test_labels_of_the_data_do_not_hide_those_of_the_labeller(method, where, tmp_path, caplog):
    """As the loop has them: in info and arrays; a labeller of other forces is always seen."""
    write(tmp_path / "data.extxyz", emt_frames(1))
    known = read(tmp_path / "data.extxyz", ":")
    if where == "arrays":
        known = read_sources([str(tmp_path / "data.extxyz")], DataConfig())
        assert "forces" in known[0].arrays
    elif where == "file":
        save_structures(
            tmp_path / "own.extxyz", read_sources([tmp_path / "data.extxyz"], DataConfig())
        )
        known = load_structures(tmp_path / "own.extxyz")
    wrong = labellers(tmp_path, 2).get(method, LabellerConfig(calculator=FOREIGN))
    check = check_labeller(known, wrong, tmp_path / "wrong")
    forces = emt_frames(1)[0].get_forces()
    if method != "calculator":
        assert check.forces == pytest.approx(np.sqrt(np.mean(forces**2)), rel=1e-4)
        assert check.energy == pytest.approx(0, abs=1e-6)
        stress = np.abs(emt_frames(1)[0].get_stress()).max()
        assert check.stress == pytest.approx(stress, rel=1e-4)
    assert check.forces > 0.3
    assert "are method, units and energy zero the same?" in caplog.text
    caplog.clear()
    right = labellers(tmp_path, 1).get(method, EMT_LABELS)
    assert check_labeller(known, right, tmp_path / "right").forces < 1e-6
    assert not caplog.records


def test_what_counts_as_far():
    assert not Check(0.0, 0.0, 0.002).is_far
    assert Check(0.0, 0.0, 0.01).is_far
    assert Check(float("nan"), 0.0).is_far
