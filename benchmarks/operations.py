# SPDX-License-Identifier: MIT
"""How many floating-point operations a model needs per atom for energy, forces and virial.

The count is that of a good algorithm, not of what any code does: radial functions come from a cubic
table, couplings are sparse, the coupling is contracted with the harmonics once per edge before
channels come in, the last product of the basis has its path sums taken first, and what depends on
the species alone costs nothing. A multiplication and an addition count one each. The reverse pass
goes to the edge vectors only (no gradients of weights).
"""

from __future__ import annotations

from itertools import pairwise

from pyictp.config.load import ModelConfig
from pyictp.model.products import Irrep, Path, coupling, product_paths

TABLE_VALUE = 6  # Horner's scheme of a cubic polynomial
TABLE_SLOPE = 4  # and of its derivative

Count = tuple[float, float]  # operations per atom, forward and reverse


def count_operations(config: ModelConfig, neighbors: float) -> dict[str, Count]:
    """Return operations per atom of each part, forward and reverse.

    Args:
        config: the architecture.
        neighbors: mean number of neighbors per atom.
    """
    harmonics = [Irrep(rank) for rank in range(config.l_max_edge + 1)]
    steps = [_nonzero(rank, 1, rank + 1) for rank in range(1, config.l_max_edge)]
    counts: dict[str, Count] = {
        "harmonics": (3 * neighbors * sum(steps), 6 * neighbors * sum(steps))
    }
    irreps = [Irrep(0)]
    for index in range(config.num_layers):
        last = index == config.num_layers - 1
        irreps_a, paths = product_paths(
            irreps, harmonics, config.l_max_edge, odd=config.odd_products
        )
        irreps_b, basis = _product_basis(config, irreps_a, 0 if last else config.l_max_hidden)
        name = f"layer {index + 1} "
        convolution = _convolution(
            config.num_channels, irreps, irreps_a, paths, neighbors, first=index == 0
        )
        mixing = _mixing(config, irreps_a, paths)
        counts[name + "convolution and mixing"] = (
            convolution[0] + mixing[0],
            convolution[1] + mixing[1],
        )
        counts[name + "product basis"] = basis
        counts[name + "node maps"] = _node_maps(config, irreps, irreps_b, index)
        irreps = irreps_b
    return counts


def total_operations(config: ModelConfig, neighbors: float) -> float:
    """Return operations per atom for energy, forces and virial."""
    return sum(sum(count) for count in count_operations(config, neighbors).values())


def _nonzero(l1: int, l2: int, l3: int) -> int:
    return int(coupling(l1, l2, l3).count_nonzero())


def _convolution(
    channels: int,
    x: list[Irrep],
    z: list[Irrep],
    paths: list[Path],
    neighbors: float,
    first: bool,
) -> Count:
    """out[m3] += M[m3, m1] R h[m1] per edge, path and channel; M = coupling with the harmonics."""
    forward = reverse = 0.0
    for path in paths:
        d1, d3 = x[path.x].dim, z[path.z].dim
        terms = 2 * _nonzero(x[path.x].rank, path.y, z[path.z].rank)
        forward += terms + channels * (TABLE_VALUE + d1 + 2 * d1 * d3)
        # R h again; gradients of M (2 d1 d3), of R h (2 d1 d3), of R (2 d1), of r, and of h (2 d1)
        per_channel = (
            TABLE_VALUE + TABLE_SLOPE + 2 + 3 * d1 + 4 * d1 * d3 + (0 if first else 2 * d1)
        )
        reverse += terms + channels * per_channel
    return neighbors * forward, neighbors * reverse


def _mixing(config: ModelConfig, z: list[Irrep], paths: list[Path]) -> Count:
    """One matrix per irrep, paths and channels to channels."""
    rows = sum(z[path.z].dim for path in paths)
    operations = 2.0 * rows * config.num_channels * config.product_channels
    return operations, operations


def _node_maps(config: ModelConfig, before: list[Irrep], after: list[Irrep], index: int) -> Count:
    """The map behind the basis, the skip connection, the next layer's first map, the readout."""
    channels = config.num_channels
    operations = 2.0 * sum(irrep.dim for irrep in after) * channels * config.product_channels
    if index > 0:  # in the first layer the skip connection depends on the species alone
        operations += 2.0 * sum(irrep.dim for irrep in before if irrep in after) * channels**2
    if index < config.num_layers - 1:
        operations += 2.0 * sum(irrep.dim for irrep in after) * channels**2 + 2.0 * channels
    else:
        sizes = [channels, *config.readout_hidden, 1]
        operations += sum(2.0 * a * b for a, b in pairwise(sizes))
    return operations, operations


def _product_basis(
    config: ModelConfig, irreps_a: list[Irrep], l_max_out: int
) -> tuple[list[Irrep], Count]:
    """Return the irreps of the basis and the operations of all powers of A."""
    power, num_paths = irreps_a, [1] * len(irreps_a)
    found = {irrep for irrep in power if irrep.rank <= l_max_out}
    forward, reverse = _path_sums(config, power, num_paths, l_max_out)
    for k in range(2, config.correlation + 1):
        last = k == config.correlation
        irreps, paths = product_paths(
            power,
            irreps_a,
            l_max_out if last else config.l_max_edge,
            odd=config.odd_products,
            symmetric=config.symmetric_product and k == 2,
        )
        sums_first = last and not config.coupled_product
        copies = [1] * len(power) if sums_first else num_paths
        products = config.product_channels * _products(power, irreps_a, irreps, paths, copies)
        if sums_first:  # weights times T_k for every coupling, then one product each
            size = sum(num_paths[path.x] * power[path.x].dim for path in paths)
            sums: Count = (2.0 * config.product_channels * size,) * 2
        else:
            num_paths = [
                sum(num_paths[path.x] for path in paths if path.z == z) for z in range(len(irreps))
            ]
            sums = _path_sums(config, irreps, num_paths, l_max_out)
        forward, reverse = forward + products + sums[0], reverse + 2 * products + sums[1]
        power = irreps
        found |= {irrep for irrep in irreps if irrep.rank <= l_max_out}
    return sorted(found, key=lambda irrep: (irrep.pseudo, irrep.rank)), (forward, reverse)


def _products(
    x: list[Irrep], y: list[Irrep], z: list[Irrep], paths: list[Path], copies: list[int]
) -> float:
    """Return operations per channel: outer product of each pair once, then sparse couplings."""
    operations = 0.0
    for a, b in {(path.x, path.y) for path in paths}:
        targets = [z[path.z].rank for path in paths if path[:2] == (a, b)]
        terms = sum(_nonzero(x[a].rank, y[b].rank, rank) for rank in targets)
        operations += copies[a] * (x[a].dim * y[b].dim + 2 * terms)
    return operations


def _path_sums(
    config: ModelConfig, irreps: list[Irrep], num_paths: list[int], l_max_out: int
) -> Count:
    """Weights times every path of the irreps that the basis takes."""
    kept = [i for i, irrep in enumerate(irreps) if irrep.rank <= l_max_out]
    size = sum(irreps[i].dim * num_paths[i] for i in kept)
    outputs = config.product_channels if config.coupled_product else 1
    operations = 2.0 * config.product_channels * size * outputs
    return operations, operations
