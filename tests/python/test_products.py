# SPDX-License-Identifier: MIT
"""Products of irreducible tensors against their Cartesian definitions."""

from __future__ import annotations

import pytest
import torch
from model_toys import rotate_compact, rotation
from pyictp.model.cartesian import cartesian_harmonics, harmonics_recursion, irreducible_basis
from pyictp.model.products import Irrep, coupling, product_paths, rank_pairs
from torch import Tensor

TRIPLES = [
    (a, b, c) for a in range(5) for b in range(5) for c in range(abs(a - b), min(a + b, 4) + 1)
]
EVEN = [t for t in TRIPLES if sum(t) % 2 == 0]
ODD = [t for t in TRIPLES if sum(t) % 2 == 1]


def random_tensors(rank: int, seed: int) -> Tensor:
    return torch.randn(
        2 * rank + 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


def cartesian(compact: Tensor, rank: int) -> Tensor:
    return (compact @ irreducible_basis(rank)).reshape((3,) * rank)


@pytest.mark.parametrize(("l1", "l2", "l3"), EVEN)
def test_even_product_of_harmonics_is_a_harmonic(l1: int, l2: int, l3: int) -> None:
    n = torch.tensor([0.6, -0.48, 0.64], dtype=torch.float64)
    everything = cartesian_harmonics(n, [harmonics_recursion(k) for k in range(1, 5)])
    y = [everything[k * k : (k + 1) ** 2] for k in range(5)]
    product = torch.einsum("cab,a,b->c", coupling(l1, l2, l3), y[l1], y[l2])
    torch.testing.assert_close(product, y[l3], atol=1e-13, rtol=0)


@pytest.mark.parametrize(("l1", "l2", "l3"), TRIPLES)
@pytest.mark.parametrize("sign", [1, -1])
def test_products_are_equivariant(l1: int, l2: int, l3: int, sign: int) -> None:
    matrix = sign * rotation()
    x, y = random_tensors(l1, 0), random_tensors(l2, 1)
    table = coupling(l1, l2, l3)
    turned = torch.einsum(
        "cab,a,b->c", table, rotate_compact(l1, matrix) @ x, rotate_compact(l2, matrix) @ y
    )
    expected = rotate_compact(l3, matrix) @ torch.einsum("cab,a,b->c", table, x, y)
    parity = sign if (l1 + l2 - l3) % 2 else 1  # an odd product of true tensors is a pseudo tensor
    torch.testing.assert_close(turned, parity * expected, atol=1e-12, rtol=0)


def test_products_of_low_rank_are_the_closed_forms() -> None:
    delta = torch.eye(3, dtype=torch.float64)
    x1, y1 = cartesian(random_tensors(1, 0), 1), cartesian(random_tensors(1, 1), 1)
    x2, y2 = cartesian(random_tensors(2, 2), 2), cartesian(random_tensors(2, 3), 2)

    def product(l1: int, l2: int, l3: int) -> Tensor:
        x = random_tensors(l1, 0 if l1 == 1 else 2)
        y = random_tensors(l2, 1 if l2 == 1 else 3)
        return cartesian(torch.einsum("cab,a,b->c", coupling(l1, l2, l3), x, y), l3)

    def same_up_to_norm(found: Tensor, expected: Tensor) -> None:
        factor = (found * expected).sum() / (expected * expected).sum()
        torch.testing.assert_close(found, factor * expected, atol=1e-13, rtol=0)
        assert factor > 0

    same_up_to_norm(product(1, 1, 0), x1 @ y1)
    torch.testing.assert_close(product(1, 1, 0), x1 @ y1)  # Y_1 . Y_1 = 1: the factor is 1
    same_up_to_norm(product(2, 1, 1), x2 @ y1)
    same_up_to_norm(
        product(1, 1, 2), torch.outer(x1, y1) + torch.outer(y1, x1) - 2 / 3 * delta * (x1 @ y1)
    )
    z = x2 @ y2
    same_up_to_norm(product(2, 2, 2), z + z.T - 2 / 3 * delta * z.trace())
    same_up_to_norm(product(1, 1, 1), torch.linalg.cross(x1, y1))


@pytest.mark.parametrize(("l1", "l2", "l3"), TRIPLES)
def test_exchanging_operands_exchanges_the_table(l1: int, l2: int, l3: int) -> None:
    sign = -1 if (l1 + l2 - l3) % 2 else 1
    torch.testing.assert_close(coupling(l1, l2, l3), sign * coupling(l2, l1, l3).transpose(1, 2))


@pytest.mark.parametrize(("l1", "l2", "l3"), ODD)
def test_odd_products_have_a_norm_between_their_even_neighbors(l1: int, l2: int, l3: int) -> None:
    def norm(rank: int) -> float:
        return torch.linalg.matrix_norm(coupling(l1, l2, rank).flatten(1), 2).item()

    around = [norm(rank) for rank in (l3 - 1, l3 + 1) if abs(l1 - l2) <= rank <= l1 + l2]
    assert min(around) * (1 - 1e-12) <= norm(l3) <= max(around) * (1 + 1e-12)


def test_ranks_that_do_not_couple_are_refused() -> None:
    with pytest.raises(ValueError, match="ranks 1 and 1 do not couple to 3"):
        coupling(1, 1, 3)


def test_paths_follow_the_order_of_published_checkpoints() -> None:
    irreps = [Irrep(rank) for rank in range(4)]
    reached, paths = product_paths(irreps, irreps, 3)
    assert reached == irreps
    pairs = [[(p.x, p.y) for p in paths if p.z == z] for z in range(4)]
    assert pairs[0] == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert pairs[1] == [(1, 0), (2, 1), (3, 2), (0, 1), (1, 2), (2, 3)]
    assert pairs[2] == [(2, 0), (1, 1), (2, 2), (3, 3), (3, 1), (0, 2), (1, 3)]
    assert pairs[3] == [(3, 0), (2, 1), (3, 2), (0, 3), (1, 2), (2, 3)]
    symmetric = product_paths(irreps, irreps, 3, symmetric=True)[1]
    assert [len([p for p in symmetric if p.z == z]) for z in range(4)] == [4, 3, 5, 3]


def test_no_pair_is_missing_or_twice() -> None:
    for l3 in range(5):
        for odd in (False, True):
            expected = {
                (a, b)
                for a in range(5)
                for b in range(a + 1)
                if a - b <= l3 <= a + b and (a + b - l3) % 2 == odd
            }
            found = rank_pairs(l3, 4, odd)
            assert len(found) == len(set(found))
            assert set(found) == expected


def test_symmetric_odd_paths_are_every_unordered_pair_that_does_not_vanish() -> None:
    irreps = [Irrep(0), Irrep(1), Irrep(1, True), Irrep(2)]
    reached, paths = product_paths(irreps, irreps, 2, odd=True, symmetric=True)
    assert len({(frozenset((p.x, p.y)), p.z) for p in paths}) == len(paths)
    everything = product_paths(irreps, irreps, 2, odd=True)[1]
    expected = {
        (frozenset((p.x, p.y)), p.z)
        for p in everything
        if p.x != p.y or (2 * irreps[p.x].rank - reached[p.z].rank) % 2 == 0
    }
    assert {(frozenset((p.x, p.y)), p.z) for p in paths} == expected
