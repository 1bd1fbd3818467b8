# SPDX-License-Identifier: MIT
"""What `ictp export` says of a file on training frames, against the double loop of ASE."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from model_toys import make_model
from pyictp.cli.main import main
from pyictp.data.samples import species_of
from pyictp.graph.graph import build_graph
from pyictp.potential.calculator import ICTPCalculator
from pyictp.potential.checkpoint import save_checkpoint
from pyictp.potential.export import export_model
from pyictp.potential.export_check import compare, spread


def waters(number: int) -> list:
    frames = [molecule("H2O") for _ in range(number)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.1, seed=seed)
    return frames


@pytest.mark.parametrize("num_models", [1, pytest.param(2, marks=pytest.mark.long)])
def test_deviation_of_forces(num_models: int, tmp_path: Path) -> None:
    """Of a file from other models than it was made of: what the calculators of both say."""
    made_of = [make_model(seed=seed, elements=("H", "O")) for seed in range(num_models)]
    others = [make_model(seed=seed + 9, elements=("H", "O")) for seed in range(num_models)]
    path = tmp_path / "model.pt"
    export_model(made_of, path, "float64", radial="network")
    frames, differences = waters(4), []
    for atoms in frames:
        forces = [ICTPCalculator(model).get_forces(atoms) for model in others]
        differences.append(ICTPCalculator(path).get_forces(atoms) - np.mean(forces, axis=0))
    r_cut = made_of[0].config.r_cut
    graphs = [
        build_graph(a.positions, a.cell[:], a.pbc, species_of(a.numbers, ("H", "O")), r_cut)
        for a in frames
    ]
    found = compare(path, others, graphs)
    assert found.largest == pytest.approx(np.abs(differences).max(), rel=1e-9)
    assert found.rms == pytest.approx(np.sqrt(np.mean(np.square(differences))), rel=1e-9)
    assert compare(path, made_of, graphs).largest < 1e-12


def test_frames_at_equal_distances() -> None:
    assert spread(range(5), 20) == [0, 1, 2, 3, 4]
    assert spread(range(41), 5) == [0, 10, 20, 30, 40]


def test_the_command_takes_the_training_files_of_the_run(tmp_path, capsys) -> None:
    frames = waters(3)
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((3, 3)))
    data = tmp_path / "frames.xyz"
    write(data, frames)
    model = make_model(elements=("H", "O"))
    save_checkpoint(tmp_path / "a.pt", model, config={"data": {"train": [str(data)]}})
    options = ["export", str(tmp_path / "a.pt"), "-o", str(tmp_path / "model.pt")]
    assert main(options) == 0
    text = capsys.readouterr().out
    assert "on 3 training frames: forces at most " in text
    assert main([*options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["on_training_frames"]["num_frames"] == 3
    data.unlink()
    assert main(options) == 0
    assert "not compared on training frames" in capsys.readouterr().out
