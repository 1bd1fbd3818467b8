# SPDX-License-Identifier: MIT
"""The product basis: many-body features from powers of A, with learned path weights.

T_1 = A, T_2 = A x A, T_(k+1) = T_k x A keep all their paths; basis_l = sum_k sum_path
W_k,l[species, path] T_k,l. The last product is linear in T_k, so its path sums are taken before
multiplying by A.

Source: arXiv:2405.14253, section 4; spec section 5.
"""

from typing import Final

import torch
from torch import Tensor, nn

from pyictp.config.load import ModelConfig
from pyictp.model import kernels
from pyictp.model.exact import ExactModule
from pyictp.model.polynomial import product_table
from pyictp.model.products import Irrep, coupling, product_paths


class PathWeights(nn.Module):
    """Learned weights of one irrep in one power of A, per species, channel and path."""

    def __init__(self, num_species: int, channels: int, num_paths: int, coupled: bool) -> None:
        """Draw randn / P, (S, C', P); coupled: randn / P / sqrt(C'), (S, C'*P, C')."""
        super().__init__()
        shape = (
            (num_species, channels * num_paths, channels)
            if coupled
            else (num_species, channels, num_paths)
        )
        scale = num_paths * (channels**0.5 if coupled else 1.0)
        self.weight = nn.Parameter(torch.randn(shape) / scale)
        self.coupled = coupled

    def forward(self, tensor: Tensor, species: Tensor) -> Tensor:
        """Return (d, N, C') of all paths of one irrep, tensor (d, P, N, C')."""
        if self.coupled:
            stacked = tensor.permute(2, 0, 3, 1).flatten(2)  # (N, d, C'*P)
            return kernels.species_linear(stacked, self.weight, species).transpose(0, 1)
        return kernels.sum_paths(tensor, self.of_nodes(species))

    def of_nodes(self, species: Tensor) -> Tensor:
        """Return the weights of each node, (P, N, C')."""
        return self.weight.permute(2, 0, 1).index_select(1, species)


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
            result = kernels.couple_all(power[self.pair_x[i]], a[self.pair_y[i]], block)
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
        weights: PathWeights,
    ) -> None:
        """Take the paths of `power` to its irrep z."""
        super().__init__()
        paths = [path for path in power.paths if path.z == z]
        self.weights = weights
        self.path_x: list[int] = [path.x for path in paths]
        self.path_y: list[int] = [path.y for path in paths]
        self.num_paths: list[int] = [before[path.x] for path in paths]
        tables = [coupling(x[p.x].rank, irreps_a[p.y].rank, power.irreps[z].rank) for p in paths]
        self.rows: list[int] = [table.shape[0] * table.shape[1] for table in tables]
        self.columns: list[int] = [table.shape[2] for table in tables]
        self.register_buffer(
            "table", torch.cat([table.flatten() for table in tables]), persistent=False
        )

    def forward(self, power: list[Tensor], a: list[Tensor], species: Tensor) -> Tensor:
        """Return (d, N, C')."""
        weights = torch.split(self.weights.of_nodes(species), self.num_paths)
        flat = self.table.to(a[0].dtype)
        terms: list[Tensor] = []
        start = 0
        for i in range(len(self.path_x)):
            rows, columns = self.rows[i], self.columns[i]
            table = flat[start : start + rows * columns].view(rows, columns)
            start += rows * columns
            summed = kernels.sum_paths(power[self.path_x[i]], weights[i])
            terms.append(kernels.couple_last(summed, a[self.path_y[i]], table))
        return torch.stack(terms).sum(0)


class DirectTerms(nn.Module):
    """The terms of one power of A that enter the basis as they are, weighted."""

    def __init__(
        self, config: ModelConfig, irreps: list[Irrep], num_paths: list[int], targets: list[Irrep]
    ) -> None:
        """Draw weights for those irreps of the power that the basis (`targets`) has."""
        super().__init__()
        shared = [irrep for irrep in targets if irrep in irreps]
        self.source: list[int] = [irreps.index(irrep) for irrep in shared]
        self.target: list[int] = [targets.index(irrep) for irrep in shared]
        self.weights = nn.ModuleList(_path_weights(config, num_paths[x]) for x in self.source)

    def forward(self, power: list[Tensor], species: Tensor, terms: list[list[Tensor]]) -> None:
        """Append one (d, N, C') tensor to the terms of each irrep of the basis."""
        for i, weights in enumerate(self.weights):
            terms[self.target[i]].append(weights(power[self.source[i]], species))


class PowerStep(nn.Module):
    """One more factor A, and what the basis takes of the result."""

    def __init__(self, product: Power, direct: DirectTerms) -> None:
        """Join the product T_k x A and the terms it contributes."""
        super().__init__()
        self.product = product
        self.direct = direct


class ProductBasis(ExactModule):
    """A -> basis: all powers of A up to the correlation order."""

    last_target: list[int]
    offsets: Tensor
    terms: Tensor
    values: Tensor
    fused: Final[bool]
    coupled: Final[bool]

    def __init__(self, config: ModelConfig, irreps_a: list[Irrep], l_max_out: int) -> None:
        """Tabulate paths and draw weights for ranks 0 to l_max_out of the result."""
        super().__init__()
        powers, irreps, num_paths = _powers(config, irreps_a, l_max_out)
        found = {irrep for step in irreps for irrep in step if irrep.rank <= l_max_out}
        self.irreps = sorted(found, key=lambda irrep: (irrep.pseudo, irrep.rank))
        self.num_irreps = len(self.irreps)
        self.first = DirectTerms(config, irreps_a, num_paths[0], self.irreps)
        path_sums_first = config.correlation > 1 and not config.coupled_product
        num_steps = len(powers) - 1 if path_sums_first else len(powers)
        self.steps = nn.ModuleList(
            PowerStep(powers[k], DirectTerms(config, irreps[k + 1], num_paths[k + 1], self.irreps))
            for k in range(num_steps)
        )
        self.last = nn.ModuleList()
        self.last_target = []
        if path_sums_first:
            for z, irrep in enumerate(irreps[-1]):
                weights = _path_weights(config, num_paths[-1][z])
                self.last.append(
                    LastPower(z, powers[-1], irreps[-2], irreps_a, num_paths[-2], weights)
                )
                self.last_target.append(self.irreps.index(irrep))
        self.fused = kernels.operators_available()
        self.coupled = config.coupled_product
        self.dims: list[int] = [irrep.dim for irrep in self.irreps]
        if not self.coupled:
            table = product_table(irreps_a, powers, self.irreps, path_sums_first)
            for name, tensor in table._asdict().items():
                self.register_buffer(name, tensor, persistent=False)

    def packed_weights(self) -> Tensor:
        """Return all path weights, (S, rows, C'): power after power, irreps, paths."""
        weights = [part.weight for part in self.first.weights]
        for step in self.steps:
            weights.extend([part.weight for part in step.direct.weights])
        weights.extend([last.weights.weight for last in self.last])
        return torch.cat(weights, dim=2).transpose(1, 2)

    def forward(self, a: list[Tensor], species: Tensor) -> list[Tensor]:
        """Return one (N, d, C') tensor per irrep of A (N, d, C') and species (N,)."""
        if self.fused and not self.coupled and torch.ops.ictp.serves(a[0]):
            return torch.ops.ictp.product_basis(
                a, self.packed_weights(), species, self.offsets, self.terms, self.values, self.dims
            )
        components = [
            t.transpose(0, 1).contiguous() for t in a
        ]  # (d, N, C'): one matrix product per coupling
        power = [t.unsqueeze(1) for t in components]  # (d, 1, N, C')
        terms: list[list[Tensor]] = [[] for _ in range(self.num_irreps)]
        self.first(power, species, terms)
        for step in self.steps:
            power = step.product(power, components)
            step.direct(power, species, terms)
        for i, last in enumerate(self.last):
            terms[self.last_target[i]].append(last(power, components, species))
        return [torch.stack(summands).sum(0).transpose(0, 1) for summands in terms]


def _powers(
    config: ModelConfig, irreps_a: list[Irrep], l_max_out: int
) -> tuple[list[Power], list[list[Irrep]], list[list[int]]]:
    """Return the products T_2, T_3, ..., and the irreps and path counts of T_1, T_2, ..."""
    powers, irreps, num_paths = [], [irreps_a], [[1] * len(irreps_a)]
    for k in range(2, config.correlation + 1):
        max_rank = l_max_out if k == config.correlation else config.l_max_edge
        symmetric = config.symmetric_product and k == 2
        powers.append(Power(irreps[-1], irreps_a, max_rank, config.odd_products, symmetric))
        irreps.append(powers[-1].irreps)
        num_paths.append(powers[-1].num_paths(num_paths[-1]))
    return powers, irreps, num_paths


def _path_weights(config: ModelConfig, num_paths: int) -> PathWeights:
    return PathWeights(
        len(config.elements), config.product_channels, num_paths, config.coupled_product
    )
