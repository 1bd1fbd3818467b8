# SPDX-License-Identifier: MIT
"""The product basis: many-body features from powers of A, with learned path weights.

The weights are here, what is computed with them in `powers.py`.

Source: arXiv:2405.14253, section 4; spec section 5.
"""

import torch
from torch import Tensor, nn

from pyictp.config.load import ModelConfig
from pyictp.model.powers import CoupledProducts, Power, Products
from pyictp.model.products import Irrep


class PathWeights(nn.Module):
    """Learned weights of one irrep in one power of A, per species, channel and path."""

    def __init__(self, config: ModelConfig, num_paths: int) -> None:
        """Draw randn / P, (S, C', P); coupled: randn / P / sqrt(C'), (S, C'*P, C')."""
        super().__init__()
        num_species, channels = len(config.elements), config.product_channels
        shape = (
            (num_species, channels * num_paths, channels)
            if config.coupled_product
            else (num_species, channels, num_paths)
        )
        scale = num_paths * (channels**0.5 if config.coupled_product else 1.0)
        self.weight = nn.Parameter(torch.randn(shape) / scale)


class DirectWeights(nn.Module):
    """Of the terms of one power of A that enter the basis as they are."""

    def __init__(
        self, config: ModelConfig, irreps: list[Irrep], num_paths: list[int], targets: list[Irrep]
    ) -> None:
        """Draw weights for those irreps of the power that the basis (`targets`) has."""
        super().__init__()
        shared = [irrep for irrep in targets if irrep in irreps]
        self.target: list[int] = [targets.index(irrep) for irrep in shared]
        self.weights = nn.ModuleList(
            PathWeights(config, num_paths[irreps.index(irrep)]) for irrep in shared
        )


class StepWeights(nn.Module):
    """Of a power T_2, T_3, ... with all its paths."""

    def __init__(self, direct: DirectWeights) -> None:
        """Take the weights; checkpoints have them under this name."""
        super().__init__()
        self.direct = direct


class LastWeights(nn.Module):
    """Of one irrep of the last power, whose paths are summed before the product."""

    def __init__(self, weights: PathWeights) -> None:
        """Take the weights; checkpoints have them under this name."""
        super().__init__()
        self.weights = weights


class ProductBasis(nn.Module):
    """A -> basis: all powers of A up to the correlation order."""

    last_target: list[int]

    def __init__(self, config: ModelConfig, irreps_a: list[Irrep], l_max_out: int) -> None:
        """Tabulate paths and draw weights for ranks 0 to l_max_out of the result."""
        super().__init__()
        powers, irreps, num_paths = _powers(config, irreps_a, l_max_out)
        found = {irrep for step in irreps for irrep in step if irrep.rank <= l_max_out}
        self.irreps = sorted(found, key=lambda irrep: (irrep.pseudo, irrep.rank))
        path_sums_first = config.correlation > 1 and not config.coupled_product
        direct = len(irreps) - 1 if path_sums_first else len(irreps)
        self.first = DirectWeights(config, irreps_a, num_paths[0], self.irreps)
        self.steps = nn.ModuleList(
            StepWeights(DirectWeights(config, irreps[k], num_paths[k], self.irreps))
            for k in range(1, direct)
        )
        self.last = nn.ModuleList()
        if path_sums_first:
            self.last.extend(LastWeights(PathWeights(config, n)) for n in num_paths[-1])
        kind = CoupledProducts if config.coupled_product else Products
        self.products = kind(irreps_a, powers, num_paths, self.irreps, path_sums_first)
        self.last_target = self.products.last_target

    def weights(self) -> list[Tensor]:
        """Return all path weights: power after power, irreps."""
        weights = [part.weight for part in self.first.weights]
        for step in self.steps:
            weights.extend([part.weight for part in step.direct.weights])
        weights.extend([part.weights.weight for part in self.last])
        return weights

    def forward(self, a: list[Tensor], species: Tensor) -> list[Tensor]:
        """Return one (N, d, C') tensor per irrep of A (N, d, C') and species (N,)."""
        return self.products(a, self.weights(), species)


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
