# SPDX-License-Identifier: MIT
"""The blocks of a message-passing layer: channel mixing and interaction.

Features are lists with one tensor (num_nodes, 2*rank+1, num_channels) per irrep.

Source: arXiv:2405.14253, section 4; spec section 5.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyictp.config.load import ModelConfig
from pyictp.model import kernels
from pyictp.model.convolution import Convolution
from pyictp.model.mixing import SpeciesMixing
from pyictp.model.products import Irrep
from pyictp.model.radial import RadialNetwork, ScaledLinear


class IrrepLinear(nn.Module):
    """Mix channels, one matrix per irrep: out_l = W_l x_l / sqrt(fan_in)."""

    def __init__(self, num_in: Sequence[int], num_out: int, factor: float = 1.0) -> None:
        """Draw one matrix (num_out, num_in[i]) per irrep; results are multiplied by `factor`."""
        super().__init__()
        self.maps = nn.ModuleList(ScaledLinear(n, num_out, factor) for n in num_in)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return one (N, d, num_out) tensor per irrep of features (N, d, num_in)."""
        return [linear(features[i]) for i, linear in enumerate(self.maps)]


class Unchanged(nn.Module):
    """In the place of an `IrrepLinear` that another part has taken over."""

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return the features."""
        return features


class SpeciesLinear(nn.Module):
    """Mix the channels of one irrep by the matrix of each node's species; weight (V, S, U)."""

    def __init__(self, num_in: int, num_species: int, num_out: int) -> None:
        """Draw normal weights, scaled at run time by 1/sqrt(V*S)."""
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_in, num_species, num_out))
        self.scale = (num_in * num_species) ** -0.5
        self.mixing = SpeciesMixing()

    def forward(self, x: Tensor, species: Tensor) -> Tensor:
        """Return (N, d, U) of x (N, d, V) and species (N,)."""
        return self.mixing(x, self.weight.transpose(0, 1) * self.scale, species)


class Interaction(nn.Module):
    """Node features -> A: mix channels, exchange ghosts, convolve, mix channels and paths.

    What happens in between depends on the kind of edges, and the model has it done: `radial` makes
    the radial functions of them and `convolution` the messages.
    """

    def __init__(
        self,
        config: ModelConfig,
        irreps_in: list[Irrep],
        first: bool,
        edge_channels: int | None = None,
    ) -> None:
        """Build the radial network and the maps.

        Args:
            config: of the model.
            irreps_in: of the features.
            first: in the first layer ghosts' features are known.
            edge_channels: that neighbors see; None: those of the features.
        """
        super().__init__()
        channels = config.num_channels if edge_channels is None else edge_channels
        self.needs_exchange = not first
        self.num_channels = channels
        self.num_components = sum(irrep.dim for irrep in irreps_in)
        self.linear_in = IrrepLinear([config.num_channels] * len(irreps_in), channels)
        self.convolution = Convolution(irreps_in, config.l_max_edge, config.odd_products)
        self.irreps = self.convolution.irreps
        num_paths = self.convolution.num_paths
        self.radial = RadialNetwork(
            [config.num_radial, *config.radial_hidden, sum(num_paths) * channels]
        )
        self.linear_out = IrrepLinear(
            [n * channels for n in num_paths],
            config.product_channels,
            factor=1.0 / (config.avg_num_neighbors or 1.0),
        )

    def send(self, features: list[Tensor], num_nodes: int) -> Tensor:
        """Return what neighbors see, (rows, D, C), of features (rows, d, C) per irrep."""
        packed = torch.cat(self.linear_in(features), dim=1)
        if self.needs_exchange:
            packed = kernels.exchange(packed.flatten(1), num_nodes).view(
                num_nodes, self.num_components, self.num_channels
            )
        return packed

    def receive(self, messages: list[Tensor]) -> list[Tensor]:
        """Return A, one (N, d, C') tensor per irrep, of the messages (N, d, paths*C)."""
        return self.linear_out(messages)
