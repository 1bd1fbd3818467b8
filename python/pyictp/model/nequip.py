# SPDX-License-Identifier: MIT
"""Models of NequIP's kind: convolution, linear maps and gates, no product basis; `model.nequip`.

    m_i,l3   = sum_j R_l1l2l3(r_ij) (U_l1 h_j,l1 (x) Y_l2(n_ij))_l3     all paths side by side
    h_i,l   <- W_l m_i,l + S_l h_i,l
    h_i,0   <- a s(a),  h_i,l <- b_l s(b_l) h_i,l                       h_i,0 = (a, b_1, b_2, ...)
    e_i      = w . h_i,0 after the last layer

Odd products (with a Levi-Civita tensor) are among the paths, and features of either parity are
added: such a model tells a structure from its mirror image. Every rank has a number of channels of
its own, so there is one convolution for each rank of the neighbors' features.

Source: Batzner et al., Nat. Commun. 13, 2453 (2022); what sevenn 0.13.0 computes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyictp.config.load import ModelConfig
from pyictp.config.nequip import NequipConfig
from pyictp.model import kernels
from pyictp.model.convolution import Convolution, TableConvolution
from pyictp.model.edges import EmbeddedStage, VectorStage
from pyictp.model.ictp import ICTPModel
from pyictp.model.layers import SpeciesLinear
from pyictp.model.nequip_radial import (
    NequipEmbedding,
    RankNetwork,
    RankTables,
    VectorHarmonicsStage,
)
from pyictp.model.products import Irrep
from pyictp.model.radial import RadialTable, ScaledLinear, ScaledSiLU, ShiftedLinear


class Gate(nn.Module):
    """Scalars and what multiplies tensors go through an activation."""

    def __init__(self, channels: Sequence[int]) -> None:
        """Take the channels of the ranks 0, 1, ...; the scalars have those of all together."""
        super().__init__()
        self.activation = ScaledSiLU()
        self.channels: list[int] = list(channels)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return one (N, d, C_l) tensor per rank; scalars come in as (N, 1, sum of C_l)."""
        parts = torch.split(self.activation(features[0]), self.channels, dim=2)
        gated = [parts[0]]
        for rank in range(1, len(features)):
            gated.append(features[rank] * parts[rank])
        return gated


class NequipLayer(nn.Module):
    """Linear maps, convolutions, skip connection and gate."""

    def __init__(
        self, config: ModelConfig, nequip: NequipConfig, channels_in: Sequence[int], index: int
    ) -> None:
        """Build layer `index`; channels are those of the ranks 0, 1, ..."""
        super().__init__()
        channels = nequip.channels[index]
        self.needs_exchange = index > 0  # before the first layer ghosts' features are known
        self.dims: list[int] = [2 * rank + 1 for rank in range(len(channels_in))]
        self.channels_in: list[int] = list(channels_in)
        linear = ShiftedLinear if nequip.biases else ScaledLinear
        kinds = [linear, *[ScaledLinear] * len(channels_in)]
        self.linear_in = nn.ModuleList(
            kind(n, n) for kind, n in zip(kinds, channels_in, strict=False)
        )
        l_max = len(channels) - 1
        convolutions = [
            Convolution([Irrep(rank)], config.l_max_edge, odd=True, l_max=l_max)
            for rank in range(len(channels_in))
        ]
        # of all paths: ranks of features, harmonics and result; what their coupling is divided by
        self.paths: list[tuple[int, int, int]] = [
            (rank, path.y, c.irreps[path.z].rank)
            for rank, c in enumerate(convolutions)
            for path in c.paths
        ]
        self.divisors: list[float] = [
            c.num_paths[path.z] ** 0.5 for c in convolutions for path in c.paths
        ]
        widths = [len(c.paths) * n for c, n in zip(convolutions, channels_in, strict=True)]
        self.radial: nn.Module = RankNetwork([config.num_radial, *config.radial_hidden], widths)
        self.convolutions = nn.ModuleList(convolutions)
        # of all messages, one after the other: those of each rank, and how many channels they have
        made = [
            (irrep.rank, num_paths * n)
            for c, n in zip(convolutions, channels_in, strict=True)
            for irrep, num_paths in zip(c.irreps, c.num_paths, strict=True)
        ]
        self.of_rank: list[list[int]] = [
            [i for i, (rank, _) in enumerate(made) if rank == wanted] for wanted in range(l_max + 1)
        ]
        num_in = [sum(made[i][1] for i in of_rank) for of_rank in self.of_rank]
        num_out = [sum(channels), *channels[1:]]
        kinds = [linear, *[ScaledLinear] * l_max]
        self.linear_out = nn.ModuleList(
            kind(a, b, 1.0 / (config.avg_num_neighbors or 1.0))
            for kind, a, b in zip(kinds, num_in, num_out, strict=True)
        )
        both = list(zip(channels_in, num_out, strict=False))
        species = len(config.elements)
        self.skip = nn.ModuleList(
            () if nequip.skip_by_species else (ScaledLinear(a, b) for a, b in both)
        )
        self.species_skip = nn.ModuleList(
            (SpeciesLinear(a, species, b) for a, b in both) if nequip.skip_by_species else ()
        )
        self.gate = Gate(channels)

    def send(self, features: list[Tensor], num_nodes: int) -> list[Tensor]:
        """Return what neighbors see, (rows, d, C_l) per rank, of features (rows, d, C_l)."""
        sent = [linear(features[i]) for i, linear in enumerate(self.linear_in)]
        if self.needs_exchange:
            packed = torch.cat([x.flatten(1) for x in sent], dim=1)
            sizes = [d * n for d, n in zip(self.dims, self.channels_in)]  # noqa: B905 - TorchScript
            pieces = torch.split(kernels.exchange(packed, num_nodes), sizes, dim=1)
            sent = [
                piece.reshape(num_nodes, self.dims[i], self.channels_in[i])
                for i, piece in enumerate(pieces)
            ]
        return sent

    def forward(self, own: list[Tensor], messages: list[Tensor], species: Tensor) -> list[Tensor]:
        """Return the features of the local nodes, (N, d, C_l) per rank.

        Args:
            own: (N, d, C_l) before this layer.
            messages: (N, d, paths*C), what the convolutions return.
            species: (N,) of the local nodes.
        """
        updated: list[Tensor] = []
        for rank, linear in enumerate(self.linear_out):
            updated.append(linear(torch.cat([messages[i] for i in self.of_rank[rank]], dim=2)))
        for rank, skip in enumerate(self.skip):
            updated[rank] = updated[rank] + skip(own[rank])
        for rank, skip in enumerate(self.species_skip):
            updated[rank] = updated[rank] + skip(own[rank], species)
        return self.gate(updated)


class NequipModel(ICTPModel):
    """A model with `config.nequip`."""

    def __init__(self, config: ModelConfig) -> None:
        """Draw a model from torch's current random state; unit scale, no shift."""
        nequip = config.nequip
        if nequip is None:
            raise ValueError("model.nequip is missing: what has none is an ICTPModel")
        super().__init__(config)
        embedding = NequipEmbedding(self.edges.embedding, nequip)
        stage = EmbeddedStage if nequip.normalized else VectorHarmonicsStage
        self.edges = stage(embedding, self.edges.harmonics)
        self.readout = ScaledLinear(nequip.channels[-1][0], 1)

    def make_layers(self, config: ModelConfig) -> list[nn.Module]:
        """Return the layers."""
        nequip = config.nequip
        assert nequip is not None
        channels = [(config.num_channels,), *nequip.channels]
        return [NequipLayer(config, nequip, channels[i], i) for i in range(config.num_layers)]

    def network(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> tuple[Tensor, Tensor]:
        """Return energies (N,) [eV] without repulsions, and the scalars (N, C) of the readout."""
        edges = self.edges(species, edge_index, edge_vectors, num_local, self.node_embedding.dtype)
        local_species = species[:num_local]
        element_scalars = self.node_embedding.t() * self.node_embedding.size(1) ** -0.5
        # before the first layer features depend on the species alone
        features = [element_scalars.unsqueeze(1)]  # (S, 1, C)
        own = [element_scalars.index_select(0, local_species).unsqueeze(1)]  # (N, 1, C)
        source = species.index_select(0, edges.neighbor)
        for layer in self.layers:
            # here, not in a method of a layer: the type of `edges` is that of the parts
            sent = layer.send(features, species.size(0))
            radial = layer.radial(edges)
            messages: list[Tensor] = []
            for rank, convolution in enumerate(layer.convolutions):
                messages += convolution(sent[rank], radial[rank], source, edges)
            own = layer(own, messages, local_species)
            features, source = own, edges.neighbor
        energies = self.readout(own[0]).view(num_local).to(torch.float64)
        return self.scaled(energies, local_species), own[0].squeeze(1)

    def interpolate_radial(self, r_min: float, num_intervals: int) -> None:
        """Do nothing: radial functions are evaluated for every edge, in training too."""

    def tabulate_ranks(self, tables: Sequence[Sequence[RadialTable]]) -> None:
        """Put a table in the place of the radial functions of each layer and rank."""
        kernels.use_operators(self, False)
        self.edges = VectorStage()
        for layer, of_layer in zip(self.layers, tables, strict=True):
            layer.radial = RankTables(of_layer).to(self.node_embedding.dtype)
            layer.convolutions = nn.ModuleList(
                TableConvolution(convolution, table.r_cut)
                for convolution, table in zip(layer.convolutions, of_layer, strict=True)
            )
        kernels.use_operators(self, self.operators)
