# SPDX-License-Identifier: MIT
"""Digests that tell whether structures and labels are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from pyictp.data.frames import Frame

DECIMALS = 8  # that count; the last bits may depend on the machine


def digest(*sets: Sequence[Frame]) -> str:
    """Return the digest of all structures and labels, in order; names of files do not count."""
    whole = hashlib.sha256()
    for frames in sets:
        whole.update(f"{len(frames)} ".encode())
        for frame in frames:
            whole.update(structure_digest(frame))
            for label in (frame.energy, frame.forces, frame.stress, frame.weights):
                whole.update(b"none" if label is None else _rounded(label))
    return whole.hexdigest()[:16]


def structure_digest(frame: Frame) -> bytes:
    """Return the digest of a structure without its labels."""
    parts = (frame.atomic_numbers, frame.pbc, frame.cell, frame.positions)
    return hashlib.sha256(b"".join(map(_rounded, parts))).digest()


def _rounded(values: Any) -> bytes:
    rounded = np.round(np.asarray(values, dtype=np.float64), DECIMALS)
    return (rounded + 0.0).tobytes()  # no negative zeros
