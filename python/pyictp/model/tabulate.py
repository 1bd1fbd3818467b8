# SPDX-License-Identifier: MIT
"""Radial networks to tables: what they yield depends on an edge's length alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pyictp.errors import UserError
from pyictp.model.ictp import ICTPModel
from pyictp.model.radial import RadialNetwork, RadialTable

VALUE_TOLERANCE = 1e-6  # largest error of a value in float32, relative to the largest value
# the same of slopes: 0.01 meV/A of the forces of a trained molecule; 1e-5 would need a table three
# times as large, which caches do not hold
SLOPE_TOLERANCE = 1e-4
INTERVALS = tuple(64 << k for k in range(8))
MOST_PARTS = 50  # of the cutoff radius, one of which ends where a kink is
# Where between two knots cubic Hermite interpolation is worst: values at 1/2, slopes at the others.
WORST = (0.5 - 12**-0.5, 0.5, 0.5 + 12**-0.5)
NEAR_ZERO = 1e-5  # [A] where the values at zero are taken: there sin(k r)/r is 0/0


class Tabulated(NamedTuple):
    """A table and how far it is from the network."""

    table: RadialTable
    value_error: float  # relative to the largest value
    slope_error: float  # relative to the largest slope


def tabulate_radial(
    model: ICTPModel, exact: ICTPModel, shortest_edge: float = 0.0, exacter: int = 1
) -> list[Tabulated]:
    """Put tables in the place of the radial networks of a model.

    Args:
        model: changed; tables get its dtype.
        exact: the same model in float64, which the tables are made from.
        shortest_edge: of the training data [A], where tolerances begin; 0 if it is not known.
            Below it a trained network is what nobody asked for, and often so wild that it alone
            would decide the size of the table.
        exacter: see `fit_table`.

    Returns:
        Per layer, the table and its errors.

    Raises:
        UserError: no table reaches the tolerances.
    """
    found = []
    config = model.config
    for layer in exact.layers:
        network = partial(_radial, exact.edges.embedding, layer.interaction.radial)
        channels = config.num_channels
        found.append(fit_table(network, config.r_cut, channels, shortest_edge, exacter))
    model.tabulate([one.table for one in found])
    return found


def _radial(embedding: nn.Module, network: RadialNetwork, edge_lengths: Tensor) -> Tensor:
    return network.evaluate(embedding(edge_lengths))


def fit_table(
    radial: Callable[[Tensor], Tensor],
    r_cut: float,
    num_channels: int,
    r_min: float = 0.0,
    exacter: int = 1,
    kink: float = 0.0,
) -> Tabulated:
    """Return a small table of a float64 function (n,) -> (n, P*C) within the tolerances.

    Tolerances hold from r_min [A] on and are relative to the largest values there. Intervals are
    64, 128, 256, ... until they are met, then 5, 6 or 7 eighths of that if they still are. Knots
    that are `exacter` times closer make values better by its fourth power, slopes by its third.
    One of the knots is at `kink` [A], where the second derivative jumps, if they can be so placed.
    """
    for intervals in _intervals(kink / r_cut):
        found = _tabulated(radial, r_cut, num_channels, r_min, intervals)
        if is_close(found, exacter):
            smaller = (
                _tabulated(radial, r_cut, num_channels, r_min, intervals // 8 * eighths)
                for eighths in (5, 6, 7)
            )
            return next((table for table in smaller if is_close(table, exacter)), found)
    raise UserError(
        f"a table of {INTERVALS[-1]} intervals misses the radial functions by "
        f"{found.value_error:.1e} (slopes {found.slope_error:.1e}) of their largest value, allowed "
        f"are {VALUE_TOLERANCE / exacter**4:.0e} ({SLOPE_TOLERANCE / exacter**3:.0e}): export with "
        "--radial network"
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


def is_close(found: Tabulated, exacter: int = 1) -> bool:
    """Return whether a table is within the tolerances, see `fit_table`."""
    value_tolerance, slope_tolerance = VALUE_TOLERANCE / exacter**4, SLOPE_TOLERANCE / exacter**3
    return found.value_error <= value_tolerance and found.slope_error <= slope_tolerance


def _tabulated(
    radial: Callable[[Tensor], Tensor],
    r_cut: float,
    num_channels: int,
    r_min: float,
    intervals: int,
) -> Tabulated:
    """Return a table with its errors between the knots from r_min on."""
    values, slopes = sample(radial, torch.linspace(0.0, r_cut, intervals + 1, dtype=torch.float64))
    slopes[0] = 0.0  # Bessel functions are even, and the cutoff begins with r^p
    table = RadialTable(values, slopes, r_cut, num_channels)
    knots = torch.arange(intervals, dtype=torch.float64).unsqueeze(1)
    between = (knots + torch.tensor(WORST, dtype=torch.float64)).flatten() * table.spacing
    between = between[between >= r_min]
    ours, theirs = sample(table.at, between), sample(radial, between)
    value_error, slope_error = (
        ((a - b).abs().max() / b.abs().max().clamp_min(1e-300)).item()
        for a, b in zip(ours, theirs, strict=True)
    )
    return Tabulated(table, value_error, slope_error)


def sample(function: Callable[[Tensor], Tensor], r: Tensor) -> tuple[Tensor, Tensor]:
    """Return values and derivatives, (n, P*C), at distances r (n,) [A]."""
    r = r.clamp_min(NEAR_ZERO)
    with torch.enable_grad():
        r.requires_grad_(True)
        # forward-mode differentiation by two reverse ones: d/dr of every output at once
        values = function(r)
        dummy = torch.ones_like(values, requires_grad=True)
        (row_sums,) = torch.autograd.grad(values, r, dummy, create_graph=True)
        (slopes,) = torch.autograd.grad(row_sums.sum(), dummy)
    return values.detach(), slopes.detach()
