# SPDX-License-Identifier: MIT
"""Training: what comes out, and that a resumed one is the same bit for bit."""

import dataclasses
import itertools
import math
import signal
from pathlib import Path

import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.neighborlist import neighbor_list
from pyictp import train
from pyictp.common.files import LOCK
from pyictp.common.interrupt import StopRequest
from pyictp.config import training as training_config
from pyictp.config.load import DataConfig
from pyictp.errors import UserError
from pyictp.potential.checkpoint import load_checkpoint
from pyictp.training import run_folder
from pyictp.training.curves import plot_learning_curve
from pyictp.training.prepare import read_split
from pyictp.training.trainer import Outcome, Trainer
from train_toys import MODEL, assert_same_run, changed, emt_frames, make_config, rows

PUBLISHED = Path(__file__).parents[2] / "configs" / "published"

pytestmark = pytest.mark.usefixtures("quick_training")


@pytest.fixture
def config(tmp_path):
    return make_config(tmp_path)


def test_overfits_a_handful_of_frames(config):
    config = changed(
        config,
        max_epochs=240,
        batch_size=4,
        schedule="cosine",
        stress_weight=0.0,
        valid_every=120,
        save_every=200,
    )
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(MODEL, num_channels=8),
        data=dataclasses.replace(config.data, valid=config.data.train, num_train=4, num_valid=4),
    )
    trainer, outcome = train.train(config)
    assert outcome is Outcome.FINISHED
    log = rows(trainer.folder.path)
    assert float(log[-1]["train_loss"]) < 0.01 * float(log[0]["train_loss"])
    assert float(log[-1]["valid_forces_rmse"]) < 0.05  # eV/A, of forces of about 1 eV/A


def test_run_folder_is_complete_and_best_holds_the_average(config):
    trainer, _ = train.train(config)
    path = trainer.folder.path
    assert sorted(file.name for file in path.iterdir()) == sorted([LOCK, *run_folder.FILES])
    log = rows(path)
    assert [row["epoch"] for row in log] == ["1", "2", "3", "4", "5", "6"]
    assert log[-1]["step"] == "18"
    parts = [float(log[0][f"train_loss_{name}"]) for name in ("energy", "forces", "stress")]
    assert float(log[0]["train_loss"]) == pytest.approx(sum(parts))
    best, last = load_checkpoint(path / "best.pt"), load_checkpoint(path / "last.pt")
    assert best["model_config"]["elements"] == ["Ni", "Cu"]
    assert best["epoch"] == min(range(6), key=lambda i: float(log[i]["valid_loss"])) + 1
    if best["epoch"] == 6:
        average = last["training_state"]["average"]
        assert all(torch.equal(average[k], v) for k, v in best["model_state"].items())
    assert not torch.equal(
        best["model_state"]["node_embedding"], last["model_state"]["node_embedding"]
    )


def test_provenance_says_what_was_learned(config):
    config = changed(config, max_epochs=1, stress_weight=0.0)
    trainer, _ = train.train(config)
    provenance = load_checkpoint(trainer.folder.best)["provenance"]
    assert provenance["trained_on"] == ["energy", "forces"]
    shortest = {}
    for frame in read_split(config)[0]:
        atoms = Atoms(frame.symbols, frame.positions, cell=frame.cell, pbc=frame.pbc)
        for i, j, length in zip(*neighbor_list("ijd", atoms, config.model.r_cut), strict=True):
            pair = "-".join(sorted({atoms.symbols[i], atoms.symbols[j]}, key=["Ni", "Cu"].index))
            pair = pair if "-" in pair else f"{pair}-{pair}"
            shortest[pair] = min(length, shortest.get(pair, math.inf))
    assert list(provenance["shortest_distances"]) == ["Ni-Cu", "Cu-Cu"]  # nickel has no other near
    assert provenance["shortest_distances"] == pytest.approx(shortest)
    assert min(shortest.values()) == pytest.approx(provenance["shortest_edge"])
    trainer, _ = train.train(changed(config, stress_weight=0.1), overwrite=True)
    provenance = load_checkpoint(trainer.folder.best)["provenance"]
    assert provenance["trained_on"] == ["energy", "forces", "stress"]


def test_learning_curve_is_drawn_whatever_is_missing(tmp_path):
    folder = run_folder.RunFolder(tmp_path)
    plot_learning_curve(folder.read_rows(), folder.picture)
    assert not folder.picture.exists()
    folder.append_row({"epoch": 1, "step": 2, "train_loss": 2.5, "learning_rate": 0.1})
    folder.append_row({"epoch": 2, "step": 4, "train_loss": 0.0, "valid_forces_mae": math.nan})
    plot_learning_curve(folder.read_rows(), folder.picture)
    assert folder.picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
def test_resumed_equals_uninterrupted(config, tmp_path, schedule, dtype):
    config = changed(config, schedule=schedule, dtype=dtype, max_grad_norm=50.0)
    train.train(config)
    again = changed(config, output=str(tmp_path / "again"))
    resume = False
    for stop_at in (1, 5, 6, 3, 2, 1000):  # in an epoch, at its start, before its validation
        stop = StopAtStep(stop_at)
        _, outcome = train.train(again, resume=resume, stop=stop)
        resume = True
    assert outcome is Outcome.FINISHED
    assert_same_run(tmp_path / "run", tmp_path / "again")


class StopAtStep(StopRequest):
    """Stands for a signal that comes after a number of looks at it."""

    def __init__(self, looks):
        self.looks = looks
        super().__init__()

    @property
    def signal_number(self):
        self.looks -= 1
        return signal.SIGINT if self.looks < 0 else None

    @signal_number.setter
    def signal_number(self, value):
        pass


def test_same_seed_same_run_other_seed_other_run(config, tmp_path):
    config = changed(config, max_epochs=2)
    train.train(config)
    train.train(changed(config, output=str(tmp_path / "same")))
    train.train(changed(config, output=str(tmp_path / "other"), seed=1))
    assert_same_run(tmp_path / "run", tmp_path / "same")
    assert rows(tmp_path / "run") != rows(tmp_path / "other")


def test_longer_training_after_the_end(config, tmp_path):
    config = changed(config, schedule="plateau")  # a cosine knows its end
    train.train(changed(config, max_epochs=3))
    trainer, _ = train.train(config, resume=True)
    train.train(changed(config, output=str(tmp_path / "whole")))
    assert trainer.position.epoch == 6
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_minutes_pause_a_plateau_and_end_a_cosine(config, tmp_path, monkeypatch):
    monkeypatch.setattr(training_config, "NUM_EPOCHS", 1)  # minutes alone decide
    short = changed(config, schedule="plateau", max_minutes=1e-9, max_epochs=2)
    _, outcome = train.train(short)
    assert outcome is Outcome.PAUSED
    _, outcome = train.train(changed(short, max_minutes=None), resume=True)
    assert outcome is Outcome.FINISHED
    assert len(rows(tmp_path / "run")) == 2

    timed = changed(
        config,
        output=str(tmp_path / "timed"),
        schedule="cosine",
        max_minutes=0.03,
        max_epochs=None,
    )
    trainer, outcome = train.train(timed)
    assert outcome is Outcome.FINISHED
    assert 1.8 <= trainer.position.seconds < 10
    assert trainer.position.epoch > 1
    last = rows(tmp_path / "timed")[-1]
    assert float(last["learning_rate"]) < 0.1 * config.training.learning_rate
    assert last["valid_loss"]

    session = changed(timed, output=str(tmp_path / "session"), schedule="plateau")
    trainer, outcome = train.train(session)
    assert outcome is Outcome.PAUSED
    assert trainer.position.epoch > 1


def test_a_run_of_a_time_before_that_ended_by_its_epochs_goes_on(config):
    config = changed(config, max_minutes=0.03, valid_every=50)
    trainer, _ = train.train(changed(config, max_epochs=1))  # 500 was the default once
    assert trainer.position.epoch == 1
    trainer, outcome = train.train(changed(config, max_epochs=None), resume=True)
    assert outcome is Outcome.FINISHED
    assert trainer.position.epoch > 1
    assert trainer.position.seconds >= 1.8


def test_validation_on_training_frames_is_one_warning(config, tmp_path, caplog):
    config = changed(config, max_epochs=1)
    train.train(config)
    assert caplog.messages == []
    frames = emt_frames(10)
    write(tmp_path / "copy.extxyz", frames[7:])
    for file, text in (("train.extxyz", "3 of 3"), ("copy.extxyz", "3 of 3")):
        data = dataclasses.replace(
            config.data, valid=(str(tmp_path / file),), num_train=None, num_valid=3
        )
        train.train(dataclasses.replace(config, data=data), overwrite=True)
        assert caplog.messages == [
            f"validation frames: expected structures that are not trained on, {text} are: "
            "their errors say nothing of new ones, set data.valid to others"
        ]
        caplog.clear()


@pytest.mark.parametrize("path", sorted(PUBLISHED.glob("*.yaml")), ids=lambda path: path.stem)
def test_published_configurations_train(path, load_with_data, tmp_path):
    config = load_with_data(path)
    data = dataclasses.replace(
        config.data,
        train=tuple(first_frames(name, tmp_path, 4) for name in config.data.train),
        valid=tuple(first_frames(name, tmp_path, 1) for name in config.data.valid),
        num_train=2,
        num_valid=1,
        valid_fraction=0.1,
    )
    config = dataclasses.replace(config, data=data)
    trainer, outcome = train.train(
        changed(config, output=str(tmp_path / "run"), max_epochs=1, device="cpu", report=False)
    )
    assert outcome is Outcome.FINISHED
    assert trainer.position.step == 1
    assert math.isfinite(trainer.position.best_loss)
    errors = {name for name, text in rows(tmp_path / "run")[0].items() if "rmse" in name and text}
    assert {"valid_energy_rmse", "valid_forces_rmse"} <= errors


def first_frames(name, folder, number):
    """Return an XYZ file with the first frames of a large one, unchanged; any other as it is."""
    path = Path(name)
    if path.suffix == ".npz":
        return name
    with path.open() as file, (folder / path.name).open("w") as target:
        for _ in range(number):
            count = file.readline()
            target.writelines([count, *itertools.islice(file, int(count) + 1)])
    return str(folder / path.name)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device")
def test_a_gpu_follows_the_curve_of_the_cpu(config, tmp_path):
    config = changed(config, max_epochs=2, dtype="float64")
    train.train(config)
    trainer, _ = train.train(changed(config, output=str(tmp_path / "gpu"), device="cuda"))
    assert trainer.device.type == "cuda"
    pairs = zip(rows(tmp_path / "run"), rows(tmp_path / "gpu"), strict=True)
    for row, twin in pairs:
        for name, text in row.items():
            if text:
                assert float(twin[name]) == pytest.approx(float(text), rel=1e-6), name


def test_early_stopping(config):
    settings = changed(config, learning_rate=1e-12, ema_decay=0.0, early_stopping_patience=2)
    trainer, outcome = train.train(changed(settings, max_epochs=50, weight_decay=0.0))
    assert outcome is Outcome.FINISHED
    assert trainer.position.epoch < 50


def test_nan_stops_with_one_line_and_keeps_the_state(config, tmp_path):
    train.train(changed(config, max_epochs=2))
    before = load_checkpoint(tmp_path / "run" / "last.pt")["model_state"]
    broken, original = [], Trainer._step

    def step(self, batch):
        with torch.no_grad():
            self.model.node_embedding.fill_(math.nan)
        broken.append(1)
        return original(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_step", step)
        with pytest.raises(
            UserError, match=r"^the training loss became NaN or infinite in epoch 3"
        ):
            train.train(config, resume=True)
    after = load_checkpoint(tmp_path / "run" / "last.pt")["model_state"]
    assert broken
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_frames_without_stress_or_forces_are_trained_on(config, tmp_path):
    frames = emt_frames(6)
    for index, keys in enumerate(
        [("energy", "forces"), ("energy",), ("energy", "forces", "stress")]
    ):
        results = {key: frames[index].calc.results[key] for key in keys}
        frames[index].calc = SinglePointCalculator(frames[index], **results)
    write(tmp_path / "partial.extxyz", frames)
    data = DataConfig(train=(str(tmp_path / "partial.extxyz"),), num_valid=2, allow_missing=True)
    train.train(dataclasses.replace(changed(config, max_epochs=2), data=data))
    log = rows(tmp_path / "run")
    assert all(math.isfinite(float(row["train_loss_stress"])) for row in log)
