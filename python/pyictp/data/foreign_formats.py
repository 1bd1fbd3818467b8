# SPDX-License-Identifier: MIT
"""Data of other codes that ase.io does not read: deepmd-kit, ABACUS, CP2K, MTP."""

from __future__ import annotations

import contextlib
import importlib.util
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from pyictp.data.mtp import BEGIN, read_mtp
from pyictp.data.raw import RawFrame
from pyictp.errors import UserError

HEAD = 20_000  # bytes of a file that are looked at
INSTALL = "dpdata, which reads it, is not installed: pip install 'pair_ictp[formats]'"
OUTPUTS = ("vasprun.xml", "OUTCAR")  # what a folder of VASP has: ase.io reads the file


MTP = "mtp"  # which dpdata does not know


def foreign_format(path: Path) -> str | None:
    """Return dpdata's name for what is at a path, by its content, or MTP; None: nothing known.

    Raises:
        UserError: a folder of no known kind.
    """
    if path.is_dir():
        return _of_folder(path)
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head.split(maxsplit=1)[:1] == [BEGIN.encode()]:
        return MTP
    return "cp2k/output" if b" CP2K| " in head else None


def _of_folder(path: Path) -> str:
    if (path / "type.raw").is_file():
        if any(path.glob("set.*/real_atom_types.npy")):
            return "deepmd/npy/mixed"
        return "deepmd/npy" if any(path.glob("set.*")) else "deepmd/raw"
    if any(path.glob("OUT.*")) and (path / "INPUT").is_file():
        text = (path / "INPUT").read_text(errors="replace")
        found = re.search(r"^\s*calculation\s+(\S+)", text, re.MULTILINE)
        kind = found[1].lower() if found else "scf"
        return f"abacus/{'relax' if kind == 'cell-relax' else kind}"
    if any(path.glob("*-pos-*.xyz")):
        return "cp2k/aimd_output"
    there = [name for name in OUTPUTS if (path / name).is_file()]
    hint = f": give '{path / there[0]}'" if there else ""
    raise UserError(
        f"data file '{path}' is a folder: expected a file of structures, or a folder of deepmd-kit "
        f"(type.raw), ABACUS (INPUT, OUT.*) or CP2K dynamics (*-pos-*.xyz, *.log){hint}"
    )


def read_foreign(path: Path, name: str, elements: Sequence[str]) -> Iterator[RawFrame]:
    """Yield the frames of a file or folder, in eV and A.

    Args:
        path: file or folder.
        name: dpdata's name of its format, or MTP.
        elements: of types that are numbered, from 0.

    Raises:
        UserError: dpdata is not installed; it does not know the format; types without elements.
    """
    if name == MTP:
        yield from read_mtp(path, elements)
        return
    if importlib.util.find_spec("dpdata") is None:
        raise UserError(f"data file '{path}' is {name}: {INSTALL}")
    import dpdata
    from dpdata.format import Format

    if name not in Format.get_formats():
        raise UserError(f"data file '{path}', format '{name}': expected a name of ase.io or dpdata")
    with contextlib.redirect_stdout(None):  # some of its readers print
        if name.endswith("/mixed"):
            found = dpdata.MultiSystems()
            found.load_systems_from_file(str(path), fmt=name)
            systems = list(found.systems.values())
        else:
            systems = [dpdata.LabeledSystem(str(path), fmt=name)]
    index = 0
    for system in systems:
        for frame in range(len(system)):
            yield _raw(path, index, system.data, frame, elements)
            index += 1


def _raw(
    path: Path, index: int, data: dict[str, Any], frame: int, elements: Sequence[str]
) -> RawFrame:
    """Return one frame of a labelled system of dpdata."""
    names = [_named(str(name), elements) for name in data["atom_names"]]
    numbers = np.array([_atomic_number(path, name) for name in names])
    is_free = bool(data.get("nopbc", False))
    fields: dict[str, Any] = {"energy": float(data["energies"][frame])}
    for ours, theirs in (("forces", "forces"), ("virial", "virials")):
        if theirs in data and not (ours == "virial" and is_free):
            fields[ours] = np.asarray(data[theirs][frame])
    return RawFrame(
        file=str(path),
        index=index,
        atomic_numbers=numbers[data["atom_types"]],
        positions=np.asarray(data["coords"][frame]),
        cell=np.zeros((3, 3)) if is_free else np.asarray(data["cells"][frame]),
        pbc=np.full(3, not is_free),
        fields=fields,
        layout="ase",
    )


def _named(name: str, elements: Sequence[str]) -> str:
    """Return the element of a type that dpdata calls Type_0, Type_1, ... for want of a name."""
    found = re.fullmatch(r"Type_(\d+)", name)
    return elements[int(found[1])] if found and int(found[1]) < len(elements) else name


def _atomic_number(path: Path, name: str) -> int:
    """Return the atomic number of a name such as Fe or Fe1, as CP2K numbers its kinds."""
    symbol = re.sub(r"[\d_]+$", "", name)
    if name.lower().startswith("type_") or symbol not in atomic_numbers:
        raise UserError(
            f"data file '{path}': its atoms are of type '{name}', which is no element: name them "
            "in the order of the types in a type_map.raw beside type.raw, by ictp convert "
            "--elements, or by 'elements' in a configuration"
        )
    return atomic_numbers[symbol]
