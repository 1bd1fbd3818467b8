# SPDX-License-Identifier: MIT
"""`ictp pretrain`: sampled, labelled, trained; killed and gone on; what is left out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import read, write
from pretrain_toys import write_pretraining
from pyictp.cli.main import main
from pyictp.potential.checkpoint import load_checkpoint
from pyictp.potential.describe import describe
from train_toys import emt_frames

COMMAND = [sys.executable, "-m", "pyictp.cli.main", "pretrain"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder of a whole pretraining."""
    folder = tmp_path_factory.mktemp("pretrain")
    path = write_pretraining(folder, training={"report": True})
    assert main(["pretrain", str(path), "--json", str(folder / "results.json")]) == 0
    return folder


def numbers(folder):
    return json.loads((folder / "out" / "results.json").read_text())


def test_frames_have_the_labels_of_the_teacher(trained):
    frames = read(trained / "out" / "frames.extxyz", ":")
    assert len(frames) == 2 * 2 * 7
    kinds = {atoms.info["config_type"] for atoms in frames}
    assert kinds == {f"{k}_{t}K" for k in ("dynamics", "normal_modes") for t in (300, 900)}
    for atoms in frames[::5]:
        again = atoms.copy()
        again.calc = EMT()
        assert atoms.get_potential_energy() == pytest.approx(again.get_potential_energy(), abs=1e-5)
        np.testing.assert_allclose(atoms.get_forces(), again.get_forces(), atol=1e-5)
        np.testing.assert_allclose(atoms.get_stress(), again.get_stress(), atol=1e-6)
    assert len({atoms.positions.tobytes() for atoms in frames}) == len(frames)


def test_results_and_model_say_where_the_labels_are_from(trained, capsys):
    found = numbers(trained)
    assert json.loads((trained / "results.json").read_text()) == found
    assert found["frames"] == {"dynamics": 20, "normal_modes": 8}
    assert found["left_out"] == found["structures_left_out"] == {}
    origin = load_checkpoint(trained / "out" / "model" / "best.pt")["provenance"]["pretraining"]
    assert origin["teacher"]["name"] == "ase.calculators.emt.EMT"
    assert origin["frames"] == found["frames"]
    assert origin["sampling"]["temperatures"] == [300.0, 900.0]
    assert origin["sampling"]["seed"] == 0
    assert main(["info", str(trained / "out" / "model")]) == 0
    assert "ase.calculators.emt.EMT" in capsys.readouterr().out
    page = (trained / "out" / "model" / "report.html").read_text()
    assert "labels of ase.calculators.emt.EMT: 20 dynamics, 8 normal modes; 300 900 K" in page


def test_a_fine_tuned_and_exported_model_says_so_too(trained, tmp_path):
    write(tmp_path / "good.extxyz", emt_frames(6))
    config = tmp_path / "tune.yaml"
    config.write_text(
        "data: {train: good.extxyz, num_valid: 2}\n"
        f"training: {{output: {tmp_path}/tuned, max_epochs: 1, device: cpu, report: false}}\n"
    )
    assert main(["train", str(config), "--finetune", str(trained / "out" / "model")]) == 0
    origin = numbers(trained)["teacher"]
    known = describe(tmp_path / "tuned")["provenance"]
    assert known["pretraining"]["teacher"] == origin
    assert known["num_train"] == 4
    assert main(["export", str(tmp_path / "tuned"), "-o", str(tmp_path / "model.pt")]) == 0
    assert describe(tmp_path / "model.pt")["provenance"]["pretraining"]["teacher"] == origin


def test_the_same_command_does_nothing_twice(trained):
    before = {p: p.stat().st_mtime_ns for p in (trained / "out" / "walks").rglob("*.npz")}
    model = (trained / "out" / "model" / "best.pt").read_bytes()
    assert len(before) == 28
    assert main(["pretrain", str(trained / "pretrain.yaml")]) == 0
    after = {p: p.stat().st_mtime_ns for p in (trained / "out" / "walks").rglob("*.npz")}
    assert after == before
    assert (trained / "out" / "model" / "best.pt").read_bytes() == model


def test_walks_have_the_temperature_asked_for(tmp_path):
    """Momenta of Langevin dynamics: 3N kT/2 of kinetic energy."""
    path = write_pretraining(
        tmp_path,
        pretrain={"structures": ["cells.extxyz@0"]},
        sampling={"temperatures": [600], "dynamics": 150, "normal_modes": 0, "friction": 0.05},
    )
    assert main(["pretrain", str(path), "--frames-only"]) == 0
    masses = emt_frames(1)[0].get_masses()[:, None]
    energies = []
    for file in sorted((tmp_path / "out" / "walks").rglob("*.npz")):
        with np.load(file) as state:
            energies.append((state["momenta"] ** 2 / (2 * masses)).sum())
    assert np.mean(energies) == pytest.approx(12 * units.kB * 600 / 2, rel=0.15)
    assert not (tmp_path / "out" / "model").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        *(pytest.param(n, marks=pytest.mark.long) for n in (signal.SIGTERM, signal.SIGINT)),
    ],
)
def test_killed_at_any_moment_it_ends_the_same(trained, tmp_path, number):
    path = write_pretraining(tmp_path, sampling={"dynamics": 5})
    walks, seen = tmp_path / "out" / "walks", []
    for wanted in (1, 12):
        process = subprocess.Popen(
            [*COMMAND, str(path)],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 120
        while len(list(walks.rglob("*.npz"))) < wanted and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        seen.append({p: p.read_bytes() for p in walks.rglob("*.npz")})
        if number != signal.SIGKILL:
            assert process.returncode == 128 + number
            assert errors.count("go on with: ictp pretrain") == 1
    assert len(seen[0]) < 28
    assert main(["pretrain", str(path)]) == 0
    for kept in seen:  # nothing was made twice
        assert all(p.read_bytes() == contents for p, contents in kept.items())
    one, other = (folder / "out" / "frames.extxyz" for folder in (trained, tmp_path))
    assert one.read_text() == other.read_text()
    assert not list((tmp_path / "out").rglob("*.work.*"))


def test_a_training_that_was_stopped_goes_on(tmp_path):
    """The same weights, to the last bit, as of one that was not."""
    weights = []
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
        path = write_pretraining(tmp_path / name, training={"max_epochs": 15, "report": False})
        model = tmp_path / name / "out" / "model"
        if name == "stopped":
            assert main(["pretrain", str(path), "--frames-only"]) == 0
            process = subprocess.Popen([*COMMAND, str(path)], env=ENVIRONMENT)
            deadline = time.monotonic() + 120
            while not (model / "log.csv").exists():
                assert time.monotonic() < deadline
                time.sleep(0.005)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 143
            assert load_checkpoint(model / "last.pt")["training_state"]["position"]["epoch"] < 15
        assert main(["pretrain", str(path)]) == 0
        weights.append(load_checkpoint(model / "best.pt")["model_state"])
    for key, value in weights[0].items():
        assert torch.equal(value, weights[1][key]), key


TEACHER = """
import os
import numpy as np
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

def label(atoms):
    x = np.linalg.norm(atoms.positions - START, axis=1).max()
    if MODE == "raise" and x > 0.2:
        raise RuntimeError("SCF not converged")
    if MODE == "die" and x > 0.2:
        os._exit(3)
    bare = atoms.copy()
    bare.calc = EMT()
    energy, forces = bare.get_potential_energy(), bare.get_forces()
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms
"""


@pytest.mark.parametrize(
    ("mode", "reason"),
    [("raise", "RuntimeError: SCF not converged"), ("die", "process ended with status 3")],
)
def test_frames_that_the_teacher_does_not_label_are_counted(tmp_path, capsys, mode, reason):
    start = emt_frames(1)[0].positions.tolist()
    text = TEACHER.replace("START", repr(start)).replace("MODE", repr(mode))
    (tmp_path / "teacher.py").write_text(text)
    path = write_pretraining(
        tmp_path,
        pretrain={"structures": ["cells.extxyz@0"]},
        sampling={"normal_modes": 0, "temperatures": [300, 1500]},
        labeller={"calculator": None, "function": "teacher.py:label"},
    )
    assert main(["pretrain", str(path), "--frames-only"]) == 0
    (line,) = (li for li in capsys.readouterr().out.splitlines() if li.startswith("frames"))
    assert "left out: " in line
    assert reason in line
    found = numbers(tmp_path)
    assert sum(found["frames"].values()) + found["left_out"]["the teacher failed"] == 10
    assert found["frames"]["dynamics"] >= 5


def test_what_explodes_and_what_is_pushed_too_hard_is_counted(tmp_path, capsys):
    write(tmp_path / "pair.xyz", Atoms("Cu3", [[0, 0, 0], [2.3, 0, 0], [1.2, 2.0, 0]]))
    path = write_pretraining(
        tmp_path,
        pretrain={"structures": ["pair.xyz", "cells.extxyz@0"]},
        sampling={"temperatures": [20000], "every": 200, "max_force": 4.0, "closest": 0.6},
    )
    assert main(["pretrain", str(path), "--frames-only"]) == 0
    found = numbers(tmp_path)
    assert found["left_out"].keys() >= {"exploded", "force above sampling.max_force"}
    assert sum(found["left_out"].values()) + sum(found["frames"].values()) == 14
    assert "left out: " in capsys.readouterr().out


def test_a_teacher_that_labels_nothing_ends_it_in_a_line(tmp_path, capsys):
    write(tmp_path / "water.xyz", molecule("H2O"))
    pair = {"calculator": "ase.calculators.emt.EMT", "arguments": {"asap_cutoff": True}}
    path = write_pretraining(tmp_path, labeller=pair)
    words = ["pretrain.structures=[fe.xyz]"]
    write(tmp_path / "fe.xyz", Atoms("Fe2", [[0, 0, 0], [0, 0, 2.2]]))
    assert main(["pretrain", str(path), *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: the teacher labels none of the structures: ")
    assert error.count("\n") == 1


def test_other_settings_do_not_mix(trained, capsys):
    path = trained / "pretrain.yaml"
    before = sorted((trained / "out").rglob("*"))
    assert main(["pretrain", str(path), "sampling.every=5"]) == 1
    assert capsys.readouterr().err == (
        f"error: '{trained / 'out'}' was begun with sampling.every 4, now it is 5: set it back, "
        "give another pretrain.output, or --overwrite\n"
    )
    assert sorted((trained / "out").rglob("*")) == before


def test_a_folder_of_something_else_is_kept(tmp_path, capsys):
    path = write_pretraining(tmp_path)
    (tmp_path / "out").mkdir()
    thesis = tmp_path / "out" / "thesis.tex"
    thesis.write_text("all of it")
    for words in ([], ["--overwrite"]):
        assert main(["pretrain", str(path), *words]) == 1
        assert "holds something else than a pretraining (thesis.tex)" in capsys.readouterr().err
    assert thesis.read_text() == "all of it"


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    path = write_pretraining(tmp_path)
    assert main(["pretrain", str(path), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "structures 2\n" in out
    assert "dynamics     20 frames of 4 walks\n" in out
    assert not Path(tmp_path / "out").exists()


def test_a_teacher_that_hangs_costs_its_frame(tmp_path, capsys):
    """It labels the start, and never comes back of anything else."""
    script = "import time\n" + TEACHER.replace("os._exit(3)", "time.sleep(1000)")
    start = emt_frames(1)[0].positions.tolist()
    text = script.replace("START", repr(start)).replace("MODE", "'die'").replace("> 0.2", "> 1e-4")
    (tmp_path / "teacher.py").write_text(text)
    path = write_pretraining(
        tmp_path,
        pretrain={"structures": ["cells.extxyz@0"]},
        sampling={"normal_modes": 0, "temperatures": [900], "dynamics": 2},
        labeller={"calculator": None, "function": "teacher.py:label", "timeout": 0.02},
    )
    assert main(["pretrain", str(path), "--frames-only"]) == 1
    assert capsys.readouterr().err == (
        "error: of 2 frames 0 are left to train on: the teacher failed: no label after 0.02 "
        "minutes (labeller.timeout)\n"
    )
    assert not list((tmp_path / "out").rglob("*.failed"))  # the next start tries again
