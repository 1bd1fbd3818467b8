# SPDX-License-Identifier: MIT
"""The paths of MACE's convolution, and what their radial functions are in another basis."""

from __future__ import annotations

import torch
from torch import Tensor

from pyictp.errors import UserError
from pyictp.foreign.bases import coupling_ratio, harmonics_scale
from pyictp.foreign.pickles import Record
from pyictp.foreign.records import get, instructions, irreps


def convolution_paths(interaction: Record) -> list[tuple[tuple[int, int, int], float]]:
    """Return (l1, l2, l3) and factor of the convolution's paths, in the order of their weights.

    Of one l3 this is also the order in which the linear layer after it has them.
    """
    product = get(interaction, "conv_tp")
    ranks = [
        [slot.rank for slot in irreps(get(product, f"irreps_{end}"))]
        for end in ("in1", "in2", "out")
    ]
    found, last = [], -1
    for x, y, z, mode, has_weight, path_weight, _ in instructions(product):
        if mode != "uvu" or not has_weight or z <= last:
            raise UserError("its convolution has paths in another order: not supported")
        found.append(((ranks[0][x], ranks[1][y], ranks[2][z]), float(path_weight)))
        last = z
    return found


def path_factors(theirs: list[tuple[tuple[int, int, int], float]]) -> Tensor:
    """Return what the radial functions of each path are multiplied by, (P,), in their order.

    R^ = R path_weight kappa(l1, l2, l3) sqrt(P_l3) (-1)^l2 / s_l2: edge vectors point the other
    way, and the coupling of an ICTP model is divided by sqrt(P_l3).
    """
    ranks_out = [ranks[2] for ranks, _ in theirs]
    factors = []
    for (l1, l2, l3), path_weight in theirs:
        ratio = coupling_ratio(l1, l2, l3) * ranks_out.count(l3) ** 0.5
        factors.append(path_weight * ratio * (-1) ** l2 / harmonics_scale(l2))
    return torch.tensor(factors, dtype=torch.float64)


def scaled_paths(columns: Tensor, factors: Tensor, order: list[int]) -> Tensor:
    """Return (..., P*C) of their paths, multiplied by factors (P,), in another order."""
    per_path = columns.unflatten(-1, (len(factors), -1)) * factors.unsqueeze(1)  # (..., P, C)
    return per_path[..., order, :].flatten(-2)
