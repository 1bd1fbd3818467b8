# SPDX-License-Identifier: MIT
"""Radial functions of pairs of elements to tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pyictp.errors import UserError
from pyictp.model.mace import MaceModel
from pyictp.model.pair_radial import PairTable, kinds_of_pairs
from pyictp.model.tabulate import (
    ACCURACY,
    INTERVALS,
    Accuracy,
    Tabulated,
    is_close,
    missed,
    tabulated,
)

LARGEST = 2e9  # bytes of a table
ATTEMPTS = [k * n // 8 for n in INTERVALS for k in (5, 6, 7, 8) if k * n // 8 >= 64]  # intervals

OfPair = Callable[[Tensor], Tensor]  # lengths (n,) [A] to (n, P*C)
OfBoth = Callable[[Tensor, Tensor], Tensor]  # embedding (n, B) and pairs (n,) to (n, P*C)


class Pairs(NamedTuple):
    """What all tables of a model share."""

    kinds: list[int]  # a pair of each table
    r_cut: float  # [A]
    r_min: float  # where tolerances begin [A]
    accuracy: Accuracy


def tabulate_pairs(
    model: MaceModel, exact: MaceModel, shortest_edge: float = 0.0
) -> list[Tabulated]:
    """Put tables in the place of the radial functions of a model.

    Args:
        model: changed; tables get its dtype, and what `ACCURACY` asks of that.
        exact: the same model in float64, which the tables are made from.
        shortest_edge: where tolerances begin [A].

    Returns:
        Per layer, the table and its errors.

    Raises:
        UserError: no tables reach the tolerances, or they would be too large.
    """
    config = model.config
    assert config.mace is not None
    kinds, numbers = kinds_of_pairs(config.mace, len(config.elements))
    dtype = model.node_embedding.dtype
    pairs = Pairs(kinds, config.r_cut, shortest_edge, ACCURACY[dtype])
    _check_size(model, pairs)

    def fitted(radial: OfBoth, num_channels: int) -> Tabulated:
        of_pairs = [_of_pair(exact.edges.embedding, radial, kind) for kind in kinds]
        return _fitted(of_pairs, num_channels, pairs)

    parts = [(layer.interaction, layer.density) for layer in exact.layers]
    found = [fitted(part.radial.of_pairs, part.num_channels) for part, _ in parts]
    densities = [
        None if density is None else fitted(density.radial.of_pairs, 1).table.to(dtype)
        for _, density in parts
    ]
    model.tabulate([one.table for one in found], densities, numbers)
    return found


def _check_size(model: MaceModel, pairs: Pairs) -> None:
    """Refuse tables that no memory holds, before they are made."""
    num_tables, numbers = len(pairs.kinds), 4 if pairs.accuracy.quintic else 2
    parts = [layer.interaction for layer in model.layers]
    widest = max(sum(part.convolution.num_paths) * part.num_channels for part in parts)
    size = model.node_embedding.itemsize * numbers * widest * num_tables
    if size * INTERVALS[1] > LARGEST:
        raise UserError(
            f"tables of {num_tables} pairs of elements would take more than {LARGEST / 1e9:.0f} GB "
            "each: import the model with --elements, those in use, or export with --radial network"
        )


def _of_pair(embedding: nn.Module, radial: OfBoth, pair: int) -> OfPair:
    def of_pair(r: Tensor) -> Tensor:
        pairs = torch.full(r.shape, pair, dtype=torch.int64)
        return radial(embedding(r, pairs), pairs)

    return of_pair


def _fitted(of_pairs: list[OfPair], num_channels: int, pairs: Pairs) -> Tabulated:
    """Return tables of the first number of intervals at which those of all pairs hold tolerances.

    Raises:
        UserError: there is none.
    """
    for intervals in ATTEMPTS:
        found = _tabulated(of_pairs, num_channels, pairs, intervals)
        if is_close(found, pairs.accuracy):
            return found
    raise missed(intervals, found, pairs.accuracy)


def _tabulated(
    of_pairs: list[OfPair], num_channels: int, pairs: Pairs, intervals: int
) -> Tabulated:
    """Return the tables of all pairs and the largest errors, relative to each pair's largest value.

    The first pair that misses the tolerances ends the work: what comes back is of no use.
    """
    found: list[Tabulated] = []
    for function in of_pairs:
        one = tabulated(function, pairs.r_cut, num_channels, pairs.r_min, intervals, pairs.accuracy)
        found.append(one)
        if not is_close(one, pairs.accuracy):
            break
    table = PairTable([one.table for one in found]) if len(of_pairs) > 1 else found[0].table
    return Tabulated(
        table, max(one.value_error for one in found), max(one.slope_error for one in found)
    )
