# SPDX-License-Identifier: MIT
"""The last readout of models of MACE that has biases.

Source: what mace-torch 0.3.16 computes.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pyictp.model.radial import MLP, ScaledLinear


class BiasedLinear(ScaledLinear):
    """x -> W x / sqrt(fan_in) + c."""

    def __init__(self, num_in: int, num_out: int) -> None:
        """Draw normal weights; no bias at first."""
        super().__init__(num_in, num_out)
        self.bias = nn.Parameter(torch.zeros(num_out))

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., num_out) of x (..., num_in)."""
        return self.mixing(x, self.weight.t() * self.scale) + self.bias


class BiasedMLP(MLP):
    """Multilayer perceptron with biases in all layers but the first."""

    def __init__(self, sizes: Sequence[int]) -> None:
        """Draw normal weights for layers sizes[0] -> sizes[1] -> ...."""
        super().__init__(sizes[:2])
        self.layers.extend(BiasedLinear(a, b) for a, b in pairwise(sizes[1:]))
