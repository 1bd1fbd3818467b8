# SPDX-License-Identifier: MIT
"""What models of MACE have and an ICTP model has not; `ictp import` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

from ase.data import atomic_numbers, covalent_radii

from pyictp.config.reader import NotNegative, Positive, Range, Width, check_fields
from pyictp.errors import UserError

Transform = Literal["none", "agnesi", "soft"]
Basis = Literal["bessel", "gaussian", "chebyshev"]
NUM_CONSTANTS = {"none": 0, "agnesi": 3, "soft": 1}


@dataclass(frozen=True)
class MaceRepulsion:
    """The repulsion of nuclei as MACE has it."""

    factor: float = 1.0  # multiplies it: the scale of the model
    length: Positive = 0.2403247  # [A] of the screening
    power: Positive = 0.3  # of the nuclear charges in it
    cutoff_power: Annotated[int, Range(2, 100)] = 6  # p of the cutoff function, from r = 0 on
    coefficients: tuple[float, ...] = (0.1818, 0.5099, 0.2802, 0.02817)  # of the exponentials

    def __post_init__(self) -> None:
        """Refuse what is not such a repulsion."""
        check_fields(self, "model.mace.repulsion")
        if len(self.coefficients) != 4:
            raise UserError("model.mace.repulsion.coefficients: expected four numbers")


@dataclass(frozen=True)
class MaceConfig:
    """What a model that was imported from MACE has beside the keys of `model`."""

    residual: tuple[bool, ...] = ()  # per layer: a skip connection, else A is mapped by species
    density: tuple[bool, ...] = ()  # per layer: A is divided by 1 + a density of neighbors
    transform: Transform = "none"  # of distances, before radial functions
    transform_constants: tuple[float, ...] = ()  # agnesi: q, p, a; soft: alpha
    basis: Basis = "bessel"  # radial functions before the networks
    frequencies: tuple[float, ...] = ()  # [1/A] of the Bessel functions; none: n pi/r_cut
    radii: tuple[NotNegative, ...] = ()  # [A] of each element: units of transform and repulsion
    repulsion: MaceRepulsion | None = None  # of nuclei
    cutoff_last: bool = (
        False  # the cutoff multiplies what radial networks yield, not what they take
    )
    edge_channels: tuple[Width, ...] = ()  # per layer, that neighbors see; none: model.num_channels
    nonlinear: bool = False  # gates before the product basis, radial networks that see elements
    nonlinear_layers: tuple[bool, ...] = ()  # per layer, where not all are alike; none: all
    density_hidden: tuple[Width, ...] = ()  # widths of the densities' inner layers, if nonlinear
    readout_bias: bool = False  # of all but the first of the last readout's layers

    def __post_init__(self) -> None:
        """Refuse constants that the transform does not have."""
        check_fields(self, "model.mace")
        expected, found = NUM_CONSTANTS[self.transform], len(self.transform_constants)
        if found != expected:
            raise UserError(
                f"model.mace.transform_constants: {self.transform} has {expected}, got {found}"
            )

    def check(self, num_layers: int, num_radial: int, elements: Sequence[str]) -> None:
        """Refuse rows of another length than the model has layers, functions or elements.

        Raises:
            UserError: names the row.
        """
        for name, expected, things in (
            ("residual", num_layers, "layer"),
            ("density", num_layers, "layer"),
            ("radii", len(elements), "element"),
            ("edge_channels", num_layers if self.edge_channels else 0, "layer"),
            ("nonlinear_layers", num_layers if self.nonlinear_layers else 0, "layer"),
        ):
            if len(getattr(self, name)) != expected:
                raise UserError(f"model.mace.{name}: expected one for each {things} ({expected})")
        if self.basis == "gaussian" and num_radial < 2:
            raise UserError("model.num_radial: expected at least 2 Gaussian functions")
        if len(self.frequencies) not in (0, num_radial):
            raise UserError(f"model.mace.frequencies: expected none or {num_radial}")

    def is_nonlinear(self, index: int) -> bool:
        """Return whether a layer's interaction is."""
        return self.nonlinear_layers[index] if self.nonlinear_layers else self.nonlinear

    def edge_channels_of(self, index: int) -> int | None:
        """Return the channels that neighbors see in a layer; None: those of the features."""
        return self.edge_channels[index] if self.edge_channels else None

    def extended(self, elements: Sequence[str]) -> Self:
        """Return the same for more elements, those it knows first; new ones have ASE's radii."""
        new = [float(covalent_radii[atomic_numbers[e]]) for e in elements[len(self.radii) :]]
        return replace(self, radii=(*self.radii, *new))
