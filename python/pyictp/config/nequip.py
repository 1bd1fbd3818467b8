# SPDX-License-Identifier: MIT
"""What models of NequIP's kind have and an ICTP model has not; `ictp import` writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pyictp.config.reader import Positive, Range, check_fields
from pyictp.errors import UserError

Channels = Annotated[int, Range(1, 10_000)]
PseudoChannels = Annotated[int, Range(0, 10_000)]


@dataclass(frozen=True)
class NequipConfig:
    """What a model that was imported from SevenNet has beside the keys of `model`."""

    channels: tuple[tuple[Channels, ...], ...] = ()  # per layer, of the ranks 0, 1, ... it yields
    pseudo_channels: tuple[
        tuple[PseudoChannels, ...], ...
    ] = ()  # the same of pseudo tensors, a row
    # for each layer; none: features have no parity
    frequencies: tuple[float, ...] = ()  # [1/A] of the Bessel functions; none: n pi/r_cut
    cutoff_on: Positive | None = None  # [A] where XPLOR's cutoff begins; null: model.cutoff_power
    normalized: bool = True  # harmonics of directions, not of edge vectors in A
    skip_by_species: bool = False  # skip connections have a matrix for each element
    biases: bool = False  # scalars are shifted in linear maps

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_fields(self, "model.nequip")

    def check(self, num_layers: int, num_radial: int, l_max: int, r_cut: float) -> None:
        """Refuse what does not go together with the other keys of the model.

        Raises:
            UserError: names the key.
        """
        if len(self.channels) != num_layers:
            raise UserError(f"model.nequip.channels: expected a row for each layer ({num_layers})")
        if not all(0 < len(row) <= l_max + 1 for row in self.channels):
            raise UserError(
                f"model.nequip.channels: expected those of 1 to {l_max + 1} ranks in each row"
            )
        if len(self.pseudo_channels) not in (0, num_layers):
            raise UserError(
                "model.nequip.pseudo_channels: expected no row, or one for each layer "
                f"({num_layers})"
            )
        if any(len(row) > l_max + 1 for row in self.pseudo_channels):
            raise UserError(
                f"model.nequip.pseudo_channels: expected those of at most {l_max + 1} ranks in "
                "each row"
            )
        if len(self.frequencies) not in (0, num_radial):
            raise UserError(f"model.nequip.frequencies: expected none or {num_radial}")
        if self.cutoff_on is not None and self.cutoff_on >= r_cut:
            raise UserError(f"model.nequip.cutoff_on: expected less than r_cut {r_cut:g}")
