# SPDX-License-Identifier: MIT
"""Models of NequIP's kind: convolution, linear maps and gates, no product basis; `model.nequip`.

    m_i,l3   = sum_j R_l1l2l3(r_ij) (U_l1 h_j,l1 (x) Y_l2(n_ij))_l3     all paths side by side
    h_i,l   <- W_l m_i,l + S_l h_i,l
    h_i,0   <- a s(a),  h_i,l <- b_l s(b_l) h_i,l                       h_i,0 = (a, b_1, b_2, ...)
    h_i,0   <- tanh(h_i,0)                                              of pseudo scalars
    e_i      = w . h_i,0 after the last layer

Odd products (with a Levi-Civita tensor) are among the paths. Features of either parity are added,
and such a model tells a structure from its mirror image; or, with `pseudo_channels`, they are kept
apart. Every kind of feature has a number of channels of its own, so there is one convolution for
each of those of the neighbors.

Source: Batzner et al., Nat. Commun. 13, 2453 (2022); what sevenn 0.13.0 computes.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pyictp.config.load import ModelConfig
from pyictp.config.nequip import NequipConfig
from pyictp.errors import UserError
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
from pyictp.model.products import Irrep, product_paths
from pyictp.model.radial import RadialTable, ScaledLinear, ScaledSiLU, ShiftedLinear


def features_before(config: ModelConfig, nequip: NequipConfig, index: int) -> dict[Irrep, int]:
    """Return the channels of each kind of feature before layer `index`, the scalars first."""
    if index == 0:
        return {Irrep(0): config.num_channels}
    pseudo = nequip.pseudo_channels[index - 1] if nequip.pseudo_channels else ()
    natural = {Irrep(rank): n for rank, n in enumerate(nequip.channels[index - 1])}
    return natural | {Irrep(rank, True): n for rank, n in enumerate(pseudo) if n}


class Gate(nn.Module):
    """Scalars and what multiplies tensors go through an activation."""

    def __init__(self, features: Mapping[Irrep, int]) -> None:
        """Take the channels of each kind; to the scalars come those of all tensors."""
        super().__init__()
        self.activation = ScaledSiLU()
        self.is_tensor: list[bool] = [irrep.rank > 0 for irrep in features]
        kinds = features.items()
        self.channels: list[int] = [n for irrep, n in kinds if irrep.rank > 0 or not irrep.pseudo]

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return one (N, d, C_l) tensor per kind; scalars come in with the gates beside them."""
        parts = torch.split(self.activation(features[0]), self.channels, dim=2)
        gated, used = [parts[0]], 1
        for i in range(1, len(features)):
            if self.is_tensor[i]:
                gated.append(features[i] * parts[used])
                used += 1
            else:
                gated.append(torch.tanh(features[i]))
        return gated


class NequipLayer(nn.Module):
    """Linear maps, convolutions, skip connection and gate."""

    def __init__(self, config: ModelConfig, nequip: NequipConfig, index: int) -> None:
        """Build layer `index`."""
        super().__init__()
        before, after = (features_before(config, nequip, i) for i in (index, index + 1))
        self.before, self.after = list(before), list(after)
        self.needs_exchange = index > 0  # before the first layer ghosts' features are known
        made_of = _convolutions(config, nequip, self.before, self.after)
        convolutions = list(made_of.values())
        self.sources: list[int] = list(made_of)  # what neighbors see: not all reach a result
        self.dims: list[int] = [self.before[i].dim for i in self.sources]
        self.channels_in: list[int] = [before[self.before[i]] for i in self.sources]
        linear = ShiftedLinear if nequip.biases else ScaledLinear
        self.linear_in = nn.ModuleList(
            (ScaledLinear if i else linear)(n, n)
            for i, n in zip(self.sources, self.channels_in, strict=True)
        )
        # of all paths: source, rank of the harmonics, result; what their coupling is divided by
        targets = [[self._target(irrep) for irrep in c.irreps] for c in convolutions]
        self.paths: list[tuple[int, int, int]] = [
            (i, path.y, target[path.z])
            for i, (c, target) in enumerate(zip(convolutions, targets, strict=True))
            for path in c.paths
        ]
        self.divisors: list[float] = [
            c.num_paths[path.z] ** 0.5 for c in convolutions for path in c.paths
        ]
        widths = [len(c.paths) * n for c, n in zip(convolutions, self.channels_in, strict=True)]
        self.radial: nn.Module = RankNetwork([config.num_radial, *config.radial_hidden], widths)
        self.convolutions = nn.ModuleList(convolutions)
        # of all messages, one after the other: those of each result, and their channels
        made = [
            (target, num_paths * n)
            for c, of_c, n in zip(convolutions, targets, self.channels_in, strict=True)
            for target, num_paths in zip(of_c, c.num_paths, strict=True)
        ]
        self.messages: list[list[int]] = [
            [i for i, (target, _) in enumerate(made) if target == wanted]
            for wanted in range(len(after))
        ]
        if not all(self.messages):
            raise UserError(
                f"model.nequip: nothing reaches some of the features of layer {index + 1}"
            )
        num_in = [sum(made[i][1] for i in of_target) for of_target in self.messages]
        num_out = list(after.values())
        num_out[0] += sum(n for irrep, n in after.items() if irrep.rank > 0)
        factor = 1.0 / (config.avg_num_neighbors or 1.0)
        self.linear_out = nn.ModuleList(
            (ScaledLinear if i else linear)(a, b, factor)
            for i, (a, b) in enumerate(zip(num_in, num_out, strict=True))
        )
        self._add_skip(before, num_out, len(config.elements) if nequip.skip_by_species else 0)
        self.gate = Gate(after)

    def _add_skip(self, before: Mapping[Irrep, int], num_out: list[int], num_species: int) -> None:
        """Add the skip connections; num_species 0: the same for all species."""
        kept = [irrep for irrep in self.after if irrep in before]
        self.skip_source: list[int] = [self.before.index(irrep) for irrep in kept]
        self.skip_target: list[int] = [self.after.index(irrep) for irrep in kept]
        both = [
            (before[irrep], num_out[i]) for irrep, i in zip(kept, self.skip_target, strict=True)
        ]
        self.skip = nn.ModuleList(() if num_species else (ScaledLinear(a, b) for a, b in both))
        self.species_skip = nn.ModuleList(
            (SpeciesLinear(a, num_species, b) for a, b in both) if num_species else ()
        )

    def _target(self, irrep: Irrep) -> int:
        """Return which of the results messages belong to: without parity their rank says."""
        return self.after.index(irrep) if irrep in self.after else irrep.rank

    def send(self, features: list[Tensor], num_nodes: int) -> list[Tensor]:
        """Return what neighbors see, (rows, d, C_l) per source, of features (rows, d, C_l)."""
        sent = [linear(features[self.sources[i]]) for i, linear in enumerate(self.linear_in)]
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
        """Return the features of the local nodes, (N, d, C_l) per kind.

        Args:
            own: (N, d, C_l) before this layer.
            messages: (N, d, paths*C), what the convolutions return.
            species: (N,) of the local nodes.
        """
        updated: list[Tensor] = []
        for i, linear in enumerate(self.linear_out):
            updated.append(linear(torch.cat([messages[k] for k in self.messages[i]], dim=2)))
        for i, skip in enumerate(self.skip):
            target = self.skip_target[i]
            updated[target] = updated[target] + skip(own[self.skip_source[i]])
        for i, skip in enumerate(self.species_skip):
            target = self.skip_target[i]
            updated[target] = updated[target] + skip(own[self.skip_source[i]], species)
        return self.gate(updated)


def _convolutions(
    config: ModelConfig, nequip: NequipConfig, before: list[Irrep], after: list[Irrep]
) -> dict[int, Convolution]:
    """Return the convolution of each feature, by its number, that reaches a result."""
    l_max = max(irrep.rank for irrep in after)
    wanted = after if nequip.pseudo_channels else None
    harmonics, found = [Irrep(rank) for rank in range(config.l_max_edge + 1)], {}
    for i, irrep in enumerate(before):
        reached, _ = product_paths([irrep], harmonics, l_max, odd=True)
        if wanted is None or set(reached) & set(wanted):
            found[i] = Convolution([irrep], config.l_max_edge, True, l_max, wanted)
    return found


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
        return [NequipLayer(config, nequip, i) for i in range(config.num_layers)]

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
            for i, convolution in enumerate(layer.convolutions):
                messages += convolution(sent[i], radial[i], source, edges)
            own = layer(own, messages, local_species)
            features, source = own, edges.neighbor
        energies = self.readout(own[0]).view(num_local).to(torch.float64)
        return self.scaled(energies, local_species), own[0].squeeze(1)

    def interpolate_radial(self, r_min: float, num_intervals: int) -> None:
        """Do nothing: radial functions are evaluated for every edge, in training too."""

    def tabulate_ranks(self, tables: Sequence[Sequence[RadialTable]]) -> None:
        """Put a table in the place of the radial functions of each layer and source."""
        kernels.use_operators(self, False)
        self.edges = VectorStage()
        for layer, of_layer in zip(self.layers, tables, strict=True):
            layer.radial = RankTables(of_layer).to(self.node_embedding.dtype)
            layer.convolutions = nn.ModuleList(
                TableConvolution(convolution, table.r_cut)
                for convolution, table in zip(layer.convolutions, of_layer, strict=True)
            )
        kernels.use_operators(self, self.operators)
