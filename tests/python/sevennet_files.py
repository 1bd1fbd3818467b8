# SPDX-License-Identifier: MIT
"""Checkpoints of SevenNet, stored compressed, and sevenn's values of them."""

from __future__ import annotations

import lzma
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "data" / "sevennet"
CASES = sorted(path.stem for path in FOLDER.glob("*.npz"))
HEADS = {"methods": "r2scan"}


def unpack(name: str, folder: Path, source: Path = FOLDER) -> Path:
    """Write the file of a case as sevenn has it; returns its path."""
    path = folder / f"{name}.pth"
    path.write_bytes(lzma.decompress((source / f"{name}.pth.xz").read_bytes()))
    return path
