# SPDX-License-Identifier: MIT
"""Any kind of model, where and as it is asked for."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pyictp.errors import UserError
from pyictp.potential.checkpoint import build_model, is_exported, load_checkpoint, resolve_path
from pyictp.potential.exported import load_exported
from pyictp.potential.extrapolation import grade_of

DEVICES = "expected auto, cpu, cuda or cuda:<number>"

# PyTorch's threads do not survive a fork: a child, as of multiprocessing.Pool, would wait for them
os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device of a name; `auto` takes a GPU where there is one.

    Raises:
        UserError: the name is neither cpu nor cuda, or there is no GPU.
    """
    if str(device) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"device '{device}': {DEVICES}") from error
    if resolved.type not in ("cpu", "cuda"):
        raise UserError(f"device '{device}': {DEVICES}")
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device '{device}': this torch sees {torch.cuda.device_count()} GPUs: use cpu or auto"
        )
    return resolved


def resolve_dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """Return the floating type of a name, None for None.

    Raises:
        UserError: it is neither float32 nor float64.
    """
    names = {"float32": torch.float32, "float64": torch.float64}
    if dtype is None or dtype in names.values():
        return dtype
    if dtype not in names:
        raise UserError(f"dtype '{dtype}': expected float32 or float64")
    return names[str(dtype)]


def load_model(
    path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> Any:
    """Return a potential: a callable like `ICTPModel.forward` with `metadata`.

    The model of a checkpoint has its extrapolation grade, where it holds one, as `grade`.

    Args:
        path: training folder (its best.pt is taken), checkpoint, or exported file.
        device: where it shall compute.
        dtype: None keeps that of the file; an exported file cannot change it.

    Raises:
        UserError: nothing readable there, or the dtype of an exported file differs.
    """
    path = resolve_path(path)
    if is_exported(path):
        return load_exported(path, device, dtype)
    payload = load_checkpoint(path)
    model = build_model(payload, dtype).to(device).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    known = ("model_config", "provenance", "config")
    model.metadata = {key: payload[key] for key in known if key in payload}
    grade = grade_of(payload)
    if grade is not None:
        model.grade = grade.to(device)
    return model


def as_potential(model: Any, device: torch.device, dtype: torch.dtype | str | None) -> Any:
    """Return a model of a file, or one in memory, on a device; the one given is not changed."""
    wanted = resolve_dtype(dtype)
    if isinstance(model, (str, Path)):
        return load_model(model, device=str(device), dtype=wanted)
    if isinstance(model, nn.Module):
        tensors = [*model.parameters(), *model.buffers()]
        if wanted is not None or any(tensor.device != device for tensor in tensors):
            return copy.deepcopy(model).to(device=device, dtype=wanted)
    return model


def potential_properties(potential: Any) -> tuple[tuple[str, ...], float]:
    """Return elements and r_cut [A] of a model, an exported file or a native model."""
    source = potential if hasattr(potential, "elements") else potential.config
    return tuple(source.elements), float(source.r_cut)
