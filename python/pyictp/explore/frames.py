# SPDX-License-Identifier: MIT
"""The labelled structures of the loop: what it began with, what each cycle added, who trains on it.

Everything is extended XYZ in eV and A under the names energy, forces and stress.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from pyictp.config.data_files import LABEL_WEIGHTS, DataFile, as_data_file
from pyictp.config.load import DataConfig
from pyictp.curation.labelled import LabelledFrame, to_atoms
from pyictp.data.frames import Frame, from_atoms, read_with_raw
from pyictp.errors import UserError


def read_sources(entries: Sequence[str | Path | DataFile], data: DataConfig) -> list[Atoms]:
    """Return the frames of data files with labels in eV and A, weights and other fields.

    Raises:
        UserError: as `read_frames`.
    """
    structures = []
    for entry in map(as_data_file, entries):
        for frame, raw in read_with_raw([entry], data):
            atoms = to_atoms(LabelledFrame(frame, raw), DataConfig())
            atoms.info.pop("config_weight", None)
            atoms.info.update(zip(LABEL_WEIGHTS, frame.weights, strict=True))
            structures.append(atoms)
    return structures


def to_frames(structures: Sequence[Atoms]) -> list[Frame]:
    """Return structures as frames with their labels."""
    return from_atoms(structures)


def split_batches(
    batches: Sequence[Sequence[Atoms]], fraction: float, seed: int, member: int
) -> tuple[list[Atoms], list[Atoms]]:
    """Return training and validation frames of one member of the committee.

    Each batch (the start, then what a cycle added) is split on its own, so a frame once held back
    from a member stays so.

    Args:
        batches: frames in the order in which they came.
        fraction: of each batch that is held back; 0 holds none back.
        seed: of the loop.
        member: each has its own.

    Raises:
        UserError: the first batch is too small to hold a frame back.
    """
    train: list[Atoms] = []
    valid: list[Atoms] = []
    for number, batch in enumerate(batches):
        free = [atoms for atoms in batch if is_free_atom(atoms)]
        others = [atoms for atoms in batch if not is_free_atom(atoms)]
        count = round(fraction * len(others))
        if number == 0 and fraction > 0:
            count = max(count, 1)
            if len(others) < 2:
                raise UserError(
                    f"data.train: expected two or more frames besides isolated atoms, one to "
                    f"validate on, got {len(others)}"
                )
        order = np.random.default_rng([seed, member, number]).permutation(len(others))
        held = set(order[:count].tolist())
        train += free + [atoms for i, atoms in enumerate(others) if i not in held]
        valid += [atoms for i, atoms in enumerate(others) if i in held]
    return train, valid


def has_labels(atoms: Atoms) -> bool:
    """Return whether a structure has energy and forces; of an isolated atom the energy does."""
    (frame,) = from_atoms([atoms])
    return frame.energy is not None and (frame.forces is not None or frame.is_isolated_atom)


def is_free_atom(atoms: Atoms) -> bool:
    """Return whether a frame is marked as an isolated atom."""
    return len(atoms) == 1 and from_atoms([atoms])[0].is_isolated_atom


def largest_force(atoms: Atoms) -> float:
    """Return the largest labelled force of an atom [eV/A]."""
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max())
