# SPDX-License-Identifier: MIT
"""training.log_to: what TensorBoard and wandb keep is what log.csv has."""

from __future__ import annotations

import csv
import importlib
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyictp import train
from pyictp.errors import UserError
from pyictp.training import loggers
from train_toys import changed, make_config, rows

pytestmark = pytest.mark.usefixtures("quick_training")


def test_tensorboard_has_the_numbers_of_the_log(tmp_path: Path) -> None:
    """Those of two sessions, read back by TensorBoard itself."""
    reason = "tensorboard is not installed: pip install '.[tensorboard]'"
    pytest.importorskip("tensorboard", reason=reason)
    config = changed(make_config(tmp_path), log_to=("tensorboard",), max_epochs=2)
    train.train(config)
    train.train(changed(config, max_epochs=3), resume=True)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    log = rows(tmp_path / "run")
    for column, tag in (
        ("train_loss", "train/loss"),
        ("valid_forces_rmse", "valid/forces_rmse"),
        ("learning_rate", "learning_rate"),
    ):
        found = events.Scalars(tag)
        assert [event.step for event in found] == [1, 2, 3]
        expected = [float(row[column]) for row in log]
        assert [event.value for event in found] == pytest.approx(expected, rel=1e-6)
    assert "config/text_summary" in events.Tags()["tensors"]


def test_an_overwritten_run_hides_the_curves_before(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = changed(make_config(tmp_path), log_to=("tensorboard",), max_epochs=2)
    train.train(config)
    train.train(changed(config, max_epochs=1), overwrite=True)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1]


def blocks(data: bytes) -> Iterator[bytes]:
    """Yield what a file of wandb holds: records in the layout of LevelDB's log, behind 7 bytes."""
    place, parts = 7, b""
    while place + 7 <= len(data):
        rest = 32768 - place % 32768
        if rest < 7:
            place += rest
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


@pytest.mark.long
def test_wandb_has_the_numbers_of_the_log(tmp_path: Path) -> None:
    """Offline, in a process of its own, read back from the file that would be synchronised."""
    pytest.importorskip("wandb", reason="wandb is not installed: pip install '.[wandb]'")
    script = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[2])\n"
        "from train_toys import changed, make_config; from pyictp import train\n"
        "config = changed(make_config(pathlib.Path(sys.argv[1])), log_to=('wandb',), "
        "max_epochs=2, report=False)\n"
        "train.train(config); train.train(changed(config, max_epochs=3), resume=True)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parent)]
    environment = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "HOME": str(tmp_path)}
    subprocess.run(command, check=True, env=os.environ | environment)
    from wandb.proto.wandb_internal_pb2 import Record

    losses = {}
    for file in (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"):
        for data in blocks(file.read_bytes()):
            items = {i.nested_key[0]: i.value_json for i in Record.FromString(data).history.item}
            if "train/loss" in items:
                losses[int(items["_step"])] = float(items["train/loss"])
    with (tmp_path / "run" / "log.csv").open() as log:
        expected = {int(row["epoch"]): float(row["train_loss"]) for row in csv.DictReader(log)}
    assert losses == pytest.approx(expected, rel=1e-9)


def test_what_is_not_installed_is_said_before_the_work(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    config = changed(make_config(tmp_path), log_to=("wandb",))
    with pytest.raises(UserError, match=r"^training.log_to: wandb is not installed: pip install"):
        train.train(config)
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match=r"training.log_to: expected tensorboard or wandb, got"):
        changed(config, log_to=("tensorbord",))


def test_without_it_nothing_is_imported() -> None:
    code = (
        "import sys; from pyictp import train\n"
        "assert not {'tensorboard', 'wandb', 'torch.utils.tensorboard'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_numbers_that_are_none_are_left_out() -> None:
    row = {"epoch": 3, "step": 5, "train_loss": 2.0, "valid_loss": None, "valid_x": float("nan")}
    assert loggers.scalars(row) == {"step": 5.0, "train/loss": 2.0}
