# SPDX-License-Identifier: MIT
"""Random neighbor lists and edge gradients for the operators of the graph, and what these compute
written as plain sums over all candidates and edges."""

from __future__ import annotations

import torch
from torch import Tensor

R_CUT = 1.5
# candidates of each center: more than a warp, none, centers without any, more blocks than one
COUNTS = {
    "dense": [5, 5, 5],
    "ragged": [0, 70, 1, 33, 64, 0],
    "many": [k % 41 for k in range(300)],
    "one_node": [4],
    "no_edges": [0, 0],
    "no_nodes": [],
}
NUM_GHOSTS, NUM_SPECIES = 3, 2


class GraphCase:
    """A list whose candidates are images of nodes, and a model's gradients."""

    def __init__(self, counts: str, watched: bool = True) -> None:
        generator = torch.Generator().manual_seed(3)
        self.counts = torch.tensor(COUNTS[counts], dtype=torch.int64)
        self.num_local, most = len(self.counts), int(self.counts.sum())
        self.num_nodes = self.num_local + NUM_GHOSTS
        num_atoms = 3 * self.num_nodes  # images of each node
        self.positions = torch.rand(num_atoms, 3, generator=generator, dtype=torch.float64) * 2.0
        node_of_atom = torch.arange(num_atoms) % self.num_nodes
        # never the center itself
        atoms = torch.randint(self.num_nodes, num_atoms, (most,), generator=generator)
        self.offsets = torch.cat([torch.zeros(1, dtype=torch.int64), self.counts.cumsum(0)])
        self.atoms, self.nodes = atoms.int(), node_of_atom[atoms].int()
        self.node_atoms = torch.arange(self.num_nodes).flip(0).int()  # in any order
        self.species = torch.arange(self.num_nodes) % NUM_SPECIES
        size = NUM_SPECIES if watched else 0
        self.shortest = torch.rand(size, size, generator=generator, dtype=torch.float64) + 0.5
        self.shortest[:1, :1] = 0.0  # a pair of elements that is not known
        self.gradients = torch.randn(most, 3, generator=generator, dtype=torch.float64)

    def operands(self, device: str = "cpu") -> tuple[Tensor, list[Tensor], Tensor]:
        """Return those of `edges_within`, but for r_cut."""
        lists = [self.offsets, self.atoms, self.nodes, self.node_atoms, self.species]
        return (
            self.positions.to(device),
            [x.to(device) for x in lists],
            self.shortest.to(device),
        )

    def compute(self, device: str = "cpu", r_cut: float = R_CUT) -> list[Tensor]:
        """Return edges, what is closest, and sums over the right edges.

        These are forces, the virial, and virials of atoms, in two shares.
        """
        ops = torch.ops.ictp
        index, vectors, offsets, closest = ops.edges_within(*self.operands(device), r_cut)
        num_edges = int(offsets[-1])
        found = [index[:, :num_edges], vectors[:num_edges], offsets, closest]
        index, vectors, offsets = (x.to(device) for x in self.expected(r_cut)[:3])
        operands = self.gradients[: len(vectors)].to(device), vectors, index[1], offsets
        sums = ops.edge_sums(*operands, self.num_nodes)
        virials = [ops.edge_virials(*operands, self.num_nodes, share) for share in (0.5, 0.0)]
        return [*found, *sums, *virials]

    def expected(self, r_cut: float = R_CUT) -> list[Tensor]:
        """Return the same, by comparing everything with everything."""
        center = torch.repeat_interleave(torch.arange(self.num_local), self.counts)
        neighbor = self.nodes.long()
        vectors = self.positions[self.atoms.long()] - self.positions[self.node_atoms[center].long()]
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        near = lengths < r_cut
        center, neighbor, vectors = center[near], neighbor[near], vectors[near]
        closest = torch.full((1,), torch.inf, dtype=torch.float64)
        if len(self.shortest) and len(center):
            shortest = self.shortest[self.species[center], self.species[neighbor]]
            ratios = torch.where(shortest > 0.0, (lengths[near] / shortest).square(), torch.inf)
            closest = ratios.min().view(1)
        offsets = torch.tensor([int((center < n).sum()) for n in range(self.num_local + 1)])
        g = self.gradients[: len(center)]
        of_center = torch.nn.functional.one_hot(center, self.num_nodes).double().T
        of_neighbor = torch.nn.functional.one_hot(neighbor, self.num_nodes).double().T
        w = -torch.einsum("ei,ej->eij", vectors, g).reshape(-1, 9)
        virials = [share * of_center @ w + (1 - share) * of_neighbor @ w for share in (0.5, 0.0)]
        forces = (of_center - of_neighbor) @ g
        index = torch.stack([center, neighbor])
        return [index, vectors, offsets, closest, forces, w.sum(0).view(3, 3), *virials]


def assert_same_graph(found: list[Tensor], expected: list[Tensor]) -> None:
    """Compare what has no rounding exactly, the rest to that of sums in another order."""
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x.cpu(), y, rtol=1e-12, atol=1e-11)
