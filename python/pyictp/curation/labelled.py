# SPDX-License-Identifier: MIT
"""Frames with all that their files say of them, and back as Atoms."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from pyictp.config.data_files import DataFile, as_data_file
from pyictp.config.load import DataConfig
from pyictp.curation.loose_virials import read_with_loose_virials
from pyictp.curation.parts import is_free_atom
from pyictp.data.frames import Frame, missing_labels, read_with_raw
from pyictp.data.magnitudes import check_labels
from pyictp.data.raw import RawFrame
from pyictp.data.readers import NPZ_NAMES, read_raw
from pyictp.errors import UserError

logger = logging.getLogger("pyictp")

STRESS = ("stress", "virial")  # of the frame, whatever its number of atoms


@dataclass(frozen=True)
class LabelledFrame:
    """A frame in eV and A, and all fields it had in its file."""

    frame: Frame
    raw: RawFrame

    def group(self, key: str | None) -> str:
        """Return the value of a field as text; None: config_type or group; "file": its file.

        Raises:
            UserError: the frame has no such field.
        """
        fields = self.raw.fields
        if key == "file":
            return self.raw.file
        if key is None and self.frame.group:
            return self.frame.group
        if key is None or key not in fields:
            wanted = f"'{key}'" if key else "'config_type' or 'group'"
            raise UserError(
                f"{self.frame.where}: no {wanted} to group by (keys there: "
                f"{', '.join(sorted(fields)) or 'none'}): set --group-key to one of them or to file"
            )
        return str(fields[key])


def read_labelled(paths: Sequence[str | DataFile], config: DataConfig) -> list[LabelledFrame]:
    """Return the frames of all files with all fields.

    Raises:
        UserError: as `read_frames`.
    """
    try:
        items = read_with_raw(paths, replace(config, allow_missing=True))
    except UserError:  # a virial without pbc is said to belong to nothing, or the reason is told
        frames, _ = read_with_loose_virials(paths, config)
        files = map(as_data_file, paths)
        raw_frames = [
            raw for file in files for raw in read_raw(file.file, file.format, file.elements)
        ]
        items = list(zip(frames, raw_frames, strict=True))
    frames = [frame for frame, _ in items]
    check_labels(frames, (), refuse=False)
    for file, text in missing_labels(frames, config):
        logger.warning("'%s': %s", file, text)
    return [LabelledFrame(frame, raw) for frame, raw in items]


def to_atoms(item: LabelledFrame, config: DataConfig) -> Atoms:
    """Return a frame with labels in eV and A under the keys of `config`, and its other fields.

    A virial becomes a stress; a free atom without config_type is marked as isolated.
    """
    frame, fields = item.frame, dict(item.raw.fields)
    fields.pop("free_energy", None)  # in the file's units; where it counts it is the energy
    labels = {config.energy_key: frame.energy, config.forces_key: frame.forces}
    if frame.stress is not None:
        labels[config.stress_key or "stress"] = frame.stress
        fields.pop(config.virial_key or "", None)
    if item.raw.layout == "npz":  # there labels go by other names as well
        for name in NPZ_NAMES["energy"] + NPZ_NAMES["forces"]:
            fields.pop(name, None)
    fields = {key: value for key, value in fields.items() if key not in labels}
    fields |= {key: value for key, value in labels.items() if value is not None}
    atoms = Atoms(frame.atomic_numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
    for key, value in fields.items():
        if isinstance(value, np.ndarray) and value.shape[:1] == (len(atoms),) and key not in STRESS:
            atoms.set_array(key, value)
        else:
            atoms.info[key] = value
    if is_free_atom(item.frame) and not frame.group:
        atoms.info["config_type"] = "isolated_atom"  # so that training takes its energy as e0
    return atoms
