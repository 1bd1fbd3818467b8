# SPDX-License-Identifier: MIT
"""Where labelled structures come from: files with weights, field names and units of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from pyictp.errors import UserError

LABELS = ("energy", "forces", "stress")
NO_WEIGHTING = (1.0, 1.0, 1.0)

# info fields of a frame, as other codes write them: one for all labels, one for each
FRAME_WEIGHT = "config_weight"
LABEL_WEIGHTS = tuple(f"config_{label}_weight" for label in LABELS)


@dataclass(frozen=True)
class DataFile:
    """An entry of `data.train` or `data.valid` that says more than a file name.

    A weight multiplies squared errors of the training loss: 2 counts as the same frames twice.
    Validation errors are not weighted. 0 leaves the label out, of validation as well.
    """

    file: str = ""  # required; a file, or a folder of deepmd-kit, ABACUS or CP2K
    weight: float = 1.0  # of all labels; 0: the file is not read
    energy_weight: float = 1.0  # times weight, here and below
    forces_weight: float = 1.0
    stress_weight: float = 1.0
    energy_key: str | None = None  # None, here and below: as in the section data
    forces_key: str | None = None
    stress_key: str | None = None
    virial_key: str | None = None
    energy_unit: str | None = None
    length_unit: str | None = None
    forces_unit: str | None = None
    stress_unit: str | None = None
    format: str | None = None  # its name in ase.io or dpdata; null: found out
    elements: tuple[str, ...] = ()  # of types 0, 1, ... in files that name none: MTP, deepmd-kit

    @property
    def weights(self) -> dict[str, float]:
        """Return the weights by their keys."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name.endswith("weight")}

    def __post_init__(self) -> None:
        """Refuse what names no file or weighs nothing."""
        if not self.file:
            raise UserError("data: an entry with keys needs the key 'file'")
        for name, weight in self.weights.items():
            _check_weight(f"data, '{self.file}': {name}", weight)

    def own_settings(self, config: Any) -> Any:
        """Return the data section with this file's keys and units in place of the section's."""
        names = [f.name for f in fields(self) if f.name.endswith(("_key", "_unit"))]
        own = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return replace(config, **own)

    def frame_weights(self, values: Mapping[str, Any], where: str) -> tuple[float, float, float]:
        """Return what multiplies the squared errors of a frame, in the order of LABELS.

        Args:
            values: fields of the frame; `config_weight` and `config_<label>_weight` count.
            where: file and frame for messages.
        """
        named = {
            name: _check_weight(f"{where} field '{name}'", values.get(name, 1.0))
            for name in (FRAME_WEIGHT, *LABEL_WEIGHTS)
        }
        common = self.weight * named[FRAME_WEIGHT]
        energy, forces, stress = (
            common * self.weights[f"{label}_weight"] * named[f"config_{label}_weight"]
            for label in LABELS
        )
        return energy, forces, stress


def as_data_file(entry: str | Path | DataFile) -> DataFile:
    """Return an entry of the configuration in its long form."""
    return entry if isinstance(entry, DataFile) else DataFile(str(entry))


def check_unweighted(name: str, entries: tuple[str | DataFile, ...]) -> None:
    """Refuse weights where nothing is weighted; 0 says that a label is not used, and may be."""
    for entry in entries:
        file = as_data_file(entry)
        for key, weight in file.weights.items():
            if weight not in (0.0, 1.0):
                raise UserError(
                    f"{name}, '{file.file}': {key} is {weight:g}, but validation errors are not "
                    "weighted: expected 0 (not used) or 1"
                )


def _check_weight(where: str, value: Any) -> float:
    try:
        if isinstance(value, (bool, np.bool_, str)):
            raise TypeError  # which float() takes
        weight = float(value)
    except (TypeError, ValueError):
        raise UserError(f"{where}: expected a number, got {value!r}") from None
    if not 0 <= weight < math.inf:
        raise UserError(f"{where}: expected a weight of 0 or more, got {value}")
    return weight
