# SPDX-License-Identifier: MIT
"""Irreducible Cartesian tensors in compact form: bases and harmonics.

A rank-l irreducible Cartesian tensor T has 3^l components, is symmetric and traceless, and so
carries 2l+1 independent numbers c = B_l T, T = B_l^T c, with an orthonormal basis B_l of the
symmetric traceless subspace.

Source: arXiv:2405.14253, section 3.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations_with_replacement, permutations

import torch
from torch import Tensor


@cache
def irreducible_basis(rank: int) -> Tensor:
    """Return the orthonormal basis B_l of the symmetric traceless tensors of one rank.

    Projected monomials are orthonormalised in a fixed order, products of different coordinates
    first; the basis is therefore the same on every machine. A trained model does not depend on it:
    weights act on channels only.

    Args:
        rank: tensor rank l, >= 0.

    Returns:
        (2*l+1, 3**l) float64 tensor with orthonormal rows, dimensionless.
    """
    monomials = sorted(combinations_with_replacement(range(3), rank), key=lambda m: -len(set(m)))
    symmetric = torch.stack([_symmetric_monomial(m) for m in monomials])  # ((l+1)(l+2)/2, 3^l)
    rows: list[Tensor] = []
    for tensor in _without_traces(symmetric, rank):
        for row in rows + rows:  # twice: orthogonal to machine precision
            tensor = tensor - (row @ tensor) * row
        if tensor.norm() > 1e-8:
            rows.append(tensor / tensor.norm())
    return torch.stack(rows)


def _symmetric_monomial(indices: tuple[int, ...]) -> Tensor:
    """Return the normalised symmetric tensor of one monomial, flattened to (3^l,)."""
    tensor = torch.zeros((3,) * len(indices), dtype=torch.float64)
    for permutation in set(permutations(indices)):
        tensor[permutation] = 1.0
    return (tensor / tensor.norm()).flatten()


def _without_traces(symmetric: Tensor, rank: int) -> Tensor:
    """Project orthonormal symmetric tensors (M, 3^l) on the traceless ones."""
    if rank < 2:
        return symmetric
    full = symmetric.reshape(-1, *(3,) * rank)
    traces = full.diagonal(dim1=1, dim2=2).sum(-1).reshape(len(full), -1)  # (M, 3^(l-2))
    remove = traces @ torch.linalg.pinv(traces)  # projector on what has a trace
    return symmetric - remove @ symmetric


@cache
def harmonics_recursion(rank: int) -> Tensor:
    """Return the matrix that makes Y_l of Y_(l-1) and n, both compact.

    Y_l = (2l-1)/l B_l (B_(l-1)^T Y_(l-1) (x) n).

    Args:
        rank: tensor rank l, >= 1.

    Returns:
        ((2*l-1)*3, 2*l+1) float64; multiply the flattened outer product of Y_(l-1) and n by it.
    """
    lower = irreducible_basis(rank - 1)  # (2l-1, 3^(l-1))
    upper = irreducible_basis(rank).reshape(2 * rank + 1, -1, 3)  # (2l+1, 3^(l-1), 3)
    return (
        (2 * rank - 1) / rank * torch.einsum("ap,cpi->aic", lower, upper).reshape(-1, 2 * rank + 1)
    )


def cartesian_harmonics(directions: Tensor, recursion: list[Tensor]) -> Tensor:
    """Return the irreducible Cartesian tensors of each direction, all ranks side by side.

    Y_l = (2l-1)!!/l! TL[n ... n]; contracting Y_l with l copies of n gives 1.

    Args:
        directions: (..., 3) unit vectors n, dimensionless; not normalised again here.
        recursion: the matrices of `harmonics_recursion` for rank 1, 2, ..., in the dtype of the
            directions.

    Returns:
        (..., (l_max+1)**2) compact components, rank after rank, dimensionless.

    Source:
        arXiv:2405.14253, section 3.
    """
    last = torch.ones_like(directions[..., :1])
    ranks = [last]
    for matrix in recursion:
        outer = last.unsqueeze(-1) * directions.unsqueeze(-2)
        last = outer.flatten(-2) @ matrix  # (..., 2l+1)
        ranks.append(last)
    return torch.cat(ranks, dim=-1)
