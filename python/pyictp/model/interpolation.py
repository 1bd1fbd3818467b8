# SPDX-License-Identifier: MIT
"""Radial functions in training: the networks at some hundred knots, interpolated for every edge.

A batch has thousands of edges, and what the radial networks yield depends on an edge's length
alone. Between knots at distance h the cubic f has the values of the network at both ends and
slopes from five points, f'_0 = (f_-2 - 8 f_-1 + 8 f_1 - f_2) / (12 h): continuous forces, and no
derivative of the network is needed. Trained models are evaluated and exported with the network.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

NUM_POINTS = 6  # that an edge takes: from two knots below its interval to two above
# Weights of f_-2, ..., f_3 as polynomials in t = 0...1 between f_0 and f_1; a row per power of t.
HERMITE = [  # f_0, h f'_0, f_1, h f'_1
    [1.0, 0.0, 0.0, 0.0],
    [0.0, 1.0, 0.0, 0.0],
    [-3.0, -2.0, 3.0, -1.0],
    [2.0, 1.0, -2.0, 1.0],
]
POINTS = [
    [0, 0, 1, 0, 0, 0],
    [1 / 12, -8 / 12, 0, 8 / 12, -1 / 12, 0],
    [0, 0, 0, 1, 0, 0],
    [0, 1 / 12, -8 / 12, 0, 8 / 12, -1 / 12],
]


class RadialInterpolation(nn.Module):
    """Knots at equal distances from the shortest edge of the data to the cutoff, and beyond."""

    embedding: Tensor
    coefficients: Tensor

    def __init__(
        self,
        embedding: Callable[[Tensor], Tensor],
        r_min: float,
        r_cut: float,
        num_intervals: int,
    ) -> None:
        """Take the embedding (n,) [A] -> (n, B) at the knots.

        Args:
            embedding: of the model.
            r_min: the shortest edge [A]; shorter ones get the values of this length.
            r_cut: cutoff radius [A].
            num_intervals: between the two.
        """
        super().__init__()
        self.r_min = r_min
        self.spacing = (r_cut - r_min) / num_intervals
        self.num_intervals = num_intervals
        knots = r_min + self.spacing * torch.arange(-2, num_intervals + 3, dtype=torch.float64)
        self.register_buffer("embedding", embedding(knots), persistent=False)
        matrix = torch.tensor(HERMITE, dtype=torch.float64) @ torch.tensor(
            POINTS, dtype=torch.float64
        )
        self.register_buffer("coefficients", matrix, persistent=False)

    def forward(self, edge_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return where edges of lengths (E,) [A] are: first knot (E,) and weights (E, 6)."""
        scaled = (edge_lengths - self.r_min) / self.spacing
        # no clamp of what is derived: at its bounds, the shortest edge, PyTorch 2.14 has 0 for 1
        rows = scaled.detach().floor().long().clamp(0, self.num_intervals - 1)
        t = (scaled - rows).unsqueeze(1)
        powers = torch.cat([torch.ones_like(t), t, t * t, t * t * t], dim=1)
        return rows, torch.matmul(powers, self.coefficients.to(t.dtype))
