# SPDX-License-Identifier: MIT
"""Radial functions of pairs of elements to tables, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pyictp.config.mace import MaceConfig
from pyictp.errors import UserError
from pyictp.model.mace import MaceModel
from pyictp.model.pair_radial import PairTable, symmetric_tables
from pyictp.model.tabulate import (
    INTERVALS,
    SLOPE_TOLERANCE,
    VALUE_TOLERANCE,
    WORST,
    Tabulated,
    is_close,
    sample,
)

LARGEST = 2e9  # bytes of a table
FINER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # intervals of densities in one of the other functions

OfPair = Callable[[Tensor], Tensor]  # lengths (n,) [A] to (n, P*C)
OfBoth = Callable[[Tensor, Tensor], Tensor]  # embedding (n, B) and pairs (n,) to (n, P*C)


class Pairs(NamedTuple):
    """What all tables of a model share."""

    kinds: list[int]  # a pair of each table
    r_cut: float  # [A]
    r_min: float  # where tolerances begin [A]
    exacter: int  # see `fit_table`


def tabulate_pairs(
    model: MaceModel, exact: MaceModel, shortest_edge: float = 0.0, exacter: int = 1
) -> list[Tabulated]:
    """Put tables in the place of the radial functions of a model.

    Tables of a density, which may be steep, are finer by a whole number.

    Args:
        model: changed; tables get its dtype.
        exact: the same model in float64, which the tables are made from.
        shortest_edge: where tolerances begin [A].
        exacter: see `fit_table`.

    Returns:
        Per layer, the table and its errors.

    Raises:
        UserError: no tables reach the tolerances, or they would be too large.
    """
    config = model.config
    num_species = len(config.elements)
    numbers = _table_of_pairs(config.mace, num_species)
    kinds = [int((numbers == k).nonzero()[0]) for k in range(int(numbers.max()) + 1)]
    dtype = model.node_embedding.dtype
    pairs = Pairs(kinds, config.r_cut, shortest_edge, exacter)
    _check_size(model, pairs)

    def of_pairs(radial: OfBoth) -> list[OfPair]:
        return [_of_pair(exact.edges.embedding, radial, kind) for kind in kinds]

    radial = [
        (of_pairs(layer.interaction.radial.of_pairs), layer.interaction.num_channels)
        for layer in exact.layers
    ]
    attempts = [(k * n // 8, 1) for n in INTERVALS for k in (5, 6, 7, 8) if k * n // 8 >= 64]
    found = _fitted(radial, pairs, attempts)
    intervals = found[0].table.num_intervals
    densities = [
        (of_pairs(layer.density.radial.of_pairs), 1) for layer in exact.layers if layer.density
    ]
    made = iter(_fitted(densities, pairs, [(k * intervals, k) for k in FINER]))
    of_density = [next(made).table.to(dtype) if layer.density else None for layer in exact.layers]
    model.tabulate([one.table for one in found], of_density, numbers)
    return found


def _check_size(model: MaceModel, pairs: Pairs) -> None:
    """Refuse tables that no memory holds, before they are made."""
    num_tables, intervals = len(pairs.kinds), pairs.exacter * INTERVALS[1]
    parts = [layer.interaction for layer in model.layers]
    widest = max(sum(part.convolution.num_paths) * part.num_channels for part in parts)
    if 2.0 * model.node_embedding.itemsize * intervals * widest * num_tables > LARGEST:
        raise UserError(
            f"tables of {num_tables} pairs of elements would take more than {LARGEST / 1e9:.0f} GB "
            "each: import the model with --elements, those in use, or export with --radial network"
        )


def _table_of_pairs(mace: MaceConfig | None, num_species: int) -> Tensor:
    """Return the number of the table of every pair, (S*S,)."""
    if mace is not None and mace.nonlinear:  # center and neighbor are not the same
        return torch.arange(num_species**2)
    if mace is not None and mace.transform != "none":
        return symmetric_tables(num_species)
    return torch.zeros(num_species**2, dtype=torch.int64)


def _of_pair(embedding: nn.Module, radial: OfBoth, pair: int) -> OfPair:
    def of_pair(r: Tensor) -> Tensor:
        pairs = torch.full(r.shape, pair, dtype=torch.int64)
        return radial(embedding(r, pairs), pairs)

    return of_pair


def _fitted(
    functions: list[tuple[list[OfPair], int]],
    pairs: Pairs,
    attempts: Iterable[tuple[int, int]],
) -> list[Tabulated]:
    """Return tables of the first number of intervals (with a gap) at which all hold tolerances.

    Functions are those of all pairs and their number of channels.
    """
    worst = Tabulated(None, 0.0, 0.0)
    for intervals, gap in attempts:
        found = []
        for of_pairs, num_channels in functions:
            found.append(_tabulated(of_pairs, num_channels, pairs, intervals, gap))
            if not is_close(found[-1], pairs.exacter):
                worst = found[-1]
                break
        else:
            return found
    raise UserError(
        f"tables of {intervals} intervals miss the radial functions by {worst.value_error:.1e} "
        f"(slopes {worst.slope_error:.1e}) of their largest value, allowed are "
        f"{VALUE_TOLERANCE / pairs.exacter**4:.0e} ({SLOPE_TOLERANCE / pairs.exacter**3:.0e}): "
        "export with --radial network"
    )


def _tabulated(
    of_pairs: list[OfPair], num_channels: int, pairs: Pairs, intervals: int, gap: int
) -> Tabulated:
    """Return the tables of all pairs and the largest errors, relative to each pair's largest value.

    The first pair that misses the tolerances ends the work: what comes back is of no use.
    """
    knots = torch.linspace(0.0, pairs.r_cut, intervals + 1, dtype=torch.float64)
    starts = torch.arange(intervals, dtype=torch.float64).unsqueeze(1)
    between = (starts + torch.tensor(WORST, dtype=torch.float64)).flatten() * knots[1]
    between = between[between >= pairs.r_min]
    values, slopes = [], []
    value_error = slope_error = 0.0
    for function in of_pairs:
        one = sample(function, knots)
        table = PairTable(one[0][None], one[1][None], pairs.r_cut, num_channels)
        ours = sample(table.at, between)
        errors = [
            ((a - b).abs().max() / b.abs().max().clamp_min(1e-300)).item()
            for a, b in zip(ours, sample(function, between), strict=True)
        ]
        value_error, slope_error = max(value_error, errors[0]), max(slope_error, errors[1])
        values.append(one[0])
        slopes.append(one[1])
        if not is_close(Tabulated(table, value_error, slope_error), pairs.exacter):
            break
    table = PairTable(torch.stack(values), torch.stack(slopes), pairs.r_cut, num_channels, gap)
    return Tabulated(table, value_error, slope_error)
