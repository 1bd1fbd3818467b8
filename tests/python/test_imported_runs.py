# SPDX-License-Identifier: MIT
"""An imported model is a model: folders, fine-tuning, grades, ensembles, ASE."""

from __future__ import annotations

import copy
from pathlib import Path

import mace_files
import numpy as np
import pytest
import sevennet_files
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from pyictp import ICTPCalculator, train
from pyictp.cli.main import main
from pyictp.config.load import Config, DataConfig, TrainConfig
from pyictp.foreign.importer import import_model
from pyictp.graph.derivatives import evaluate_graph
from pyictp.model.ictp import ICTPModel
from pyictp.potential.checkpoint import build_model, load_checkpoint
from pyictp.potential.export import reference_graph
from pyictp.potential.exported import read_metadata
from pyictp.training.finetune import extend_model
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


# a model to run, its head, and one of the same kind, with a head, that makes the labels
CASES = {
    "density_agnesi": (mace_files, "cc", "rank1_ell3"),
    "agnostic_zbl": (mace_files, None, "rank1_ell3"),
    "manual": (sevennet_files, None, "methods"),
    "by_species": (sevennet_files, None, "methods"),
}


QUICK = ("density_agnesi", "by_species")


@pytest.fixture(
    scope="module",
    params=[pytest.param(c, marks=[] if c in QUICK else [pytest.mark.long]) for c in CASES],
)
def case(request) -> str:
    """Return the name of a model."""
    return request.param


@pytest.fixture(scope="module")
def run(case: str, tmp_path_factory) -> Path:
    """Return a training folder of an imported model."""
    files, head, _ = CASES[case]
    folder = tmp_path_factory.mktemp("imported")
    command = ["import", str(files.unpack(case, folder)), "-o", str(folder / "run")]
    command += [] if head is None else ["--head", head]
    assert main([*command, "--elements", *ALLOY]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def labelled(case: str, tmp_path_factory) -> Path:
    """Return a file with labels by another imported model."""
    files, _, teacher = CASES[case]
    folder = tmp_path_factory.mktemp("labels")
    found = import_model(files.unpack(teacher, folder), "r2scan", ALLOY)
    return labelled_by(found.model, folder)


def labelled_by(model: ICTPModel, folder: Path) -> Path:
    """Write frames with labels of a model; returns the file."""
    calculator, cells = ICTPCalculator(model), frames(12)
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

    def shifted(i: int, axis: int, size: float) -> float:
        moved = atoms.copy()
        moved.positions[i, axis] += size
        return atoms.calc.get_property("energy", moved)

    for i, axis in ((0, 0), (2, 1), (3, 2)):
        slope = (shifted(i, axis, step) - shifted(i, axis, -step)) / (2 * step)
        assert forces[i, axis] == pytest.approx(-slope, abs=1e-6)

    def sheared(size: float) -> float:
        strain, moved = np.eye(3), atoms.copy()
        strain[0, 1] = size
        moved.set_cell(atoms.cell @ strain, scale_atoms=True)
        return atoms.calc.get_property("energy", moved)

    found = (sheared(step) - sheared(-step)) / (2 * step * atoms.get_volume())
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


@pytest.mark.parametrize(
    "name",
    [
        "charge_spin",
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in (
                *("bias_heads", "gaussian_agnesi", "chebyshev_agnesi", "mixed_last"),
                *("both_parities", "pseudo_scalars"),
            )
        ),
    ],
)
def test_fine_tuning_to_a_model_nearby(name: str, tmp_path: Path, monkeypatch) -> None:
    """Its weights are a tenth away; all of them learn, and the file holds what came out."""
    no_pictures(monkeypatch)
    files = mace_files if name in mace_files.CASES else sevennet_files
    run, source = tmp_path / "run", files.unpack(name, tmp_path)
    head = files.HEADS.get(name)
    options = [] if head is None else ["--head", head]
    command = ["import", str(source), "-o", str(run), *options, "--elements", *ALLOY]
    assert main(command) == 0
    start = load_checkpoint(run / "best.pt")
    teacher = build_model(start)
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in teacher.parameters():
            weight *= 1.0 + 0.1 * torch.randn_like(weight)
    training = TrainConfig(
        output=str(tmp_path / "fine"),
        batch_size=4,
        max_epochs=12,
        learning_rate=0.003,
        dtype="float64",
        device="cpu",
        report=False,
    )
    data = DataConfig(train=(str(labelled_by(teacher, tmp_path)),), num_train=9, num_valid=3)
    trainer, _ = train.train(Config(data=data, training=training), finetune=run)
    log = rows(tmp_path / "fine")
    assert float(log[-1]["valid_loss"]) < 0.8 * float(log[0]["valid_loss"])
    saved = load_checkpoint(tmp_path / "fine" / "best.pt")
    assert saved["model_config"] == start["model_config"]
    for key in ("charge", "spin"):
        assert saved["provenance"].get(key) == start["provenance"].get(key)
    for name, weight in trainer.model.named_parameters():
        assert not torch.equal(weight, start["model_state"][name]), name
    assert main(["export", str(tmp_path / "fine"), "-o", str(tmp_path / "model.pt")]) == 0
    exact, exported = ICTPCalculator(tmp_path / "fine"), ICTPCalculator(tmp_path / "model.pt")
    for atoms in frames(2):
        forces, ours = (each.get_property("forces", atoms) for each in (exact, exported))
        np.testing.assert_allclose(ours, forces, atol=1e-4 * np.abs(forces).max())


@pytest.mark.parametrize("case", ["density_agnesi"], indirect=True)
def test_a_licence_stays_with_what_is_made_of_a_model(labelled: Path, tmp_path: Path) -> None:
    source = mace_files.unpack("one_layer", tmp_path).rename(tmp_path / "MACE-OFF23_small.model")
    run = tmp_path / "run"
    assert main(["import", str(source), "-o", str(run), "--elements", *ALLOY]) == 0
    training = TrainConfig(output=str(tmp_path / "fine"), max_epochs=1, device="cpu", report=False)
    data = DataConfig(train=(str(labelled),), num_train=9, num_valid=3)
    train.train(Config(data=data, training=training), finetune=run)
    provenance = load_checkpoint(tmp_path / "fine" / "best.pt")["provenance"]
    assert "Academic Software License" in provenance["licence"]


@pytest.mark.parametrize("name", ["manual", "by_species", "pseudo_scalars"])
def test_a_new_element(name: str, tmp_path: Path) -> None:
    """It begins as a copy of an old one, and what is without it stays."""
    model = import_model(sevennet_files.unpack(name, tmp_path)).model
    larger = extend_model(model, [*model.config.elements, "W"])
    graph = reference_graph(model)
    ours, theirs = (evaluate_graph(each, graph) for each in (larger, model))
    torch.testing.assert_close(ours.forces, theirs.forces, atol=1e-11, rtol=0)
