# SPDX-License-Identifier: MIT
"""Every script of docs/interop runs, and its numbers hold against something else."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.io import read, write
from pyictp import ICTPCalculator, train
from pyictp.cli.main import main
from pyictp.graph.derivatives import evaluate_graph
from pyictp.graph.graph import build_graph
from pyictp.potential.load import load_model
from train_toys import changed, emt_frames, make_config, no_pictures

SCRIPTS = Path(__file__).parents[2] / "docs" / "interop"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Copper and nickel, learned well enough for a stable crystal: run/, model.pt, frames.xyz."""
    folder = tmp_path_factory.mktemp("interop")
    settings = {"max_epochs": 40, "schedule": "cosine", "learning_rate": 0.03, "valid_every": 40}
    with pytest.MonkeyPatch.context() as patch:
        no_pictures(patch)
        train.train(changed(make_config(folder), **settings))
    export = ["export", str(folder / "run"), "-o", str(folder / "model.pt"), "--dtype", "float64"]
    assert main(export) == 0
    write(folder / "frames.xyz", emt_frames(4), format="extxyz")
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    """Return a function that runs a script and returns its names and what it printed."""

    def run_script(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        names = runpy.run_path(str(SCRIPTS / name), run_name="__main__")
        return names, capsys.readouterr().out

    return run_script


def number(pattern: str, text: str) -> float:
    """Return the number behind a text."""
    found = re.search(pattern + r"\s*(-?\d[\d.e+-]*)", text)
    assert found, f"{pattern!r} is not in {text}"
    return float(found[1])


def test_every_script_is_tested_and_documented():
    here, page = Path(__file__).read_text(), (SCRIPTS.parent / "interop.md").read_text()
    for script in SCRIPTS.glob("*.py"):
        assert f'"{script.name}"' in here
        assert f"interop/{script.name}" in page


def test_batch(run, folder, tmp_path):
    output = tmp_path / "predicted.xyz"
    _, text = run("batch.py", folder / "run", folder / "frames.xyz", "--number", 3, "-o", output)
    assert number("largest difference of a force", text) < 1e-4  # float32
    calculator = ICTPCalculator(folder / "run")
    frames = read(output, ":")
    assert len(frames) == 3
    for atoms in frames:
        assert atoms.get_potential_energy() == pytest.approx(
            calculator.get_potential_energy(atoms), abs=1e-4
        )
        np.testing.assert_allclose(atoms.get_forces(), calculator.get_forces(atoms), atol=1e-4)
        np.testing.assert_allclose(atoms.get_stress(), calculator.get_stress(atoms), atol=1e-5)


def test_checkpoint(run, folder):
    checkpoint, frames = folder / "run" / "best.pt", folder / "frames.xyz"
    names, text = run("checkpoint.py", checkpoint, frames)
    atoms = read(frames, 0)
    calculator = ICTPCalculator(folder / "run", dtype="float64")
    energy = calculator.get_potential_energy(atoms)
    assert number(f"{atoms.get_chemical_formula()}:", text) == pytest.approx(energy, abs=1e-6)
    largest = np.linalg.norm(calculator.get_forces(atoms), axis=1).max()
    assert number("largest force", text) == pytest.approx(largest, abs=1e-6)
    assert "features of the last layer (4, 1, 4)" in text
    for quantity, function in (("energy", total_energy), ("sum of squared forces", squared_forces)):
        found = re.search(rf"gradient of the {quantity}: .* largest (\S+) \((\S+)\)", text)
        model = load_model(checkpoint, dtype=torch.float64).model
        slope = slope_along_gradient(model, function, found[2], frames)
        assert float(found[1]) == pytest.approx(slope, rel=1e-3)
    check_features(
        names["last_features"], load_model(checkpoint, dtype=torch.float64).model, frames
    )


def graph_of(model, atoms):
    species = [model.config.elements.index(symbol) for symbol in atoms.symbols]
    return build_graph(atoms.positions, atoms.cell.array, atoms.pbc, species, model.config.r_cut)


def total_energy(model, graph):
    return evaluate_graph(model, graph, training=True).energies.sum()


def squared_forces(model, graph):
    return evaluate_graph(model, graph, training=True).forces.square().sum()


def slope_along_gradient(model, function, name, frames) -> float:
    """Return the norm of a gradient from values on both sides of the parameters."""
    graph = graph_of(model, read(frames, 0))
    parameter = model.get_parameter(name).requires_grad_(True)
    (gradient,) = torch.autograd.grad(function(model, graph), parameter)
    start, direction, values = parameter.detach().clone(), gradient / gradient.norm(), []
    for step in (1e-5, -1e-5):
        parameter.data = start + step * direction
        values.append(function(model, graph).item())
    return (values[0] - values[1]) / 2e-5


def check_features(last_features, model, frames) -> None:
    """Scalars give the energies, with what the first layer adds, and do not turn with the atoms."""
    atoms = read(frames, 0)
    (scalars,) = last_features(model, graph_of(model, atoms))
    atoms.rotate(40, (1, 2, 3), rotate_cell=True)
    (rotated,) = last_features(model, graph_of(model, atoms))
    torch.testing.assert_close(rotated, scalars, rtol=0, atol=1e-10)
    graph = graph_of(model, atoms)
    energies = evaluate_graph(model, graph).node_energies
    with torch.no_grad():
        model.layers[-1].readout.layers[-1].weight.zero_()
    rest = evaluate_graph(model, graph).node_energies
    readout = load_model(frames.parent / "run", dtype=torch.float64).model.layers[-1].readout
    expected = model.scale[graph.species] * readout(scalars).reshape(-1)
    torch.testing.assert_close(energies - rest, expected, rtol=0, atol=1e-9)


@pytest.mark.lammps
def test_lammps_module(folder):
    script = str(SCRIPTS / "lammps_module.py")
    arguments = ["Cu", "--structure", "fcc", "--a", "3.55", "--repeat", "2", "--steps", "20"]
    done = subprocess.run(
        [sys.executable, script, str(folder / "model.pt"), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = done.stdout
    assert "r_cut 3.5 A, 32 atoms, step 20" in text
    assert number("largest difference of an energy per atom", text) < 1e-9
    assert number("largest difference of a force", text) < 1e-9
    assert number("potential energy", text) == pytest.approx(number("ASE:", text), abs=1e-5)
    by_compute, by_fix = re.search(r"atom 1: (\S+) eV by compute pe/atom, (\S+) eV", text).groups()
    assert by_compute == by_fix
    assert 100 < number(" eV,", text) < 1200  # K: it moved and did not explode
