# SPDX-License-Identifier: MIT
"""The repulsion of nuclei below the distances that a model was trained on.

Closer than any such pair of atoms in the training data a network extrapolates polynomials, and
often falls by thousands of eV. So it is given another length there: with d a little below the
shortest distance of the pair in the training data (`core_distances`) and w = 0.2 A,

    r' = d - w (x - x^3 + x^4/2),   x = (d - r)/w   for d - w < r < d,   r' = d - w/2 below,

in the same direction, which is r with two derivatives at d and stands still from d - w on. What
rises from d inwards is the potential of Ziegler, Biersack and Littmark, V(r) S((r/d - 0.7)/0.3),
with the switch S of `zbl`. From d on nothing changes: training does not know of it.

An inner cutoff with a repulsion of the core below is the custom of the atomic cluster expansion
(Bochkarev et al., Phys. Rev. Materials 6, 013804 (2022)), where basis functions go to zero there.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from pyictp.model.zbl import ScreenedNuclei, ZBLRepulsion, switch

WIDTH = 0.2  # w [A]
WHOLE = 0.7  # of d: up to there the repulsion is whole


class CoreRepulsion(ScreenedNuclei):
    """Edges as the network gets them, and energies of atoms: half the sum over their edges."""

    distances: Tensor
    width: Final[float]
    whole: Final[float]

    def __init__(
        self, elements: Sequence[str], distances: Tensor, zbl: ZBLRepulsion | None = None
    ) -> None:
        """Tabulate the constants of every pair of elements.

        Args:
            elements: species order.
            distances: d, (S, S) symmetric [A]; 0 for a pair that nothing is done to.
            zbl: the repulsion that the model has anyway; what it lacks of V is added.
        """
        super().__init__(elements)
        self.register_buffer("distances", distances.double().flatten(), persistent=False)  # (S*S,)
        self.width, self.whole = WIDTH, WHOLE
        self.d_max = float(distances.max())
        self.zbl = zbl

    def forward(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> tuple[Tensor, Tensor]:
        """Return edge vectors (E, 3) [A] and energies (num_local,) float64 [eV].

        Arguments as in `ICTPModel.forward`.
        """
        energies = torch.zeros(num_local, dtype=torch.float64, device=species.device)
        # nearly always there is no such edge
        fixed = edge_vectors.detach()
        squares = torch.mv(fixed * fixed, fixed.new_ones(3))  # sum(1) takes five times as long
        near = torch.nonzero(squares < self.d_max * self.d_max).squeeze(1)
        pair = self.pairs(species, edge_index, near)
        limits = self.distances.index_select(0, pair)
        inside = torch.nonzero(squares.index_select(0, near) < limits * limits).squeeze(1)
        if inside.numel() == 0:
            return edge_vectors, energies
        near, pair = near.index_select(0, inside), pair.index_select(0, inside)
        vectors = edge_vectors.index_select(0, near).to(torch.float64)
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        growth = self.limited(lengths, pair) / lengths - 1.0
        change = (growth.unsqueeze(1) * vectors).to(edge_vectors.dtype)
        center = edge_index[0].index_select(0, near)
        energies = energies.index_add(0, center, 0.5 * self.pair_energies(lengths, pair))
        return edge_vectors.index_add(0, near, change), energies

    def pairs(self, species: Tensor, edge_index: Tensor, edges: Tensor) -> Tensor:
        """Return species of the center times the number of species, plus the neighbor's."""
        center = species.index_select(0, edge_index[0].index_select(0, edges))
        neighbor = species.index_select(0, edge_index[1].index_select(0, edges))
        return center * self.num_species + neighbor

    def limited(self, lengths: Tensor, pair: Tensor) -> Tensor:
        """Return r', (n,) [A]; arguments as in `screened`."""
        limits = self.distances.index_select(0, pair)
        x = ((limits - lengths) / self.width).clamp(0.0, 1.0)
        return torch.where(lengths < limits, limits - self.width * (x - x**3 + 0.5 * x**4), lengths)

    def pair_energies(self, lengths: Tensor, pair: Tensor) -> Tensor:
        """Return V(r) S, (n,) [eV], without what `zbl` has; arguments as in `screened`."""
        u = lengths / self.distances.index_select(0, pair)
        part = switch((u - self.whole) / (1.0 - self.whole))
        if self.zbl is not None:
            part = part * (1.0 - self.zbl.switched(lengths, pair))
        return self.screened(lengths, pair) * part
