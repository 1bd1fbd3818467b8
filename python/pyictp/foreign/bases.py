# SPDX-License-Identifier: MIT
"""From e3nn's real spherical harmonics to compact Cartesian tensors.

For every rank l there is an orthogonal Q_l with Y^_l(n) = s_l Q_l Y_l(n), where Y^ are the
Cartesian harmonics and Y those of e3nn, whose squares sum to 2l+1. Features change by Q_l alone;
of the coupling coefficients of e3nn (Wigner's 3j symbols in the real basis, norm 1) a number is
left: (Q_l1 x Q_l2 x Q_l3) w3j = kappa coupling(l1, l2, l3). Both sides couple harmonics to
harmonics with a positive factor, so kappa is 1 over the norm of the coupling.
"""

from __future__ import annotations

from functools import cache
from math import factorial, prod

import numpy as np
import torch
from numpy.polynomial.legendre import Legendre
from torch import Tensor

from pyictp.model.cartesian import cartesian_harmonics, harmonics_recursion
from pyictp.model.products import coupling


def real_harmonics(directions: Tensor, rank: int) -> Tensor:
    """Return the real spherical harmonics Y_lm, m = -l...l, polar axis y, azimuth from z to x.

    Y_lm = sqrt((2l+1) (2 - [m=0]) (l-|m|)!/(l+|m|)!) P_l^(|m|)(y) (Re, Im)(z + i x)^|m|, with Im
    for m < 0; no further sign, the squares sum to 2l+1.

    Args:
        directions: (n, 3) float64 unit vectors.
        rank: l.

    Returns:
        (n, 2l+1) float64.
    """
    x, y, z = directions.numpy().T
    polynomial = Legendre.basis(rank)
    columns = []
    for m in range(-rank, rank + 1):
        order = abs(m)
        around = (z + 1j * x) ** order
        along = polynomial.deriv(order)(y) if order else polynomial(y)
        square = (2 * rank + 1) * factorial(rank - order) / factorial(rank + order)
        size = (square * (2 if order else 1)) ** 0.5
        columns.append(size * along * (around.imag if m < 0 else around.real))
    return torch.from_numpy(np.stack(columns, axis=1))


@cache
def to_cartesian(rank: int) -> Tensor:
    """Return Q_l, (2l+1, 2l+1) float64."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(100, 3, generator=generator, dtype=torch.float64)
    directions = directions / directions.norm(dim=1, keepdim=True)
    recursion = [harmonics_recursion(lower) for lower in range(1, rank + 1)]
    ours = cartesian_harmonics(directions, recursion)[:, rank * rank :]
    theirs = real_harmonics(directions, rank)
    return torch.linalg.lstsq(theirs, ours).solution.T / harmonics_scale(rank)


def harmonics_scale(rank: int) -> float:
    """Return s_l = sqrt((2l-1)!!/l!/(2l+1)), the ratio of the norms of both harmonics."""
    odd_numbers = prod(range(1, 2 * rank, 2))
    return (odd_numbers / factorial(rank) / (2 * rank + 1)) ** 0.5


def coupling_ratio(l1: int, l2: int, l3: int) -> float:
    """Return kappa of an even product, l1 + l2 - l3 even."""
    return 1.0 / coupling(l1, l2, l3).norm().item()


def block_diagonal(l_max: int) -> Tensor:
    """Return Q_0, ..., Q_l_max as the blocks of one matrix, ((l_max+1)^2, (l_max+1)^2)."""
    return torch.block_diag(*(to_cartesian(rank) for rank in range(l_max + 1)))
