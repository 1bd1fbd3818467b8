# SPDX-License-Identifier: MIT
"""Checkpoints: tensors and plain values only, written atomically, read without running any code."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyictp.common.files import atomic_path
from pyictp.config.load import ModelConfig, from_dict, to_dict
from pyictp.errors import UserError
from pyictp.model.ictp import ICTPModel
from pyictp.model.kinds import new_model
from pyictp.potential.archive import read_archive
from pyictp.potential.distances import core_distances

FORMAT = "ictp-checkpoint"
SCHEMA_VERSION = 1
CHECKPOINT_KEYS = ("format", "schema_version", "model_config", "model_state")
FURTHER_KEYS = ("provenance", "config", "training_state", "extrapolation")


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
        UserError: the file is missing, truncated, damaged, no checkpoint, of a later schema, or
            some of its weights are no numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"'{path}' not found: expected a training folder, a checkpoint or an exported file"
        )
    if is_exported(path):
        raise UserError(f"'{path}' is an exported file: give the training folder it came from")
    wanted = (
        "is not a checkpoint of ictp train, or is truncated: expected a whole one, "
        "or an exported file: copy or write it again"
    )
    data, _ = read_archive(path, wanted)
    try:
        payload = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # what is no pickle of tensors raises anything
        raise UserError(f"'{path}' {wanted}") from error
    if not isinstance(payload, Mapping) or payload.get("format") != FORMAT:
        raise UserError(
            f"'{path}' is not a checkpoint of ictp train: expected one, or an exported file"
        )
    _check_contents(payload, path)
    return dict(payload)


def _check_contents(payload: Mapping[str, Any], path: Path) -> None:
    """Refuse what is no checkpoint of this schema, or has weights that are no numbers."""
    schema = payload.get("schema_version")
    if isinstance(schema, int) and schema > SCHEMA_VERSION:
        raise UserError(
            f"checkpoint '{path}' has schema {schema}, "
            f"this package reads {SCHEMA_VERSION}: update pyictp"
        )
    sections = {key: payload.get(key) for key in CHECKPOINT_KEYS[2:]}
    sections |= {key: payload[key] for key in FURTHER_KEYS if key in payload}
    wrong = [key for key, value in sections.items() if not isinstance(value, Mapping)]
    if schema != SCHEMA_VERSION:
        wrong.append("schema_version")
    if wrong:
        raise UserError(
            f"checkpoint '{path}' is damaged: expected {wrong[0]} as ictp train writes it, got "
            f"{_brief(payload.get(wrong[0]))}: copy or write it again"
        )
    _check_weights(payload["model_state"], path)
    _check_weights(_weights(payload), path)
    _check_provenance(payload.get("provenance", {}), path)
    if "extrapolation" in payload:
        _check_grade(payload["extrapolation"], payload["model_state"], path)


def _weights(payload: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """Return the weights of a checkpoint's model: the averaged ones where there are any."""
    return payload.get("training_state", {}).get("average", payload["model_state"])


def _check_weights(state: Any, path: Path) -> None:
    """Refuse weights that are NaN or infinite: training never writes them."""
    if not (isinstance(state, Mapping) and {"node_embedding", "e0"} <= state.keys()):
        raise UserError(
            f"checkpoint '{path}' is damaged: expected the weights of a model, got "
            f"{_brief(state)}: copy or write it again"
        )
    for name, value in state.items():
        if not isinstance(value, Tensor) or not torch.isfinite(value).all():
            raise UserError(
                f"checkpoint '{path}': weight {name} is NaN, infinite or no tensor: copy it again, "
                "or train again"
            )


def _check_grade(grade: Mapping[str, Any], state: Mapping[str, Any], path: Path) -> None:
    """Refuse centers (S, C) and whitening matrices (S, C, C) of other shapes, or not finite."""
    center, whitening = grade.get("center"), grade.get("whitening")
    if not (
        isinstance(center, Tensor)
        and isinstance(whitening, Tensor)
        and center.dim() == 2
        and center.shape[:1] == state["e0"].shape
        and whitening.shape == (*center.shape, center.shape[1])
        and torch.isfinite(center).all()
        and torch.isfinite(whitening).all()
    ):
        raise UserError(
            f"checkpoint '{path}' is damaged: its extrapolation grade is not that of its model: "
            "copy or write it again"
        )


def _check_provenance(provenance: Mapping[str, Any], path: Path) -> None:
    """Refuse distances that are none; the rest of the provenance is for people to read."""
    lengths = provenance.get("shortest_distances", {})
    lengths = list(lengths.values()) if isinstance(lengths, Mapping) else [None]
    for length in [*lengths, provenance.get("shortest_edge", 0.0)]:
        is_number = isinstance(length, (int, float)) and not isinstance(length, bool)
        if not is_number or math.isnan(length) or length < 0:
            raise UserError(
                f"checkpoint '{path}' is damaged: expected shortest distances in A, got "
                f"{_brief(length)}: copy or write it again"
            )


def _brief(value: Any) -> str:
    """Return a value, or its type where it is long, for a message."""
    text = " ".join(repr(value).split())
    return text if len(text) < 60 else f"some {type(value).__name__}"


def build_model(
    payload: Mapping[str, Any], dtype: torch.dtype | None = None, source: str | Path = ""
) -> ICTPModel:
    """Return the model of a checkpoint, in the dtype it was saved in unless told otherwise.

    Of a last.pt it has the averaged weights, as that of a best.pt.

    Args:
        payload: contents of the checkpoint.
        dtype: None keeps that of the file.
        source: file or folder that the message names.

    Raises:
        UserError: its weights are not those of its architecture.
    """
    state = _weights(payload)
    try:
        model = new_model(from_dict(ModelConfig, payload["model_config"], "model"))
        model.to(dtype or state["node_embedding"].dtype)
        model.load_state_dict(state)
        provide_core(model, payload.get("provenance", {}))
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        name = f"checkpoint '{source}'" if source else "a checkpoint"
        raise UserError(
            f"{name}: its architecture and its weights do not go together ({reason[:300]}): copy "
            "or write it again"
        ) from error
    return model


def provide_core(model: ICTPModel, provenance: Mapping[str, Any]) -> None:
    """Let a model repel below the distances of its data, if it is to and they are known."""
    distances = core_distances(provenance, model.config.elements)
    if model.config.core_repulsion and distances is not None:
        model.repel_below(distances)


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
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.lower().endswith("/constants.pkl") for name in archive.namelist())
    except Exception:  # what is no archive raises anything; who reads the file says what is wrong
        return False
