# SPDX-License-Identifier: MIT
"""Linear maps of the last axis of features: channels are mixed."""

import torch
from torch import Tensor, nn


class Mixing(nn.Module):
    """By one matrix."""

    def forward(self, x: Tensor, matrix: Tensor) -> Tensor:
        """Return (..., num_out) of x (..., num_in) and a matrix (num_in, num_out)."""
        return torch.matmul(x, matrix)


class SpeciesMixing(nn.Module):
    """By the matrix of each node's species."""

    def __init__(self) -> None:
        """Have no parameters: matrices are operands."""
        super().__init__()
        self.mixing = Mixing()

    def forward(self, x: Tensor, matrices: Tensor, species: Tensor) -> Tensor:
        """Return (N, d, U) of x (N, d, V), matrices (S, V, U) and species (N,)."""
        if matrices.size(0) > 8:  # of many elements few are there: only their matrices are of use
            present, species = torch.unique(species, return_inverse=True)
            matrices = matrices.index_select(0, present)
        num_species, num_in, num_out = matrices.shape
        mapped = self.mixing(x, matrices.transpose(0, 1).reshape(num_in, num_species * num_out))
        mapped = mapped.view(x.size(0), x.size(1), num_species, num_out)
        index = species.view(-1, 1, 1, 1).expand(-1, x.size(1), 1, num_out)
        return mapped.gather(2, index).squeeze(2)
