# SPDX-License-Identifier: MIT
"""Any kind of model, where and as it is asked for."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import torch
from torch import nn

from pyictp.errors import UserError
from pyictp.potential.checkpoint import build_model, is_exported, load_checkpoint, resolve_path
from pyictp.potential.exported import ExportedPotential, load_exported
from pyictp.potential.extrapolation import grade_of
from pyictp.potential.interface import Potential
from pyictp.potential.loaded_model import LoadedModel
from pyictp.potential.native_potential import NativePotential

MODELS = "a training folder, a checkpoint, an exported file, an ICTPModel or a potential"
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
    if dtype is None or (isinstance(dtype, torch.dtype) and dtype in names.values()):
        return dtype
    if dtype not in names:
        raise UserError(f"dtype '{dtype}': expected float32 or float64")
    return names[str(dtype)]


def load_model(
    path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> LoadedModel | ExportedPotential:
    """Return the potential of a file.

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
    model = build_model(payload, dtype, path).to(device).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    known = ("model_config", "provenance", "config")
    metadata = {key: payload[key] for key in known if key in payload}
    grade = grade_of(payload)
    return LoadedModel(model, metadata, None if grade is None else grade.to(device))


def as_potential(
    model: str | Path | nn.Module | Potential,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | str | None = None,
    native: bool = False,
) -> Potential:
    """Return the potential of a file or of a model in memory, on a device.

    Args:
        model: training folder, checkpoint, exported file; an `ICTPModel`, or another module that
            is called like one and has `elements` and `r_cut` (it is copied where device or dtype
            differ, not changed); or a potential, returned as it is.
        device: where it shall compute.
        dtype: float32 or float64; None keeps the model's own.
        native: whether C++ shall compute; the model is an exported file.

    Raises:
        UserError: the model cannot be loaded, or is nothing of this.
    """
    wanted = resolve_dtype(dtype)
    device = torch.device(device)
    if native:
        if not isinstance(model, (str, Path)) or not Path(model).is_file():
            raise UserError(f"native=True: expected the path of an exported file, got {model!r}")
        if dtype is not None:
            raise UserError("native=True: an exported file has its own dtype: leave dtype out")
        return NativePotential(model, device)
    if isinstance(model, (str, Path)):
        return load_model(model, device, wanted)
    if not isinstance(model, nn.Module):
        if not isinstance(model, Potential):
            raise UserError(f"model: expected {MODELS}, got {type(model).__name__}")
        if wanted is not None:
            raise UserError("a loaded potential has its own dtype: leave dtype out")
        return model
    tensors = [*model.parameters(), *model.buffers()]
    if wanted is not None or any(tensor.device != device for tensor in tensors):
        model = copy.deepcopy(model).to(device=device, dtype=wanted)
    return LoadedModel(model)
