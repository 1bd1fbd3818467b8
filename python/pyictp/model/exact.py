# SPDX-License-Identifier: MIT
"""Buffers that stay in float64 whatever the dtype of the module."""

from collections.abc import Callable
from typing import Self

from torch import Tensor, nn


class ExactModule(nn.Module):
    """A module whose buffers move between devices but keep float64; rounded where used.

    Coupling tables stay exact when a model goes to float32 and back; scale and shift keep total
    energies, which can be large, apart by small differences.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        exact = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, value in exact.items():
            moved = self._buffers[name]
            if value is not None and moved is not None and value.is_floating_point():
                self._buffers[name] = value.to(device=moved.device)
        return self
