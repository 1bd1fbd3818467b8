# SPDX-License-Identifier: MIT
"""Training folders that no training made: `ictp import` and `ictp init`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from pyictp.config.load import Config, TrainConfig, load_config
from pyictp.errors import UserError
from pyictp.model.ictp import ICTPModel
from pyictp.potential.checkpoint import save_checkpoint
from pyictp.potential.upstream import find_checkpoint, import_checkpoint
from pyictp.training.run_folder import RunFolder


def run_import(args: argparse.Namespace) -> int:
    """Import as the command line says."""
    source = find_checkpoint(Path(args.folder))
    model = import_checkpoint(source)
    config = Config(model=model.config, training=TrainConfig(dtype="float64"))
    write_run(args.output, model, config, {"imported_from": source.name})
    return 0


def run_init(args: argparse.Namespace) -> int:
    """Draw a model with the seed of the configuration."""
    config = load_config(args.config, args.overrides)
    if not config.model.elements:
        raise UserError(
            f"config '{args.config}': model.elements is empty: name the elements of the model"
        )
    torch.manual_seed(config.training.seed)
    model = ICTPModel(config.model).to(getattr(torch, config.training.dtype))
    write_run(args.output, model, config, {"untrained": True, "seed": config.training.seed})
    return 0


def write_run(
    output: str | Path, model: ICTPModel, config: Config, provenance: dict[str, Any]
) -> None:
    """Write a training folder that `evaluate`, `export` and `train --finetune` accept.

    Raises:
        UserError: the folder holds a training already.
    """
    folder = RunFolder(output)
    folder.check(resume=False, overwrite=False)
    with folder.held():
        folder.check(resume=False, overwrite=False)  # another command may have ended just now
        folder.open(overwrite=False)
        folder.write_config(config)
        save_checkpoint(folder.best, model, provenance=provenance)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"wrote '{output}': {' '.join(model.config.elements)}, {num_parameters} parameters; "
        f"look at it with: ictp info {output}"
    )
