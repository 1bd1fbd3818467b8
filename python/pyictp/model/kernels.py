# SPDX-License-Identifier: MIT
"""The one seam between plain torch and compiled operators.

A part of a model that an operator can compute has a compiled twin here, which takes its place in
the model: `use_operators` exchanges the parts, and no other module knows of operators. A twin keeps
the part that it stands for, for tensors on a device that the operator does not serve: an exported
file learns only when it is loaded where they are. All but `OperatorInterpolation`, which only
training calls, compile with TorchScript.
"""

import functools
from typing import Final

import torch
from torch import Tensor, nn

from pyictp.errors import UserError
from pyictp.model.convolution import Convolution, MixedConvolution, TableConvolution
from pyictp.model.edges import EmbeddedEdges, VectorEdges
from pyictp.model.exact import ExactModule
from pyictp.model.mixing import Mixing
from pyictp.model.polynomial import edge_table
from pyictp.model.powers import Products
from pyictp.model.radial import Interpolation, ScaledSiLU
from pyictp.native import load_operators


@functools.cache
def operators_available() -> bool:
    """Return whether the compiled operators can be used, and register them."""
    try:
        load_operators()
    except UserError:
        return False
    return True


def use_operators(model: nn.Module, wanted: bool) -> None:
    """Put compiled parts in the place of plain ones, or the other way round."""
    for name, part in model.named_children():
        if isinstance(part, COMPILED):
            if not wanted:
                setattr(model, name, part.plain)
        elif wanted and type(part) in TWINS:
            setattr(model, name, TWINS[type(part)](part))
        else:
            use_operators(part, wanted)


def exchange(features: Tensor, num_nodes: int) -> Tensor:
    """Return the features of all nodes from those of the local ones: the halo exchange.

    In an exported file this is the operator `ictp::exchange`, which LAMMPS' communication serves.
    In Python all nodes are local.

    Args:
        features: (num_local, W).
        num_nodes: number of local nodes and ghosts.

    Returns:
        (num_nodes, W).
    """
    if torch.jit.is_scripting():
        return torch.ops.ictp.exchange(features, num_nodes)
    return features


class OperatorSiLU(nn.Module):
    """`ScaledSiLU` by `ictp::scaled_silu`."""

    def __init__(self, plain: ScaledSiLU) -> None:
        """Stand for a plain part."""
        super().__init__()
        self.plain = plain
        self.gain = plain.gain

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor as x."""
        return torch.ops.ictp.scaled_silu(x, self.gain)


class OperatorMixing(nn.Module):
    """`Mixing` by `ictp::mix_channels`."""

    def __init__(self, plain: Mixing) -> None:
        """Stand for a plain part."""
        super().__init__()
        self.plain = plain

    def forward(self, x: Tensor, matrix: Tensor) -> Tensor:
        """Return (..., num_out) of x (..., num_in) and a matrix (num_in, num_out)."""
        return torch.ops.ictp.mix_channels(x, matrix)


class OperatorInterpolation(nn.Module):
    """`Interpolation` by `ictp::interpolate`."""

    def __init__(self, plain: Interpolation) -> None:
        """Stand for a plain part."""
        super().__init__()
        self.plain = plain

    def forward(self, table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        """Return (E, W) of a table (K, W), first rows (E,) and weights (E, n)."""
        return torch.ops.ictp.interpolate(table, rows, weights)


class OperatorConvolution(ExactModule):
    """`Convolution` by `ictp::edge_convolution`."""

    paths: Tensor
    offsets: Tensor
    terms: Tensor
    values: Tensor

    def __init__(self, plain: Convolution) -> None:
        """Stand for a plain part: write its paths as a polynomial of the harmonics."""
        super().__init__()
        self.plain = plain
        add_tables(self, plain, directions=False)

    def forward(
        self, features: Tensor, radial: Tensor, source: Tensor, edges: EmbeddedEdges
    ) -> list[Tensor]:
        """Return what `Convolution.forward` does."""
        if not torch.ops.ictp.serves(radial, "edge_convolution"):
            return self.plain(features, radial, source, edges)
        return torch.ops.ictp.edge_convolution(
            features,
            edges.harmonics,
            radial,
            source,
            edges.offsets,
            self.paths,
            self.offsets,
            self.terms,
            self.values,
            self.dims,
            self.num_paths,
        )


class OperatorTableConvolution(ExactModule):
    """`TableConvolution` by `ictp::table_convolution`; nothing is kept per edge."""

    paths: Tensor
    offsets: Tensor
    terms: Tensor
    values: Tensor

    def __init__(self, plain: TableConvolution) -> None:
        """Stand for a plain part: write its paths as a polynomial of the direction."""
        super().__init__()
        self.plain = plain
        self.r_cut = plain.r_cut
        add_tables(self, plain.convolution, directions=True)

    def forward(
        self, features: Tensor, table: Tensor, source: Tensor, edges: VectorEdges
    ) -> list[Tensor]:
        """Return what `TableConvolution.forward` does."""
        # asked of an input: features are a constant of an exported file's first layer
        if not torch.ops.ictp.serves(edges.vectors, "table_convolution"):
            return self.plain(features, table, source, edges)
        return self.mixed(features, table, source, edges, [])

    def mixed(
        self,
        features: Tensor,
        table: Tensor,
        source: Tensor,
        edges: VectorEdges,
        matrices: list[Tensor],
    ) -> list[Tensor]:
        """Return results (N, d, C') per irrep, mixed by matrices (P*C, C') if there are any."""
        return torch.ops.ictp.table_convolution(
            features,
            edges.vectors,
            table,
            self.r_cut,
            source,
            edges.offsets,
            self.paths,
            self.offsets,
            self.terms,
            self.values,
            self.dims,
            self.num_paths,
            edges.tables if table.dim() == 5 else None,
            matrices,
        )


class OperatorMixedConvolution(nn.Module):
    """`MixedConvolution` by `ictp::table_convolution`: messages are not kept either."""

    def __init__(self, plain: MixedConvolution) -> None:
        """Stand for a plain part."""
        super().__init__()
        self.plain = plain
        self.convolution = OperatorTableConvolution(plain.convolution)

    def forward(
        self, features: Tensor, table: Tensor, source: Tensor, edges: VectorEdges
    ) -> list[Tensor]:
        """Return what `MixedConvolution.forward` does."""
        if not torch.ops.ictp.serves(edges.vectors, "table_convolution"):
            return self.plain(features, table, source, edges)
        matrices: list[Tensor] = []
        for linear in self.plain.maps:
            matrices.append(linear.weight.detach().t() * linear.scale)
        return self.convolution.mixed(features, table, source, edges, matrices)


class OperatorProducts(ExactModule):
    """`Products` by `ictp::product_basis`."""

    offsets: Tensor
    terms: Tensor
    values: Tensor
    rows: Tensor
    is_reduced: Final[bool]

    def __init__(self, plain: Products) -> None:
        """Stand for a plain part: write the basis as a polynomial of A and the weights."""
        super().__init__()
        self.plain = plain
        self.dims: list[int] = [irrep.dim for irrep in plain.irreps]
        for name, tensor in plain.polynomial()._asdict().items():
            self.register_buffer(name, tensor, persistent=False)
        self.is_reduced = plain.kept is not None
        rows = torch.empty(0) if plain.kept is None else plain.kept
        self.register_buffer("rows", rows.nonzero().flatten(), persistent=False)

    def forward(self, a: list[Tensor], weights: list[Tensor], species: Tensor) -> list[Tensor]:
        """Return what `Products.forward` does."""
        if not torch.ops.ictp.serves(a[0], "product_basis"):
            return self.plain(a, weights, species)
        packed = torch.cat(weights, dim=2).transpose(1, 2)  # (S, rows, C')
        if self.is_reduced:
            packed = packed.index_select(1, self.rows)
        return torch.ops.ictp.product_basis(
            a, packed, species, self.offsets, self.terms, self.values, self.dims
        )


def add_tables(part: nn.Module, convolution: Convolution, directions: bool) -> None:
    """Write paths and coupling matrices as the compiled convolutions read them."""
    rows, slot = [], 0
    for number, path in enumerate(convolution.paths):
        d1, d3 = convolution.dims_x[path.x], convolution.dims_z[path.z]
        first_in = sum(convolution.dims_x[: path.x])
        place = number - convolution.path_z.index(path.z)
        rows.append([first_in, d1, d3, slot, path.z, place])
        slot += d1 * d3
    part.register_buffer("paths", torch.tensor(rows), persistent=False)
    part.dims, part.num_paths = convolution.dims_z, convolution.num_paths
    table = edge_table(convolution.coupling, convolution.l_max_edge, directions)
    for name, tensor in table._asdict().items():
        part.register_buffer(name, tensor, persistent=False)


TWINS = {
    ScaledSiLU: OperatorSiLU,
    Mixing: OperatorMixing,
    Interpolation: OperatorInterpolation,
    Convolution: OperatorConvolution,
    TableConvolution: OperatorTableConvolution,
    MixedConvolution: OperatorMixedConvolution,
    Products: OperatorProducts,
}
COMPILED = tuple(TWINS.values())
