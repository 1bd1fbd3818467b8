# SPDX-License-Identifier: MIT
"""The readouts of a MACE file: the columns of one head."""

from __future__ import annotations

import torch
from torch import nn

from pyictp.errors import UserError
from pyictp.foreign.choice import Choice
from pyictp.foreign.mace_options import READOUTS
from pyictp.foreign.pickles import Record
from pyictp.foreign.put import put, put_linear
from pyictp.foreign.records import (
    activation_gain,
    get,
    kind,
    linear_bias,
    linear_matrices,
    parts,
)
from pyictp.model.radial import MLP, SILU_GAIN, ShiftedLinear


def readouts_of(file: Record, num_layers: int) -> list[Record | None]:
    """Return the readout of each layer, None where only the last has one.

    Raises:
        UserError: so many readouts are not supported.
    """
    readouts = parts(get(file, "readouts"))
    if len(readouts) == 1:
        return [None] * (num_layers - 1) + readouts
    if len(readouts) != num_layers:
        raise UserError(f"{len(readouts)} readouts of {num_layers} layers: not supported")
    return readouts


def fill_readout(readout: nn.Module, file: Record | None, choice: Choice) -> None:
    """Fill a readout with the columns of the head, or with zeros where there is none.

    Raises:
        UserError: of a kind that is not supported.
    """
    if file is None:
        put(readout.weight, torch.zeros_like(readout.weight), "readout")
        return
    if kind(file) == "LinearReadoutBlock":
        matrix = linear_matrices(get(file, "linear"))[0][:, [choice.head]]
        linear = readout.layers[0] if isinstance(readout, MLP) else readout
        put_linear(linear, matrix, "readout")
        return
    names = READOUTS.get(kind(file))
    if names is None:
        raise UserError(f"readout {kind(file)} is not supported, only {', '.join(READOUTS)}")
    if not isinstance(readout, MLP) or len(readout.layers) != len(names):
        raise UserError("a nonlinear readout before the last layer is not supported")
    (activation,) = parts(get(get(file, "non_linearity"), "acts"))
    gain = activation_gain(activation, "readout") / SILU_GAIN
    width = readout.layers[0].weight.shape[0]
    inner = list(range(choice.head * width, (choice.head + 1) * width))
    rows = torch.arange(readout.layers[0].weight.shape[1])
    for i, (layer, name) in enumerate(zip(readout.layers, names, strict=True)):
        linear = get(file, name)
        columns = torch.tensor([choice.head] if name == names[-1] else inner)
        biased = isinstance(layer, ShiftedLinear)
        matrix = linear_matrices(linear, biased)[0][rows][:, columns]
        put_linear(layer, matrix * (gain if i > 0 else 1.0), "readout")
        if biased:
            put(layer.bias, linear_bias(linear)[columns], "readout")
        rows = columns
