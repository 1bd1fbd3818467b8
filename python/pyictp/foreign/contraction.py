# SPDX-License-Identifier: MIT
"""Symmetric contractions of MACE in the paths of the product basis.

A contraction is sum_k W_k U_k(A, ..., A), with equivariant tensors U_k that its file holds. All
factors are the same A, so only what is symmetric in them counts, and symmetrised paths of the
product basis span the same polynomials: U^ = B X, and path weights are W^ = X W.
"""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

from pyictp.config.load import ModelConfig
from pyictp.errors import UserError
from pyictp.foreign.bases import block_diagonal, to_cartesian
from pyictp.model.products import Irrep, coupling, product_paths


def path_tensors(config: ModelConfig, l_max_out: int) -> list[dict[int, Tensor]]:
    """Return, for T_1, T_2, ..., T_K, the tensors of all paths of each rank, order of the weights.

    Component c of path p of T_k is sum tensors[k-1][rank][p, c, i1, ..., ik] A_i1 ... A_ik.

    Args:
        config: of the model; no odd products.
        l_max_out: highest rank of the basis.

    Returns:
        (P, 2l+1, D, ..., D) float64 per rank l, with D = (l_max_edge+1)^2.
    """
    irreps_a = [Irrep(rank) for rank in range(config.l_max_edge + 1)]
    identity = torch.eye((config.l_max_edge + 1) ** 2, dtype=torch.float64)
    unit = {a.rank: identity[None, a.rank**2 : (a.rank + 1) ** 2] for a in irreps_a}
    powers = [unit]
    irreps = irreps_a
    for k in range(2, config.correlation + 1):
        highest = l_max_out if k == config.correlation else config.l_max_edge
        symmetric = config.symmetric_product and k == 2
        reached, paths = product_paths(irreps, irreps_a, highest, symmetric=symmetric)
        found: dict[int, list[Tensor]] = {z.rank: [] for z in reached}
        for path in paths:
            x, y, z = irreps[path.x].rank, irreps_a[path.y].rank, reached[path.z].rank
            table = coupling(x, y, z)
            product = torch.einsum("cab,pa...,bj->pc...j", table, powers[-1][x], unit[y][0])
            found[z].append(product)
        powers.append({rank: torch.cat(tensors) for rank, tensors in found.items()})
        irreps = reached
    return powers


def symmetrised(tensors: Tensor, order: int) -> Tensor:
    """Return the mean over all permutations of the last `order` axes."""
    first = tensors.dim() - order
    kept = list(range(first))
    orders = [kept + [first + i for i in p] for p in permutations(range(order))]
    return torch.stack([tensors.permute(axes) for axes in orders]).mean(0)


def rotated(tensors: Tensor, rank: int, l_max: int) -> Tensor:
    """Return the tensors U of a file, (K, 2L+1, D, ..., D), in the Cartesian basis."""
    tensors = torch.einsum("nm,km...->kn...", to_cartesian(rank), tensors)
    blocks = block_diagonal(l_max)
    for axis in range(2, tensors.dim()):
        tensors = torch.tensordot(tensors, blocks, dims=([axis], [1])).movedim(-1, axis)
    return tensors


def path_coordinates(tensors: Tensor, paths: Tensor, tolerance: float) -> Tensor:
    """Return X (P, K) of least norm with U^ = B X, both symmetrised.

    Args:
        tensors: (K, 2L+1, D, ..., D), in the Cartesian basis.
        paths: (P, 2L+1, D, ..., D).
        tolerance: largest element of U^ - B X in those of U^.

    Raises:
        UserError: the paths do not span the tensors.
    """
    order = tensors.dim() - 2
    wanted = symmetrised(tensors, order).flatten(1).T  # (M, K)
    basis = symmetrised(paths, order).flatten(1).T  # (M, P)
    x = torch.linalg.lstsq(basis, wanted, rcond=1e-10, driver="gelsd").solution
    largest = wanted.abs().max().item()
    residual = (basis @ x - wanted).abs().max().item()
    if not residual <= tolerance * largest:
        raise UserError(
            f"the contraction of order {order} is not in the span of the paths (residual "
            f"{residual:.1e} of {largest:.1e}): the file is damaged, or of another convention"
        )
    return x
