# SPDX-License-Identifier: MIT
"""Trainings that start from an earlier one: what --resume and --finetune demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import nn

from pyictp.batches import Batch
from pyictp.checkpoint import load_checkpoint
from pyictp.config import Config, ModelConfig, from_dict, to_dict
from pyictp.derivatives import evaluate_graph
from pyictp.errors import UserError

# what a resumed training may change: when it ends, where it runs, how often it writes
FREE_KEYS = (
    "output",
    "device",
    "num_threads",
    "max_epochs",
    "max_minutes",
    "early_stopping_patience",
    "save_every",
)


def check_resume(config: Config, checkpoint: Mapping[str, Any]) -> ModelConfig:
    """Return the architecture of the training to resume.

    Args:
        config: as given now; only FREE_KEYS may differ, and data files may have moved.
        checkpoint: last.pt.

    Raises:
        UserError: a key differs, or the checkpoint holds no training state.
    """
    if "training_state" not in checkpoint:
        raise UserError("this checkpoint holds no training state: resume needs a last.pt")
    given, former = to_dict(config), checkpoint["config"]
    resolved = checkpoint["model_config"]
    for section, values in given.items():
        for key, value in values.items():
            if section == "training" and key in FREE_KEYS:
                continue
            known = [former[section].get(key)]
            known += [resolved.get(key)] if section == "model" else []
            if not any(_same(value, other) for other in known):
                raise UserError(
                    f"--resume: {section}.{key} is {value!r}, but the training was started with "
                    f"{known[0]!r}: set it back, or start anew with another training.output"
                )
    return from_dict(ModelConfig, resolved, "model")


def starting_checkpoint(path: str | Path) -> Mapping[str, Any]:
    """Return the checkpoint that --finetune names: a run or import folder (its best.pt) or a file.

    Raises:
        UserError: there is none.
    """
    path = Path(path)
    file = path / "best.pt" if path.is_dir() else path
    if not file.is_file():
        raise UserError(
            f"--finetune: '{file}' not found: expected a run folder with best.pt, or a checkpoint"
        )
    return load_checkpoint(file)


def check_finetune(given: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> ModelConfig:
    """Return the architecture of the model to fine-tune.

    Args:
        given: keys of the `model` section that the user wrote; they may repeat the architecture,
            not change it.
        checkpoint: of `starting_checkpoint`.

    Raises:
        UserError: a key says something else than the checkpoint.
    """
    resolved = checkpoint["model_config"]
    for key, value in given.items():
        if (
            value not in (None, [])
            and key != "avg_num_neighbors"
            and not _same(value, resolved.get(key))
        ):
            raise UserError(
                f"--finetune: model.{key} is {value!r}, but the model to start from has "
                f"{resolved.get(key)!r}: leave the key out (its architecture is kept)"
            )
    return from_dict(ModelConfig, resolved, "model")


def refit_shift(models: Sequence[nn.Module], batches: Sequence[Batch]) -> None:
    """Move the energy shifts of models with the same weights so that labelled energies fit best.

    Least squares of E_label - E_model on the species counts, the solution of least norm: for labels
    of another method, whose energies have another zero.

    Args:
        models: the first one is evaluated, all get its new shift.
        batches: of one structure each.
    """
    model = models[0]
    labelled = [batch for batch in batches if bool(batch.has_energy.all())]
    if not labelled:
        return
    num_species = len(model.shift)
    counts = [torch.bincount(b.graph.species, minlength=num_species).cpu() for b in labelled]
    residuals = [b.energies.cpu() - evaluate_graph(model, b.graph).energies.cpu() for b in labelled]
    matrix = torch.stack(counts).to(torch.float64)
    change = torch.linalg.lstsq(matrix, torch.stack(residuals), driver="gelsd").solution[:, 0]
    shift = model.shift + change.to(model.shift.device)
    for each in models:
        each.shift.copy_(shift)


def _same(value: Any, other: Any) -> bool:
    """Compare plain values; of absolute paths only the file name counts."""
    if isinstance(value, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(value) == len(other) and all(
            _same(a, b) for a, b in zip(value, other, strict=True)
        )
    if isinstance(value, (int, float)) and isinstance(other, (int, float)):
        return float(value) == float(other)
    if isinstance(value, str) and isinstance(other, str) and PurePath(other).is_absolute():
        return PurePath(value).name == PurePath(other).name
    return value == other
