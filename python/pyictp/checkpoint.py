# SPDX-License-Identifier: MIT
"""Checkpoints: tensors and plain values only, written atomically, read without running any code."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pyictp.config import ModelConfig, from_dict, to_dict
from pyictp.errors import UserError
from pyictp.files import atomic_path
from pyictp.model import ICTPModel

FORMAT = "ictp-checkpoint"
SCHEMA_VERSION = 1
CHECKPOINT_KEYS = ("format", "schema_version", "model_config", "model_state")


def save_checkpoint(path: str | Path, model: ICTPModel, **extras: Any) -> None:
    """Write a model so that a reader sees the old file or the new one, never a part.

    Args:
        path: the file; its folder exists.
        model: on any device; saved from the CPU.
        extras: further entries, tensors and plain values in dicts and lists.

    Raises:
        UserError: the file cannot be written; an older one is still whole.
    """
    payload = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "model_config": to_dict(model.config),
        "model_state": {name: value.cpu() for name, value in model.state_dict().items()},
        **extras,
    }
    buffer = io.BytesIO()  # torch.save hides why it cannot write to a file
    torch.save(payload, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return the contents of a checkpoint, tensors on the CPU.

    Raises:
        UserError: the file is missing, truncated, no checkpoint, or of a later schema.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"'{path}' not found: expected a training folder, a checkpoint or an exported file"
        )
    if is_exported(path):
        raise UserError(f"'{path}' is an exported file: give the training folder it came from")
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise UserError(
            f"'{path}' is not a checkpoint of ictp train, or is truncated: expected a whole one, "
            "or an exported file: copy or write it again"
        ) from error
    if not isinstance(payload, Mapping) or payload.get("format") != FORMAT:
        raise UserError(
            f"'{path}' is not a checkpoint of ictp train: expected one, or an exported file"
        )
    if payload["schema_version"] > SCHEMA_VERSION:
        raise UserError(
            f"checkpoint '{path}' has schema {payload['schema_version']}, "
            f"this package reads {SCHEMA_VERSION}: update pyictp"
        )
    return dict(payload)


def build_model(payload: Mapping[str, Any], dtype: torch.dtype | None = None) -> ICTPModel:
    """Return the model of a checkpoint, in the dtype it was saved in unless told otherwise.

    Of a last.pt it has the averaged weights, as that of a best.pt.
    """
    model = ICTPModel(from_dict(ModelConfig, payload["model_config"], "model"))
    training_state = payload.get("training_state", {})
    state = training_state.get("average", payload["model_state"])
    model.to(dtype or state["node_embedding"].dtype)
    model.load_state_dict(state)
    return model


def resolve_path(path: str | Path) -> Path:
    """Return the file that a training folder, a checkpoint or an exported file means."""
    path = Path(path)
    if not path.is_dir():
        return path
    if (path / "best.pt").is_file():
        return path / "best.pt"
    raise UserError(
        f"folder '{path}' holds no best.pt: expected a training folder that has validated once"
    )


def is_exported(path: Path) -> bool:
    """Return whether a file is a TorchScript archive rather than a checkpoint."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
