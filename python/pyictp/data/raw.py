# SPDX-License-Identifier: MIT
"""One structure of a file as it is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class RawFrame:
    """One structure of a file, in the file's own units."""

    file: str
    index: int
    atomic_numbers: np.ndarray  # (N,)
    positions: np.ndarray  # (N, 3)
    cell: np.ndarray  # (3, 3)
    pbc: np.ndarray  # (3,)
    fields: Mapping[str, Any]  # labels and whatever else the frame carries
    layout: str  # "ase" or "npz"
