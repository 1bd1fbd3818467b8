# SPDX-License-Identifier: MIT
"""Configurations of moment tensor potentials (MLIP-2, MLIP-3): `.cfg` files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from pyictp.common.arrays import FloatArray, IntArray
from pyictp.data.raw import RawFrame
from pyictp.errors import UserError

BEGIN, END = "BEGIN_CFG", "END_CFG"
CARTESIAN = ("cartes_x", "cartes_y", "cartes_z")
DIRECT = ("direct_x", "direct_y", "direct_z")
FORCES = ("fx", "fy", "fz")
VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")

FEATURE = "Feature"
OTHER_NAMES = {"SuperCell": "Supercell", "Atomic_data:": "AtomData:"}
KNOWN = {"Size", "Supercell", "AtomData:", "Energy", "PlusStress:"}

Rows = list[list[float]]
Section = tuple[list[str], Rows]  # words of a line, and the rows of numbers below it
Found = dict[str, tuple[list[str], Rows]]


def read_mtp(path: Path, elements: Sequence[str]) -> Iterator[RawFrame]:
    """Yield the frames of a file, in eV and A; `PlusStress` [eV] is the virial, compression +.

    Args:
        path: of the file.
        elements: of types 0, 1, ..., which the file does not name.

    Raises:
        UserError: elements are not given.
        KeyError: one is none.
        ValueError: the file has another layout.

    Source:
        The reader of MLIP-2, `Configuration::Load` in its src/configuration.cpp.
    """
    if not elements:
        raise UserError(
            f"data file '{path}' numbers its elements: name them in the order of the types, by "
            "'ictp convert FILE --elements Ni Al -o frames.xyz' or, in a configuration, "
            "{file: ..., elements: [Ni, Al]}"
        )
    numbers = np.array([atomic_numbers[element] for element in elements])
    with path.open(encoding="utf-8-sig") as file:
        rows = filter(None, map(str.split, file))
        for index, words in enumerate(rows):
            if words != [BEGIN]:
                raise ValueError(f"expected {BEGIN}, got '{' '.join(words)[:60]}'")
            yield _frame(str(path), index, _sections(rows), numbers)


def _sections(rows: Iterator[list[str]]) -> list[Section]:
    found: list[Section] = []
    for words in rows:
        if words == [END]:
            return found
        if found and _is_number(words[0]):
            found[-1][1].append([float(word) for word in words])
        else:
            found.append(([OTHER_NAMES.get(words[0], words[0]), *words[1:]], []))
    raise ValueError(f"the file ends before {END}")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _frame(file: str, index: int, sections: Sequence[Section], numbers: IntArray) -> RawFrame:
    found = {words[0]: (words[1:], rows) for words, rows in sections if words[0] != FEATURE}
    unknown = found.keys() - KNOWN
    if unknown:
        raise ValueError(f"its field '{min(unknown)[:60]}' is not known")
    atoms = _atoms(found)
    types = atoms.get("type", np.zeros(1)).astype(int)
    if not ((types >= 0) & (types < len(numbers))).all():
        raise ValueError(f"it has type {types.max()}, elements are given to {len(numbers) - 1}")
    vectors = _table(found, "Supercell", 3) if "Supercell" in found else np.zeros((0, 3))
    cell = np.concatenate([vectors, np.zeros((3, 3))])[:3]
    fields: dict[str, Any] = {
        " ".join(words[1:2]): " ".join(words[2:]) for words, _ in sections if words[0] == FEATURE
    }
    if "Energy" in found:
        fields["energy"] = float(_table(found, "Energy", 1)[0, 0])
    if "PlusStress:" in found:
        virial = _columns(found, "PlusStress:")
        fields["virial"] = np.array([virial[name][0] for name in VOIGT])
    if FORCES[0] in atoms:
        fields["forces"] = np.stack([atoms[name] for name in FORCES], axis=1)
    direct = DIRECT[0] in atoms
    places = np.stack([atoms[name] for name in (DIRECT if direct else CARTESIAN)], axis=1)
    return RawFrame(
        file=file,
        index=index,
        atomic_numbers=numbers[types],
        positions=places @ cell if direct else places,
        cell=cell,
        pbc=np.arange(3) < len(vectors),
        fields=fields,
        layout="ase",
    )


def _atoms(found: Found) -> dict[str, FloatArray]:
    """Return the columns of the atoms."""
    size = int(_table(found, "Size", 1)[0, 0])
    atoms = _columns(found, "AtomData:")
    rows = len(next(iter(atoms.values())))
    if rows != size:
        raise ValueError(f"expected {size} atoms, as Size says, got {rows}")
    return atoms


def _columns(found: Found, name: str) -> dict[str, FloatArray]:
    """Return columns of numbers by the names behind a field's own."""
    names = found[name][0] if name in found else []
    return dict(zip(names, _table(found, name, len(names)).T, strict=True))


def _table(found: Found, name: str, width: int) -> FloatArray:
    """Return the rows below a field as an array (K, width), K of at least 1."""
    rows = found[name][1] if name in found else []
    if not rows or any(len(row) != width for row in rows):
        raise ValueError(f"field '{name}': expected rows of {width} numbers")
    return np.array(rows, dtype=np.float64)
