# SPDX-License-Identifier: MIT
"""Files that training refuses, because a frame without pbc has a stress or a virial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pyictp.common.arrays import FloatArray
from pyictp.common.units import unit_factor
from pyictp.config.data_files import DataFile, as_data_file
from pyictp.config.load import DataConfig
from pyictp.data.frames import Frame, read_frames
from pyictp.data.labels import STRESS_SHAPES, VOIGT, read_field
from pyictp.data.readers import read_raw
from pyictp.data.statistics import NO_STRESS
from pyictp.errors import UserError


@dataclass(frozen=True)
class LooseVirial:
    """A stress or virial of a frame without pbc."""

    frame: Frame  # without it
    key: str
    virial: FloatArray | None  # (3, 3) [eV]; None for a stress, which has no volume


def read_with_loose_virials(
    paths: Sequence[str | Path | DataFile], config: DataConfig
) -> tuple[list[Frame], list[LooseVirial]]:
    """Return all frames, and apart from them the virials of frames without pbc.

    A file that has such virials is read without any stress.

    Raises:
        UserError: as `read_frames`, except for these virials.
    """
    frames: list[Frame] = []
    found: list[LooseVirial] = []
    config = replace(config, allow_missing=True)
    for path in paths:
        try:
            frames += read_frames([path], config)
        except UserError:
            own = read_frames([path], replace(config, **NO_STRESS))
            loose = _loose_virials(path, own, config)
            if not loose:
                raise
            frames += own
            found += loose
    return frames, found


def _loose_virials(
    path: str | Path | DataFile, frames: Sequence[Frame], config: DataConfig
) -> list[LooseVirial]:
    found = []
    file = as_data_file(path)
    for raw, frame in zip(read_raw(file.file, file.format, file.elements), frames, strict=True):
        if raw.pbc.any():
            continue
        for key in (config.stress_key, config.virial_key):
            values = read_field(raw, key, frame.where, STRESS_SHAPES)
            if values is not None and values.any():
                unit = unit_factor(config.energy_unit or "eV")
                virial = unit * _tensor(values) if key == config.virial_key else None
                found.append(LooseVirial(frame, str(key), virial))
    return found


def _tensor(values: FloatArray) -> FloatArray:
    """Return six (Voigt: xx yy zz yz xz xy) or nine numbers as (3, 3)."""
    return (values[VOIGT] if values.size == 6 else values).reshape(3, 3)
