# SPDX-License-Identifier: MIT
"""Weights of a file into the parameters of a model, shapes compared."""

from __future__ import annotations

import torch
from torch import Tensor

from pyictp.errors import UserError
from pyictp.model.radial import ScaledLinear


def put(target: Tensor, value: Tensor, name: str) -> None:
    """Copy a value into a parameter or buffer.

    Raises:
        UserError: of another shape.
    """
    if value.shape != target.shape:
        raise UserError(f"{name}: expected {tuple(target.shape)} numbers, got {tuple(value.shape)}")
    with torch.no_grad():
        target.copy_(value)


def put_linear(layer: ScaledLinear, matrix: Tensor, name: str) -> None:
    """Let a layer be x -> x W, W (in, out)."""
    put(layer.weight, matrix.T / layer.scale, name)
