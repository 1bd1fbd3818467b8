# SPDX-License-Identifier: MIT
"""An imported MACE model is a model: folders, fine-tuning, grades, ensembles, ASE."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from mace_files import unpack
from pyictp import ICTPCalculator, train
from pyictp.cli.main import main
from pyictp.config.load import Config, DataConfig, TrainConfig
from pyictp.foreign.importer import import_model
from pyictp.potential.checkpoint import load_checkpoint
from pyictp.potential.exported import read_metadata
from train_toys import no_pictures, rows

ALLOY = ("V", "Nb", "Ta")


def frames(number: int) -> list[Atoms]:
    """Return strained, rattled cells of four atoms of three elements."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(number):
        atoms = bulk("Ta", a=3.2 + 0.1 * rng.normal(), cubic=True) * (2, 1, 1)
        atoms.symbols[:] = rng.choice(ALLOY, 4)
        atoms.set_cell(atoms.cell @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.1, rng=rng)
        found.append(atoms)
    return found


@pytest.fixture(scope="module", params=["density_agnesi", "agnostic_zbl"])
def run(request, tmp_path_factory) -> Path:
    """Return a training folder of an imported model."""
    folder = tmp_path_factory.mktemp("imported")
    head = ["--head", "cc"] if request.param == "density_agnesi" else []
    command = ["import", str(unpack(request.param, folder)), "-o", str(folder / "run"), *head]
    assert main([*command, "--elements", *ALLOY]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    """Return a file with labels by another imported model."""
    folder = tmp_path_factory.mktemp("labels")
    found = import_model(unpack("rank1_ell3", folder), "r2scan", ALLOY)
    calculator, cells = ICTPCalculator(found.model), frames(12)
    for atoms in cells:
        atoms.calc = calculator
        labels = {n: atoms.calc.get_property(n, atoms) for n in ("energy", "forces", "stress")}
        atoms.calc = SinglePointCalculator(atoms, **copy.deepcopy(labels))
    write(folder / "labelled.xyz", cells)
    return folder / "labelled.xyz"


def test_derivatives_in_ase(run: Path) -> None:
    """Forces and stress are derivatives of the energy, repulsion and densities included."""
    atoms = frames(1)[0]
    atoms.calc = ICTPCalculator(run)
    forces, stress = atoms.get_forces(), atoms.get_stress(voigt=False)
    step = 1e-4

    def energy(moved: Atoms) -> float:
        moved.calc = atoms.calc
        return moved.get_potential_energy()

    for i, axis in ((0, 0), (2, 1), (3, 2)):
        one, other = atoms.copy(), atoms.copy()
        one.positions[i, axis] += step
        other.positions[i, axis] -= step
        assert forces[i, axis] == pytest.approx(
            -(energy(one) - energy(other)) / (2 * step), abs=1e-6
        )
    one, other = atoms.copy(), atoms.copy()
    strain = np.eye(3)
    strain[0, 1] = step
    one.set_cell(atoms.cell @ strain, scale_atoms=True)
    strain[0, 1] = -step
    other.set_cell(atoms.cell @ strain, scale_atoms=True)
    found = (energy(one) - energy(other)) / (2 * step * atoms.get_volume())
    assert stress[0, 1] == pytest.approx(found, abs=1e-7)


def test_fine_tuning(run: Path, labelled: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """Weights of densities, maps and radial functions of pairs learn; files hold what came out."""
    no_pictures(monkeypatch)
    training = TrainConfig(
        output=str(tmp_path / "fine"),
        batch_size=4,
        max_epochs=12,
        learning_rate=0.01,
        dtype="float64",
        stress_weight=0.1,
        device="cpu",
        report=False,
    )
    data = DataConfig(train=(str(labelled),), num_train=9, num_valid=3)
    trainer, _ = train.train(Config(data=data, training=training), finetune=run)
    log = rows(tmp_path / "fine")
    assert float(log[-1]["valid_loss"]) < 0.8 * float(log[0]["valid_loss"])
    start = load_checkpoint(run / "best.pt")
    saved = load_checkpoint(tmp_path / "fine" / "best.pt")
    assert saved["model_config"] == start["model_config"]
    for name, weight in trainer.model.named_parameters():
        assert not torch.equal(weight, start["model_state"][name]), name
    assert saved["provenance"]["shortest_edge"] == 0.5
    capsys.readouterr()
    for model in (tmp_path / "fine", run):
        assert main(["export", str(model), "-o", str(tmp_path / "one.pt")]) == 0
    both = ["export", str(tmp_path / "fine"), str(run), "-o", str(tmp_path / "both.pt")]
    assert main(both) == 0
    assert read_metadata(tmp_path / "both.pt")["num_models"] == 2
    assert main(["evaluate", str(tmp_path / "both.pt"), str(labelled)]) == 0
    assert "force RMSE" in capsys.readouterr().out


def test_grades_of_given_data(run: Path, labelled: Path, tmp_path: Path, capsys) -> None:
    command = ["export", str(run), "-o", str(tmp_path / "graded.pt")]
    assert main([*command, "--training-data", str(labelled)]) == 0
    assert "on 12 training frames: forces at most" in capsys.readouterr().out
    assert read_metadata(tmp_path / "graded.pt")["has_grade"]
    atoms = frames(1)[0]
    atoms.calc = ICTPCalculator(tmp_path / "graded.pt", uncertainty=True)
    near = atoms.calc.get_property("grade", atoms).max()
    atoms.set_cell(1.3 * atoms.cell, scale_atoms=True)
    assert atoms.calc.get_property("grade", atoms).max() > 1.5 * near


def test_a_licence_stays_with_what_is_made_of_a_model(labelled: Path, tmp_path: Path) -> None:
    source = unpack("one_layer", tmp_path).rename(tmp_path / "MACE-OFF23_small.model")
    run = tmp_path / "run"
    assert main(["import", str(source), "-o", str(run), "--elements", *ALLOY]) == 0
    training = TrainConfig(output=str(tmp_path / "fine"), max_epochs=1, device="cpu", report=False)
    data = DataConfig(train=(str(labelled),), num_train=9, num_valid=3)
    train.train(Config(data=data, training=training), finetune=run)
    provenance = load_checkpoint(tmp_path / "fine" / "best.pt")["provenance"]
    assert "Academic Software License" in provenance["licence"]
