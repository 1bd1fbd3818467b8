# SPDX-License-Identifier: MIT
"""Data sets in three parts: files to train on, to validate on, to test with."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase.io
import yaml

from pyictp.common.files import atomic_path
from pyictp.config.load import DataConfig
from pyictp.curation.labelled import LabelledFrame, to_atoms
from pyictp.curation.parts import (
    PARTS,
    Parts,
    is_free_atom,
    split_farthest,
    split_groups,
    split_random,
    split_sizes,
)
from pyictp.data.samples import elements_of
from pyictp.errors import UserError
from pyictp.training.prepare import check_elements

logger = logging.getLogger("pyictp")

SHOWN_GROUPS = 20


def choose_parts(
    items: Sequence[LabelledFrame],
    wanted: Mapping[str, str | None],
    method: str,
    seed: int,
    group_key: str | None,
) -> Parts:
    """Return the indices of the frames of each part; free atoms are training frames.

    Args:
        items: labelled frames.
        wanted: by part a number, a fraction or None, as `split_sizes` has them.
        method: random, group or farthest.
        seed: of the draws.
        group_key: of method group, as `LabelledFrame.group` has it.

    Raises:
        UserError: the numbers asked for are impossible, or a frame has no group.
    """
    free = [index for index, item in enumerate(items) if is_free_atom(item.frame)]
    others = [index for index, item in enumerate(items) if not is_free_atom(item.frame)]
    sizes = split_sizes(len(others), wanted)
    if method == "random":
        parts = split_random(len(others), sizes, seed)
    elif method == "farthest":
        parts = split_farthest([items[i].frame for i in others], sizes, seed)
    else:
        parts = split_groups([items[i].group(group_key) for i in others], sizes, seed)
    chosen = {part: [others[i] for i in indices] for part, indices in parts.items()}
    return {**chosen, "train": sorted(free + chosen["train"])}


def check_parts(items: Sequence[LabelledFrame], parts: Parts) -> None:
    """Refuse parts with an element that no training frame has.

    Raises:
        UserError: there is one.
    """
    chosen = {part: [items[i].frame for i in indices] for part, indices in parts.items()}
    trained = elements_of([f for f in chosen.pop("train") if not is_free_atom(f)])
    check_elements(trained, {f"--{part}": frames for part, frames in chosen.items()})


def write_parts(
    items: Sequence[LabelledFrame], parts: Parts, folder: Path, config: DataConfig, overwrite: bool
) -> dict[str, Path]:
    """Write one extended XYZ file per part that has frames; return the files by part.

    With `overwrite` files of parts that are empty now are removed: they may hold frames that
    are in another part.

    Raises:
        UserError: a file is there and may not be replaced, or is one of those read.
    """
    files = {part: folder / f"{part}.extxyz" for part in PARTS}
    read = {Path(item.frame.file).resolve() for item in items}
    for path in files.values():
        if path.resolve() in read:
            raise UserError(f"'{path}' is read and would be replaced: choose another folder for -o")
        if path.exists() and not overwrite:
            raise UserError(f"'{path}' is there already: choose another folder or add --overwrite")
    folder.mkdir(parents=True, exist_ok=True)
    for part, path in files.items():
        if parts[part]:
            structures = [to_atoms(items[index], config) for index in parts[part]]
            with atomic_path(path) as temporary:
                ase.io.write(temporary, structures, format="extxyz")
        else:
            path.unlink(missing_ok=True)
    return {part: path for part, path in files.items() if parts[part]}


def report(
    items: Sequence[LabelledFrame], parts: Parts, files: dict[str, Path], key: str | None
) -> str:
    """Return numbers of frames by part and group as lines for people."""
    lines = []
    for part, path in files.items():
        free = sum(is_free_atom(items[index].frame) for index in parts[part])
        extra = f", {free} of them free atoms" if free else ""
        lines.append(f"{part:<6}{len(parts[part]):>7} frames  {path}{extra}")
    num_unused = len(items) - sum(map(len, parts.values()))
    if num_unused:
        lines.append(f"{'unused':<6}{num_unused:>7} frames")
    table = count_groups(items, parts, key)
    if any(table):
        lines.append("frames by group:")
        names = list(table)[:SHOWN_GROUPS]
        width = max(len(name) for name in names)
        for name in names:
            counts = [
                f"{part} {table[name][part]}" for part in (*PARTS, "unused") if table[name][part]
            ]
            lines.append(f"  {name or '(none)':<{width}}  {', '.join(counts)}")
        if len(table) > len(names):
            lines.append(f"  and {len(table) - len(names)} more groups")
    return "\n".join(lines)


def count_groups(
    items: Sequence[LabelledFrame], parts: Parts, key: str | None
) -> dict[str, Counter[str]]:
    """Return {group: {part: frames}}, "unused" one of the parts; "" is no group."""
    used = {index: part for part, indices in parts.items() for index in indices}
    groups = [
        item.group(key) if key and not is_free_atom(item.frame) else item.frame.group
        for item in items
    ]
    table: dict[str, Counter[str]] = {group: Counter() for group in sorted(set(groups))}
    for index, group in enumerate(groups):
        table[group][used.get(index, "unused")] += 1
    return table


def data_section(files: dict[str, Path], config: DataConfig) -> str:
    """Return the lines of a configuration that train on the files."""
    keys = {name: getattr(config, name) for name in ("energy_key", "forces_key", "stress_key")}
    section: dict[str, Any] = {part: [str(files[part])] for part in ("train", "valid")}
    section |= {k: value for k, value in keys.items() if value != getattr(DataConfig(), k)}
    lines = yaml.safe_dump(section, sort_keys=False, default_flow_style=None, width=10_000)
    return "data:\n" + "".join(f"  {line}\n" for line in lines.splitlines())
