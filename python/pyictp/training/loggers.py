# SPDX-License-Identifier: MIT
"""Curves of a training in TensorBoard and Weights & Biases: what log.csv has, epoch by epoch."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyictp.errors import UserError

Log = Callable[[Mapping[str, Any]], None]  # takes a row of log.csv
RUN_ID = "wandb-run-id"  # file of the run folder: a resumed training goes on in the same curves


def check_installed(names: Sequence[str]) -> None:
    """Refuse programs that are not there, before the long work; nothing is imported.

    Raises:
        UserError: one is not installed.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise UserError(
                f"training.log_to: {name} is not installed: pip install 'pair_ictp[{name}]', or "
                "leave it out (log.csv and learning_curve.png are there anyway)"
            )


@contextlib.contextmanager
def loggers(
    names: Sequence[str], folder: Path, config: Mapping[str, Any], epoch: int
) -> Iterator[list[Log]]:
    """Yield what takes the rows of a training; all of it is written at the end of the block.

    Args:
        names: tensorboard, wandb.
        folder: of the run; files go into it.
        config: of the training, as plain values.
        epoch: that was the last; later ones of a former session are hidden.

    Raises:
        UserError: one does not start.
    """
    with contextlib.ExitStack() as opened:
        yield [opened.enter_context(OPEN[name](folder, config, epoch)) for name in names]


@contextlib.contextmanager
def _tensorboard(folder: Path, config: Mapping[str, Any], epoch: int) -> Iterator[Log]:
    import yaml
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard"), purge_step=epoch + 1) as writer:
        text = yaml.safe_dump(dict(config), sort_keys=False)
        writer.add_text("config", f"```\n{text}```", epoch)

        def log(row: Mapping[str, Any]) -> None:
            for name, value in scalars(row).items():
                writer.add_scalar(name, value, row["epoch"])
            writer.flush()

        yield log


@contextlib.contextmanager
def _wandb(folder: Path, config: Mapping[str, Any], epoch: int) -> Iterator[Log]:
    import wandb

    known = folder / RUN_ID
    run_id = known.read_text().strip() if epoch and known.is_file() else secrets.token_hex(4)
    name = folder.resolve().name
    try:
        run = wandb.init(name=name, dir=folder, config=dict(config), id=run_id, resume="allow")
    except wandb.Error as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"training.log_to: wandb does not start: {reason} ('wandb login' before, or "
            "WANDB_MODE=offline to keep the curves here)"
        ) from error
    known.write_text(f"{run_id}\n")
    with run:

        def log(row: Mapping[str, Any]) -> None:
            run.log(scalars(row), step=row["epoch"])

        yield log


OPEN = {"tensorboard": _tensorboard, "wandb": _wandb}


def scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a row, training and validation in groups: valid/forces_rmse [eV/A]."""
    return {
        _grouped(name): float(value)
        for name, value in row.items()
        if name != "epoch" and value is not None and math.isfinite(value)
    }


def _grouped(name: str) -> str:
    group, _, rest = name.partition("_")
    return f"{group}/{rest}" if group in ("train", "valid") else name
