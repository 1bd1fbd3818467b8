# SPDX-License-Identifier: MIT
"""Trainings that start from an earlier one: what --resume and --finetune demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path, PurePath
from typing import Any

from pyictp.config.load import Config, ModelConfig, from_dict, to_dict
from pyictp.errors import UserError
from pyictp.potential.checkpoint import load_checkpoint

# what a resumed training may change: when it ends, where it runs, how often it writes, and what
# acts at the start only
FREE_KEYS = (
    "output",
    "device",
    "num_threads",
    "max_epochs",
    "max_minutes",
    "early_stopping_patience",
    "save_every",
    "divergence_factor",
    "on_divergence",
    "rollback_factor",
    "report",
    "refit_shift",
)


def check_resume(config: Config, checkpoint: Mapping[str, Any]) -> ModelConfig:
    """Return the architecture of the training to resume.

    Args:
        config: as given now; only FREE_KEYS may differ, and data files may have moved.
        checkpoint: last.pt.

    Raises:
        UserError: a key differs, or the checkpoint holds no training state.
    """
    sections = [checkpoint.get("config", {}).get(field.name) for field in fields(Config)]
    whole = all(isinstance(section, Mapping) for section in sections)
    if not ({"training_state", "provenance"} <= checkpoint.keys() and whole):
        raise UserError("this checkpoint holds no training state: resume needs a last.pt")
    given, former, defaults = to_dict(config), checkpoint["config"], to_dict(Config())
    resolved = checkpoint["model_config"]
    for section, values in given.items():
        for key, value in values.items():
            if section == "training" and key in FREE_KEYS:
                continue
            # a key that is newer than the checkpoint had its default
            known = [former[section].get(key, defaults[section][key])]
            known += [resolved.get(key)] if section == "model" else []
            if not any(_same(value, other) for other in known):
                raise UserError(
                    f"--resume: {section}.{key} is {_brief(value)!r}, but the training was started "
                    f"with {_brief(known[0])!r}: set it back, or start anew with another "
                    "training.output"
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
            not change it, but for further elements after the model's own.
        checkpoint: of `starting_checkpoint`.

    Raises:
        UserError: a key says something else than the checkpoint.
    """
    resolved = to_dict(ModelConfig()) | checkpoint["model_config"]
    known, elements = resolved["elements"], given.get("elements") or []
    if isinstance(elements, (list, tuple)) and list(elements[: len(known)]) == list(known):
        resolved["elements"] = list(elements)
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


def _brief(value: Any) -> Any:
    """Return a value for a message: of entries with weights only what says something."""
    if isinstance(value, (list, tuple)):
        return [_brief(item) for item in value]
    if isinstance(value, Mapping):
        return {key: item for key, item in value.items() if item is not None and item != 1.0}
    return value


def _same(value: Any, other: Any) -> bool:
    """Compare plain values; of absolute paths only the file name counts."""
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return value.keys() == other.keys() and all(_same(value[k], other[k]) for k in value)
    if isinstance(value, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(value) == len(other) and all(
            _same(a, b) for a, b in zip(value, other, strict=True)
        )
    if isinstance(value, (int, float)) and isinstance(other, (int, float)):
        return float(value) == float(other)
    if isinstance(value, str) and isinstance(other, str) and PurePath(other).is_absolute():
        return PurePath(value).name == PurePath(other).name
    return value == other
