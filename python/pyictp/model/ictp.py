# SPDX-License-Identifier: MIT
"""The ICTP model: from atom-pair vectors to atomic energies.

Source: Zaverkin et al., Higher-Rank Irreducible Cartesian Tensors for Equivariant Message Passing,
arXiv:2405.14253.
"""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from pyictp.config.load import ModelConfig
from pyictp.model import kernels
from pyictp.model.convolution import MixedConvolution, TableConvolution
from pyictp.model.core import CoreRepulsion
from pyictp.model.edges import EmbeddedStage, Harmonics, InterpolatedStage, VectorStage
from pyictp.model.exact import ExactModule
from pyictp.model.interpolation import RadialInterpolation
from pyictp.model.layers import Interaction, IrrepLinear, SpeciesLinear, Unchanged
from pyictp.model.product_basis import ProductBasis
from pyictp.model.products import Irrep
from pyictp.model.radial import (
    MLP,
    InterpolatedNetwork,
    RadialEmbedding,
    RadialTable,
    ScaledLinear,
)
from pyictp.model.zbl import ZBLRepulsion


class Layer(nn.Module):
    """Interaction, product basis, skip connection and readout."""

    def __init__(self, config: ModelConfig, irreps_in: list[Irrep], index: int) -> None:
        """Build layer `index`; the last one yields scalars only and has a non-linear readout."""
        super().__init__()
        channels, num_species = config.num_channels, len(config.elements)
        last = index == config.num_layers - 1
        self.interaction = self.make_interaction(config, irreps_in, index)
        # those of MACE have densities of neighbors that divide A, and maps of it for each species
        self.density: nn.Module | None = None
        self.maps = nn.ModuleList()
        self.product = ProductBasis(
            config, self.interaction.irreps, 0 if last else config.l_max_hidden
        )
        self.irreps = self.product.irreps
        self.linear = IrrepLinear([config.product_channels] * len(self.irreps), channels)
        kept = [irrep for irrep in self.irreps if irrep in irreps_in]
        self.skip_source: list[int] = [irreps_in.index(irrep) for irrep in kept]
        self.skip_target: list[int] = [self.irreps.index(irrep) for irrep in kept]
        self.skip = nn.ModuleList(self.make_skip(channels, num_species) for _ in kept)
        self.readout = (
            MLP([channels, *config.readout_hidden, 1]) if last else ScaledLinear(channels, 1)
        )

    def make_interaction(
        self, config: ModelConfig, irreps_in: list[Irrep], index: int
    ) -> Interaction:
        """Return the interaction of layer `index`."""
        return Interaction(config, irreps_in, first=index == 0)

    def make_skip(self, num_channels: int, num_species: int) -> nn.Module:
        """Return the skip connection of an irrep."""
        return SpeciesLinear(num_channels, num_species, num_channels)

    def divided(self, a: list[Tensor], density: Tensor) -> list[Tensor]:
        """Return A, (N, d, C') per irrep, divided by 1 + the density (N, 1, 1) of neighbors."""
        divisor = 1.0 + density
        return [part / divisor for part in a]

    def forward(self, own: list[Tensor], a: list[Tensor], species: Tensor) -> list[Tensor]:
        """Return the features of the local nodes, (N, d, C) per irrep; true scalars first.

        Args:
            own: (N, d, C) features of the local nodes before this layer.
            a: (N, d, C') what the interaction has made of their neighbors.
            species: (N,) of the local nodes.
        """
        for i, mapping in enumerate(self.maps):
            a[i] = mapping(a[i], species)
        updated = self.linear(self.product(a, species))
        for i, skip in enumerate(self.skip):
            target = self.skip_target[i]
            updated[target] = updated[target] + skip(own[self.skip_source[i]], species)
        return updated


class ICTPModel(ExactModule):
    """Irreducible Cartesian tensor potential: E_i = scale[species_i] * e_i + shift[species_i].

    With `config.zbl` plus half the ZBL repulsion of every edge; with `core` below the distances of
    the training data that of nuclei alone.

    Parameters follow `.to(dtype)`; scale, shift and e0 stay in float64.
    """

    scale: Tensor
    shift: Tensor
    e0: Tensor

    def __init__(self, config: ModelConfig) -> None:
        """Draw a model from torch's current random state; unit scale, no shift.

        Args:
            config: the architecture; `elements` must be given.
        """
        super().__init__()
        self.config = config
        self.r_cut = config.r_cut
        num_species = len(config.elements)
        if num_species == 0:
            raise ValueError(
                "model.elements is empty: name the elements, or take them from the training data"
            )
        self.node_embedding = nn.Parameter(torch.randn(config.num_channels, num_species))
        embedding = RadialEmbedding(
            config.r_cut, config.num_radial, config.cutoff_power, config.radial_scale
        )
        self.edges = EmbeddedStage(embedding, Harmonics(config.l_max_edge))
        self.zbl = (
            ZBLRepulsion(config.elements, config.r_cut, config.zbl_reach) if config.zbl else None
        )
        self.core: CoreRepulsion | None = None
        self.layers = nn.ModuleList(self.make_layers(config))
        for name, value in (("scale", 1.0), ("shift", 0.0), ("e0", 0.0)):
            self.register_buffer(name, torch.full((num_species,), value, dtype=torch.float64))
        self.use_operators(kernels.operators_available())

    def make_layers(self, config: ModelConfig) -> list[nn.Module]:
        """Return the layers."""
        irreps = [Irrep(0)]
        layers: list[nn.Module] = []
        for index in range(config.num_layers):
            layer = Layer(config, irreps, index)
            layers.append(layer)
            irreps = layer.irreps
        return layers

    def forward(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> Tensor:
        """Return the energies of the local nodes.

        Args:
            species: (num_nodes,) int64, 0-based; local nodes first, then ghosts.
            edge_index: (2, E) int64, center and neighbor, sorted by center.
            edge_vectors: (E, 3) r_neighbor - r_center [A].
            num_local: number of local nodes N.

        Returns:
            (N,) float64 [eV].
        """
        return self.energies_and_features(species, edge_index, edge_vectors, num_local)[0]

    def energies_and_features(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> tuple[Tensor, Tensor]:
        """Return what `forward` does and the scalars (N, C) that the last readout sees."""
        if self.core is None:
            energies, features = self.network(species, edge_index, edge_vectors, num_local)
        else:
            vectors, repulsion = self.core(species, edge_index, edge_vectors, num_local)
            energies, features = self.network(species, edge_index, vectors, num_local)
            energies = energies + repulsion
        if self.zbl is not None:
            energies = energies + self.zbl(species, edge_index, edge_vectors, num_local)
        return energies, features

    def network(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> tuple[Tensor, Tensor]:
        """Return what `energies_and_features` does, without repulsions."""
        edges = self.edges(species, edge_index, edge_vectors, num_local, self.node_embedding.dtype)
        local_species = species[:num_local]
        element_scalars = self.node_embedding.t() * self.node_embedding.size(1) ** -0.5
        # before the first layer features depend on the species alone
        features = [element_scalars.unsqueeze(1)]  # (S, 1, C)
        own = [element_scalars.index_select(0, local_species).unsqueeze(1)]  # (N, 1, C)
        source = species.index_select(0, edges.neighbor)
        energies = torch.zeros(num_local, dtype=torch.float64, device=species.device)
        for layer in self.layers:
            # here, not in a method of a layer: the type of `edges` is that of the parts
            sent = layer.interaction.send(features, species.size(0))
            radial = layer.interaction.radial(edges)
            messages = layer.interaction.convolution(sent, radial, source, edges)
            a = layer.interaction.receive(messages)
            if layer.density is not None:
                a = layer.divided(a, layer.density(edges))
            own = layer(own, a, local_species)
            features, source = own, edges.neighbor
            energies = energies + layer.readout(own[0]).view(num_local).to(torch.float64)
        return self.scaled(energies, local_species), own[0].squeeze(1)

    def repel_below(self, distances: Tensor) -> Self:
        """Let nuclei repel below some distances (S, S) [A], where the network stands still."""
        self.core = CoreRepulsion(self.config.elements, distances, self.zbl)
        return self

    def scaled(self, energies: Tensor, local_species: Tensor) -> Tensor:
        """Return energies (N,) [eV] of readouts (N,) and elements."""
        scale = self.scale.index_select(0, local_species)
        return scale * energies + self.shift.index_select(0, local_species)

    def interpolate_radial(self, r_min: float, num_intervals: int) -> None:
        """Let training (`model.train()`) interpolate radial functions from r_min [A] on."""
        exact = self.edges.exact if isinstance(self.edges, InterpolatedStage) else self.edges
        interpolation = RadialInterpolation(exact.embedding, r_min, self.r_cut, num_intervals)
        self.edges = InterpolatedStage(exact, interpolation).train(self.training)
        for layer in self.layers:
            layer.interaction.radial = InterpolatedNetwork(layer.interaction.radial)
        kernels.use_operators(self, self.operators)

    def tabulate(self, tables: Sequence[RadialTable]) -> None:
        """Put a table in the place of the radial network of each layer."""
        kernels.use_operators(self, False)
        self.edges = VectorStage()
        for layer, table in zip(self.layers, tables, strict=True):
            part = layer.interaction
            part.radial = table.to(self.node_embedding.dtype)
            convolution = TableConvolution(part.convolution, table.r_cut)
            part.convolution = MixedConvolution(convolution, part.linear_out.maps)
            part.linear_out = Unchanged()
        kernels.use_operators(self, self.operators)

    def use_operators(self, wanted: bool) -> Self:
        """Choose between compiled operators (the default where they are) and plain torch alone."""
        kernels.use_operators(self, wanted)
        self.operators = wanted
        return self
