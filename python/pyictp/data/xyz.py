# SPDX-License-Identifier: MIT
"""What ASE reads of extended XYZ without a word though it says two things, or none it can mean."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from ase.io.extxyz import REV_PROPERTY_NAME_MAP, key_val_str_to_dict

# where ASE turns them into what it has: T and F into 1 and 0
COLUMN_TYPES = {"symbols": "S", "numbers": "I", "positions": "RI", "forces": "RI"}
# key=value of a comment line as ASE takes it apart: values in quotes or brackets, signs
# after a backslash are as they are
_QUOTED = "|".join(
    rf"{opening}(?:\\.|[^{closing}\\])*(?:{closing}|$)"
    for opening, closing in (('"', '"'), ("'", "'"), (r"\{", r"\}"), (r"\[", r"\]"))
)
_WORD = rf"(?:\\.|{_QUOTED}|[^\s=\\\"'{{\[])+"
ENTRY = re.compile(rf"{_WORD}(?P<value>\s*=\s*(?:{_WORD})?)*", re.DOTALL)


def xyz_texts(file: Iterator[str]) -> Iterator[str]:
    """Yield the text of each frame; blank lines between frames are passed over.

    Raises:
        ValueError: no number of atoms where one must be, or fewer lines than it says.
    """
    for line in file:
        if not line.strip():
            continue
        if not line.strip().isdigit():
            raise ValueError(f"expected a line with the number of atoms, got {line.strip()!r}")
        num_lines = int(line) + 1
        lines = list(itertools.islice(file, num_lines))
        if len(lines) < num_lines:
            raise ValueError(
                f"expected {num_lines - 1} atoms, the file ends after {len(lines) - 1}"
            )
        yield "".join([line, *lines])


def check_columns(text: str) -> None:
    """Refuse a Properties entry of a frame that does not describe the lines of its atoms.

    Before ASE makes as many columns as it names, and cuts numbers to the type it has for them.

    Raises:
        ValueError: with what was expected.
    """
    _, comment, *atoms = text.split("\n", 2)
    lines = atoms[0].splitlines() if atoms else []
    found = re.search(r'(?:^|\s)Properties\s*=\s*"?([^\s"]+)', comment)
    if found is None or not lines or not lines[0].strip():
        return
    words = found.group(1).split(":")
    names, kinds, counts = words[::3], words[1::3], words[2::3]
    if len(words) % 3 or not all(count.isdigit() and int(count) > 0 for count in counts):
        raise ValueError(f"Properties: expected name:type:number, ..., got '{found.group(1)}'")
    for name, kind in zip(names, kinds, strict=True):
        right = COLUMN_TYPES.get(REV_PROPERTY_NAME_MAP.get(name, name), kind)
        if kind not in right:
            expected = " or ".join(right)
            raise ValueError(f"Properties: expected type {expected} of '{name}', got {kind}")
    widths = [int(count) for count in counts]
    total, there = sum(widths), len(lines[0].split())
    if total != there:
        raise ValueError(
            f"Properties '{found.group(1)}' are {total} columns, the first atom's line has {there}"
        )
    _check_elements(_columns(names, widths), lines)


def _columns(names: Sequence[str], widths: Sequence[int]) -> dict[str, int]:
    """Return the first column of each property by ASE's name; refuse one twice there."""
    columns: dict[str, int] = {}
    known_as: dict[str, str] = {}
    for name, end, width in zip(names, itertools.accumulate(widths), widths, strict=True):
        meaning = REV_PROPERTY_NAME_MAP.get(name, name)
        if meaning in columns:
            raise ValueError(
                f"Properties: '{known_as[meaning]}' and '{name}' are the same: keep one"
            )
        columns[meaning], known_as[meaning] = end - width, name
    return columns


def _check_elements(columns: dict[str, int], lines: Sequence[str]) -> None:
    """Refuse atoms whose symbol and atomic number are of two elements; ASE takes the number."""
    if not {"symbols", "numbers"} <= columns.keys():
        return
    for atom, words in enumerate(map(str.split, lines)):
        if len(words) > max(columns.values()):
            symbol, number = words[columns["symbols"]], words[columns["numbers"]]
            if str(atomic_numbers.get(symbol.capitalize())) != number:
                raise ValueError(
                    f"atom {atom} is '{symbol}' by its symbol and {number} by its atomic number: "
                    "mend or leave out the wrong column"
                )


def parse_comment(text: str) -> dict[str, Any]:
    """Parse the comment line; ASE takes 9 numbers for stress and virial, files have 6 as well.

    Raises:
        ValueError: a key is there twice with two values, or a value cannot be meant.
    """
    renamed = re.sub(r"(^|\s)(stress|virial)(\s*=)", r"\1\2_\3", text)
    _check_keys(renamed)
    properties = key_val_str_to_dict(renamed)
    for key in ("stress", "virial"):
        if f"{key}_" in properties:
            values = np.asarray(properties.pop(f"{key}_"))
            if values.dtype.kind not in "fiu":
                raise ValueError(f"field '{key}': expected numbers, got {values.tolist()!r}")
            properties[key] = values.reshape(3, 3) if values.size == 9 else values
    if "pbc" in properties:
        _check_pbc(properties["pbc"])
    return properties


def _check_keys(text: str) -> None:
    """Refuse a key with two values, of which ASE takes the last."""
    seen: dict[str, Any] = {}
    entries = [found[0] for found in ENTRY.finditer(text) if found["value"] is not None]
    for entry in entries:
        for key, value in key_val_str_to_dict(entry).items():
            if key in seen and not np.array_equal(seen[key], value):
                name = key.removesuffix("_") if key in ("stress_", "virial_") else key
                one, other = (np.asarray(v).tolist() for v in (seen[key], value))
                raise ValueError(f"key '{name}' is there twice, as {one} and {other}: keep one")
            seen[key] = value


def _check_pbc(value: Any) -> None:
    """Refuse what is not true or false; ASE takes any number but 0 for true."""
    values = np.asarray(value)
    if values.size not in (1, 3) or not all(v in (0, 1) for v in values.ravel().tolist()):
        raise ValueError(f"pbc: expected three of T and F, or of 1 and 0, got {values.tolist()}")
