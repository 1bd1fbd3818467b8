# SPDX-License-Identifier: MIT
"""The committee of a cycle: trained, or trained on from the cycle before, and exported together."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyictp.common.progress import logger
from pyictp.config.load import Config, DataConfig, ModelConfig
from pyictp.explore.settings import ExploreConfig, retraining
from pyictp.potential.checkpoint import load_checkpoint
from pyictp.potential.runs import export_runs
from pyictp.train import train_to_end


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
        KeyboardInterrupt, Terminated: as `train_to_end`.
    """
    return train_to_end(
        _member_config(config, member, data, folder, start),
        finetune=start,
        quiet=not logger.isEnabledFor(logging.DEBUG),  # -v asks for messages
    )


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
