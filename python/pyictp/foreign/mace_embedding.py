# SPDX-License-Identifier: MIT
"""Charge and spin as models of MACE see them: a part of what every atom is at the start.

    h_i = W[species] + silu(P [e_charge, e_spin])

An e is a row of a table, or a network of the number. With both fixed that is a constant for each
element, and so is the energy that a readout of h_i adds: an import needs no more than weights.

Source: what mace-torch 0.3.16 computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu

from pyictp.errors import UserError
from pyictp.foreign.choice import Choice
from pyictp.foreign.pickles import Record
from pyictp.foreign.records import expect, get, has, kind, linear_matrices, parts, tensor

FEATURES = {"total_charge": "charge", "total_spin": "spin"}  # MACE's names and ours


def check_embedding(model: Record) -> None:
    """Refuse embeddings of something else than charge and spin.

    Raises:
        UserError: names it.
    """
    if not has(model, "joint_embedding"):
        return
    for name, spec in _specs(model).items():
        if name not in FEATURES:
            raise UserError(
                f"an embedding of {name} is not supported, only of {', '.join(FEATURES)}"
            )
        if spec.get("per") != "graph" or spec.get("type") not in ("categorical", "continuous"):
            raise UserError(
                f"an embedding of {name} that is {spec.get('type')} and per {spec.get('per')} is "
                "not supported"
            )
    if has(model, "embedding_readout"):
        expect(get(model, "embedding_readout"), "LinearReadoutBlock", "readout of the embedding")
        if kind(model) == "MACE" and len(get(model, "heads", None) or [""]) > 1:
            raise UserError(
                "a readout of the embedding beside several heads in a model without scale "
                "(embedding_readout): not supported, mace-torch cannot compute it either"
            )


def _specs(model: Record) -> Mapping[str, Any]:
    """Return what MACE says of each feature, by its name."""
    return get(get(model, "joint_embedding"), "specs")


def embedded_state(model: Record, charge: int | None, spin: int | None) -> dict[str, int]:
    """Return the charge and the spin that a model is taken with, of those that it sees.

    Where none is given those that mace-torch begins with: charge 0 and spin 1.

    Raises:
        UserError: one is given that the model does not see.
    """
    seen = {FEATURES[name] for name in _specs(model)} if has(model, "joint_embedding") else set()
    for name, given in (("charge", charge), ("spin", spin)):
        if given is not None and name not in seen:
            raise UserError(
                f"--{name}: it has no embedding of it, its energies do not depend on it"
            )
    values = {"charge": 0 if charge is None else charge, "spin": 1 if spin is None else spin}
    return {name: value for name, value in values.items() if name in seen}


def state_features(model: Record, choice: Choice) -> Tensor | None:
    """Return what charge and spin add to the features of every atom, (C,) float64; None: nothing.

    Raises:
        UserError: a charge or spin beyond those that the model knows.
    """
    if not has(model, "joint_embedding"):
        return None
    joint = get(model, "joint_embedding")
    embedded = [
        _embedded(get(get(joint, "embedders"), name), spec, FEATURES[name], choice)
        for name, spec in _specs(model).items()
    ]
    linear, activation = parts(get(joint, "project"))
    expect(activation, "SiLU", "embedding of charge and spin")
    return silu(_apply(linear, torch.cat(embedded)))


def _embedded(part: Record, spec: Mapping[str, Any], name: str, choice: Choice) -> Tensor:
    """Return the embedding of a charge or spin, (dim,)."""
    value = choice.state[name]
    if spec["type"] == "categorical":
        table, offset = tensor(part, "weight"), int(spec.get("offset", 0))
        if not 0 <= value + offset < len(table):
            last = len(table) - 1 - offset
            raise UserError(f"--{name} {value}: the model knows {-offset} to {last}")
        return table[value + offset]
    first, activation, second = parts(part)
    expect(activation, "SiLU", f"embedding of the {name}")
    return _apply(second, silu(_apply(first, torch.tensor([float(value)], dtype=torch.float64))))


def _apply(linear: Record, x: Tensor) -> Tensor:
    """Return W x + c of a linear layer of PyTorch."""
    expect(linear, "Linear", "embedding of charge and spin")
    y = tensor(linear, "weight") @ x
    return y + tensor(linear, "bias") if has(linear, "bias") else y


def embedding_energies(model: Record, features: Tensor, choice: Choice) -> Tensor:
    """Return the energies of atoms by the readout of the embedding, (S,) float64 [eV].

    Args:
        model: the file.
        features: (S, C) of each element before the first layer.
        choice: whose head.
    """
    if not has(model, "embedding_readout"):
        return torch.zeros(len(features), dtype=torch.float64)
    matrix = linear_matrices(get(get(model, "embedding_readout"), "linear"))[0]
    return features @ matrix[:, choice.head]
