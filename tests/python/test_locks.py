# SPDX-License-Identifier: MIT
"""Two processes that want one folder: one of them works there, the other is told by one line."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyictp import train
from pyictp.cli.main import main
from pyictp.common import files
from pyictp.common.files import LOCK, atomic_path, locked, remove_leftovers
from pyictp.errors import UserError
from pyictp.potential.checkpoint import load_checkpoint
from train_toys import changed, make_config, rows, write_yaml

pytestmark = pytest.mark.usefixtures("quick_training")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def start(config_file: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pyictp", "train", str(config_file), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """Return the configuration of a training without end, and its process after an epoch."""
    config = changed(make_config(tmp_path), max_epochs=10**6, early_stopping_patience=None)
    file = write_yaml(config, tmp_path / "config.yaml")
    process = start(file)
    log = tmp_path / "run" / "log.csv"
    while not (log.exists() and log.read_text().count("\n") > 1):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    yield file, process
    process.kill()
    process.communicate()


def test_a_running_training_is_left_alone(running, tmp_path, capsys) -> None:
    file, process = running
    message = (
        f"error: '{tmp_path / 'run'}': another training (process {process.pid} on "
        f"{socket.gethostname()}) works in it; wait or end it, or give another folder\n"
    )
    for option in ("--resume", "--overwrite"):
        assert main(["train", str(file), option]) == 1
        assert capsys.readouterr().err == message
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    position = load_checkpoint(tmp_path / "run" / "last.pt")["training_state"]["position"]
    wanted = position["epoch"] + 1
    assert main(["train", str(file), "--resume", f"training.max_epochs={wanted}"]) == 0
    assert [int(row["epoch"]) for row in rows(tmp_path / "run")] == list(range(1, wanted + 1))


def test_of_two_started_at_once_one_trains(tmp_path) -> None:
    file = write_yaml(make_config(tmp_path), tmp_path / "config.yaml")
    both = [start(file), start(file)]
    said = [process.communicate(timeout=120)[1].splitlines()[-1:] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1]
    refused = said[0 if both[0].returncode else 1]
    assert "works in it; wait" in refused[0] or "already holds a training" in refused[0]
    assert [row["epoch"] for row in rows(tmp_path / "run")] == list("123456")


def test_an_untrained_model_is_not_put_into_a_running_training(tmp_path, capsys) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("model: {elements: [H], num_channels: 2}")
    with locked(tmp_path / "run", "another training"):
        assert main(["init", str(config), "-o", str(tmp_path / "run")]) == 1
    assert "works in it; wait or end it" in capsys.readouterr().err
    assert main(["init", str(config), "-o", str(tmp_path / "run")]) == 0


def test_the_lock_ends_with_a_training_that_fails(tmp_path) -> None:
    config = make_config(tmp_path)
    with pytest.raises(UserError, match="learning_rate"):
        train.train(changed(config, learning_rate=1e30, optimizer="adam", divergence_factor=2.0))
    train.train(changed(config, max_epochs=1), overwrite=True)


def test_writers_do_not_touch_what_others_write(tmp_path) -> None:
    """Process numbers repeat, on another machine or after a restart."""
    path = tmp_path / "best.pt"
    with atomic_path(path) as one, atomic_path(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"  # renamed last
    assert list(tmp_path.iterdir()) == [path]
    left = one.with_name(one.name)
    left.write_text("of a killed process")
    (tmp_path / ".best.pt.txt").write_text("of the user")
    remove_leftovers(path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"best.pt", ".best.pt.txt"}


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch, caplog) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING, "pyictp"), locked(tmp_path, "one"):
        assert (tmp_path / LOCK).exists()
    assert "its file system knows no locks: see that nothing else works in it" in caplog.text
