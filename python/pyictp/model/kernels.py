# SPDX-License-Identifier: MIT
"""The one seam between plain torch and compiled operators.

Every function here is differentiable to any order in plain torch: the reference for compiled
operators, and what runs where there are none. All of it compiles with TorchScript, but for
`interpolate`, which only training calls.
"""

import functools

import torch
from torch import Tensor

from pyictp.errors import UserError
from pyictp.native import load_operators


@functools.cache
def operators_available() -> bool:
    """Return whether the compiled operators can be used, and register them."""
    try:
        load_operators()
    except UserError:
        return False
    return True


def exchange(features: Tensor, num_nodes: int) -> Tensor:
    """Return the features of all nodes from those of the local ones: the halo exchange.

    In an exported file this is the operator `ictp::exchange`, which LAMMPS' communication serves.
    In Python all nodes are local.

    Args:
        features: (num_local, W).
        num_nodes: number of local nodes and ghosts.

    Returns:
        (num_nodes, W).
    """
    if torch.jit.is_scripting():
        return torch.ops.ictp.exchange(features, num_nodes)
    return features


def row_offsets(center: Tensor, num_local: int) -> Tensor:
    """Return (N+1,) where the edges of each center begin; center (E,) is sorted."""
    counts = torch.bincount(center, minlength=num_local)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def pad_edges(
    neighbor: Tensor, edge_vectors: Tensor, offsets: Tensor, r_cut: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the edges with as many to every center, for operators that want rows of equal length.

    Padding edges have length r_cut, where every radial function and its derivatives vanish: they
    contribute nothing. Sums over neighbors then are batched matrix products.

    Args:
        neighbor: (E,) neighbor of each edge, sorted by center.
        edge_vectors: (E, 3) [A].
        offsets: (N+1,) where the edges of each center begin.
        r_cut: cutoff radius [A].

    Returns:
        neighbor (N*M,), edge_vectors (N*M, 3) [A] and offsets (N+1,), M the largest number of
        neighbors (at least 1).
    """
    num_centers = offsets.size(0) - 1
    counts = offsets[1:] - offsets[:-1]
    width = 1
    if neighbor.numel() > 0:
        width = int(counts.max().item())
    rows = torch.arange(num_centers, device=offsets.device)
    place = torch.arange(neighbor.numel(), device=offsets.device)
    slot = place + torch.repeat_interleave(rows * width - offsets[:-1], counts)
    padded_neighbor = torch.zeros(num_centers * width, dtype=neighbor.dtype, device=neighbor.device)
    padding = torch.zeros(
        num_centers * width, 3, dtype=edge_vectors.dtype, device=edge_vectors.device
    )
    padding[:, 0] = r_cut
    return (
        padded_neighbor.index_copy(0, slot, neighbor),
        padding.index_copy(0, slot, edge_vectors),
        torch.arange(num_centers + 1, device=offsets.device) * width,
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
        harmonics: (N*M, D) harmonics of the edges, ranks side by side; M edges per center.
        radial: (N*M, P*C) radial weights, path-major.
        neighbor: (N*M,) index of the neighbor node.
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
    if not table.is_cuda and operators_available():
        return torch.ops.ictp.interpolate(table, rows, weights)
    points = rows.unsqueeze(1) + torch.arange(weights.size(1), device=rows.device)
    gathered = table.index_select(0, points.flatten()).view(-1, weights.size(1), table.size(1))
    return torch.bmm(weights.unsqueeze(1), gathered).squeeze(1)


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


def species_linear(x: Tensor, weight: Tensor, species: Tensor) -> Tensor:
    """Return x mapped by the matrix of each node's species.

    Args:
        x: (N, d, V).
        weight: (S, V, U).
        species: (N,).

    Returns:
        (N, d, U).
    """
    if weight.size(0) > 8:  # of many elements few are there: only their matrices are of use
        present, species = torch.unique(species, return_inverse=True)
        weight = weight.index_select(0, present)
    num_species, num_in, num_out = weight.shape
    mapped = torch.matmul(x, weight.transpose(0, 1).reshape(num_in, num_species * num_out))
    mapped = mapped.view(x.size(0), x.size(1), num_species, num_out)
    index = species.view(-1, 1, 1, 1).expand(-1, x.size(1), 1, num_out)
    return mapped.gather(2, index).squeeze(2)
