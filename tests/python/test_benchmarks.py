# SPDX-License-Identifier: MIT
"""Programs of benchmarks/: what they are told and what they compare."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import ablations
import gpu
import numpy as np
import operators
import potentials
import pytest
import torch
import training_step
from ase.build import bulk
from ase.calculators.eam import EAM
from pyictp import train
from pyictp.config.load import ModelConfig, load_config
from pyictp.data.frames import Frame
from pyictp.md.lammps import potential_environment, potential_folder
from pyictp.model.ictp import ICTPModel
from train_toys import changed, make_config, rows, write_yaml

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "name", [name for name in ablations.ABLATIONS if name not in {"as shipped", *ablations.CHANGED}]
)
def test_every_ablation_changes_the_configuration(name):
    config = ROOT / "configs" / "acac.yaml"
    assert load_config(config, ablations.ABLATIONS[name]) != load_config(config)


@pytest.mark.long
@pytest.mark.parametrize("change", ablations.CHANGED.values())
def test_a_changed_model_trains_to_other_weights(change, tmp_path):
    config = make_config(tmp_path)
    config = changed(config, max_epochs=1, radial_knots=None, num_threads=1)
    train.train(config)
    program = str(ROOT / "benchmarks" / "changed_model.py")
    other = changed(config, output=str(tmp_path / "other"))
    words = [program, change, "train", str(write_yaml(other, tmp_path / "other.yaml"))]
    subprocess.run([sys.executable, *words], check=True)
    losses = [float(rows(tmp_path / name)[-1]["train_loss"]) for name in ("run", "other")]
    assert math.isfinite(losses[1])
    # the same model would give the same bits
    assert losses[1] != pytest.approx(losses[0], rel=1e-5)


def test_names_with_commas_can_be_chosen(monkeypatch, capsys):
    names = ["adam, learning rate 0.01", "as shipped"]
    words = ["ablations.py", "acac.yaml", "data.num_train=8", "--only", names[0]]
    monkeypatch.setattr(sys, "argv", [*words, "--only", names[1], "--epochs", "2"])
    args = ablations.parse_arguments()
    assert (args.only, args.overrides, args.epochs) == (names, ["data.num_train=8"], 2)
    monkeypatch.setattr(sys, "argv", [*words, "--only", "adam"])
    with pytest.raises(SystemExit):
        ablations.parse_arguments()
    assert "invalid choice: 'adam'" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this PyTorch has no Muon")
def test_optimisers_are_timed_on_the_same_matrices(monkeypatch):
    config = ModelConfig(("H", "C"), num_channels=8, l_max_edge=1, radial_hidden=(8,))
    monkeypatch.setattr(training_step, "ICTPModel", lambda _: ICTPModel(config))
    seen = {}

    def note(kind, parameters, **options):
        seen[kind.__module__] = sum(parameter.numel() for parameter in parameters)
        return timed(kind, parameters, **options)

    timed = training_step.optimiser_step
    monkeypatch.setattr(training_step, "optimiser_step", note)
    rows = training_step.time_optimisers(8, rounds=1)
    assert len(seen) == 3
    assert len(set(seen.values())) == 1
    assert rows[0]["matrices"] > rows[0]["parameters"]  # one per species in the skip connection
    assert [row["optimiser_ratio"] > 0 for row in rows] == [True] * 3


def test_operators_are_timed_as_they_are_exported(tmp_path, monkeypatch, capsys):
    words = ["--channels", "16", "--repeats", "1", "--output", str(tmp_path / "operators.json")]
    monkeypatch.setattr(sys, "argv", ["operators.py", *words])
    threads = torch.get_num_threads()
    operators.main()
    torch.set_num_threads(threads)
    found = json.loads((tmp_path / "operators.json").read_text())
    assert len(found["rows"]) == 8  # of two layers: two parts, values and gradients
    assert all(row["us"] > 0 and row["mflop"] > 0 for row in found["rows"])
    assert min(found["whole_us"], found["whole_all_paths_us"]) > 0
    assert "| whole step, all paths of the product basis |" in capsys.readouterr().out


def test_times_of_a_device(monkeypatch, tmp_path):
    words = ["gpu.py", "kernels", "--device", "cpu", "--cells", "2", "--channels", "4"]
    monkeypatch.setattr(sys, "argv", [*words, "--output", str(tmp_path)])
    gpu.main()
    found = json.loads((tmp_path / "gpu-kernels.json").read_text())["rows"]
    times = {row["part"]: row["us_per_atom"] for row in found if "part" in row}
    assert len(times) == 2 * 2 * 2 + 1  # layers, parts, directions; the whole step
    assert all(time > 0 for time in times.values())
    assert times["layer 2 convolution and mixing, gradient"] < times["whole step"]
    assert [row["limit"] for row in found if "limit" in row][:1] == ["copy, memory"]


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_what_a_gpu_machine_lacks_is_a_failure_and_stops_nothing(tmp_path):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    more = {"OUT": str(tmp_path / "out"), "TMPDIR": str(tmp_path), "PATH": path}
    command = ["bash", str(ROOT / "benchmarks" / "on_gpu.sh"), "check", "cpu"]
    done = subprocess.run(
        command, env=os.environ | more, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    summary = (tmp_path / "out" / "summary-check.txt").read_text()
    assert done.stdout.endswith(summary)
    first, *rest = summary.splitlines()[1:]
    assert first.startswith("NOT OF THE KERNELS: ")
    steps = [line.split() for line in rest]
    assert [step[0] for step in steps] == ["load", "tests", "memcheck", "racecheck"]
    assert all("FAILED:" in step for step in steps)
    assert "a test of GPUs was skipped" in (tmp_path / "out" / "tests.log").read_text()


def test_errors_of_a_potential_in_lammps_against_that_of_ase():
    eam, atoms = potentials.BESIDE["Cu"][0], bulk("Cu", cubic=True) * 2
    calculator = EAM(potential=str(potential_folder() / "Cu_mishin1.eam.alloy"))
    off, frames = 0.05 * np.array([1, -1, 1, -1]), []  # eV/A, along x
    for seed, factor in enumerate((0.97, 1.03)):
        crystal = atoms.copy()
        crystal.set_cell(factor * atoms.cell, scale_atoms=True)
        crystal.rattle(0.1, seed=seed)
        crystal.calc = calculator
        energy = crystal.get_potential_energy() + len(atoms) * 0.1  # a constant does not count
        forces = crystal.get_forces()
        forces[:, 0] += np.tile(off, 8)
        numbers, pbc = crystal.numbers, crystal.pbc
        places = (crystal.positions, np.array(crystal.cell))
        frames.append(Frame(numbers, *places, pbc, energy=energy, forces=forces))
    found = potentials.errors("Cu", eam, frames)
    assert found["energy_rmse_mev_per_atom"] == pytest.approx(0, abs=0.05)
    assert found["force_rmse_mev_per_a"] == pytest.approx(50 / 3**0.5, rel=1e-3)


def test_potentials_are_timed_in_lammps(monkeypatch):
    monkeypatch.setitem(potentials.CRYSTALS, "Cu", ("fcc", 3.63, 3))
    for name, value in potential_environment().items():
        monkeypatch.setenv(name, value)
    several = (*potentials.BESIDE["Cu"][::3], potentials.ours("cu_fast"))
    eam, snap, ours = (row["cpu_us_per_atom"] for row in potentials.time("Cu", several, 1, 0.1))
    assert 0 < eam < ours < snap
