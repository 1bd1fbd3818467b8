# SPDX-License-Identifier: MIT
"""Muon: momentum whose every weight matrix is made orthogonal before the step."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

QUINTIC = (3.4445, -4.7750, 2.0315)  # of the Newton-Schulz iteration; steepest at zero
NUM_ITERATIONS = 5
UPDATE_RMS = 0.2  # of an element in one step, in learning rates: what Adam's steps are like
MIN_SIZE = 8  # a matrix with fewer rows or columns is left to Adam


def as_matrices(parameter: Tensor) -> Tensor | None:
    """Return a view (n, rows, columns), rows <= columns, of the matrices that a parameter holds.

    Two axes are one matrix. Three axes are one matrix per species, which is the middle axis of the
    skip connection's weights (V, S, U). None for what is no matrix: path weights (S, C, P), whose
    channels never mix, and matrices with less than MIN_SIZE rows or columns.
    """
    if parameter.ndim == 2:
        matrices = parameter.unsqueeze(0)
    elif parameter.ndim == 3 and parameter.shape[0] == parameter.shape[2]:
        matrices = parameter.transpose(0, 1)
    else:
        return None
    if min(matrices.shape[1:]) < MIN_SIZE:
        return None
    return matrices if matrices.shape[1] <= matrices.shape[2] else matrices.transpose(1, 2)


def _stack(parameter: Tensor) -> Tensor:
    matrices = as_matrices(parameter)
    assert matrices is not None, "no matrix: for another optimizer"
    return matrices


def orthogonalized(matrices: Tensor) -> Tensor:
    """Return U V^T, about, of matrices (n, rows, columns) = U S V^T with rows <= columns.

    Singular values come out between 0.7 and 1.2, which is as good for an optimiser and five times
    cheaper than exact ones.
    """
    a, b, c = QUINTIC
    x = matrices / torch.linalg.matrix_norm(matrices, keepdim=True).clamp_min(1e-12)
    for _ in range(NUM_ITERATIONS):
        gram = torch.bmm(x, x.transpose(1, 2))
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


class Muon(torch.optim.Optimizer):
    """Matrices of one shape move together: a few batched products instead of many small ones.

    torch.optim.Muon takes one matrix at a time, and none of three axes: for the small matrices of
    a potential that was 11 to 18 ms of a step of 40.

    Source:
        K. Jordan et al., Muon (2024); step length as Liu et al., arXiv:2502.16982: 0.2 lr
        sqrt(max(rows, columns)) U V^T.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        """Take parameters that `as_matrices` knows; Nesterov's momentum, decoupled weight decay."""
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._stacks: dict[Any, list[nn.Parameter]] = defaultdict(list)
        for group in self.param_groups:
            for parameter in group["params"]:
                self._stacks[_stack(parameter).shape[1:]].append(parameter)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # noqa: ARG002 - as torch calls it
        """Do one step; parameters without a gradient count as if it were zero."""
        (group,) = self.param_groups
        for shape, parameters in self._stacks.items():
            gradients = torch.cat(
                [_stack(torch.zeros_like(p) if p.grad is None else p.grad) for p in parameters]
            )
            state = self.state[parameters[0]]  # of the whole stack
            if not state:
                state["momentum"] = torch.zeros_like(gradients)
            momentum = state["momentum"].lerp_(gradients, 1 - group["momentum"])
            update = orthogonalized(gradients.lerp_(momentum, group["momentum"]))
            decay = group["lr"] * group["weight_decay"]
            length = group["lr"] * UPDATE_RMS * math.sqrt(max(shape))
            start = 0
            for parameter in parameters:
                matrices = _stack(parameter)
                matrices.mul_(1 - decay).sub_(update[start : start + len(matrices)], alpha=length)
                start += len(matrices)
