# SPDX-License-Identifier: MIT
"""Structures and labels of any readable files in one extended XYZ file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import ase.io

from pyictp.common.files import atomic_path
from pyictp.config.data_files import LABELS
from pyictp.config.load import DataConfig
from pyictp.curation.labelled import LabelledFrame, to_atoms
from pyictp.data.readers import EXTRAPOLATED
from pyictp.errors import UserError


def write_frames(
    items: Sequence[LabelledFrame], path: Path, config: DataConfig, overwrite: bool
) -> None:
    """Write frames, labels in eV and A under the keys of `config`.

    Raises:
        UserError: the file is there and may not be replaced, or is one of those read; it cannot be
            written.
    """
    if path.suffix not in (".xyz", ".extxyz"):
        raise UserError(f"'{path}': expected a name that ends in .xyz or .extxyz")
    if path.resolve() in {Path(item.frame.file).resolve() for item in items}:
        raise UserError(f"'{path}' is read and would be replaced: choose another name")
    if path.exists() and not overwrite:
        raise UserError(f"'{path}' is there already: choose another name or add --overwrite")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        ase.io.write(temporary, [to_atoms(item, config) for item in items], format="extxyz")


def describe_files(items: Sequence[LabelledFrame]) -> list[str]:
    """Return a line on each file: how many frames, with which labels."""
    by_file: dict[str, list[LabelledFrame]] = {}
    for item in items:
        by_file.setdefault(item.frame.file, []).append(item)
    return [f"'{file}': {_labels(own)}" for file, own in by_file.items()]


def _labels(items: Sequence[LabelledFrame]) -> str:
    """Return the number of frames, and of those with each label where some lack it."""
    found = Counter(
        label for item in items for label in LABELS if getattr(item.frame, label) is not None
    )
    words = []
    for label in LABELS:
        few = f" of {found[label]}" if found[label] < len(items) else ""
        is_free = label == "energy" and any(EXTRAPOLATED in item.raw.fields for item in items)
        if found[label]:
            words.append(f"{label}{' (the free energy, of the forces)' if is_free else ''}{few}")
    return f"{len(items)} frames, {', '.join(words) or 'no labels'}"
