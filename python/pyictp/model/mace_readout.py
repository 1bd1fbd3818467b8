# SPDX-License-Identifier: MIT
"""The last readout of models of MACE that has biases.

Source: what mace-torch 0.3.16 computes.
"""

from collections.abc import Sequence
from itertools import pairwise

from pyictp.model.radial import MLP, ShiftedLinear


class BiasedMLP(MLP):
    """Multilayer perceptron with biases in all layers but the first."""

    def __init__(self, sizes: Sequence[int]) -> None:
        """Draw normal weights for layers sizes[0] -> sizes[1] -> ...."""
        super().__init__(sizes[:2])
        self.layers.extend(ShiftedLinear(a, b) for a, b in pairwise(sizes[1:]))
