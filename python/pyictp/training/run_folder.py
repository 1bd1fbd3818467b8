# SPDX-License-Identifier: MIT
"""The folder of one training: its files, when it may be written, the CSV log."""

from __future__ import annotations

import contextlib
import csv
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from pyictp.common.files import atomic_path, locked, remove_leftovers, writing
from pyictp.config.load import Config, to_dict
from pyictp.errors import UserError

FILES = ("config.yaml", "best.pt", "last.pt", "log.csv", "learning_curve.png", "ictp.log")
REPORT = ("report.html", "report.json")  # of training_report.py
FAILED = "failed_batch.extxyz"  # structures of the steps in which a training diverged
COLUMNS = (
    "epoch",
    "step",
    "learning_rate",
    "train_loss",  # per structure, and its three weighted parts
    "train_loss_energy",
    "train_loss_forces",
    "train_loss_stress",
    "valid_loss",
    "valid_energy_mae",  # eV/atom
    "valid_energy_rmse",
    "valid_forces_mae",  # eV/A
    "valid_forces_rmse",
    "valid_stress_mae",  # eV/A^3
    "valid_stress_rmse",
    "seconds",  # of training so far, all sessions
    "samples_per_second",  # so far, validations included
    "epoch_seconds",  # of this epoch with its validation
    "epoch_samples_per_second",  # of this epoch, without its validation
)


class RunFolder:
    """Paths and logs of one training; of several processes only one writes."""

    def __init__(self, path: str | Path, is_writer: bool = True) -> None:
        """Name the files; for one that is no writer all that writes does nothing."""
        self.path, self.is_writer = Path(path), is_writer
        self.best, self.last = self.path / "best.pt", self.path / "last.pt"
        self.log, self.picture = self.path / "log.csv", self.path / "learning_curve.png"
        self.followers: list[Callable[[Mapping[str, Any]], None]] = []  # get each row as well

    def check(self, resume: bool, overwrite: bool, keep: str | Path | None = None) -> None:
        """Refuse a folder that the training may not use; nothing is changed yet.

        Args:
            resume: a training in it goes on.
            overwrite: a training in it may be deleted.
            keep: a folder that must not be overwritten.

        Raises:
            UserError: it holds a training and neither resume nor overwrite is set, there is
                nothing to resume, or it is the folder to keep.
        """
        if keep is not None and Path(keep).resolve() in (self.path.resolve(), self.best.resolve()):
            raise UserError(
                f"--finetune '{keep}': set another training.output, this one is the start"
            )
        if resume and overwrite:
            raise UserError("--resume and --overwrite exclude each other: give one of them")
        present = self._present()
        if resume and not self.last.exists():
            raise UserError(
                f"nothing to resume: '{self.last}' does not exist; start without --resume"
            )
        if present and not (resume or overwrite):
            raise UserError(
                f"'{self.path}' already holds a training ({', '.join(present)}): continue it with "
                "--resume, replace it with --overwrite, or set another training.output"
            )
        if self.path.exists() and not self.path.is_dir():
            raise UserError(
                f"training.output '{self.path}' is a file: expected a folder or a new name"
            )

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which no other process writes to the folder; it is made if need be.

        Raises:
            UserError: when entered, another process works in it.
        """
        if not self.is_writer:
            return contextlib.nullcontext()
        return locked(self.path, "another training")

    def make(self) -> None:
        """Make the folder if there is none, and see that files can be written to it.

        Raises:
            UserError: it cannot be made or written to.
        """
        if not self.is_writer:
            return
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.path).close()

    def open(self, overwrite: bool) -> None:
        """Make the folder; delete what killed processes left half written.

        With `overwrite` also the files of an old training (no others).
        """
        self.make()
        if not self.is_writer:
            return
        for name in FILES:
            remove_leftovers(self.path / name)
        for name in [*self._present(), FAILED, *REPORT] if overwrite else ():
            (self.path / name).unlink(missing_ok=True)

    def _present(self) -> list[str]:
        return [name for name in FILES if (self.path / name).exists()]

    def write_config(self, config: Config) -> None:
        """Write the complete configuration as run; `ictp train` reads it again."""
        if not self.is_writer:
            return
        text = "# complete configuration of this training, as run\n"
        text += yaml.safe_dump(to_dict(config), sort_keys=False, default_flow_style=None)
        with atomic_path(self.path / "config.yaml") as temporary:
            temporary.write_text(text)

    def note(self, text: str) -> None:
        """Append a dated line to ictp.log."""
        if not self.is_writer:
            return
        with writing(self.path / "ictp.log"), (self.path / "ictp.log").open("a") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n")

    def append_row(self, values: Mapping[str, Any]) -> None:
        """Append one epoch to log.csv; what has no number stays empty."""
        if not self.is_writer:
            return
        is_new = not self.log.exists()
        with writing(self.log), self.log.open("a", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(COLUMNS)
            writer.writerow([_cell(values.get(name)) for name in COLUMNS])
        for follow in self.followers:
            follow(values)

    def read_rows(self) -> list[dict[str, str]]:
        """Return the whole rows of log.csv with all COLUMNS, none if there is no file.

        A last line that a full disk cut short is left out; columns an older log lacks are empty.
        """
        if not self.log.exists():
            return []
        lines = self.log.read_text().splitlines(keepends=True)
        rows = csv.DictReader([line for line in lines if line.endswith("\n")])
        return [dict.fromkeys(COLUMNS, "") | row for row in rows]

    def drop_rows_after(self, epoch: int) -> None:
        """Forget epochs logged after the last checkpoint of a killed process: they run again."""
        if not (self.is_writer and self.log.exists()):
            return
        rows = [row for row in self.read_rows() if int(row["epoch"]) <= epoch]
        lines = [",".join(COLUMNS)] + [",".join(row[name] for name in COLUMNS) for row in rows]
        with atomic_path(self.log) as temporary:
            temporary.write_text("\n".join(lines) + "\n")


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(value) if isinstance(value, float) else str(value)
