# SPDX-License-Identifier: MIT
"""Labels of a structure: taken by their keys, checked, in eV and A."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pyictp.common.arrays import FloatArray
from pyictp.common.units import unit_factor
from pyictp.config.load import DataConfig
from pyictp.data.raw import RawFrame
from pyictp.errors import UserError

STRESS_SHAPES = [(6,), (9,), (3, 3), (1, 9)]
VOIGT = [0, 5, 4, 5, 1, 3, 4, 3, 2]  # of xx yy zz yz xz xy, row by row
TO_VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])  # rows and columns of xx yy zz yz xz xy
KINDS = {"b": "logical values: ", "c": "complex numbers: "}  # of numpy


def field_keys(config: DataConfig) -> dict[str, str | None]:
    """Return what each label is called in the files."""
    return {
        "energy": config.energy_key,
        "forces": config.forces_key,
        "stress": config.stress_key,
        "virial": config.virial_key,
    }


def label_units(raw: RawFrame, config: DataConfig) -> tuple[float, float, float, float]:
    """Return the units of energy, length, forces and stress in eV and A."""
    default = "kcal/mol" if raw.layout == "npz" else "eV"
    energy = unit_factor(config.energy_unit or default)
    length = unit_factor(config.length_unit or "Angstrom")
    forces = unit_factor(config.forces_unit) if config.forces_unit else energy / length
    stress = unit_factor(config.stress_unit) if config.stress_unit else energy / length**3
    return energy, length, forces, stress


def read_stress(
    raw: RawFrame, keys: Mapping[str, str | None], where: str, units: tuple[float, float, float]
) -> tuple[FloatArray | None, FloatArray | None]:
    """Return the stress label (3, 3) [eV/A^3], from a stress or from a virial.

    The second is the virial's where the frame has both, None otherwise.
    """
    stress_unit, energy_unit, length_unit = units
    volume = abs(float(np.linalg.det(raw.cell))) * length_unit**3
    of_virial = -energy_unit / volume if volume > 0 else 0.0
    found = []
    for label, sign_and_unit in (("stress", stress_unit), ("virial", of_virial)):
        values = read_field(raw, keys[label], where, STRESS_SHAPES)
        if values is not None and _has_stress(raw, keys[label], values, where):
            tensor = (values[VOIGT] if values.size == 6 else values).reshape(3, 3)
            found.append(0.5 * (tensor + tensor.T) * sign_and_unit)
    first, second, *_ = [*found, None, None]
    return first, second


def _has_stress(raw: RawFrame, key: str | None, values: FloatArray, where: str) -> bool:
    """Return whether there is a volume; refuse values other than zero where there is none."""
    if raw.pbc.any() and abs(np.linalg.det(raw.cell)) > 0:
        return True
    if not values.any():
        return False  # codes write zeros for molecules
    raise UserError(
        f"{where} field '{key}': a stress needs a cell and pbc, but pbc is "
        f"{' '.join('FT'[int(p)] for p in raw.pbc)} and the cell is {raw.cell.tolist()}: "
        "mend the file or set data.stress_key and data.virial_key to null"
    )


def read_field(
    raw: RawFrame,
    key: str | None,
    where: str,
    shapes: Sequence[tuple[int, ...]],
    gaps: bool = False,
) -> FloatArray | None:
    """Return one label as finite floats of one of the shapes, None where the frame has it not.

    With `gaps` rows of NaN stay as they are; None where there is no other.
    """
    if key is None or key not in raw.fields:
        return None
    values = _numbers(raw.fields[key], f"{where} field '{key}'")
    if shapes == [()] and values.size == 1:
        values = values.reshape(())
    if values.shape not in shapes:
        expected = " or ".join(str(shape) for shape in shapes[:3])
        raise UserError(f"{where} field '{key}': expected shape {expected}, got {values.shape}")
    if gaps and values.ndim == 2:
        missing = np.isnan(values).all(axis=1, keepdims=True)
        if missing.all():
            return None
        finite(np.where(missing, 0.0, values), f"{where} field '{key}'")
        return values
    return finite(values, f"{where} field '{key}'")


def _numbers(value: Any, where: str) -> FloatArray:
    """Return real numbers as floats; nothing else counts as one, though numpy would take it."""
    try:
        values = np.asarray(value)
    except ValueError:  # rows of unlike lengths
        values = np.asarray(str(value))
    if values.dtype.kind not in "iuf":
        kind = KINDS.get(values.dtype.kind, "")
        text = " ".join(repr(value).split())
        raise UserError(f"{where}: expected numbers, got {kind}{text[:60]}")
    return values.astype(np.float64)


def finite(values: Any, where: str) -> FloatArray:
    """Return values as floats; refuses NaN and infinity by their place."""
    values = np.array(values, dtype=np.float64)
    if not np.isfinite(values).all():
        bad = np.argwhere(~np.isfinite(values))[0].tolist()
        which = f" {bad}" if bad else ""
        raise UserError(f"{where}: value{which} is NaN or infinite")
    return values
