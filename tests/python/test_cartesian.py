# SPDX-License-Identifier: MIT
"""Irreducible Cartesian tensors against their definition."""

from __future__ import annotations

from math import factorial

import pytest
import torch
from model_toys import rotate_compact, rotation
from pyictp.model.cartesian import cartesian_harmonics, harmonics_recursion, irreducible_basis
from torch import Tensor

RANKS = range(6)


def directions() -> Tensor:
    vectors = torch.randn(10, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return vectors / vectors.norm(dim=1, keepdim=True)


def harmonics(n: Tensor, rank: int) -> Tensor:
    """Return Y_l of one rank."""
    everything = cartesian_harmonics(n, [harmonics_recursion(k) for k in range(1, rank + 1)])
    return everything[:, rank**2 :]


def cartesian(compact: Tensor, rank: int) -> Tensor:
    return (compact @ irreducible_basis(rank)).reshape(-1, *(3,) * rank)


@pytest.mark.parametrize("rank", RANKS)
def test_basis_is_orthonormal_symmetric_and_traceless(rank: int) -> None:
    basis = irreducible_basis(rank)
    torch.testing.assert_close(basis @ basis.T, torch.eye(2 * rank + 1, dtype=torch.float64))
    tensors = basis.reshape(-1, *(3,) * rank)
    for a in range(1, rank + 1):
        for b in range(a + 1, rank + 1):
            torch.testing.assert_close(tensors, tensors.transpose(a, b))
            assert tensors.diagonal(dim1=a, dim2=b).sum(-1).abs().max() < 1e-14


@pytest.mark.parametrize("rank", RANKS)
def test_harmonics_contracted_with_the_direction_give_one(rank: int) -> None:
    n = directions()
    tensor = cartesian(harmonics(n, rank), rank)
    for left in range(rank, 0, -1):
        if left == 1:  # l-1 contractions leave n itself
            torch.testing.assert_close(tensor, n)
        tensor = torch.einsum("e...a,ea->e...", tensor, n)
    torch.testing.assert_close(tensor, torch.ones(10, dtype=torch.float64))


def test_harmonics_of_rank_two_and_three_are_the_closed_forms() -> None:
    n, delta = directions(), torch.eye(3, dtype=torch.float64)
    nn = torch.einsum("ea,eb->eab", n, n)
    torch.testing.assert_close(cartesian(harmonics(n, 2), 2), 1.5 * (nn - delta / 3))
    nd = torch.einsum("ea,bc->eabc", n, delta)
    traces = nd + nd.permute(0, 2, 1, 3) + nd.permute(0, 2, 3, 1)
    nnn = torch.einsum("eab,ec->eabc", nn, n)
    torch.testing.assert_close(cartesian(harmonics(n, 3), 3), 2.5 * (nnn - traces / 5))


@pytest.mark.parametrize("rank", RANKS)
def test_harmonics_have_the_norm_of_legendre_polynomials(rank: int) -> None:
    """Y_l(a) . Y_l(b) = (2l-1)!!/l! P_l(a . b), with P_l from its Rodrigues recursion."""
    n = directions()
    x = n @ n.T
    before, legendre = torch.ones_like(x), x
    if rank == 0:
        legendre = before
    for k in range(1, rank):
        before, legendre = legendre, ((2 * k + 1) * x * legendre - k * before) / (k + 1)
    norm = 1.0
    for odd in range(1, 2 * rank, 2):
        norm *= odd
    compact = harmonics(n, rank)
    torch.testing.assert_close(compact @ compact.T, norm / factorial(rank) * legendre)


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("sign", [1, -1])
def test_harmonics_turn_with_the_direction(rank: int, sign: int) -> None:
    n, matrix = directions(), sign * rotation()
    turned = harmonics(n @ matrix.T, rank)
    torch.testing.assert_close(turned, harmonics(n, rank) @ rotate_compact(rank, matrix).T)
