# SPDX-License-Identifier: MIT
"""Modules of PyTorch and layers of e3nn, out of the records of a file."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyictp.errors import UserError
from pyictp.foreign.pickles import Record


class Slot(NamedTuple):
    """Channels of one rank and parity: a part of what e3nn calls irreps."""

    channels: int
    rank: int
    parity: int

    @property
    def is_natural(self) -> bool:
        """Return whether the parity is (-1)^l."""
        return self.parity == (-1) ** self.rank

    def __str__(self) -> str:
        """Return e3nn's name."""
        return f"{self.channels}x{self.rank}{'e' if self.parity > 0 else 'o'}"


def kind(record: Any) -> str:
    """Return the name of the class, or function, that a record stands for."""
    origin = getattr(record, "origin", None)
    return origin.rpartition(".")[2] if isinstance(origin, str) else type(record).__name__


def has(module: Record, name: str) -> bool:
    """Return whether a module has an attribute, parameter, buffer or part that is not None."""
    return get(module, name, None) is not None


def get(module: Record, name: str, *default: Any) -> Any:
    """Return an attribute, parameter, buffer or part of a module.

    Raises:
        UserError: there is none, and no default.
    """
    state = module.state if isinstance(module, Record) else None
    if isinstance(state, Mapping):
        for place in (state, *(state.get(f"_{k}") for k in ("parameters", "buffers", "modules"))):
            if isinstance(place, Mapping) and name in place:
                return place[name]
    if default:
        return default[0]
    raise UserError(f"{kind(module)} lacks '{name}': the file is damaged, or of another version")


def parts(module: Record) -> list[Any]:
    """Return the parts of a module that is a list or sequence."""
    found = get(module, "_modules")
    return list(found.values()) if isinstance(found, Mapping) else []


def tensor(module: Record, name: str) -> Tensor:
    """Return a tensor of a module in float64; finite.

    Raises:
        UserError: it is none, or some of its numbers are NaN or infinite.
    """
    value = get(module, name)
    if not isinstance(value, Tensor):
        raise UserError(f"{kind(module)}.{name}: expected a tensor, got {kind(value)}")
    if not torch.isfinite(value).all():
        raise UserError(f"{kind(module)}.{name} is NaN or infinite: copy the file again")
    return value.to(torch.float64)


def number(module: Record, name: str) -> float:
    """Return a number of a module: a plain one, of numpy, or a tensor of one element.

    Raises:
        UserError: it is something else.
    """
    value = get(module, name)
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    elif kind(value) == "scalar" and len(value.args) == 2:  # numpy's pickle of a number
        dtype, data = value.args
        if kind(dtype) == "dtype" and dtype.args and dtype.args[0] in ("f8", "f4", "i8", "i4"):
            value = np.frombuffer(data, np.dtype(f"<{dtype.args[0]}"))[0].item()
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    raise UserError(f"{kind(module)}.{name}: expected a number, got {kind(value)}")


def irreps(record: Any) -> list[Slot]:
    """Return the slots of e3nn's Irreps, or of their text.

    Raises:
        UserError: it is something else.
    """
    if isinstance(record, str) and re.fullmatch(r"\d+x\d+[eo](\+\d+x\d+[eo])*", record):
        named = re.findall(r"(\d+)x(\d+)([eo])", record)
        return [Slot(int(count), int(rank), 1 if p == "e" else -1) for count, rank, p in named]
    try:
        (pairs,) = record.args or ((),)
        slots = []
        for pair in pairs:
            ((count, irrep),) = pair.args
            ((rank, parity),) = irrep.args
            slots.append(Slot(int(count), int(rank), int(parity)))
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"expected irreps of e3nn, got {kind(record)}") from error
    return slots


def instructions(module: Record) -> list[tuple]:
    """Return the instructions of a linear layer or tensor product of e3nn, as plain tuples."""
    return [tuple(record.args) for record in get(module, "instructions")]


def linear_matrices(module: Record, biased: bool = False) -> dict[int, Tensor]:
    """Return, for each rank, x -> x W of a linear layer: (channels in, channels out).

    Slots of one rank are side by side in their order, in and out. Biases, see `linear_bias`, are
    for who asks for them.

    Raises:
        UserError: the module is no plain `Linear` of e3nn, or has biases.
    """
    expect(module, "Linear")
    slots_in, slots_out = (irreps(get(module, f"irreps_{way}")) for way in ("in", "out"))
    check_natural([*slots_in, *slots_out], "a linear layer")
    starts_in, starts_out = _starts(slots_in), _starts(slots_out)
    widths = {
        rank: (_width(slots_in, rank), _width(slots_out, rank))
        for rank in {slot.rank for slot in slots_out}
    }
    flat, used = tensor(module, "weight").flatten(), 0
    if sum(math.prod(shape) for shape in widths.values()) != flat.numel():
        raise UserError("a linear layer that does not join all channels is not supported")
    matrices = {rank: torch.zeros(shape, dtype=torch.float64) for rank, shape in widths.items()}
    for source, target, shape, path_weight in instructions(module):
        if source == -1:
            if not biased:
                raise UserError("a linear layer with a bias is not supported")
            continue
        block = flat[used : used + math.prod(shape)].view(*shape) * path_weight
        used += math.prod(shape)
        rank, row, column = slots_out[target].rank, starts_in[source], starts_out[target]
        matrices[rank][row : row + shape[0], column : column + shape[1]] += block
    return matrices


def linear_bias(module: Record) -> Tensor:
    """Return the bias of the scalars of a linear layer, (channels out,).

    Raises:
        UserError: it has none, or several.
    """
    found = [i for i in instructions(module) if i[0] == -1]
    if len(found) != 1 or found[0][3] != 1.0:
        raise UserError("a linear layer with another bias than one of scalars is not supported")
    return tensor(module, "bias").flatten()


def _starts(slots: list[Slot]) -> list[int]:
    """Return where the channels of each slot begin among those of its rank."""
    return [_width(slots[:i], slot.rank) for i, slot in enumerate(slots)]


def _width(slots: list[Slot], rank: int) -> int:
    return sum(slot.channels for slot in slots if slot.rank == rank)


def species_matrices(module: Record) -> dict[int, Tensor]:
    """Return, for each rank, the matrix of each species of a product with one-hot species.

    Returns:
        (channels in, S, channels out) per rank; w3j(l, 0, l) = 1/sqrt(2l+1) is in them.
    """
    expect(module, "FullyConnectedTensorProduct")
    slots = irreps(get(module, "irreps_in1"))
    flat, used, matrices = tensor(module, "weight").flatten(), 0, {}
    for source, _, _, mode, _, path_weight, shape in instructions(module):
        rank = slots[source].rank
        if mode != "uvw" or rank in matrices:
            raise UserError("a skip connection has several parts of one rank: not supported")
        block = flat[used : used + math.prod(shape)].view(*shape)
        used += math.prod(shape)
        matrices[rank] = block * path_weight / (2 * rank + 1) ** 0.5
    return matrices


def same(values: list, complaint: str) -> Any:
    """Return the one value of several.

    Raises:
        UserError: they differ; the complaint and what they are.
    """
    if any(value != values[0] for value in values):
        shown = ", ".join(str(value) for value in values)
        raise UserError(f"{complaint} ({shown}): not supported")
    return values[0]


def activation_gain(record: Any, where: str, wanted: str = "silu") -> float:
    """Return the factor of e3nn's normalised SiLU, or of another function.

    Raises:
        UserError: another activation.
    """
    expect(record, "normalize2mom", where)
    expect_function(get(record, "f"), where, wanted)
    return 1.0 if get(record, "_is_id", False) else number(record, "cst")


def expect_function(function: Any, where: str, wanted: str) -> None:
    """Refuse another activation.

    Raises:
        UserError: names it.
    """
    if kind(function).lower() != wanted:
        raise UserError(f"{where}: activation {kind(function)} is not supported, only {wanted}")


def expect(record: Any, wanted: str, where: str = "") -> None:
    """Refuse a record of another class.

    Raises:
        UserError: names it.
    """
    if kind(record) != wanted:
        prefix = f"{where} " if where else ""
        raise UserError(f"{prefix}{kind(record)} is not supported, only {wanted}")


def check_natural(slots: list[Slot], where: str) -> None:
    """Refuse pseudo tensors.

    Raises:
        UserError: names them.
    """
    for slot in slots:
        if not slot.is_natural:
            raise UserError(
                f"{where} has pseudo tensors ({slot}): not supported, only 0e, 1o, 2e, ..."
            )
