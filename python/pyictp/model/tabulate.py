# SPDX-License-Identifier: MIT
"""Radial networks to tables: what they yield depends on an edge's length alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pyictp.errors import UserError
from pyictp.model.ictp import ICTPModel
from pyictp.model.radial import RadialNetwork, RadialTable


class Accuracy(NamedTuple):
    """What tables of a precision must reach, and how."""

    value: float  # largest error of a value, relative to the largest value
    slope: float  # the same of slopes
    quintic: bool  # between two knots; or cubic


# In float32 slopes are good to 0.01 meV/A of the forces of a trained molecule: 1e-5 would need a
# table three times as large, which caches do not hold.
ACCURACY = {
    torch.float32: Accuracy(1e-6, 1e-4, quintic=False),
    torch.float64: Accuracy(1e-10, 1e-9, quintic=True),
}
INTERVALS = tuple(64 << k for k in range(8))
MOST_PARTS = 50  # of the cutoff radius, one of which ends where a kink is
# Where between two knots cubic Hermite interpolation is worst: values at 1/2, slopes at the others.
WORST = (0.5 - 12**-0.5, 0.5, 0.5 + 12**-0.5)
INNER = 0.1627  # quintics meet the function at 1/2 -+ this: about the least of their largest errors
WORST_OF_QUINTIC = (0.07, 0.335, 0.5, 0.665, 0.93)  # values at 1/2, slopes at the others
NEAR_ZERO = (1e-5, 2e-5, 3e-5)  # [A] at zero sin(k r)/r is 0/0: a parabola through these instead
PARABOLA = (3.0, -3.0, 1.0)


class Tabulated(NamedTuple):
    """A table and how far it is from the network."""

    table: RadialTable
    value_error: float  # relative to the largest value
    slope_error: float  # relative to the largest slope


def tabulate_radial(
    model: ICTPModel, exact: ICTPModel, shortest_edge: float = 0.0
) -> list[Tabulated]:
    """Put tables in the place of the radial networks of a model.

    Args:
        model: changed; tables get its dtype, and what `ACCURACY` asks of that.
        exact: the same model in float64, which the tables are made from.
        shortest_edge: of the training data [A], where tolerances begin; 0 if it is not known.
            Below it a trained network is what nobody asked for, and often so wild that it alone
            would decide the size of the table.

    Returns:
        Per layer, the table and its errors.

    Raises:
        UserError: no table reaches the tolerances.
    """
    found = []
    config, accuracy = model.config, ACCURACY[model.node_embedding.dtype]
    for layer in exact.layers:
        network = partial(_radial, exact.edges.embedding, layer.interaction.radial)
        channels = config.num_channels
        found.append(fit_table(network, config.r_cut, channels, shortest_edge, accuracy))
    model.tabulate([one.table for one in found])
    return found


def _radial(embedding: nn.Module, network: RadialNetwork, edge_lengths: Tensor) -> Tensor:
    return network.evaluate(embedding(edge_lengths))


def fit_table(
    radial: Callable[[Tensor], Tensor],
    r_cut: float,
    num_channels: int,
    r_min: float = 0.0,
    accuracy: Accuracy = ACCURACY[torch.float32],
    kink: float = 0.0,
) -> Tabulated:
    """Return a small table of a float64 function (n,) -> (n, P*C) within the tolerances.

    Tolerances hold from r_min [A] on and are relative to the largest values there. Intervals are
    64, 128, 256, ... until they are met, then 5, 6 or 7 eighths of that if they still are.
    One of the knots is at `kink` [A], where the second derivative jumps, if they can be so placed.
    """
    for intervals in _intervals(kink / r_cut):
        found = tabulated(radial, r_cut, num_channels, r_min, intervals, accuracy)
        if is_close(found, accuracy):
            smaller = (
                tabulated(radial, r_cut, num_channels, r_min, intervals // 8 * eighths, accuracy)
                for eighths in (5, 6, 7)
            )
            return next((table for table in smaller if is_close(table, accuracy)), found)
    raise missed(INTERVALS[-1], found, accuracy)


def missed(intervals: int, found: Tabulated, accuracy: Accuracy) -> UserError:
    """Return what to raise when no table is within the tolerances."""
    return UserError(
        f"a table of {intervals} intervals misses the radial functions by "
        f"{found.value_error:.1e} (slopes {found.slope_error:.1e}) of their largest value, allowed "
        f"are {accuracy.value:.0e} ({accuracy.slope:.0e}): export with --radial network"
    )


def _intervals(part: float) -> list[int]:
    """Return numbers of intervals to try, with a knot at this part of the cutoff radius.

    Five, six and seven eighths of them have one there, too.
    """
    denominator = Fraction(part).limit_denominator(MOST_PARTS).denominator
    if abs(part * denominator - round(part * denominator)) > 1e-9:
        denominator = 1
    step = 8 * denominator
    return [math.ceil(INTERVALS[0] / step) * step * n // INTERVALS[0] for n in INTERVALS]


def is_close(found: Tabulated, accuracy: Accuracy) -> bool:
    """Return whether a table is within the tolerances."""
    return found.value_error <= accuracy.value and found.slope_error <= accuracy.slope


def tabulated(
    radial: Callable[[Tensor], Tensor],
    r_cut: float,
    num_channels: int,
    r_min: float,
    intervals: int,
    accuracy: Accuracy,
) -> Tabulated:
    """Return a table with its errors between the knots from r_min on."""
    knots = torch.linspace(0.0, r_cut, intervals + 1, dtype=torch.float64)
    near, weights = knots.new_tensor(NEAR_ZERO), knots.new_tensor(PARABOLA)
    values, slopes = (
        torch.cat([(weights @ part[:3]).unsqueeze(0), part[3:]])
        for part in sample(radial, torch.cat([near, knots[1:]]))
    )
    table = RadialTable(values, slopes, r_cut, num_channels)
    if accuracy.quintic:
        inner = _inner(radial, table)
        table = RadialTable(values, slopes, r_cut, num_channels, inner)
    between = _between(table, WORST_OF_QUINTIC if accuracy.quintic else WORST)
    between = between[between >= r_min]
    ours, theirs = sample(table.at, between), sample(radial, between)
    value_error, slope_error = (
        ((a - b).abs().max() / b.abs().max().clamp_min(1e-300)).item()
        for a, b in zip(ours, theirs, strict=True)
    )
    return Tabulated(table, value_error, slope_error)


def _between(table: RadialTable, places: Sequence[float]) -> Tensor:
    """Return distances [A] at these places, parts of 1, of every interval."""
    knots = torch.arange(table.num_intervals, dtype=torch.float64).unsqueeze(1)
    return (knots + torch.tensor(places, dtype=torch.float64)).flatten() * table.spacing


def _inner(radial: Callable[[Tensor], Tensor], cubic: RadialTable) -> list[Tensor]:
    """Return a and b of every interval, see `RadialTable`: from what the cubics leave inside.

    Nothing is asked of second derivatives: at a knot they may jump.
    """
    r = _between(cubic, (0.5 - INNER, 0.5 + INNER))
    with torch.no_grad():
        left = (radial(r) - cubic.at(r)) / (0.25 - INNER**2) ** 2  # by t^2 s^2
    low, high = left.unflatten(0, (-1, 2)).unbind(1)
    inner = ((low + high) / 2, (high - low) / (2 * INNER))
    return [nn.functional.pad(part, (0, 0, 0, 1)) for part in inner]  # none begins at the last


def sample(function: Callable[[Tensor], Tensor], r: Tensor) -> tuple[Tensor, Tensor]:
    """Return values and derivatives, (n, P*C), at distances r (n,) [A]."""
    r = r.clone().requires_grad_(True)
    with torch.enable_grad():
        # forward-mode differentiation by two reverse ones: d/dr of every output at once
        values = function(r)
        dummy = torch.ones_like(values, requires_grad=True)
        (row_sums,) = torch.autograd.grad(values, r, dummy, create_graph=True)
        (slopes,) = torch.autograd.grad(row_sums.sum(), dummy)
    return values.detach(), slopes.detach()
