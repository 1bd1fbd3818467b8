# SPDX-License-Identifier: MIT
"""Labelled structures: read, checked and in eV and A."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from pyictp.config import DataConfig
from pyictp.errors import UserError
from pyictp.readers import RawFrame, frames_from_atoms, read_raw
from pyictp.sources import LABELS, NO_WEIGHTING, DataFile, as_data_file
from pyictp.units import unit_factor

logger = logging.getLogger("pyictp")

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """One structure; None for a label it does not carry."""

    atomic_numbers: NDArray[np.int64]  # (N,)
    positions: FloatArray  # (N, 3) [A]
    cell: FloatArray  # (3, 3) [A], zero without one
    pbc: NDArray[np.bool_]  # (3,)
    energy: float | None = None  # eV
    forces: FloatArray | None = None  # (N, 3) [eV/A]; rows of NaN: atoms without a label
    stress: FloatArray | None = None  # (3, 3) [eV/A^3], ASE sign
    file: str = "structure"
    index: int = 0
    group: str = ""  # config_type or group of the file
    weights: tuple[float, float, float] = NO_WEIGHTING  # of the squared errors of LABELS

    @property
    def name(self) -> str:
        """Return `file:frame index`."""
        return f"{self.file}:{self.index}"

    @property
    def where(self) -> str:
        """Return file and frame as messages name them."""
        return f"'{self.file}' frame {self.index}"

    @property
    def volume(self) -> float | None:
        """Return the volume of the cell [A^3], None where nothing repeats or there is no cell."""
        volume = abs(float(np.linalg.det(self.cell)))
        return volume if self.pbc.any() and volume > 0 else None

    @property
    def is_isolated_atom(self) -> bool:
        """Return whether the file marks this frame as a lone atom (config_type isolated_atom)."""
        mark = self.group.lower().replace("_", "").replace(" ", "").replace("-", "")
        return len(self.atomic_numbers) == 1 and mark == "isolatedatom"

    @property
    def symbols(self) -> list[str]:
        """Return the chemical symbol of every atom."""
        return [chemical_symbols[number] for number in self.atomic_numbers]


def read_frames(
    paths: Sequence[str | Path | DataFile],
    config: DataConfig | None = None,
    required: Collection[str] = (),
) -> list[Frame]:
    """Return the structures of several files, in order; files with weight 0 are not read.

    Args:
        paths: extended XYZ, ASE databases, rMD17 npz, or what else ase.io reads; with weights,
            names and units of their own if wanted.
        config: names and units of the fields; `train` and `valid` are not looked at. With
            `allow_missing` rows of NaN among the forces are atoms without a label.
        required: labels ("energy", "forces", "stress") that every frame must have; stress only
            where pbc is on, none with weight 0, none for frames marked as isolated atoms.

    Raises:
        UserError: a file is missing, empty or unreadable; a label is missing, has a wrong shape,
            is NaN or infinite; a key that was asked for is in no frame; pbc without a cell.
    """
    files = [file for file in map(as_data_file, paths) if file.weight > 0]
    settings = [file.own_settings(config or DataConfig()) for file in files]
    raw_frames = [read_raw(file.file) for file in files]
    _check_keys(raw_frames, settings)
    _warn_of_lost_pbc([raw for raws in raw_frames for raw in raws])
    return [
        _convert(raw, own, required, file)
        for file, own, raws in zip(files, settings, raw_frames, strict=True)
        for raw in raws
    ]


def from_atoms(
    structures: Sequence[Atoms], config: DataConfig | None = None, required: Collection[str] = ()
) -> list[Frame]:
    """Return Atoms as frames; as `read_frames`."""
    config = config or DataConfig()
    return [_convert(raw, config, required) for raw in frames_from_atoms(list(structures))]


def _keys(config: DataConfig) -> dict[str, str | None]:
    return {
        "energy": config.energy_key,
        "forces": config.forces_key,
        "stress": config.stress_key,
        "virial": config.virial_key,
    }


def _check_keys(files: Sequence[Sequence[RawFrame]], settings: Sequence[DataConfig]) -> None:
    """Refuse a key that was set on purpose and is in no frame of the files it was set for."""
    searched: dict[tuple[str, str], list[RawFrame]] = {}
    for raw_frames, config in zip(files, settings, strict=True):
        for field, key in _keys(config).items():
            if key not in (None, _keys(DataConfig())[field]):
                searched.setdefault((field, key), []).extend(raw_frames)
    for (field, key), raw_frames in searched.items():
        if not any(key in raw.fields for raw in raw_frames):
            names = ", ".join(f"'{file}'" for file in dict.fromkeys(r.file for r in raw_frames))
            raise UserError(
                f"{names}: no frame has the key '{key}' asked for by "
                f"data.{field}_key (keys in frame 0: {_listed(raw_frames[0].fields)})"
            )


def _warn_of_lost_pbc(raw_frames: Sequence[RawFrame]) -> None:
    lost = Counter(raw.file for raw in raw_frames if raw.cell.any() and not raw.pbc.any())
    for file, number in lost.items():
        logger.warning(
            "'%s': %d frames have a cell but pbc F F F: read as not periodic", file, number
        )


def _convert(
    raw: RawFrame, config: DataConfig, required: Collection[str], file: DataFile | None = None
) -> Frame:
    where = f"'{raw.file}' frame {raw.index}"
    energy_unit, length_unit, forces_unit, stress_unit = _units(raw, config)
    num_atoms = len(raw.atomic_numbers)
    if num_atoms == 0:
        raise UserError(f"{where}: holds no atom")
    keys = _keys(config)
    energy = _field(raw, keys["energy"], where, [()])
    forces = _field(raw, keys["forces"], where, [(num_atoms, 3)], gaps=config.allow_missing)
    frame = Frame(
        atomic_numbers=np.array(raw.atomic_numbers, dtype=np.int64),
        positions=_finite(raw.positions, f"{where} field 'positions'") * length_unit,
        cell=_finite(raw.cell, f"{where} field 'cell'") * length_unit,
        pbc=np.array(raw.pbc, dtype=bool),
        energy=None if energy is None else float(energy) * energy_unit,
        forces=None if forces is None else forces * forces_unit,
        file=raw.file,
        index=raw.index,
        group=str(raw.fields.get("config_type", raw.fields.get("group", ""))),
        weights=(file or DataFile(raw.file)).frame_weights(raw.fields, where),
    )
    _check_frame(frame)
    stress = _stress(raw, keys, where, (stress_unit, energy_unit, length_unit))
    frame = replace(frame, stress=stress)
    weights = dict(zip(LABELS, frame.weights, strict=True))
    for label in LABELS if not frame.is_isolated_atom else ():
        if label in required and weights[label] > 0 and getattr(frame, label) is None:
            _refuse_missing(raw, frame, label, keys)
    return frame


def _units(raw: RawFrame, config: DataConfig) -> tuple[float, float, float, float]:
    """Return the units of energy, length, forces and stress in eV and A."""
    default = "kcal/mol" if raw.layout == "npz" else "eV"
    energy = unit_factor(config.energy_unit or default)
    length = unit_factor(config.length_unit or "Angstrom")
    forces = unit_factor(config.forces_unit) if config.forces_unit else energy / length
    stress = unit_factor(config.stress_unit) if config.stress_unit else energy / length**3
    return energy, length, forces, stress


def _stress(
    raw: RawFrame, keys: Mapping[str, str | None], where: str, units: tuple[float, float, float]
) -> FloatArray | None:
    """Return the stress label (3, 3) [eV/A^3], from a stress or from a virial."""
    shapes = [(6,), (9,), (3, 3), (1, 9)]
    stress_unit, energy_unit, length_unit = units
    values, sign_and_unit = _field(raw, keys["stress"], where, shapes), stress_unit
    if values is None:
        values = _field(raw, keys["virial"], where, shapes)
        volume = abs(float(np.linalg.det(raw.cell))) * length_unit**3
        sign_and_unit = -energy_unit / volume if volume > 0 else 0.0
    if values is None:
        return None
    if not raw.pbc.any() or not abs(np.linalg.det(raw.cell)) > 0:
        if not np.any(values):
            return None  # codes write zeros for molecules
        raise UserError(
            f"{where} field 'stress': a stress needs a cell and pbc, but pbc is "
            f"{' '.join('FT'[int(p)] for p in raw.pbc)} and the cell is {raw.cell.tolist()}: "
            "mend the file or set data.stress_key and data.virial_key to null"
        )
    if values.size == 6:  # Voigt: xx yy zz yz xz xy
        values = values[[0, 5, 4, 5, 1, 3, 4, 3, 2]]
    tensor = values.reshape(3, 3)
    return 0.5 * (tensor + tensor.T) * sign_and_unit


def _field(
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
    try:
        values = np.asarray(raw.fields[key], dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(
            f"{where} field '{key}': expected numbers, got {raw.fields[key]!r}"
        ) from None
    if shapes == [()] and values.size == 1:
        values = values.reshape(())
    if values.shape not in shapes:
        expected = " or ".join(str(shape) for shape in shapes[:3])
        raise UserError(f"{where} field '{key}': expected shape {expected}, got {values.shape}")
    if gaps and values.ndim == 2:
        missing = np.isnan(values).all(axis=1, keepdims=True)
        if missing.all():
            return None
        _finite(np.where(missing, 0.0, values), f"{where} field '{key}'")
        return values
    return _finite(values, f"{where} field '{key}'")


def _finite(values: Any, where: str) -> FloatArray:
    values = np.array(values, dtype=np.float64)
    if not np.isfinite(values).all():
        bad = np.argwhere(~np.isfinite(values))[0].tolist()
        which = f" {bad}" if bad else ""
        raise UserError(f"{where}: value{which} is NaN or infinite")
    return values


def _check_frame(frame: Frame) -> None:
    unknown = (frame.atomic_numbers < 1) | (frame.atomic_numbers >= len(chemical_symbols))
    if unknown.any():
        atom = int(np.argmax(unknown))
        raise UserError(
            f"{frame.where} field 'numbers': atom {atom} has atomic number "
            f"{frame.atomic_numbers[atom]}, which is no element"
        )
    for axis in np.flatnonzero(frame.pbc):
        if not frame.cell[axis].any():
            raise UserError(
                f"{frame.where} field 'cell': pbc is on along {'abc'[axis]} but there is no cell "
                "vector: give the cell (Lattice) or switch pbc off"
            )
    if frame.pbc.all() and frame.volume is None:
        raise UserError(f"{frame.where} field 'cell': {frame.cell.tolist()} has no volume")


def _refuse_missing(
    raw: RawFrame, frame: Frame, label: str, keys: Mapping[str, str | None]
) -> None:
    if label == "stress" and not frame.pbc.any():
        return
    names = [f"'{keys[k]}'" for k in ((label, "virial") if label == "stress" else (label,))]
    raise UserError(
        f"{frame.where}: no {label} under {' or '.join(n for n in names if n)} "
        f"(keys there: {_listed(raw.fields)}): set data.{label}_key, label the frame, "
        f"set training.{label}_weight to 0 or data.allow_missing to true"
    )


def _listed(keys: Collection[str]) -> str:
    return ", ".join(sorted(keys)) or "none"


def split_frames(frames: Sequence[Frame], config: DataConfig) -> tuple[list[Frame], list[Frame]]:
    """Return training and validation frames, drawn at random by `split_seed`.

    Raises:
        UserError: more frames are asked for than there are, or no training frame would be left.
    """
    if not 0 <= config.valid_fraction < 1:
        raise UserError(f"data.valid_fraction: expected 0 to below 1, got {config.valid_fraction}")
    total = len(frames)
    num_valid = config.num_valid
    if num_valid is None:
        num_valid = round(config.valid_fraction * total)
        num_valid = max(num_valid, 1) if config.valid_fraction > 0 and total > 1 else num_valid
    num_train = total - num_valid if config.num_train is None else config.num_train
    if num_train < 1 or num_valid < 0 or num_train + num_valid > total:
        raise UserError(
            f"split: {total} frames cannot give {num_train} for training and {num_valid} for "
            "validation: change data.num_train and data.num_valid"
        )
    order = np.random.default_rng(config.split_seed).permutation(total)
    train = sorted(order[num_valid : num_valid + num_train].tolist())
    valid = sorted(order[:num_valid].tolist())
    return [frames[i] for i in train], [frames[i] for i in valid]


def draw_frames(frames: Sequence[Frame], number: int | None, config: DataConfig) -> list[Frame]:
    """Return `number` frames drawn at random by `split_seed`, in order; all for None.

    Raises:
        UserError: there are fewer.
    """
    if number is None or number == len(frames):
        return list(frames)
    if not 0 < number < len(frames):
        raise UserError(f"{number} frames asked for, but the files hold {len(frames)}")
    order = np.random.default_rng(config.split_seed).permutation(len(frames))[:number]
    return [frames[i] for i in sorted(order.tolist())]
