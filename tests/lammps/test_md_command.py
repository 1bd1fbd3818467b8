# SPDX-License-Identifier: MIT
"""`ictp md` runs LAMMPS: energies as ASE has them, numbers as the log has them, failures."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.constraints import FixAtoms, FixCartesian
from ase.geometry import find_mic
from ase.io import read, write
from pyictp.cli.main import main
from pyictp.common.files import locked
from pyictp.graph.graph import build_graph
from pyictp.md.lammps import read_thermo
from pyictp.native import plugin_path
from pyictp.potential.calculator import ICTPCalculator
from pyictp.potential.export import export_model
from pyictp.potential.extrapolation import fit_grade
from toys import ELEMENTS, FragileToy, PairToy, export_toy, make_network

pytestmark = pytest.mark.lammps
KB = 8.617343e-5  # eV/K, as LAMMPS has it in units metal


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """Run in an empty folder, one thread per process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("LAMMPS_PLUGIN_PATH", raising=False)
    return tmp_path


def crystal() -> Atoms:
    """Return a triclinic cell of two elements that the toys know."""
    atoms = bulk("W", a=3.3).repeat((3, 3, 2))
    atoms.numbers[::3] = 73  # Ta
    atoms.rattle(0.05, seed=3)
    return atoms


def run(*words: object) -> tuple[dict, dict[str, np.ndarray]]:
    """Run `ictp md`; return summary.json and the log's table of the default folder."""
    assert main(["md", *map(str, words)]) == 0
    return json.loads(Path("md/summary.json").read_text()), read_thermo(Path("md/log.lammps"))


@pytest.mark.parametrize(
    "atoms",
    [crystal(), Atoms("Ta3", [[0, 0, 0], [2, 0, 0], [0.5, 2.2, 0]])],
    ids=["crystal", "molecule"],
)
def test_step_zero_is_what_ase_has(atoms, network):
    model = network("float64")
    write("x.extxyz", atoms)
    _, thermo = run("x.extxyz", model, "--steps", 2, "--temperature", 10)
    start = read("x.extxyz")
    start.calc = ICTPCalculator(model)
    assert thermo["PotEng"][0] == pytest.approx(start.get_potential_energy(), abs=1e-5)
    final = read("md/final.extxyz")
    final.calc = ICTPCalculator(model)
    assert thermo["PotEng"][-1] == pytest.approx(final.get_potential_energy(), abs=1e-5)
    _, moved = find_mic(final.positions - start.positions, start.cell, start.pbc)
    assert 0 < moved.max() < 0.05  # A: back in the orientation and place of the file
    degrees = 3 * len(atoms) - 3
    assert final.get_kinetic_energy() == pytest.approx(
        0.5 * degrees * KB * thermo["Temp"][-1], rel=1e-6
    )


def test_nve_numbers_are_those_of_the_log(export, capsys):
    write("x.cif", crystal())
    result, thermo = run(
        "x.cif", export(PairToy), "--ensemble", "nve", "--steps", 60, "--repeat", 2, 1, 1
    )
    assert result["atoms"] == 36
    assert len(thermo["Step"]) == 61
    total = 1000 * thermo["TotEng"] / 36
    slope = np.cov(thermo["Time"], total)[0, 1] / np.var(thermo["Time"], ddof=1)
    assert result["energy_drift_meV_per_atom_per_ps"] == pytest.approx(slope, abs=1e-6)
    assert np.ptp(total) < 0.05 * np.ptp(1000 * thermo["PotEng"] / 36)
    assert result["temperature_K"]["mean"] == pytest.approx(thermo["Temp"][12:].mean(), abs=1e-8)
    assert result["time_ps"] == pytest.approx(0.06)
    assert result["us_per_atom_and_step"] == pytest.approx(1e6 * thermo["CPU"][-1] / 60 / 36)
    assert f"{slope:.6g}"[:6] in capsys.readouterr().out
    for name in ("thermo.png", "rdf.png", "msd.png", "rdf.csv", "msd.csv"):
        assert Path("md", name).stat().st_size > 500


@pytest.mark.parametrize("fixed", [False, True])
def test_a_run_goes_on_as_if_it_had_not_ended(fixed, export, capsys):
    atoms = crystal()
    if fixed:
        atoms.set_constraint(FixAtoms([0, 5]))
    write("x.extxyz", atoms)
    model = export(PairToy)
    _, whole = run("x.extxyz", model, "--ensemble", "nve", "--steps", 40, "--thermo", 10)
    words = ["md", "--ensemble", "nve", "--steps", "20", "--thermo", "10"]
    assert main([*words, "x.extxyz", str(model), "-o", "first"]) == 0
    assert main([*words, "first", str(model), "-o", "second"]) == 0
    assert "velocities as they are" in capsys.readouterr().out
    second = read_thermo(Path("second/log.lammps"))
    for column in ("PotEng", "KinEng"):
        np.testing.assert_allclose(second[column], whole[column][2:], rtol=0, atol=1e-5)  # digits
    copies = [*words, "first", str(model), "-o", "third", "--repeat", "2", "1", "1"]
    assert main(copies) == 1
    assert "copies would all move alike" in capsys.readouterr().err


@pytest.mark.parametrize("ensemble", ["nve", "npt"])
def test_an_equilibrated_crystal_has_its_temperature_from_the_start(ensemble, export):
    """A relaxed one that is given velocities at 300 K has half of it soon: motion is shared."""
    write("x.extxyz", bulk("Ta", a=3.3, cubic=True).repeat(3))
    model = export(PairToy)
    means = []
    for options in ([], ["--equilibrate", 1]):
        _, thermo = run("x.extxyz", model, "--ensemble", ensemble, "--steps", 200, *options)
        means.append(thermo["Temp"][50:].mean())
        (Path("md") / "summary.json").unlink()
        Path("md").rename(f"{len(means)}")
    assert thermo["Step"][0] == 0
    assert thermo["Step"][-1] == 200
    assert means[1] == pytest.approx(300, abs=60)
    if ensemble == "nve":
        assert means[0] < 0.85 * means[1]


@pytest.mark.mpi
def test_a_series_is_its_runs_one_by_one(export, capsys):
    write("x.extxyz", crystal())
    write("other.extxyz", crystal() * (1, 1, 2))
    model, words = str(export(PairToy)), ["--steps", "30", "--every", "10"]
    temperatures = ["--temperature", "200", "500"]
    assert main(["md", "x.extxyz", "other.extxyz", model, *temperatures, *words, "-o", "all"]) == 0
    printed = capsys.readouterr().out
    rows = json.loads(Path("all/runs.json").read_text())
    names = ["x_200K", "x_500K", "other_200K", "other_500K"]
    assert [row["name"] for row in rows] == names
    alone, _ = run("other.extxyz", model, *words, "--temperature", 500)
    assert rows[3]["temperature_K"] == alone["temperature_K"]
    energy = alone["total_energy_eV"]["mean"] / 36
    assert rows[3]["energy_eV_per_atom"]["mean"] == pytest.approx(energy, rel=1e-12)
    assert re.search(rf"^other_500K .* {energy:.4f}", printed, re.MULTILINE)
    assert Path("all/runs.png").read_bytes()[:4] == b"\x89PNG"
    picture = Path("all/x_200K/structure.png").read_bytes()
    assert picture[:4] == b"\x89PNG"


def test_a_run_that_fails_leaves_the_others_of_a_series(export, capsys):
    write("good.extxyz", crystal())
    write("bad.extxyz", bulk("Cu", cubic=True))
    words = ["--steps", "2", "-o", "all"]
    assert main(["md", "bad.extxyz", "good.extxyz", str(export(PairToy)), *words]) == 1
    error = capsys.readouterr().err
    assert "bad: model " in error
    assert error.splitlines()[-1] == "error: 1 of 2 runs failed: bad"
    assert [row["name"] for row in json.loads(Path("all/runs.json").read_text())] == ["good"]


def test_processes_change_nothing_and_the_deck_runs_again(export):
    write("x.cif", crystal())
    model = export(PairToy)
    _, two = run("x.cif", model, "--steps", 20, "--processes", 2)
    command = [Path(sys.executable).with_name("lmp"), "-in", "in.lammps", "-log", "again.lammps"]
    subprocess.run(
        [*map(str, command), "-var", "plugin", str(plugin_path())],
        cwd="md",
        capture_output=True,
        check=True,
        timeout=90,
    )
    one = read_thermo(Path("md/again.lammps"))
    for column in ("PotEng", "Temp", "Press"):
        np.testing.assert_allclose(one[column], two[column], rtol=1e-7, atol=1e-7)


def test_minimization_ends_where_forces_vanish(export):
    write("x.extxyz", Atoms("TaW", [[0, 0, 0], [0.3, 1.9, 0.4]]))  # PairToy: repulsive to 3 A
    result, thermo = run("x.extxyz", export(PairToy), "--ensemble", "minimize", "--steps", 500)
    assert result["stopped_by"] in ("force tolerance", "linesearch alpha is zero")
    assert result["energy_end_eV"] == thermo["PotEng"][-1] == pytest.approx(-1.5 + 3.0, abs=1e-3)
    assert result["energy_start_eV"] > 1.5 + 0.05
    assert result["max_force_component_eV_per_A"] == thermo["Fmax"][-1] < 0.01
    final = read("md/final.extxyz")
    assert final.get_distance(0, 1) > 2.7
    direction = final.positions[1] - final.positions[0]
    np.testing.assert_allclose(
        direction / np.linalg.norm(direction), np.array([0.3, 1.9, 0.4]) / np.sqrt(3.86), atol=1e-5
    )
    assert Path("md/minimize.png").exists()


def test_npt_and_anneal_do_as_told(export):
    write("x.cif", crystal().repeat((2, 2, 1)))
    words = ["--steps", 200, "--pressure", 20000, "--temperature", 300, "--thermo", 4]
    result, thermo = run("x.cif", export(PairToy), "--ensemble", "npt", *words)
    assert thermo["Volume"][-1] != pytest.approx(thermo["Volume"][0], rel=1e-3)
    assert result["pressure_target_bar"] == 20000
    kept = thermo["Volume"][int(0.2 * len(thermo["Volume"])) :]
    whole = read("x.cif")
    kilograms = whole.get_masses().sum() / units.kg
    expected = np.mean(kilograms / (kept * 1e-30)) / 1000
    assert result["density_g_per_cm3"]["mean"] == pytest.approx(expected)
    volume = np.prod([result[f"cell_{name}_A"]["mean"] for name in "abc"])
    volume *= whole.get_volume() / np.prod(whole.cell.lengths())  # for its angles
    assert volume == pytest.approx(result["volume_A3"]["mean"], rel=1e-3)
    ramp = ["--ensemble", "anneal", "--temperature", 200, "--to-temperature", 900, "--overwrite"]
    result, thermo = run("x.cif", export(PairToy), *ramp, "--steps", 600, "--thermo", 10)
    assert np.ptp(thermo["Volume"]) == 0
    assert thermo["Temp"][:20].mean() < 200  # of which the lattice takes half
    assert 400 < thermo["Temp"][-20:].mean() < 900  # so fast a ramp stays ahead of the atoms
    assert result["temperature_K"]["mean"] == pytest.approx(thermo["Temp"][54:].mean())


def test_an_error_of_lammps_is_one_line(export, capsys):
    write("x.extxyz", Atoms("Ta2", [[0, 0, 0], [0.5, 0, 0]]))
    assert main(["md", "x.extxyz", str(export(FragileToy, failure="raise 0"))]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: LAMMPS failed: ERROR")
    assert "atoms closer than 0.7 A" in error
    assert error.endswith("(deck and log in 'md')\n")
    assert error.count("\n") == 1
    assert Path("md/log.lammps").exists()


def test_a_folder_at_work_is_left_alone(export, capsys):
    write("x.cif", crystal())
    with locked("md", "another ictp md"):
        assert main(["md", "x.cif", str(export(PairToy)), "--overwrite"]) == 1
        assert "another ictp md (process" in capsys.readouterr().err
        assert [path.name for path in Path("md").iterdir()] == [".lock"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl_c", "sigterm"])
@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.mpi)])
def test_an_interrupt_ends_lammps_and_keeps_what_is_there(processes, number, export):
    write("x.cif", crystal())
    command = [sys.executable, "-m", "pyictp.cli.main", "md", "x.cif", str(export(PairToy))]
    command += ["--time", "10000", "--thermo", "20", "--every", "20"]
    with subprocess.Popen(
        [*command, "--processes", str(processes)], stdout=subprocess.PIPE, text=True
    ) as ictp:
        log, limit = Path("md/log.lammps"), time.monotonic() + 60
        while not (log.exists() and "\n       200 " in log.read_text()):
            assert time.monotonic() < limit
            assert ictp.poll() is None
            time.sleep(0.1)
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(ictp.pid)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        assert children
        os.kill(ictp.pid, number)
        output, _ = ictp.communicate(timeout=60)
    assert ictp.returncode == 128 + number
    assert "interrupted: LAMMPS is ended" in output
    assert not any(Path("/proc", pid).exists() for pid in children)
    result = json.loads(Path("md/summary.json").read_text())
    assert result["interrupted"]
    assert 200 <= result["steps_done"] < 10_000_000
    assert len(read("md/final.extxyz")) == 18


def test_a_molecule_stays_one(export):
    atoms = molecule("NH3")
    atoms.symbols[:] = ["W", "V", "V", "V"]
    atoms.positions *= 2
    write("x.xyz", atoms)
    result, _ = run("x.xyz", export(PairToy), "--steps", 50)
    assert "boundary        m m m" in Path("md/in.lammps").read_text()
    assert "pressure_bar" not in result
    assert "rdf_highest" not in result
    assert not read("md/final.extxyz").pbc.any()


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> dict[str, Path]:
    """Return an ensemble with grade, one model with grade, and one without."""
    models = [make_network(seed, 2) for seed in (1, 2, 3)]
    atoms = crystal()
    species = np.array([ELEMENTS.index(symbol) for symbol in atoms.get_chemical_symbols()])
    graph = build_graph(atoms.positions, atoms.cell.array, atoms.pbc, species, 3.5)
    grade, folder = fit_grade(models[0], [graph]), tmp_path_factory.mktemp("graded")
    for name, members, given in (
        ("ensemble", models, grade),
        ("graded", models[:1], grade),
        ("plain", models[:1], None),
    ):
        export_model(members, folder / f"{name}.pt", "float64", grade=given)
    return {path.stem: path for path in folder.glob("*.pt")}


def test_uncertainty_is_sampled_where_the_file_has_it(graded, capsys):
    atoms = crystal()
    atoms.rattle(0.2, seed=4)
    write("x.extxyz", atoms)
    options = ["--steps", 30, "--uncertainty", 10, "--temperature", 3000]
    result, thermo = run("x.extxyz", graded["ensemble"], *options)
    assert "pair_style      ictp uncertainty ${uncertainty}\n" in Path("md/in.lammps").read_text()
    calculator = ICTPCalculator(graded["ensemble"])
    output = capsys.readouterr().out
    assert "uncertainty every 10 steps" in output
    for key, column, name in (
        ("largest_force_deviation_eV_per_A", "c_models[1]", "force_deviation"),
        ("largest_grade", "c_models[4]", "grade"),
    ):
        there = calculator.get_property(name, read("x.extxyz")).max()
        assert thermo[column][0] == pytest.approx(there, rel=1e-5)
        assert len(np.unique(thermo[column])) == 4
        assert result[key]["value"] == thermo[column].max()
        assert thermo[column][result[key]["step"]] == thermo[column].max()
        assert f"{key:<34} {result[key]['value']:.3g} at step {result[key]['step']}" in output

    result, thermo = run("x.extxyz", graded["graded"], "--steps", 5, "--overwrite")
    assert result["uncertainty_every"] == 100
    assert result["largest_grade"] == {"value": thermo["c_models[4]"][0], "step": 0}
    assert "largest_force_deviation_eV_per_A" not in result
    result, thermo = run("x.extxyz", graded["plain"], "--steps", 5, "--overwrite")
    assert (result["uncertainty_every"], "c_models[4]" in thermo) == (None, False)

    minimize = ["--ensemble", "minimize", "--steps", 5, "--overwrite"]
    result, thermo = run("x.extxyz", graded["ensemble"], *minimize)
    assert len(np.unique(thermo["c_models[1]"])) == len(thermo["Step"])


@pytest.mark.parametrize("ensemble", ["nve", "nvt", "minimize"])
def test_fixed_atoms_stay_and_have_no_temperature(ensemble, export, capsys):
    atoms = crystal()
    fixed = [0, 1, 2, 7, 17]
    atoms.set_constraint([FixAtoms(fixed), FixCartesian(5, (True, False, False))])
    write("x.traj", atoms)
    words = ["--ensemble", ensemble, "--steps", 40, "--repeat", 1, 2, 1]
    result, thermo = run("x.traj", export(PairToy), *words)
    assert result["fixed_atoms"] == 10
    assert "warning: constraints FixCartesian are ignored" in capsys.readouterr().err
    final, start = read("md/final.extxyz"), atoms.repeat((1, 2, 1))
    held = np.tile(np.isin(np.arange(18), fixed), 2)
    vectors, moved = find_mic(final.positions - start.positions, start.cell, start.pbc)
    np.testing.assert_allclose(vectors[held], 0, atol=1e-6)
    assert moved[~held].min() > 1e-4
    (kept,) = final.constraints
    assert kept.index.tolist() == np.flatnonzero(held).tolist()
    if ensemble != "minimize":
        assert thermo["Temp"][0] == pytest.approx(300)
        assert thermo["KinEng"][0] == pytest.approx(1.5 * 26 * KB * 300, rel=1e-6)
        final.set_constraint()
        assert final.get_kinetic_energy() == pytest.approx(thermo["KinEng"][-1], rel=1e-6)


def test_one_mobile_atom_over_fixed_ones(export):
    atoms = crystal()
    atoms.set_constraint(FixAtoms(range(1, 18)))
    write("x.traj", atoms)
    result, thermo = run("x.traj", export(PairToy), "--steps", 20)
    assert thermo["Temp"][0] == pytest.approx(300)
    assert result["steps_done"] == 20


def dimer(folder: Path, distance: float, **known: object) -> Path:
    """Write two atoms and a toy that knows distances from 1.8 A on; return the model file."""
    write(folder / "pair.extxyz", Atoms("TaW", [[0, 0, 0], [0, 0, distance]]))
    toy = PairToy()
    toy.shortest_distances = [1.8] * 9
    return export_toy(folder / "toy.pt", toy, **known)


def test_atoms_closer_than_in_the_training_data(here, capsys, caplog):
    """What LAMMPS says of them does not stay in its log."""
    model = dimer(here, 1.5)
    words = ["md", "pair.extxyz", str(model), "--steps", "2", "--temperature", "1"]
    assert main([*words, "-o", "warned"]) == 0
    text = r"atoms \d \(\w+\) and \d \(\w+\) are 1.5 A apart, closer than any such pair in the "
    assert len(re.findall(rf"LAMMPS: step 0: {text}training data \(1.8 A\)", caplog.text)) == 1
    said = json.loads(Path("warned/summary.json").read_text())["closer_than_training_data"]
    assert re.match(rf"step \d: {text}", said)
    capsys.readouterr()
    assert main([*words, "-o", "refused", "--closest", "error"]) == 1
    assert re.search(rf"LAMMPS failed: ERROR.*{text}", capsys.readouterr().err)
    caplog.clear()
    assert main([*words, "-o", "ignored", "--closest", "ignore"]) == 0
    assert main(["md", "pair.extxyz", *words[2:], "--overwrite", "-o", "ignored"]) == 0
    dimer(here, 1.9)
    caplog.clear()
    assert main([*words, "-o", "far"]) == 0
    assert caplog.text == ""
    assert json.loads(Path("far/summary.json").read_text())["closer_than_training_data"] is None


@pytest.mark.parametrize("name", ["a\nshell touch payload\n#.xyz", 'a""".xyz', "a$(1 &.xyz"])
def test_a_name_runs_nothing(name, here, export):
    """Of a structure, a model and a folder."""
    model = here / f"model of {name}"
    model.write_bytes(export(PairToy).read_bytes())
    write("plain.extxyz", crystal())
    (here / name).write_bytes((here / "plain.extxyz").read_bytes())
    for output in ("md", f"folder {name}"):
        words = [name, str(model), "--steps", "2", "--temperature", "10", "-o", output]
        assert main(["md", *words]) == 0
        assert json.loads((here / output / "summary.json").read_text())["steps_done"] == 2
        assert not list(here.rglob("payload"))


@pytest.mark.parametrize(
    ("trained_on", "warned"),
    [(["energy", "forces"], True), (["energy", "forces", "stress"], False), (None, False)],
)
def test_a_pressure_of_a_model_without_stresses(trained_on, warned, here, caplog):
    write("x.extxyz", crystal())
    provenance = {} if trained_on is None else {"trained_on": trained_on}
    export_model(make_network(), here / "model.pt", "float64", provenance)
    assert main(["md", "x.extxyz", "model.pt", "--no-run", "-o", "kept"]) == 0
    assert caplog.text == ""
    assert main(["md", "x.extxyz", "model.pt", "--no-run", "--ensemble", "npt"]) == 0
    text = "expected a model that was trained on stresses, this one was on energy and forces alone"
    assert (text in caplog.text) == warned
