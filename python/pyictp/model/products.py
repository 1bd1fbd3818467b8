# SPDX-License-Identifier: MIT
"""Products of irreducible Cartesian tensors: coupling paths and coupling coefficients.

Every tensor product of the model is a walk through one table of paths; a path couples ranks (l1,
l2) to l3. Coefficients follow from the Cartesian definitions, in float64, when a model is built;
none is typed in.

Source: arXiv:2405.14253, section 3 and appendix.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import comb, factorial
from typing import NamedTuple

import torch
from torch import Tensor

from pyictp.model.cartesian import irreducible_basis


class Irrep(NamedTuple):
    """Rank and kind of an irreducible tensor; pseudo: one more sign under inversion."""

    rank: int
    pseudo: bool = False

    @property
    def dim(self) -> int:
        """Return the number of components."""
        return 2 * self.rank + 1


class Path(NamedTuple):
    """One way to couple operands `x` and `y` to `z`; each an index into a list of irreps."""

    x: int
    y: int
    z: int


# The order in which paths to a rank <= 3 are numbered in published checkpoints, mirror images left
# out.
_PUBLISHED_ORDER = {
    0: [(0, 0), (1, 1), (2, 2), (3, 3)],
    1: [(1, 0), (2, 1), (3, 2)],
    2: [(2, 0), (1, 1), (2, 2), (3, 3), (3, 1)],
    3: [(3, 0), (2, 1), (3, 2)],
}


def rank_pairs(l3: int, max_rank: int, odd: bool = False) -> list[tuple[int, int]]:
    """Return the pairs (l1, l2), l1 >= l2 <= max_rank, that couple to rank l3, in checkpoint order.

    Args:
        l3: rank of the result.
        max_rank: highest rank of the operands.
        odd: the pairs of the odd products (l1+l2-l3 odd) instead of the even ones.
    """
    pairs = [
        (l1, l2)
        for l1 in range(max_rank + 1)
        for l2 in range(l1 + 1)
        if l1 - l2 <= l3 <= l1 + l2 and (l1 + l2 - l3) % 2 == int(odd)
    ]
    published = [] if odd else [pair for pair in _PUBLISHED_ORDER.get(l3, []) if pair in pairs]
    return published + [pair for pair in pairs if pair not in published]


def product_paths(
    x: list[Irrep], y: list[Irrep], max_rank: int, *, odd: bool = False, symmetric: bool = False
) -> tuple[list[Irrep], list[Path]]:
    """Return the irreps a product reaches, and its paths in the order of checkpoints.

    Args:
        x: irreps of the first operand.
        y: irreps of the second operand.
        max_rank: highest rank of the result.
        odd: use odd products as well; without them no pseudo tensor can appear.
        symmetric: x and y are the same tensors: mirror images and products that vanish are left
            out.
    """
    irreps: list[Irrep] = []
    paths: list[Path] = []
    candidates = [Irrep(rank, pseudo) for pseudo in (False, True) for rank in range(max_rank + 1)]
    highest = max(irrep.rank for irrep in x + y)
    for z in candidates:
        pairs = _irrep_pairs(z, x, y, highest, odd)
        if symmetric:
            pairs = [(a, b) for a, b, is_odd in pairs if a > b or (a == b and not is_odd)]
        else:
            pairs = [(a, b) for a, b, _ in pairs]
        if pairs:
            paths += [Path(a, b, len(irreps)) for a, b in pairs]
            irreps.append(z)
    return irreps, paths


def paths_to(
    wanted: Sequence[Irrep], irreps: list[Irrep], paths: list[Path]
) -> tuple[list[Irrep], list[Path]]:
    """Return those of the irreps of `product_paths` that are wanted, and the paths to them."""
    kept = [irrep for irrep in irreps if irrep in wanted]
    found = [path for path in paths if irreps[path.z] in kept]
    return kept, [path._replace(z=kept.index(irreps[path.z])) for path in found]


def _irrep_pairs(
    z: Irrep, x: list[Irrep], y: list[Irrep], highest: int, odd: bool
) -> list[tuple[int, int, bool]]:
    """Return (index in x, index in y, is odd) per way to reach z: even first, mirrors last."""
    found = []
    for is_odd in (False, True) if odd else (False,):
        pairs = rank_pairs(z.rank, highest, is_odd)
        mirrors = [(l2, l1) for l1, l2 in pairs if l1 != l2]
        for l1, l2 in pairs + mirrors:
            for pseudo in (False, True):
                other = pseudo ^ z.pseudo ^ is_odd
                if Irrep(l1, pseudo) in x and Irrep(l2, other) in y:
                    found.append((x.index(Irrep(l1, pseudo)), y.index(Irrep(l2, other)), is_odd))
    return found


@cache
def coupling(l1: int, l2: int, l3: int) -> Tensor:
    """Return the coupling coefficients of two compact tensors to a third.

    z_c = sum_ab coupling[c, a, b] x_a y_b. Even (l1+l2-l3 even): k = (l1+l2-l3)/2 indices
    contracted, symmetrised, traces removed, scaled such that Y_l1(n) times Y_l2(n) is Y_l3(n). Odd:
    one Levi-Civita tensor and one index less; scaled to the geometric mean of the operator norms of
    the even products to l3-1 and l3+1 that exist.

    Args:
        l1: rank of x.
        l2: rank of y.
        l3: rank of z, |l1-l2| <= l3 <= l1+l2.

    Returns:
        (2*l3+1, 2*l1+1, 2*l2+1) float64, dimensionless.

    Raises:
        ValueError: if the ranks do not couple.

    Source:
        arXiv:2405.14253, equations of section 3.
    """
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ValueError(f"ranks {l1} and {l2} do not couple to {l3}")
    if (l1 + l2 - l3) % 2 == 0:
        ways = comb(l3, (l1 - l2 + l3) // 2)
        return _even_norm(l1, l2, l3) * ways * _contract(l1, l2, l3)
    product = _contract(l1, l2, l3)
    neighbors = [rank for rank in (l3 - 1, l3 + 1) if abs(l1 - l2) <= rank <= l1 + l2]
    norms = torch.stack([_operator_norm(coupling(l1, l2, rank)) for rank in neighbors])
    norm = norms.log().mean().exp()
    return product * norm / _operator_norm(product)


def _operator_norm(product: Tensor) -> Tensor:
    """Return the norm of a coupling as a map of x (x) y; its singular values are equal."""
    return product.norm() / product.shape[0] ** 0.5


def _contract(l1: int, l2: int, l3: int) -> Tensor:
    """Contract the Cartesian bases over shared indices (odd: through epsilon), project."""
    x = irreducible_basis(l1).reshape(-1, *(3,) * l1)
    y = irreducible_basis(l2).reshape(-1, *(3,) * l2)
    shared = (l1 + l2 - l3) // 2
    if (l1 + l2 - l3) % 2:
        x = torch.tensordot(
            x, _levi_civita(), dims=([1], [1])
        )  # last two indices: (free, to contract with y)
        x = x.movedim(-2, 1)  # (a, free, l1-1 others, contracted)
        shared += 1
    contracted = torch.tensordot(
        x, y, dims=(list(range(x.dim() - shared, x.dim())), list(range(1, 1 + shared)))
    )  # (2l1+1, ..., 2l2+1, ...)
    num_x = x.dim() - 1 - shared
    tensor = contracted.movedim(1 + num_x, 1).reshape(2 * l1 + 1, 2 * l2 + 1, -1)
    product = torch.einsum("cp,abp->cab", irreducible_basis(l3), tensor)
    return torch.where(product.abs() < 1e-13, 0.0, product)  # exact zeros: most coefficients vanish


def _levi_civita() -> Tensor:
    epsilon = torch.zeros(3, 3, 3, dtype=torch.float64)
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        epsilon[a, b, c], epsilon[a, c, b] = 1.0, -1.0
    return epsilon


def _even_norm(l1: int, l2: int, l3: int) -> float:
    """Return c(l1, l2, l3), such that Y_l1 x Y_l2 = Y_l3: the closed form of the paper."""
    total = l1 + l2 + l3
    j1, j2, j3 = (total - 2 * rank - 1 for rank in (l1, l2, l3))
    above = factorial(l1) * factorial(l2) * _double_factorial(2 * l3 - 1)
    above *= factorial((j1 + 1) // 2) * factorial((j2 + 1) // 2)
    below = factorial(l3) * _double_factorial(j1) * _double_factorial(j2) * _double_factorial(j3)
    return above / (below * factorial(total // 2))


def _double_factorial(n: int) -> int:
    return 1 if n <= 0 else n * _double_factorial(n - 2)
