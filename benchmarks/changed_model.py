#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`ictp` with a model that is changed in one place: what an ablation tries and no option offers.

    python benchmarks/changed_model.py chebyshev train configs/acac.yaml training.max_epochs=25

What comes of it can be trained and judged by its log, not exported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from pyictp.cli.main import main
from pyictp.config.load import ModelConfig
from pyictp.model import layers, radial
from pyictp.model.edges import EmbeddedEdges
from pyictp.model.ictp import ICTPModel
from torch import Tensor, nn


def chebyshev() -> None:
    """Put sqrt(2) T_n(2r/r_cut - 1) f(r/r_cut) in the place of the Bessel functions."""

    def forward(self: radial.RadialEmbedding, edge_lengths: Tensor) -> Tensor:
        u = edge_lengths.unsqueeze(-1) / self.r_cut
        x = 2.0 * u - 1.0
        values = [torch.ones_like(x), x]
        while len(values) < self.frequencies.numel():
            values.append(2.0 * x * values[-1] - values[-2])
        cutoff = radial.polynomial_cutoff(u, self.cutoff_power)
        return 2**0.5 * torch.cat(values, -1) * cutoff

    radial.RadialEmbedding.forward = forward


def normalised() -> None:
    """Divide what enters a later layer by the root mean square of each rank, atom by atom."""
    build, send = layers.Interaction.__init__, layers.Interaction.send

    def init(self: Any, config: ModelConfig, irreps_in: list, first: bool) -> None:
        build(self, config, irreps_in, first)
        self.gains = None if first else nn.Parameter(torch.ones(len(irreps_in)))

    def normalised_send(self: Any, features: list[Tensor], num_nodes: int) -> Tensor:
        if self.gains is not None:
            features = [
                gain * x * (x.square().mean(dim=(1, 2), keepdim=True) + 1e-3).rsqrt()
                for gain, x in zip(self.gains, features, strict=True)
            ]
        return send(self, features, num_nodes)

    layers.Interaction.__init__, layers.Interaction.send = init, normalised_send


def pairs() -> None:
    """Mix the radial functions of an edge by a matrix of its pair of elements (radial_knots=null).

    Each network then sees them mixed, so every pair has radial functions of its own.
    """
    build = ICTPModel.__init__

    def init(self: Any, config: ModelConfig) -> None:
        build(self, config)
        self.edges = PairStage(self.edges, len(config.elements), config.num_radial)

    ICTPModel.__init__ = init


class PairStage(nn.Module):
    """The edges of a model, their embeddings mixed by the pair of elements."""

    def __init__(self, stage: nn.Module, num_species: int, size: int) -> None:
        """Draw matrices near one for every pair."""
        super().__init__()
        self.stage, self.num_species = stage, num_species
        noise = 0.5 * torch.randn(num_species**2, size, size) / size**0.5
        self.pair_mixing = nn.Parameter(torch.eye(size) + noise)

    def forward(self, species: Tensor, edge_index: Tensor, *others: Any) -> EmbeddedEdges:
        """Return the edges."""
        found = self.stage(species, edge_index, *others)
        center, neighbor = species[edge_index]
        pair = (center * self.num_species + neighbor).view(-1, 1, 1)
        # all pairs at once and then the edge's own: cheaper than a matrix for each edge
        every = torch.einsum("eb,pcb->epc", found.embedding, self.pair_mixing)
        own = every.gather(1, pair.expand(-1, 1, every.size(2))).squeeze(1)
        return found._replace(embedding=own)


CHANGES: dict[str, Callable[[], None]] = {
    change.__name__: change for change in (chebyshev, normalised, pairs)
}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in CHANGES:
        sys.exit(f"expected one of {', '.join(CHANGES)}, then what `ictp` takes")
    CHANGES[sys.argv[1]]()
    sys.exit(main(sys.argv[2:]))
