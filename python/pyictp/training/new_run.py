# SPDX-License-Identifier: MIT
"""Training folders that no training made: of a checkpoint of the reference, or untrained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pyictp.config.load import Config, TrainConfig, load_config
from pyictp.errors import UserError
from pyictp.model.ictp import ICTPModel
from pyictp.potential.checkpoint import save_checkpoint
from pyictp.potential.upstream import find_checkpoint, import_checkpoint
from pyictp.training.run_folder import RunFolder


def import_run(folder: str | Path, output: str | Path) -> str:
    """Make a training folder of a checkpoint; return what was written, for people.

    Raises:
        UserError: there is none, or what `write_run` refuses.
    """
    source = find_checkpoint(Path(folder))
    model = import_checkpoint(source)
    config = Config(model=model.config, training=TrainConfig(dtype="float64"))
    return write_run(output, model, config, {"imported_from": source.name})


def new_run(path: str | Path, overrides: Sequence[str], output: str | Path) -> str:
    """Draw a model with the seed of a configuration; return what was written, for people.

    Raises:
        UserError: the configuration names no elements, or what `write_run` refuses.
    """
    config = load_config(path, overrides)
    if not config.model.elements:
        raise UserError(f"config '{path}': model.elements is empty: name the elements of the model")
    torch.manual_seed(config.training.seed)
    model = ICTPModel(config.model).to(getattr(torch, config.training.dtype))
    return write_run(output, model, config, {"untrained": True, "seed": config.training.seed})


def write_run(
    output: str | Path, model: ICTPModel, config: Config, provenance: dict[str, Any]
) -> str:
    """Write a training folder that `evaluate`, `export` and `train --finetune` accept.

    Returns:
        A line for people.

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
    return (
        f"wrote '{output}': {' '.join(model.config.elements)}, {num_parameters} parameters; "
        f"look at it with: ictp info {output}"
    )
