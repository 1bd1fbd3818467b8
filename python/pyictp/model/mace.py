# SPDX-License-Identifier: MIT
"""ICTP models with what models of MACE have beside: `model.mace`.

    A_i,l = W_l m_i,l / (1 + d_i)            divided by a density of neighbors, or by their number
    A_i,l <- W^s_l A_i,l                     in layers without a skip connection, s the species
    d_i = sum_j tanh(g(r_ij)^2)              g linear in the radial functions

Radial functions may be those of a pair of elements (`pair_radial`), and the repulsion of nuclei has
MACE's form.

Source: what mace-torch 0.3.16 computes.
"""

from typing import Final

import torch
from torch import Tensor, nn

from pyictp.config.load import ModelConfig
from pyictp.config.mace import MaceConfig
from pyictp.model import kernels
from pyictp.model.ictp import ICTPModel, Layer
from pyictp.model.layers import Convolution, Edges, SpeciesLinear
from pyictp.model.mace_zbl import ScaledRepulsion
from pyictp.model.pair_radial import (
    PairEmbedding,
    PairLengths,
    PairTable,
    lengthened,
    pair_of_edges,
)
from pyictp.model.products import Irrep
from pyictp.model.radial import ScaledLinear


class DensityFunction(nn.Module):
    """Contribution of an edge to the density: tanh(g^2), g linear in the embedding."""

    def __init__(self, num_radial: int) -> None:
        """Draw normal weights."""
        super().__init__()
        self.linear = ScaledLinear(num_radial, 1)

    def forward(self, embedding: Tensor) -> Tensor:
        """Return (E, 1) of an embedding (E, B)."""
        return torch.tanh(self.linear(embedding).square())


class Density(nn.Module):
    """Density of the neighbors of each atom."""

    fused: Final[bool]
    tabulated: Final[bool]

    def __init__(self, num_radial: int) -> None:
        """Draw normal weights."""
        super().__init__()
        self.fused = kernels.operators_available()
        self.tabulated = False
        self.reach = 0.0  # [A] of the table
        self.radial: nn.Module = DensityFunction(num_radial)
        self.convolution = Convolution([Irrep(0)], 0, odd=False)

    def forward(self, edges: Edges) -> Tensor:
        """Return (N, 1, 1)."""
        if self.tabulated and self.fused and torch.ops.ictp.serves(edges.vectors):
            knots = self.radial.knots
            source = torch.zeros_like(edges.neighbor)
            ones = torch.ones(1, 1, 1, dtype=knots.dtype, device=knots.device)
            return self.convolution.from_vectors(ones, knots, self.reach, source, edges)[0]
        values = self.radial(edges.embedding)  # (E, 1)
        zeros = torch.zeros(edges.offsets.size(0) - 1, 1, dtype=values.dtype, device=values.device)
        return zeros.index_add(0, centers(edges.offsets), values).unsqueeze(2)

    def tabulate(self, table: PairTable) -> None:
        """Put a table in the place of the function."""
        self.radial = table
        self.reach = table.reach
        self.tabulated = True


class MaceLayer(Layer):
    """A layer whose A may be divided by a density, and mapped by species."""

    skip_source: list[int]
    skip_target: list[int]
    has_density: Final[bool]
    is_mapped: Final[bool]

    def __init__(
        self, config: ModelConfig, mace: MaceConfig, irreps_in: list[Irrep], index: int
    ) -> None:
        """Build layer `index`."""
        super().__init__(config, irreps_in, index)
        self.has_density, self.is_mapped = mace.density[index], not mace.residual[index]
        if self.is_mapped:
            self.skip, self.skip_source, self.skip_target = nn.ModuleList(), [], []
        channels, num_species = config.product_channels, len(config.elements)
        mapped = self.interaction.irreps if self.is_mapped else []
        self.maps = nn.ModuleList(SpeciesLinear(channels, num_species, channels) for _ in mapped)
        self.density = Density(config.num_radial) if self.has_density else None

    def forward(
        self,
        own: list[Tensor],
        features: list[Tensor],
        source: Tensor,
        species: Tensor,
        edges: Edges,
        num_nodes: int,
    ) -> list[Tensor]:
        """Return what `Layer.forward` does, with the same arguments."""
        a = self.interaction(features, source, edges, num_nodes)
        if self.density is not None:
            divisor = 1.0 + self.density(edges)
            a = [part / divisor for part in a]
        if self.is_mapped:
            a = [mapping(a[i], species) for i, mapping in enumerate(self.maps)]
        updated = self.linear(self.product(a, species))
        for i, skip in enumerate(self.skip):
            target = self.skip_target[i]
            updated[target] = updated[target] + skip(own[self.skip_source[i]], species)
        return updated


class MaceModel(ICTPModel):
    """An ICTP model with `config.mace`."""

    has_tables_of_pairs: Final[bool]

    def __init__(self, config: ModelConfig) -> None:
        """Draw a model from torch's current random state; unit scale, no shift."""
        super().__init__(config)
        mace = config.mace
        if mace is None:
            raise ValueError("model.mace is missing: what has none is an ICTPModel")
        self.radial_embedding = PairEmbedding(self.radial_embedding, mace)
        self.num_species = len(config.elements)
        self.has_tables_of_pairs = False  # until they are tabulated
        self.stride = 0.0  # [A] from table to table
        irreps, layers = [Irrep(0)], []
        for index in range(config.num_layers):
            layers.append(MaceLayer(config, mace, irreps, index))
            irreps = layers[-1].irreps
        self.layers = nn.ModuleList(layers)
        if mace.repulsion is not None:
            self.zbl = ScaledRepulsion(config.elements, mace.radii, mace.repulsion)

    def energies_and_features(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> tuple[Tensor, Tensor]:
        """Return what `ICTPModel.energies_and_features` does, with the same arguments."""
        edges = self.pair_edges(species, edge_index, edge_vectors, num_local)
        local_species = species[:num_local]
        element_scalars = self.node_embedding.t() * self.node_embedding.size(1) ** -0.5
        features = [element_scalars.unsqueeze(1)]  # (S, 1, C)
        own = [element_scalars.index_select(0, local_species).unsqueeze(1)]  # (N, 1, C)
        source = species.index_select(0, edges.neighbor)
        energies = torch.zeros(num_local, dtype=torch.float64, device=species.device)
        for layer in self.layers:
            own = layer(own, features, source, local_species, edges, species.size(0))
            features, source = own, edges.neighbor
            energies = energies + layer.readout(own[0]).view(num_local).to(torch.float64)
        scale = self.scale.index_select(0, local_species)
        energies = scale * energies + self.shift.index_select(0, local_species)
        if self.zbl is not None:
            energies = energies + self.zbl(species, edge_index, edge_vectors, num_local)
        return energies, own[0].squeeze(1)

    def pair_edges(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> Edges:
        """Return what the layers see of the edges; arguments as in `ICTPModel.forward`."""
        neighbor, offsets = edge_index[1], kernels.row_offsets(edge_index[0], num_local)
        if self.tabulated and self.fused and torch.ops.ictp.serves(edge_vectors):
            if self.has_tables_of_pairs:
                pair = pair_of_edges(species, edge_index[0], neighbor, self.num_species)
                tables = self.radial_embedding.tables.index_select(0, pair)
                edge_vectors = lengthened(edge_vectors, tables, self.stride, self.r_cut)
            empty = edge_vectors.new_empty(0)
            return Edges(neighbor, offsets, edge_vectors, empty, empty, None, None)
        vectors = edge_vectors.to(self.node_embedding.dtype)
        if vectors.is_cuda or not self.fused:
            neighbor, vectors, offsets = kernels.pad_edges(neighbor, vectors, offsets, self.r_cut)
        lengths = torch.linalg.vector_norm(vectors, dim=1)  # (E,)
        harmonics = self.harmonics(vectors / lengths.unsqueeze(1))
        pair = pair_of_edges(species, centers(offsets), neighbor, self.num_species)
        embedding = self.radial_embedding(lengths, pair)
        return Edges(neighbor, offsets, edge_vectors, harmonics, embedding, None, None)

    def interpolate_radial(self, r_min: float, num_intervals: int) -> None:
        """Do nothing: radial functions of pairs are evaluated for every edge, in training too."""

    def tabulate(
        self,
        radial: list[PairTable],
        densities: list[PairTable | None],
        tables: Tensor,
    ) -> None:
        """Put tables in the place of all radial functions.

        Args:
            radial: of each layer.
            densities: of each layer, None where it has no density.
            tables: (S*S,) the number of the table of every pair.
        """
        for layer, table, density in zip(self.layers, radial, densities, strict=True):
            layer.interaction.tabulate(table)
            layer.interaction.r_cut = table.reach
            if density is not None:
                layer.density.tabulate(density)
        self.radial_embedding = PairLengths(tables)
        self.has_tables_of_pairs = bool(tables.any())
        self.stride = radial[0].stride
        self.tabulated = True


def centers(offsets: Tensor) -> Tensor:
    """Return the center (E,) of each edge; offsets (N+1,) say where those of each begin."""
    rows = torch.arange(offsets.size(0) - 1, device=offsets.device)
    return torch.repeat_interleave(rows, offsets[1:] - offsets[:-1])


def new_model(config: ModelConfig) -> ICTPModel:
    """Return a model of a configuration with random weights."""
    return ICTPModel(config) if config.mace is None else MaceModel(config)
