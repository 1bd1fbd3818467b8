# SPDX-License-Identifier: MIT
"""`ictp distill`: the student beside a teacher whose forces and slowness are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.io import read
from explore_toys import write_loop
from pyictp.cli.main import main
from pyictp.potential.calculator import ICTPCalculator
from pyictp.potential.exported import load_exported
from train_toys import no_pictures

pytestmark = pytest.mark.lammps

SLOW = 0.05  # s that the teacher takes for a structure, at least
TEACHER = f"""import time
from ase.calculators.emt import EMT


def label(atoms):
    time.sleep({SLOW})
    atoms.calc = EMT()
    atoms.get_forces()
    return atoms
"""


@pytest.mark.slow
def test_student_and_teacher_side_by_side(tmp_path, monkeypatch, capsys):
    no_pictures(monkeypatch)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "teacher.py").write_text(TEACHER)
    labeller = {"calculator": None, "function": "teacher.py:label"}
    path = write_loop(tmp_path, labeller=labeller, dynamics={"temperatures": [600]})
    assert main(["distill", str(path), "--json", str(tmp_path / "r.json")]) == 0
    text = capsys.readouterr().out
    found = json.loads((tmp_path / "r.json").read_text())["student"]
    assert found == json.loads((tmp_path / "loop" / "results.json").read_text())["student"]
    student = tmp_path / "loop" / "student.pt"
    assert found["file"] == str(student)
    assert load_exported(student).num_models == 1
    first = ICTPCalculator(tmp_path / "loop/cycle_1/member_0")
    calculator, errors = ICTPCalculator(student), []
    frames = read(tmp_path / "test.extxyz", ":")
    for atoms in frames:
        for known in (EMT(), calculator, first):
            atoms.calc = known
            errors.append(atoms.get_forces())
    teacher, ours, trained = (np.array(errors[k::3]) for k in range(3))
    np.testing.assert_allclose(ours, trained, atol=1e-4)
    rmse = 1000 * np.sqrt(np.mean((ours - teacher) ** 2))
    assert found["force_rmse_mev_per_a"] == pytest.approx(rmse, rel=1e-3)
    assert found["frames"] == len(frames) == 4
    assert found["teacher_ms_per_atom"] >= 1000 * SLOW / 4  # four atoms each
    ratio = found["teacher_ms_per_atom"] / found["student_ms_per_atom"]
    assert found["times_faster"] == pytest.approx(ratio)
    assert f"RMSE on 4 frames held back: energy {found['energy_rmse_mev_per_atom']:.2f} meV" in text
    assert f"{found['times_faster']:.1f} times faster" in text


MISTAKES = {
    "explore.test=[]": "explore.test: expected structures held back, on which student and teacher "
    "are compared, got none",
    "labeller.slurm=job.sh": "labeller.slurm: the teacher is timed beside the student, in one "
    "process: leave it out, and run ictp distill itself as a job",
}


@pytest.mark.parametrize("option", [["--dry-run"], []], ids=["dry", "loop"])
@pytest.mark.parametrize(("word", "message"), MISTAKES.items(), ids=str)
def test_what_cannot_be_compared_is_one_line(word, message, option, tmp_path, capsys):
    (tmp_path / "job.sh").touch()
    path = write_loop(tmp_path)
    assert main(["distill", str(path), word, *option]) == 1
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not (tmp_path / "loop").exists()
