# SPDX-License-Identifier: MIT
"""Which parts of a model are trained: `training.trainable`.

An entry is the name of a part, wherever it is in the model, or the beginning of a parameter's name;
`*` and `?` are allowed in both:

    readout            the readouts of all layers
    layers.1           the second layer (layers.0 is the first), layers.1.readout its readout
    layers.*.skip      the same as skip

Parts: node_embedding (what a species is at the start), interaction (radial + linear_in +
linear_out: the messages), product (path weights, per species), linear (channels after the product),
skip (per species), readout.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from pyictp.errors import UserError

PARTS = (
    "node_embedding",
    "interaction",
    "radial",
    "linear_in",
    "linear_out",
    "product",
    "linear",
    "skip",
    "readout",
)


def select_trainable(model: nn.Module, patterns: Sequence[str] | None) -> None:
    """Let only those parameters be trained that one of the patterns names; None: all.

    Raises:
        UserError: a pattern names nothing, or there is none.
    """
    if patterns is None:
        return
    parameters = dict(model.named_parameters())
    chosen: set[str] = set()
    for pattern in patterns:
        found = {name for name in parameters if _names(pattern, name)}
        if not found:
            raise UserError(
                f"training.trainable: '{pattern}' names no part of the model: expected "
                f"{', '.join(_vocabulary(parameters))}, or null for all"
            )
        chosen |= found
    if not chosen:
        raise UserError("training.trainable is empty: name parts of the model, or null for all")
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in chosen)


def _names(pattern: str, name: str) -> bool:
    """Return whether a pattern is one of the parts in a name, or the beginning of it."""
    parts = [part for part in name.split(".") if part in PARTS]
    return (
        fnmatchcase(name, pattern)
        or fnmatchcase(name, f"{pattern}.*")
        or any(fnmatchcase(part, pattern) for part in parts)
    )


def _vocabulary(names: Iterable[str]) -> list[str]:
    """Return the parts that there are, then the layers."""
    pieces = [name.split(".") for name in names]
    parts = [part for part in PARTS if any(part in piece for piece in pieces)]
    layers = sorted({".".join(piece[:2]) for piece in pieces if piece[0] == "layers"})
    return parts + layers
