# SPDX-License-Identifier: MIT
"""The committee of a cycle: trained, or trained on from the cycle before, and exported together."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyictp.common.interrupt import StopRequest
from pyictp.common.progress import logger
from pyictp.config.load import Config, DataConfig, ModelConfig
from pyictp.explore.settings import ExploreConfig, retraining
from pyictp.explore.state import Terminated
from pyictp.potential.checkpoint import load_checkpoint
from pyictp.potential.extrapolation import grade_of
from pyictp.potential.runs import export_runs
from pyictp.train import train
from pyictp.training.position import Outcome
from pyictp.training.run_folder import RunFolder


def train_member(
    config: ExploreConfig, member: int, data: tuple[Path, Path], folder: Path, start: Path | None
) -> dict[str, Any]:
    """Train one member in its run folder, on from where a killed training stood.

    Args:
        config: of the loop.
        member: its number; seeds differ by it.
        data: training and validation file; the second may be missing, then `data.valid` is it.
        folder: of the run.
        start: run folder of the cycle before; None: random weights.

    Returns:
        Epochs, seconds and the best validation loss.

    Raises:
        UserError: as `train`.
        KeyboardInterrupt, Terminated: a signal came; the state is saved.
    """
    run = RunFolder(folder)
    if not _is_finished(run):
        stop = StopRequest()
        is_resumed = run.last.exists()
        _, outcome = train(
            _member_config(config, member, data, folder, start),
            resume=is_resumed,
            overwrite=not is_resumed,
            finetune=None if is_resumed else start,
            stop=stop,
            quiet=not logger.isEnabledFor(logging.DEBUG),  # -v asks for messages
        )
        if outcome is Outcome.SIGNAL:
            raise KeyboardInterrupt if stop.exit_code == 130 else Terminated
    position = load_checkpoint(run.last)["training_state"]["position"]
    return {
        "epochs": position["epoch"],
        "seconds": round(position["seconds"], 1),
        "best_validation_loss": position["best_loss"],
    }


def _is_finished(run: RunFolder) -> bool:
    """Return whether the training ended: the grade is the last thing that it writes."""
    if not (run.best.exists() and run.last.exists()):
        return False
    return grade_of(load_checkpoint(run.best)) is not None


def _member_config(
    config: ExploreConfig, member: int, data: tuple[Path, Path], folder: Path, start: Path | None
) -> Config:
    settings = config.training if start is None else retraining(config)
    train_file, valid_file = map(str, data)
    return Config(
        # a model to go on from brings architecture, scale and energies of isolated atoms
        model=config.model if start is None else ModelConfig(),
        data=DataConfig(
            train=(train_file,),
            valid=(valid_file,),
            allow_missing=config.data.allow_missing,
            check_labels=config.data.check_labels,
            isolated_atoms=config.data.isolated_atoms if start is None else None,
        ),
        training=replace(
            settings, output=str(folder), seed=settings.seed + config.explore.seed + member
        ),
    )


def export_committee(folders: list[Path], path: Path) -> None:
    """Write the models of some run folders as one file; grades are those of the first.

    Raises:
        UserError: as `export_model`.
    """
    export_runs([load_checkpoint(folder / "best.pt") for folder in folders], path)
