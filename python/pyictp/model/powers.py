# SPDX-License-Identifier: MIT
"""The powers of A, and the product basis of them in plain torch.

T_1 = A, T_2 = A x A, T_(k+1) = T_k x A keep all their paths; basis_l = sum_k sum_path
W_k,l[species, path] T_k,l. The last product is linear in T_k, so its path sums are taken before
multiplying by A.

Source: arXiv:2405.14253, section 4; spec section 5.
"""

from typing import Any

import torch
from torch import Tensor, nn

from pyictp.model.exact import ExactModule
from pyictp.model.mixing import SpeciesMixing
from pyictp.model.polynomial import PolynomialTable, PowerPaths, product_table, without
from pyictp.model.products import Irrep, coupling, product_paths


class Power(ExactModule):
    """T_k x A with all paths kept: one matrix product per pair of operand irreps."""

    table: Tensor

    def __init__(
        self, x: list[Irrep], irreps_a: list[Irrep], max_rank: int, odd: bool, symmetric: bool
    ) -> None:
        """Tabulate the couplings, grouped by pair (irrep of T_k, irrep of A)."""
        super().__init__()
        self.irreps, self.paths = product_paths(x, irreps_a, max_rank, odd=odd, symmetric=symmetric)
        pairs = sorted({(path.x, path.y) for path in self.paths})
        self.pair_x: list[int] = [a for a, _ in pairs]
        self.pair_y: list[int] = [b for _, b in pairs]
        targets = {pair: [path.z for path in self.paths if path[:2] == pair] for pair in pairs}
        self.pair_dims: list[list[int]] = [
            [self.irreps[z].dim for z in targets[pair]] for pair in pairs
        ]
        self.pieces: list[
            list[tuple[int, int]]
        ] = [  # per irrep of the result: (pair, place among its targets)
            [(pairs.index(p[:2]), targets[p[:2]].index(z)) for p in self.paths if p.z == z]
            for z in range(len(self.irreps))
        ]
        blocks = [
            torch.cat(
                [
                    coupling(x[a].rank, irreps_a[b].rank, self.irreps[z].rank).flatten(1)
                    for z in targets[a, b]
                ]
            )
            for a, b in pairs
        ]
        self.register_buffer(
            "table", torch.cat([block.flatten() for block in blocks]), persistent=False
        )
        self.block_rows: list[int] = [block.shape[0] for block in blocks]
        self.block_columns: list[int] = [block.shape[1] for block in blocks]

    def num_paths(self, before: list[int]) -> list[int]:
        """Return the number of paths per irrep of the result, given those of T_k."""
        return [
            sum(before[path.x] for path in self.paths if path.z == z)
            for z in range(len(self.irreps))
        ]

    def forward(self, power: list[Tensor], a: list[Tensor]) -> list[Tensor]:
        """Return T_(k+1), (d, P, N, C') per irrep, of T_k (d, P, N, C') and A (d, N, C')."""
        table = self.table.to(a[0].dtype)
        products: list[list[Tensor]] = []
        start = 0
        for i in range(len(self.pair_x)):
            rows, columns = self.block_rows[i], self.block_columns[i]
            block = table[start : start + rows * columns].view(rows, columns)
            start += rows * columns
            result = couple_all(power[self.pair_x[i]], a[self.pair_y[i]], block)
            products.append(torch.split(result, self.pair_dims[i]))
        return [torch.cat([products[i][j] for i, j in pieces], dim=1) for pieces in self.pieces]


class LastPower(ExactModule):
    """The last product to one irrep, path sums first: sum_(x, y) (sum_p W T_k) x A."""

    table: Tensor

    def __init__(
        self,
        z: int,
        power: Power,
        x: list[Irrep],
        irreps_a: list[Irrep],
        before: list[int],
    ) -> None:
        """Take the paths of `power` to its irrep z."""
        super().__init__()
        paths = [path for path in power.paths if path.z == z]
        self.path_x: list[int] = [path.x for path in paths]
        self.path_y: list[int] = [path.y for path in paths]
        self.num_paths: list[int] = [before[path.x] for path in paths]
        tables = [coupling(x[p.x].rank, irreps_a[p.y].rank, power.irreps[z].rank) for p in paths]
        self.rows: list[int] = [table.shape[0] * table.shape[1] for table in tables]
        self.columns: list[int] = [table.shape[2] for table in tables]
        self.register_buffer(
            "table", torch.cat([table.flatten() for table in tables]), persistent=False
        )

    def forward(self, power: list[Tensor], a: list[Tensor], weight: Tensor) -> Tensor:
        """Return (d, N, C'), with weights (P, N, C')."""
        weights = torch.split(weight, self.num_paths)
        flat = self.table.to(a[0].dtype)
        terms: list[Tensor] = []
        start = 0
        for i in range(len(self.path_x)):
            rows, columns = self.rows[i], self.columns[i]
            table = flat[start : start + rows * columns].view(rows, columns)
            start += rows * columns
            summed = sum_paths(power[self.path_x[i]], weights[i])
            terms.append(couple_last(summed, a[self.path_y[i]], table))
        return torch.stack(terms).sum(0)


class Products(ExactModule):
    """The product basis of A and path weights, one weight per channel of A."""

    def __init__(
        self,
        irreps_a: list[Irrep],
        powers: list[Power],
        num_paths: list[list[int]],
        targets: list[Irrep],
        path_sums_first: bool,
    ) -> None:
        """Take the products to T_2, ..., T_K.

        Args:
            irreps_a: irreps of A.
            powers: the products.
            num_paths: of T_1, ..., T_K per irrep.
            targets: irreps of the basis.
            path_sums_first: sum the paths of T_(K-1), weighted, before the last product.
        """
        super().__init__()
        self.irreps = targets
        self.num_irreps = len(targets)
        irreps = [irreps_a, *(power.irreps for power in powers)]
        # what a polynomial is made of; TorchScript does not see it
        self.recipe = (irreps_a, [PowerPaths(p.irreps, p.paths) for p in powers], path_sums_first)
        self.sizes = (sum(i.dim for i in irreps_a), sum(i.dim for i in targets))  # of A, the basis
        self.kept: Tensor | None = None  # (W,) which weights are not zero, see `reduction.py`
        self.powers = nn.ModuleList(powers[:-1] if path_sums_first else powers)
        shared = [[irrep for irrep in targets if irrep in step] for step in irreps]
        shared = shared[:-1] if path_sums_first else shared
        self.source: list[list[int]] = [
            [irreps[k].index(irrep) for irrep in found] for k, found in enumerate(shared)
        ]
        self.target: list[list[int]] = [[targets.index(i) for i in found] for found in shared]
        self.last, self.last_target = nn.ModuleList(), []
        if path_sums_first:
            self.last.extend(
                LastPower(z, powers[-1], irreps[-2], irreps_a, num_paths[-2])
                for z in range(len(irreps[-1]))
            )
            self.last_target = [targets.index(irrep) for irrep in irreps[-1]]

    def polynomial(self, all_paths: bool = False) -> PolynomialTable:
        """Return the basis as a polynomial of A and those weights that are `kept`, or of all."""
        irreps_a, powers, path_sums_first = self.recipe
        table = product_table(irreps_a, powers, self.irreps, path_sums_first)
        is_whole = all_paths or self.kept is None
        return table if is_whole else without(table, *self.sizes, self.kept)

    def forward(self, a: list[Tensor], weights: list[Tensor], species: Tensor) -> list[Tensor]:
        """Return one (N, d, C') tensor per irrep of the basis.

        Args:
            a: (N, d, C') per irrep of A.
            weights: of T_1, T_2, ..., for each irrep of the basis that it has.
            species: (N,).
        """
        components = [
            t.transpose(0, 1).contiguous() for t in a
        ]  # (d, N, C'): one matrix product per coupling
        power = [t.unsqueeze(1) for t in components]  # (d, 1, N, C')
        terms: list[list[Tensor]] = [[] for _ in range(self.num_irreps)]
        used = self.add(power, 0, weights, 0, species, terms)
        for k, product in enumerate(self.powers):
            power = product(power, components)
            used = self.add(power, k + 1, weights, used, species, terms)
        for i, last in enumerate(self.last):
            weight = of_nodes(weights[used + i], species)
            terms[self.last_target[i]].append(last(power, components, weight))
        return [torch.stack(summands).sum(0).transpose(0, 1) for summands in terms]

    def add(
        self,
        power: list[Tensor],
        k: int,
        weights: list[Tensor],
        used: int,
        species: Tensor,
        terms: list[list[Tensor]],
    ) -> int:
        """Append the weighted terms of T_(k+1); return the number of weights used up to now."""
        for source, target in zip(self.source[k], self.target[k]):  # noqa: B905 - TorchScript
            terms[target].append(self.weighted(power[source], weights[used], species))
            used += 1
        return used

    def weighted(self, tensor: Tensor, weight: Tensor, species: Tensor) -> Tensor:
        """Return (d, N, C') of all paths of one irrep, tensor (d, P, N, C'), weight (S, C', P)."""
        return sum_paths(tensor, of_nodes(weight, species))


class CoupledProducts(Products):
    """The same with a weight for every pair of channels."""

    def __init__(self, *recipe: Any) -> None:
        """Take what `Products` takes."""
        super().__init__(*recipe)
        self.mixing = SpeciesMixing()

    def weighted(self, tensor: Tensor, weight: Tensor, species: Tensor) -> Tensor:
        """Return (d, N, C') of all paths of one irrep, weight (S, C'*P, C')."""
        stacked = tensor.permute(2, 0, 3, 1).flatten(2)  # (N, d, C'*P)
        return self.mixing(stacked, weight, species).transpose(0, 1)


def of_nodes(weight: Tensor, species: Tensor) -> Tensor:
    """Return the weights (S, C', P) of each node, (P, N, C')."""
    return weight.permute(2, 0, 1).index_select(1, species)


def couple_all(x: Tensor, y: Tensor, coupling: Tensor) -> Tensor:
    """Return every product of two irreps to several ranks at once.

    Args:
        x: (d1, P, N, C), P paths.
        y: (d2, N, C).
        coupling: (D3, d1*d2), the ranks of the results side by side.

    Returns:
        (D3, P, N, C).
    """
    outer = x.unsqueeze(1) * y.unsqueeze(1).unsqueeze(0)  # (d1, d2, P, N, C)
    product = torch.mm(coupling, outer.flatten(0, 1).flatten(1))
    return product.view(coupling.size(0), x.size(1), x.size(2), x.size(3))


def couple_last(x: Tensor, y: Tensor, coupling: Tensor) -> Tensor:
    """Return one product of two irreps, the paths of x already summed.

    Args:
        x: (d1, N, C).
        y: (d2, N, C).
        coupling: (d3*d1, d2).

    Returns:
        (d3, N, C).
    """
    matrix = torch.mm(coupling, y.flatten(1)).view(
        coupling.size(0) // x.size(0), x.size(0), x.size(1), x.size(2)
    )
    return (matrix * x).sum(1)


def sum_paths(tensor: Tensor, weights: Tensor) -> Tensor:
    """Return (d, N, C): the sum over paths of tensor (d, P, N, C) with weights (P, N, C)."""
    if weights.size(0) == 1:
        return tensor[:, 0] * weights[0]
    return (tensor * weights).sum(1)
