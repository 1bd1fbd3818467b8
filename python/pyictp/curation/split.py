# SPDX-License-Identifier: MIT
"""Data sets in three parts: files to train on, to validate on, to test with."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import yaml
from ase import Atoms

from pyictp.common.files import atomic_path
from pyictp.config.load import DataConfig
from pyictp.curation.loose_virials import read_with_loose_virials
from pyictp.curation.parts import (
    PARTS,
    Parts,
    is_free_atom,
    split_farthest,
    split_groups,
    split_random,
    split_sizes,
)
from pyictp.data.frames import Frame, missing_labels
from pyictp.data.magnitudes import check_labels
from pyictp.data.readers import NPZ_NAMES, RawFrame, read_raw
from pyictp.data.samples import elements_of
from pyictp.errors import UserError
from pyictp.training.prepare import check_elements

logger = logging.getLogger("pyictp")

STRESS = ("stress", "virial")  # of the frame, whatever its number of atoms
SHOWN_GROUPS = 20


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


def read_labelled(paths: Sequence[str], config: DataConfig) -> list[LabelledFrame]:
    """Return the frames of all files with all fields.

    Raises:
        UserError: as `read_frames`.
    """
    frames, _ = read_with_loose_virials(paths, config)
    check_labels(frames, (), refuse=False)
    for file, text in missing_labels(frames, config):
        logger.warning("'%s': %s", file, text)
    raw_frames = [raw for path in paths for raw in read_raw(path)]
    return [LabelledFrame(f, raw) for f, raw in zip(frames, raw_frames, strict=True)]


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
