# SPDX-License-Identifier: MIT
"""Labelled structures: read, checked and in eV and A."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from pyictp.common.arrays import BoolArray, FloatArray, IntArray
from pyictp.config.data_files import LABELS, NO_WEIGHTING, DataFile, as_data_file
from pyictp.config.load import DataConfig
from pyictp.data.labels import field_keys, finite, label_units, read_field, read_stress
from pyictp.data.raw import RawFrame
from pyictp.data.readers import EXTRAPOLATED, frames_from_atoms, read_raw
from pyictp.errors import UserError

logger = logging.getLogger("pyictp")

FAR = 1e7  # A; further off nothing is left of the digits of distances


@dataclass(frozen=True)
class Frame:
    """One structure; None for a label it does not carry."""

    atomic_numbers: IntArray  # (N,)
    positions: FloatArray  # (N, 3) [A]
    cell: FloatArray  # (3, 3) [A], zero without one
    pbc: BoolArray  # (3,)
    energy: float | None = None  # eV
    forces: FloatArray | None = None  # (N, 3) [eV/A]; rows of NaN: atoms without a label
    stress: FloatArray | None = None  # (3, 3) [eV/A^3], ASE sign
    file: str = "structure"
    index: int = 0
    group: str = ""  # config_type or group of the file
    weights: tuple[float, float, float] = NO_WEIGHTING  # of the squared errors of LABELS
    virial_stress: FloatArray | None = None  # (3, 3) [eV/A^3] of a virial beside the stress
    keys: tuple[str, ...] = ()  # of all fields in the file

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
    return [frame for frame, _ in read_with_raw(paths, config, required)]


def read_with_raw(
    paths: Sequence[str | Path | DataFile],
    config: DataConfig | None = None,
    required: Collection[str] = (),
) -> list[tuple[Frame, RawFrame]]:
    """Return the structures of several files, each with what its file says; as `read_frames`."""
    files = [file for file in map(as_data_file, paths) if file.weight > 0]
    settings = [file.own_settings(config or DataConfig()) for file in files]
    raw_frames = [read_raw(file.file, file.format, file.elements) for file in files]
    _check_keys(raw_frames, settings)
    _warn_of_lost_pbc([raw for raws in raw_frames for raw in raws])
    _say_which_energy(raw_frames, settings)
    return [
        (_convert(raw, own, required, file), raw)
        for file, own, raws in zip(files, settings, raw_frames, strict=True)
        for raw in raws
    ]


def from_atoms(
    structures: Sequence[Atoms], config: DataConfig | None = None, required: Collection[str] = ()
) -> list[Frame]:
    """Return Atoms as frames; as `read_frames`."""
    config = config or DataConfig()
    return [_convert(raw, config, required) for raw in frames_from_atoms(list(structures))]


def _check_keys(files: Sequence[Sequence[RawFrame]], settings: Sequence[DataConfig]) -> None:
    """Refuse a key that was set on purpose and is in no frame of the files it was set for."""
    searched: dict[tuple[str, str], list[RawFrame]] = {}
    for raw_frames, config in zip(files, settings, strict=True):
        for field, key in field_keys(config).items():
            if key not in (None, field_keys(DataConfig())[field]):
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


def _say_which_energy(files: Sequence[Sequence[RawFrame]], settings: Sequence[DataConfig]) -> None:
    """Warn of files with free energies and energies extrapolated to zero smearing."""
    for raw_frames, config in zip(files, settings, strict=True):
        both = [raw for raw in raw_frames if EXTRAPOLATED in raw.fields]
        if both and config.energy_key == "energy":
            logger.warning(
                "'%s': %d frames have a free energy, to which the forces belong, and an energy "
                "extrapolated to zero smearing, up to %.3g eV apart: the free energy is taken; "
                "for the other set energy_key to %s",
                both[0].file,
                len(both),
                max(abs(raw.fields["energy"] - raw.fields[EXTRAPOLATED]) for raw in both),
                EXTRAPOLATED,
            )


def _convert(
    raw: RawFrame, config: DataConfig, required: Collection[str], file: DataFile | None = None
) -> Frame:
    where = f"'{raw.file}' frame {raw.index}"
    energy_unit, length_unit, forces_unit, stress_unit = label_units(raw, config)
    num_atoms = len(raw.atomic_numbers)
    if num_atoms == 0:
        raise UserError(f"{where}: holds no atom")
    keys = field_keys(config)
    energy = read_field(raw, keys["energy"], where, [()])
    forces = read_field(raw, keys["forces"], where, [(num_atoms, 3)], gaps=config.allow_missing)
    frame = Frame(
        atomic_numbers=np.array(raw.atomic_numbers, dtype=np.int64),
        positions=finite(raw.positions, f"{where} field 'positions'") * length_unit,
        cell=finite(raw.cell, f"{where} field 'cell'") * length_unit,
        pbc=np.array(raw.pbc, dtype=bool),
        energy=None if energy is None else float(energy) * energy_unit,
        forces=None if forces is None else forces * forces_unit,
        file=raw.file,
        index=raw.index,
        group=str(raw.fields.get("config_type", raw.fields.get("group", ""))),
        weights=(file or DataFile(raw.file)).frame_weights(raw.fields, where),
        keys=tuple(sorted(raw.fields)),
    )
    _check_frame(frame)
    stress, other = read_stress(raw, keys, where, (stress_unit, energy_unit, length_unit))
    frame = replace(frame, stress=stress, virial_stress=other)
    weights = dict(zip(LABELS, frame.weights, strict=True))
    for label in LABELS if not frame.is_isolated_atom else ():
        if label in required and weights[label] > 0 and getattr(frame, label) is None:
            _refuse_missing(raw, frame, label, keys)
    return frame


def _check_frame(frame: Frame) -> None:
    unknown = (frame.atomic_numbers < 1) | (frame.atomic_numbers >= len(chemical_symbols))
    if unknown.any():
        atom = int(np.argmax(unknown))
        raise UserError(
            f"{frame.where} field 'numbers': atom {atom} has atomic number "
            f"{frame.atomic_numbers[atom]}, which is no element"
        )
    if not (np.abs(frame.positions) < FAR).all():
        raise UserError(
            f"{frame.where} field 'positions': an atom is {np.abs(frame.positions).max():.3g} A "
            f"away, expected below {FAR:g}: mend the file or data.length_unit"
        )
    if not (np.abs(frame.cell) < FAR).all():
        raise UserError(
            f"{frame.where} field 'cell': a vector is {np.abs(frame.cell).max():.3g} A long, "
            f"expected below {FAR:g}: mend the file or data.length_unit"
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


def missing_labels(frames: Sequence[Frame], config: DataConfig) -> list[tuple[str, str]]:
    """Return files and what to say of labels that none of their frames has.

    That is said where another key seems to hold them, or there are neither energies nor forces.
    """
    by_file: dict[str, list[Frame]] = {}
    for frame in frames:
        by_file.setdefault(frame.file, []).append(frame)
    return [(file, text) for file, own in by_file.items() for text in _missing(own, config)]


def _missing(frames: Sequence[Frame], config: DataConfig) -> list[str]:
    keys = sorted({key for frame in frames for key in frame.keys})
    lacking = [name for name in LABELS if all(getattr(frame, name) is None for frame in frames)]
    texts = []
    for label, key in field_keys(config).items():
        alike = [other for other in keys if _is_alike(other, label) and other != key]
        if alike and key not in keys and ("stress" if label == "virial" else label) in lacking:
            texts.append(
                f"no frame has '{key}', but there is {_listed(alike)}: if that is the {label}, "
                f"set {label}_key"
            )
    if not texts and {"energy", "forces"} <= set(lacking):
        texts.append(
            f"no frame has an energy under '{config.energy_key}' or forces under "
            f"'{config.forces_key}' (keys there: {_listed(keys)}): set energy_key and forces_key"
        )
    return texts


def _is_alike(key: str, label: str) -> bool:
    """Return whether a key seems to hold a label under another name: REF_energy, dft_force."""
    names = {"energy": {"energy", "energies"}, "forces": {"force", "forces"}}
    words = set(re.split(r"[^a-z]+", key.lower()))
    return bool(words & names.get(label, {label})) and "weight" not in words


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
