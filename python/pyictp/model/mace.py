# SPDX-License-Identifier: MIT
"""ICTP models with what models of MACE have beside: `model.mace`.

    A_i,l = W_l m_i,l / (1 + d_i)            divided by a density of neighbors, or by their number
    A_i,l <- W^s_l A_i,l                     in layers without a skip connection, s the species

Radial functions may be those of a pair of elements (`pair_radial`), the repulsion of nuclei has
MACE's form, interactions may be nonlinear (`mace_nonlinear`), and the last readout may have biases.

Source: what mace-torch 0.3.16 computes.
"""

from torch import Tensor, nn

from pyictp.config.load import ModelConfig
from pyictp.config.mace import MaceConfig
from pyictp.model.edges import InterpolatedStage
from pyictp.model.ictp import ICTPModel, Layer
from pyictp.model.layers import Interaction, SpeciesLinear
from pyictp.model.mace_density import Density, DensityFunction, TableDensity
from pyictp.model.mace_nonlinear import NonlinearLayer
from pyictp.model.mace_readout import BiasedMLP
from pyictp.model.mace_zbl import ScaledRepulsion
from pyictp.model.pair_radial import (
    BetweenKnots,
    CutFunctions,
    PairEmbedding,
    PairFunctions,
    PairNetwork,
    kinds_of_pairs,
)
from pyictp.model.pair_stages import PairInterpolatedStage, PairStage, PairVectorStage
from pyictp.model.products import Irrep
from pyictp.model.radial import RadialTable

MOST_KNOTS = 100_000  # of all pairs of elements; no batch has as many edges


class MaceLayer(Layer):
    """A layer whose A may be divided by a density, and mapped by species."""

    skip_source: list[int]
    skip_target: list[int]

    def __init__(
        self, config: ModelConfig, mace: MaceConfig, irreps_in: list[Irrep], index: int
    ) -> None:
        """Build layer `index`."""
        super().__init__(config, irreps_in, index)
        radial = PairNetwork(self.interaction.radial)
        self.interaction.radial = CutFunctions(radial) if mace.cutoff_last else radial
        self.is_mapped = not mace.residual[index]
        if self.is_mapped:
            self.skip, self.skip_source, self.skip_target = nn.ModuleList(), [], []
            channels, num_species = config.product_channels, len(config.elements)
            self.maps.extend(
                SpeciesLinear(channels, num_species, channels) for _ in self.interaction.irreps
            )
        if mace.density[index]:
            density = DensityFunction(config.num_radial)
            self.density = Density(CutFunctions(density) if mace.cutoff_last else density)

    def make_interaction(
        self, config: ModelConfig, irreps_in: list[Irrep], index: int
    ) -> Interaction:
        """Return the interaction of layer `index`."""
        assert config.mace is not None
        return Interaction(config, irreps_in, index == 0, config.mace.edge_channels_of(index))


class MaceModel(ICTPModel):
    """An ICTP model with `config.mace`."""

    def __init__(self, config: ModelConfig) -> None:
        """Draw a model from torch's current random state; unit scale, no shift."""
        mace = config.mace
        if mace is None:
            raise ValueError("model.mace is missing: what has none is an ICTPModel")
        super().__init__(config)
        embedding = PairEmbedding(self.edges.embedding, mace)
        self.edges = PairStage(embedding, self.edges.harmonics, len(config.elements))
        if mace.repulsion is not None:
            self.zbl = ScaledRepulsion(config.elements, mace.radii, mace.repulsion)

    def make_layers(self, config: ModelConfig) -> list[nn.Module]:
        """Return the layers."""
        mace = config.mace
        assert mace is not None
        irreps, layers = [Irrep(0)], []
        for index in range(config.num_layers):
            if mace.is_nonlinear(index):
                layer: Layer = NonlinearLayer(config, irreps, index)
            else:
                layer = MaceLayer(config, mace, irreps, index)
            layers.append(layer)
            irreps = layer.irreps
        if mace.readout_bias:
            layers[-1].readout = BiasedMLP([config.num_channels, *config.readout_hidden, 1])
        return layers

    def interpolate_radial(self, r_min: float, num_intervals: int) -> None:
        """Let training interpolate radial functions and densities from r_min [A] on.

        Where pairs of elements have more knots together than a batch has edges, it does not.
        """
        mace, exact = self.config.mace, self.edges
        assert mace is not None
        kinds = kinds_of_pairs(mace, len(self.config.elements))
        if len(kinds.pairs) * num_intervals > MOST_KNOTS:
            return
        exact = exact.exact if isinstance(exact, InterpolatedStage) else exact
        self.edges = PairInterpolatedStage(exact, r_min, self.r_cut, num_intervals, kinds)
        self.edges.train(self.training)
        for part in self.modules():
            if isinstance(part, PairFunctions):
                part.spread = BetweenKnots()
        self.use_operators(self.operators)

    def tabulate(
        self,
        radial: list[RadialTable],
        densities: list[RadialTable | None],
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
            self.edges = PairVectorStage(tables, len(self.config.elements))
        for layer, density in zip(self.layers, densities, strict=True):
            if density is not None:
                layer.density = TableDensity(density)
        self.use_operators(self.operators)
