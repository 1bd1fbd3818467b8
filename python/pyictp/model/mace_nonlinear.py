# SPDX-License-Identifier: MIT
"""The nonlinear interaction of models of MACE: gates before the product basis.

    h^_j,l  = U_l h_j,l                                 in the channels that neighbors see
    a_i,l   = W_l m_i,l / (alpha + beta d_i) + V_l h^_i,l        m the messages of the h^_j
    A_i,0   = Z_0 silu(s_i),  A_i,l = Z_l sigmoid(g_i,l) a_i,l   a_i,0 = (s_i, g_i,1, g_i,2, ...)

The skip connection has one matrix for all species. Radial functions and the density d_i are
networks of the radial functions and of both elements, see `ElementNetwork`.

Source: what mace-torch 0.3.16 computes.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from pyictp.config.load import ModelConfig
from pyictp.model.ictp import Layer
from pyictp.model.layers import Interaction, IrrepLinear
from pyictp.model.mace_density import Density
from pyictp.model.pair_radial import CutFunctions, PairFunctions
from pyictp.model.products import Irrep
from pyictp.model.radial import ScaledLinear, ScaledSiLU


class NormalisedLayer(nn.Module):
    """x -> W silu(norm(x)) + c, the norm over the channels with a factor and a shift of each."""

    def __init__(self, num_in: int, num_out: int) -> None:
        """Draw a layer as PyTorch does."""
        super().__init__()
        self.norm = nn.LayerNorm(num_in)
        self.linear = nn.Linear(num_in, num_out)

    def forward(self, x: Tensor) -> Tensor:
        """Return (E, num_out) of x (E, num_in)."""
        return self.linear(nn.functional.silu(self.norm(x)))


class ElementNetwork(PairFunctions):
    """Functions of an embedding b and the elements of both nodes.

    x_1 = W b + c + u[center] + v[neighbor], then normalised layers.
    """

    def __init__(self, sizes: list[int], num_species: int) -> None:
        """Draw layers sizes[0] -> sizes[1] -> ... as PyTorch does."""
        super().__init__()
        self.num_species = num_species
        self.linear = nn.Linear(sizes[0], sizes[1])
        self.center = nn.Parameter(torch.randn(num_species, sizes[1]))
        self.neighbor = nn.Parameter(torch.randn(num_species, sizes[1]))
        self.layers = nn.ModuleList(NormalisedLayer(a, b) for a, b in pairwise(sizes[1:]))

    def of_pairs(self, embedding: Tensor, pair: Tensor) -> Tensor:
        """Return (E, sizes[-1]) of an embedding (E, sizes[0]) and pairs (E,)."""
        both = self.center.unsqueeze(1) + self.neighbor  # (S, S, sizes[1])
        x = self.linear(embedding) + both.flatten(0, 1).index_select(0, pair)
        for layer in self.layers:
            x = layer(x)
        return x


class ElementDensity(PairFunctions):
    """Contribution of an edge to the density: tanh(g^2), g a network."""

    def __init__(self, network: ElementNetwork) -> None:
        """Take a network of one function."""
        super().__init__()
        self.network = network

    def of_pairs(self, embedding: Tensor, pair: Tensor) -> Tensor:
        """Return (E, 1) of an embedding (E, B) and pairs (E,)."""
        return torch.tanh(self.network.of_pairs(embedding, pair).square())


class SharedSkip(ScaledLinear):
    """A skip connection whose matrix is the same for all species."""

    def __init__(self, num_channels: int) -> None:
        """Draw normal weights."""
        super().__init__(num_channels, num_channels)

    def forward(self, x: Tensor, species: Tensor) -> Tensor:  # noqa: ARG002 - as of others
        """Return (N, d, C) of x (N, d, C)."""
        return self.mixing(x, self.weight.t() * self.scale)


class NonlinearInteraction(Interaction):
    """An interaction that yields the gates of all ranks beside the scalars."""

    def __init__(self, config: ModelConfig, irreps_in: list[Irrep], index: int) -> None:
        """Build that of layer `index`."""
        mace = config.mace
        assert mace is not None
        super().__init__(config, irreps_in, index == 0, mace.edge_channels_of(index))
        num_paths, num_species = self.convolution.num_paths, len(config.elements)
        self.gate_channels = [config.product_channels] * len(self.irreps)
        self.linear_out.maps[0] = ScaledLinear(
            num_paths[0] * self.num_channels,
            sum(self.gate_channels),
            factor=1.0 / (config.avg_num_neighbors or 1.0),
        )
        radial = ElementNetwork(
            [config.num_radial, *config.radial_hidden, sum(num_paths) * self.num_channels],
            num_species,
        )
        self.radial = CutFunctions(radial) if mace.cutoff_last else radial


class NonlinearLayer(Layer):
    """A layer with a nonlinear interaction."""

    def __init__(self, config: ModelConfig, irreps_in: list[Irrep], index: int) -> None:
        """Build layer `index`."""
        super().__init__(config, irreps_in, index)
        mace, channels = config.mace, config.product_channels
        assert mace is not None
        network = ElementNetwork([config.num_radial, *mace.density_hidden, 1], len(config.elements))
        density = ElementDensity(network)
        self.density = Density(CutFunctions(density) if mace.cutoff_last else density)
        self.alpha = nn.Parameter(torch.tensor(1.0))
        self.beta = nn.Parameter(torch.tensor(0.0))
        kept = min(len(irreps_in), len(self.interaction.irreps))
        width = self.interaction.num_channels
        self.residual = nn.ModuleList(
            ScaledLinear(width, sum(self.interaction.gate_channels) if rank == 0 else channels)
            for rank in range(kept)
        )
        self.activation = ScaledSiLU()
        self.gate_channels: list[int] = self.interaction.gate_channels
        self.mixing = IrrepLinear(self.gate_channels, channels)

    def make_interaction(
        self, config: ModelConfig, irreps_in: list[Irrep], index: int
    ) -> Interaction:
        """Return the interaction of layer `index`."""
        return NonlinearInteraction(config, irreps_in, index)

    def make_skip(self, num_channels: int, num_species: int) -> nn.Module:  # noqa: ARG002
        """Return the skip connection of an irrep."""
        return SharedSkip(num_channels)

    def divided(self, a: list[Tensor], density: Tensor) -> list[Tensor]:
        """Return a, (N, d, C') per irrep, divided by alpha + beta d (N, 1, 1)."""
        divisor = self.alpha + self.beta * density
        return [part / divisor for part in a]

    def forward(self, own: list[Tensor], a: list[Tensor], species: Tensor) -> list[Tensor]:
        """Return the features of the local nodes, (N, d, C) per irrep; arguments as of `Layer`."""
        sent = self.interaction.linear_in(own)
        for rank, residual in enumerate(self.residual):
            a[rank] = a[rank] + residual(sent[rank])
        parts = torch.split(a[0], self.gate_channels, dim=2)
        gated = [self.activation(parts[0])]
        for rank in range(1, len(a)):
            gated.append(torch.sigmoid(parts[rank]) * a[rank])
        updated = self.linear(self.product(self.mixing(gated), species))
        for i, skip in enumerate(self.skip):
            target = self.skip_target[i]
            updated[target] = updated[target] + skip(own[self.skip_source[i]], species)
        return updated
