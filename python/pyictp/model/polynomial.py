# SPDX-License-Identifier: MIT
"""Products of irreducible tensors as sparse polynomials, the form the compiled operators read.

Rows are numbered: first the leaves, which are given, then those computed: sums of terms value * row
* row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pyictp.model.cartesian import harmonics_recursion
from pyictp.model.products import Irrep, Path, coupling


class PolynomialTable(NamedTuple):
    """Row k of those computed sums terms offsets[k] to offsets[k+1] - 1."""

    offsets: Tensor  # (rows+1,) int64
    terms: Tensor  # (T, 2) int64, the two factors
    values: Tensor  # (T,) float64


class PowerPaths(NamedTuple):
    """What a polynomial needs of a product T_k x A."""

    irreps: list[Irrep]
    paths: list[Path]


Rows = list[list[list[int]]]  # per irrep, per path: the row of every component


class _Builder:
    """Collects rows; the leaves are there from the beginning."""

    def __init__(self, num_leaves: int) -> None:
        self.num_leaves = num_leaves
        self.computed: list[dict[tuple[int, int], float]] = []

    def add(self, terms: Sequence[tuple[int, int, float]]) -> int:
        """Add a row and return its number; products of the same two rows become one term."""
        merged: dict[tuple[int, int], float] = {}
        for x, y, value in terms:
            pair = (min(x, y), max(x, y))
            merged[pair] = merged.get(pair, 0.0) + value
        self.computed.append({pair: value for pair, value in merged.items() if abs(value) > 1e-13})
        return self.num_leaves + len(self.computed) - 1

    def table(self) -> PolynomialTable:
        counts = torch.tensor([0, *(len(row) for row in self.computed)])
        pairs = [pair for row in self.computed for pair in row]
        values = [value for row in self.computed for value in row.values()]
        return PolynomialTable(
            counts.cumsum(0),
            torch.tensor(pairs, dtype=torch.int64).view(-1, 2),
            torch.tensor(values, dtype=torch.float64),
        )


def terms_left(table: PolynomialTable, num_a: int, num_results: int, kept: Tensor) -> Tensor:
    """Return which terms (T,) of a product basis count where some weights are zero.

    Args:
        table: of the whole basis; leaves are A, then the weights.
        num_a: number of components of A.
        num_results: number of components of the basis, the last rows.
        kept: (W,) bool, which weights are not zero.
    """
    leaves = num_a + kept.numel()
    row = leaves + torch.repeat_interleave(table.offsets.diff())  # (T,) that a term is of
    num_rows = leaves + len(table.offsets) - 1
    vanishes = torch.zeros(num_rows, dtype=torch.bool)
    vanishes[num_a:leaves] = ~kept
    left = ~vanishes[table.terms].any(1)
    while True:  # rows without terms make terms vanish
        vanishes[leaves:] = torch.bincount(row[left], minlength=num_rows)[leaves:] == 0
        now = ~vanishes[table.terms].any(1)
        if torch.equal(now, left):
            break
        left = now
    wanted = torch.zeros(num_rows, dtype=torch.bool)
    wanted[num_rows - num_results :] = True
    while True:  # what results are made of
        used = left & wanted[row]
        before = int(wanted.sum())
        wanted[table.terms[used].flatten()] = True
        if int(wanted.sum()) == before:
            return used


def without(table: PolynomialTable, num_a: int, num_results: int, kept: Tensor) -> PolynomialTable:
    """Return a product basis without some weights, which are zero; arguments as `terms_left`."""
    left = terms_left(table, num_a, num_results, kept)
    leaves = num_a + kept.numel()
    num_rows = len(table.offsets) - 1
    counts = torch.bincount(torch.repeat_interleave(table.offsets.diff())[left], minlength=num_rows)
    stays = torch.cat([torch.ones(num_a, dtype=torch.bool), kept, counts > 0])
    stays[len(stays) - num_results :] = True
    number = stays.cumsum(0) - 1  # what is left is numbered anew
    offsets = torch.cat([counts.new_zeros(1), counts[stays[leaves:]].cumsum(0)])
    return PolynomialTable(offsets, number[table.terms[left]], table.values[left])


def edge_table(couplings: Tensor, l_max: int, directions: bool) -> PolynomialTable:
    """Return coupling matrices, linear in the harmonics, as a polynomial of an edge.

    Args:
        couplings: ((l_max+1)^2, M) coefficients of each element of the matrices.
        l_max: highest rank of the harmonics.
        directions: leaves are the direction (3) and 1; else all harmonics and 1.
    """
    one = 3 if directions else (l_max + 1) ** 2
    builder = _Builder(one + 1)
    rows = list(range(one))
    if directions:
        rows = lower = [one]
        for rank in range(1, l_max + 1):
            recursion = harmonics_recursion(rank).view(2 * rank - 1, 3, 2 * rank + 1)
            lower = [
                builder.add(_products(recursion[:, :, m], lower, [0, 1, 2]))
                for m in range(2 * rank + 1)
            ]
            rows = rows + lower
    for column in couplings.t():
        builder.add([(rows[k], one, column[k].item()) for k in column.nonzero().flatten().tolist()])
    return builder.table()


def product_table(
    irreps_a: list[Irrep],
    powers: Sequence[PowerPaths],
    targets: list[Irrep],
    path_sums_first: bool,
) -> PolynomialTable:
    """Return the product basis as a polynomial of A and the path weights.

    Args:
        irreps_a: irreps of A.
        powers: the products to T_2, T_3, ..., T_K.
        targets: irreps of the basis.
        path_sums_first: sum the paths of T_(K-1), weighted, before the last product.

    The weights are numbered as those of `ProductBasis.weights`, side by side: for T_1, T_2, ...
    those of each irrep of the basis that it has, paths in order.

    Source:
        arXiv:2405.14253, section 4; spec section 5, product basis.
    """
    irreps = [irreps_a, *(power.irreps for power in powers)]
    num_a = sum(irrep.dim for irrep in irreps_a)
    weight_of, num_leaves = _number_weights(irreps, powers, targets, num_a)
    builder = _Builder(num_leaves)
    components = iter(range(num_a))
    rows_a = [[next(components) for _ in range(irrep.dim)] for irrep in irreps_a]
    rows: list[Rows] = [[[of_irrep] for of_irrep in rows_a]]
    for k, power in enumerate(powers[:-1] if path_sums_first else powers):
        rows.append(_power_rows(builder, power, irreps[k], rows[-1], rows_a))
    summed = []
    if path_sums_first:
        summed = _summed_paths(builder, powers[-1], rows[-1], weight_of, len(powers))
    for irrep in targets:
        for m in range(irrep.dim):
            terms = []
            for k, of_power in enumerate(rows):
                if irrep in irreps[k]:
                    z = irreps[k].index(irrep)
                    first = weight_of[k, z]
                    terms += [(first + q, row[m], 1.0) for q, row in enumerate(of_power[z])]
            for path, x in summed:
                if powers[-1].irreps[path.z] == irrep:
                    table = coupling(irreps[-2][path.x].rank, irreps_a[path.y].rank, irrep.rank)
                    terms += _products(table[m], x, rows_a[path.y])
            builder.add(terms)
    return builder.table()


def _number_weights(
    irreps: list[list[Irrep]], powers: Sequence[PowerPaths], targets: list[Irrep], num_a: int
) -> tuple[dict[tuple[int, int], int], int]:
    """Return the first row of the weights of each (power, irrep), and the number of leaves."""
    num_paths = [[1] * len(irreps[0])]
    for power in powers:
        num_paths.append(
            [
                sum(num_paths[-1][path.x] for path in power.paths if path.z == z)
                for z in range(len(power.irreps))
            ]
        )
    weight_of, row = {}, num_a
    for k, of_power in enumerate(irreps):
        for irrep in targets:
            if irrep in of_power:
                z = of_power.index(irrep)
                weight_of[k, z] = row
                row += num_paths[k][z]
    return weight_of, row


def _products(table: Tensor, x: list[int], y: list[int]) -> list[tuple[int, int, float]]:
    """Return the terms of sum_ab table[a, b] x_a y_b."""
    return [(x[a], y[b], table[a, b].item()) for a, b in table.nonzero().tolist()]


def _power_rows(
    builder: _Builder,
    power: PowerPaths,
    irreps_x: list[Irrep],
    rows_x: Rows,
    rows_a: list[list[int]],
) -> Rows:
    """Add the rows of T_(k+1), all paths."""
    rows: Rows = [[] for _ in power.irreps]
    for path in power.paths:
        z = power.irreps[path.z]
        table = coupling(irreps_x[path.x].rank, (len(rows_a[path.y]) - 1) // 2, z.rank)
        for components in rows_x[path.x]:
            rows[path.z].append(
                [builder.add(_products(table[m], components, rows_a[path.y])) for m in range(z.dim)]
            )
    return rows


def _summed_paths(
    builder: _Builder,
    power: PowerPaths,
    rows_x: Rows,
    weight_of: dict[tuple[int, int], int],
    k: int,
) -> list[tuple[Path, list[int]]]:
    """Add, for every path of the last product, the weighted sum over the paths before it."""
    summed = []
    used = [0] * len(power.irreps)
    for path in power.paths:
        start = weight_of[k, path.z] + used[path.z]
        before = rows_x[path.x]
        used[path.z] += len(before)
        summed.append(
            (
                path,
                [
                    builder.add([(start + q, row[m], 1.0) for q, row in enumerate(before)])
                    for m in range(len(before[0]))
                ],
            )
        )
    return summed
