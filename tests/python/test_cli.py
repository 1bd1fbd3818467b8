# SPDX-License-Identifier: MIT
"""The command line: help, versions, exit statuses, errors in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pyictp import __version__, cli
from pyictp.cli import main
from pyictp.potential import load_model


@pytest.mark.parametrize("command", ["", *cli.COMMANDS])
def test_help_of_every_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"] if command else ["--help"])
    assert stop.value.code == 0
    assert "usage: ictp" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"pyictp {__version__}\n"


def test_a_users_mistake_is_one_line_and_status_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pyictp.cli", "info", "nothere.pt"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "error: 'nothere.pt' not found: "
        "expected a training folder, a checkpoint or an exported file\n"
    )


def test_what_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "config.yaml").write_text("model: {elements: [H], num_channels: 1}\n")
    assert main(["init", "config.yaml", "-o", "file/run"]) == 1
    assert capsys.readouterr().err == ("error: cannot write 'file/run': Not a directory\n")
    assert main(["init", "config.yaml", "-o", "run"]) == 0
    for target, reason in (
        ("nodir/m.pt", "'nodir/m.pt': No such file or directory"),
        ("file/m.pt", "'file/m.pt': Not a directory"),
        ("run", "'run': Is a directory"),
        ("", "'.': expected the name of a file"),
    ):
        assert main(["export", "run", "-o", target]) == 1
        assert capsys.readouterr().err == f"error: cannot write {reason}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "file", "run"]


def test_an_unknown_command_is_status_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["trian"])
    assert stop.value.code == 2
    assert "invalid choice: 'trian'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["info", "model.pt", "--colour"])
    assert stop.value.code == 2
    assert "unrecognized arguments: --colour" in capsys.readouterr().err


def test_init_makes_an_untrained_model_and_never_overwrites(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("model: {elements: [Cu, Zr], num_channels: 4}\ntraining: {dtype: float64}\n")
    run = tmp_path / "run"
    words = ["init", str(config), "model.num_layers=1", "-o", str(run), "training.seed=5"]
    assert main(words) == 0
    model = load_model(run)
    assert model.config.elements == ("Cu", "Zr")
    assert model.config.num_layers == 1
    assert model.metadata["provenance"]["seed"] == 5
    assert main(words) == 1
    assert "already holds a training" in capsys.readouterr().err
    assert main(["init", str(config), "model.elements=[]", "-o", str(tmp_path / "other")]) == 1
    assert "model.elements is empty" in capsys.readouterr().err
