# SPDX-License-Identifier: MIT
"""ICTP models with what models of MACE have beside: `model.mace`.

    A_i,l = W_l m_i,l / (1 + d_i)            divided by a density of neighbors, or by their number
    A_i,l <- W^s_l A_i,l                     in layers without a skip connection, s the species
    d_i = sum_j tanh(g(r_ij)^2)              g linear in the radial functions

Radial functions may be those of a pair of elements (`pair_radial`), and the repulsion of nuclei has
MACE's form.

Source: what mace-torch 0.3.16 computes.
"""

import torch
from torch import Tensor, nn

from pyictp.config.load import ModelConfig
from pyictp.config.mace import MaceConfig
from pyictp.model.convolution import Convolution, TableConvolution
from pyictp.model.edges import EmbeddedEdges, VectorEdges
from pyictp.model.ictp import ICTPModel, Layer
from pyictp.model.layers import SpeciesLinear
from pyictp.model.mace_zbl import ScaledRepulsion
from pyictp.model.pair_radial import PairEmbedding, PairStage, PairTable, PairVectorStage
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

    def __init__(self, num_radial: int) -> None:
        """Draw normal weights."""
        super().__init__()
        self.radial = DensityFunction(num_radial)

    def forward(self, edges: EmbeddedEdges) -> Tensor:
        """Return (N, 1, 1)."""
        values = self.radial(edges.embedding)  # (E, 1)
        zeros = torch.zeros(edges.offsets.size(0) - 1, 1, dtype=values.dtype, device=values.device)
        return zeros.index_add(0, centers(edges.offsets), values).unsqueeze(2)


class TableDensity(nn.Module):
    """The same of a table: the convolution of ones."""

    def __init__(self, table: PairTable) -> None:
        """Take a table of one function."""
        super().__init__()
        self.radial = table
        self.convolution = TableConvolution(Convolution([Irrep(0)], 0, odd=False), table.r_cut)

    def forward(self, edges: VectorEdges) -> Tensor:
        """Return (N, 1, 1)."""
        knots = self.radial(edges)
        ones = torch.ones(1, 1, 1, dtype=knots.dtype, device=knots.device)
        return self.convolution(ones, knots, torch.zeros_like(edges.neighbor), edges)[0]


class MaceLayer(Layer):
    """A layer whose A may be divided by a density, and mapped by species."""

    skip_source: list[int]
    skip_target: list[int]

    def __init__(
        self, config: ModelConfig, mace: MaceConfig, irreps_in: list[Irrep], index: int
    ) -> None:
        """Build layer `index`."""
        super().__init__(config, irreps_in, index)
        self.is_mapped = not mace.residual[index]
        if self.is_mapped:
            self.skip, self.skip_source, self.skip_target = nn.ModuleList(), [], []
            channels, num_species = config.product_channels, len(config.elements)
            self.maps.extend(
                SpeciesLinear(channels, num_species, channels) for _ in self.interaction.irreps
            )
        if mace.density[index]:
            self.density = Density(config.num_radial)


class MaceModel(ICTPModel):
    """An ICTP model with `config.mace`."""

    def __init__(self, config: ModelConfig) -> None:
        """Draw a model from torch's current random state; unit scale, no shift."""
        super().__init__(config)
        mace = config.mace
        if mace is None:
            raise ValueError("model.mace is missing: what has none is an ICTPModel")
        embedding = PairEmbedding(self.edges.embedding, mace)
        self.edges = PairStage(embedding, self.edges.harmonics, len(config.elements))
        irreps, layers = [Irrep(0)], []
        for index in range(config.num_layers):
            layers.append(MaceLayer(config, mace, irreps, index))
            irreps = layers[-1].irreps
        self.layers = nn.ModuleList(layers)
        if mace.repulsion is not None:
            self.zbl = ScaledRepulsion(config.elements, mace.radii, mace.repulsion)
        self.use_operators(self.operators)

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
        super().tabulate(radial)
        if tables.any():
            num_species = len(self.config.elements)
            self.edges = PairVectorStage(tables, radial[0].stride, self.r_cut, num_species)
        for layer, density in zip(self.layers, densities, strict=True):
            if density is not None:
                layer.density = TableDensity(density)
        self.use_operators(self.operators)


def centers(offsets: Tensor) -> Tensor:
    """Return the center (E,) of each edge; offsets (N+1,) say where those of each begin."""
    rows = torch.arange(offsets.size(0) - 1, device=offsets.device)
    return torch.repeat_interleave(rows, offsets[1:] - offsets[:-1])
