# SPDX-License-Identifier: MIT
"""What the compiled operators compute, in plain torch: the reference, and the way without them.

All of it is differentiable to any order and compiles with TorchScript, but for `interpolate`, which
only training calls.
"""

import torch
from torch import Tensor


def row_offsets(center: Tensor, num_local: int) -> Tensor:
    """Return (N+1,) where the edges of each center begin; center (E,) is sorted."""
    return torch.searchsorted(center, torch.arange(num_local + 1, device=center.device))


def pad_edges(
    neighbor: Tensor, harmonics: Tensor, radial: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the edges with as many to every center: sums then are batched matrix products.

    Radial weights of padding edges are zero: they contribute nothing.

    Args:
        neighbor: (E,) neighbor of each edge, sorted by center.
        harmonics: (E, D).
        radial: (E, P*C).
        offsets: (N+1,) where the edges of each center begin.

    Returns:
        neighbor (N*M,), harmonics (N*M, D) and radial (N*M, P*C), M the largest number of
        neighbors (at least 1).
    """
    num_centers, num_edges = offsets.size(0) - 1, neighbor.size(0)
    counts = offsets[1:] - offsets[:-1]
    width = 1
    if num_edges > 0:
        width = int(counts.max().item())
    size = num_centers * width
    if size == num_edges:
        return neighbor, harmonics, radial
    first = torch.arange(num_centers, device=offsets.device) * width
    place = torch.arange(num_edges, device=offsets.device)
    slot = place + torch.repeat_interleave(first - offsets[:-1], counts, output_size=num_edges)
    return (
        neighbor.new_zeros(size).index_copy(0, slot, neighbor),
        harmonics.new_zeros(size, harmonics.size(1)).index_copy(0, slot, harmonics),
        radial.new_zeros(size, radial.size(1)).index_copy(0, slot, radial),
    )


def edge_convolution(
    features: list[Tensor],
    harmonics: Tensor,
    radial: Tensor,
    neighbor: Tensor,
    offsets: Tensor,
    coupling: Tensor,
    path_x: list[int],
    path_z: list[int],
    dims_z: list[int],
) -> list[Tensor]:
    """Return the sum over neighbors of the messages, paths stacked on channels.

    out_z[i, m3, path*C + c] =
        sum_j sum_(m1, m2) coupling_path(m3, m1, m2) Y_m2(n_ij) R_path,c(r_ij) h_j[m1, c].

    Args:
        features: one (num_nodes, d1, C) tensor per irrep of the node features.
        harmonics: (E, D) harmonics of the edges, ranks side by side.
        radial: (E, P*C) radial weights, path-major.
        neighbor: (E,) index of the neighbor node.
        offsets: (N+1,) where the edges of each center begin.
        coupling: (D, sum over paths of d1*d3), per path (d1, d3) row-major.
        path_x: irrep of the features, per path.
        path_z: irrep of the result, per path, ascending.
        dims_z: d3 of each result.

    Returns:
        One (N, d3, P_z*C) tensor per irrep of the result.

    Source:
        arXiv:2405.14253, section 4; spec section 5, interaction, step 3.
    """
    num_centers = offsets.size(0) - 1
    neighbor, harmonics, radial = pad_edges(neighbor, harmonics, radial, offsets)
    width = neighbor.numel() // max(num_centers, 1)
    num_channels = features[0].size(2)
    matrices = torch.matmul(harmonics, coupling).view(num_centers, width, coupling.size(1))
    gathered = [
        h.index_select(0, neighbor).view(num_centers, width, h.size(1), num_channels)
        for h in features
    ]
    sizes = [features[path_x[p]].size(1) * dims_z[path_z[p]] for p in range(len(path_x))]
    # split and unbind: their gradients are one copy each, those of slices one per slice
    matrix_of_path = torch.split(matrices, sizes, dim=2)
    radial_of_path = torch.unbind(radial.view(num_centers, width, len(path_x), num_channels), dim=2)
    stacked: list[list[Tensor]] = [[] for _ in dims_z]
    for p in range(len(path_x)):
        x = gathered[path_x[p]]  # (N, M, d1, C)
        d1, d3 = x.size(2), dims_z[path_z[p]]
        weighted = (x * radial_of_path[p].unsqueeze(2)).reshape(
            num_centers, width * d1, num_channels
        )
        matrix = matrix_of_path[p].reshape(num_centers, width * d1, d3)
        stacked[path_z[p]].append(torch.bmm(matrix.transpose(1, 2), weighted))  # (N, d3, C)
    return [torch.cat(paths, dim=2) for paths in stacked]


def interpolate(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Return sum_k weights[e, k] table[rows[e] + k], (E, W).

    Args:
        table: (K, W).
        rows: (E,) int64, the first of the n rows that each edge takes.
        weights: (E, n).
    """
    points = rows.unsqueeze(1) + torch.arange(weights.size(1), device=rows.device)
    gathered = table.index_select(0, points.flatten()).view(-1, weights.size(1), table.size(1))
    return torch.bmm(weights.unsqueeze(1), gathered).squeeze(1)
