# SPDX-License-Identifier: MIT
"""Training folders that no training made: of another program's model, or untrained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pyictp.config.load import Config, TrainConfig, load_config
from pyictp.errors import UserError
from pyictp.foreign.importer import import_model
from pyictp.model.ictp import ICTPModel
from pyictp.model.kinds import new_model
from pyictp.potential.checkpoint import save_checkpoint
from pyictp.training.run_folder import RunFolder


def import_run(
    path: str | Path,
    output: str | Path,
    head: str | None = None,
    elements: Sequence[str] | None = None,
    overwrite: bool = False,
    charge: int | None = None,
    spin: int | None = None,
) -> str:
    """Make a training folder of another program's model; return lines for people.

    Args:
        path: what `import_model` reads.
        output: the training folder.
        head: of a file with several heads.
        elements: those to keep; None: all.
        overwrite: replace a training in the folder.
        charge: of every structure, for a model that sees it.
        spin: the same.

    Raises:
        UserError: the file cannot be read or converted, or what `write_run` refuses.
    """
    RunFolder(output).check(resume=False, overwrite=overwrite)
    imported = import_model(path, head, elements, charge, spin)
    config = Config(model=imported.model.config, training=TrainConfig(dtype="float64"))
    line = write_run(output, imported.model, config, imported.provenance, overwrite)
    return "\n".join([*imported.notes, line])


def new_run(path: str | Path, overrides: Sequence[str], output: str | Path) -> str:
    """Draw a model with the seed of a configuration; return what was written, for people.

    Raises:
        UserError: the configuration names no elements, or what `write_run` refuses.
    """
    config = load_config(path, overrides)
    if not config.model.elements:
        raise UserError(f"config '{path}': model.elements is empty: name the elements of the model")
    torch.manual_seed(config.training.seed)
    model = new_model(config.model).to(getattr(torch, config.training.dtype))
    return write_run(output, model, config, {"untrained": True, "seed": config.training.seed})


def write_run(
    output: str | Path,
    model: ICTPModel,
    config: Config,
    provenance: dict[str, Any],
    overwrite: bool = False,
) -> str:
    """Write a training folder that `evaluate`, `export` and `train --finetune` accept.

    Returns:
        A line for people.

    Raises:
        UserError: the folder holds a training already, and `overwrite` is not set.
    """
    folder = RunFolder(output)
    folder.check(resume=False, overwrite=overwrite)
    with folder.held():
        folder.check(resume=False, overwrite=overwrite)  # another command may have ended just now
        folder.open(overwrite=overwrite)
        folder.write_config(config)
        save_checkpoint(folder.best, model, provenance=provenance)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    return (
        f"wrote '{output}': {' '.join(model.config.elements)}, {num_parameters} parameters; "
        f"look at it with: ictp info {output}"
    )
