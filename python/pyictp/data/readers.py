# SPDX-License-Identifier: MIT
"""Structure files as they are: every field by its name, no unit or sign touched."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
from ase import Atoms
from ase.io.extxyz import read_xyz
from ase.io.formats import UnknownFileTypeError, ioformats

from pyictp.data.foreign_formats import foreign_format, read_foreign
from pyictp.data.raw import RawFrame
from pyictp.data.xyz import check_columns, parse_comment, xyz_texts
from pyictp.errors import UserError

logger = logging.getLogger("pyictp")

# field: names it goes by in rMD17 and MD17 archives
NPZ_NAMES = {
    "numbers": ("nuclear_charges", "z"),
    "positions": ("coords", "R"),
    "energy": ("energies", "E"),
    "forces": ("forces", "F"),
}
# where a code extrapolates its energy to zero smearing, beside the free energy `energy` then is
EXTRAPOLATED = "energy_sigma_0"
SAME_ENERGY = 1e-6  # eV
ISOTOPES = ("D", "T")


def read_raw(
    path: str | Path, kind: str | None = None, elements: Sequence[str] = ()
) -> list[RawFrame]:
    """Return all structures of a file, or of a folder that dpdata reads.

    Extended XYZ, ASE databases and rMD17 npz archives are told by their names, folders and outputs
    of other codes by their content.

    Args:
        path: file or folder.
        kind: a format's name in ase.io or dpdata; None: found out.
        elements: of types that are numbered, from 0.

    Raises:
        UserError: the file is missing, empty or not readable.
    """
    path = Path(path)
    _check_file(path)
    frames: list[RawFrame] = []
    read = _reader(path, kind, elements)
    try:
        with _warnings_as_lines(path):
            for frame in read(path):
                frames.append(frame)
    except UserError:
        raise
    except UnknownFileTypeError as error:
        raise UserError(
            f"data file '{path}': expected extended XYZ, an ASE database, an rMD17 npz archive or "
            "what ase.io and dpdata know by its content, got something else: name its format"
        ) from error
    except KeyError as error:
        where = f"'{path}' frame {len(frames)}"
        raise UserError(f"cannot read {where}: {_unknown(error)}") from error
    except Exception as error:  # readers raise anything on bad input
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"cannot read '{path}' frame {len(frames)}: {reason}") from error
    if not frames:
        raise UserError(f"data file '{path}' holds no structure")
    return frames


def _check_file(path: Path) -> None:
    if not str(path).isprintable():
        raise UserError(f"data file {str(path)!a}: its name cannot be printed: rename the file")
    if path.is_dir():
        return
    if not path.is_file() and "*" in path.name:
        raise UserError(f"no data file matches '{path}'")
    if not path.is_file():
        raise UserError(
            f"data file '{path}' not found (a relative path in a configuration is looked up beside "
            "it, then in the current folder)"
        )
    if path.stat().st_size == 0:
        raise UserError(f"data file '{path}' is empty")


def _reader(
    path: Path, kind: str | None, elements: Sequence[str]
) -> Callable[[Path], Iterator[RawFrame]]:
    """Return what yields the frames of a file or folder."""
    known = None if path.is_dir() else _READERS.get(path.suffix.lower())
    if elements and known is not None:
        raise UserError(f"data file '{path}' names its elements: leave 'elements' out")
    if kind is None and known is not None:
        return known
    name = foreign_format(path) if kind is None else kind
    if name is None or (kind is not None and kind in ioformats):
        return functools.partial(_read_ase, kind=kind)
    return functools.partial(read_foreign, name=name, elements=elements)


@contextlib.contextmanager
def _warnings_as_lines(path: Path) -> Iterator[None]:
    """Say what a reader warns of once, by the file's name; not what concerns programmers."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    texts = [" ".join(str(w.message).split()) for w in caught if w.category is UserWarning]
    for text in dict.fromkeys(texts):
        logger.warning("'%s': %s", path, text)


def _unknown(error: KeyError) -> str:
    """Return what is wrong with a name that ASE does not know."""
    if error.args and str(error.args[0]) in ISOTOPES:
        return (
            f"{error} is an isotope, no element: write H (a potential does not know isotopes; "
            "give the mass where atoms move)"
        )
    return f"nothing is called {error}"


def frames_from_atoms(structures: list[Atoms], name: str = "atoms") -> list[RawFrame]:
    """Return Atoms, with the results of their calculators as labels, as raw frames."""
    return [_raw_from_atoms(name, index, atoms) for index, atoms in enumerate(structures)]


def _read_ase(path: Path, kind: str | None = None) -> Iterator[RawFrame]:
    for index, atoms in enumerate(ase.io.iread(path, index=":", format=kind)):
        yield _raw_from_atoms(str(path), index, atoms)


def _read_xyz(path: Path) -> Iterator[RawFrame]:
    """Read frame by frame, so that a broken one is known by its index."""
    with path.open(encoding="utf-8-sig") as file:  # a byte order mark is no part of the number
        for index, text in enumerate(xyz_texts(file)):
            check_columns(text)
            images = read_xyz(io.StringIO(text), index=0, properties_parser=parse_comment)
            yield _raw_from_atoms(str(path), index, next(iter(images)))
            if not text.endswith("\n"):
                logger.warning(
                    "'%s' frame %d: the file ends within a line, its last number may be cut short; "
                    "if it is whole, add the end of the line",
                    *(path, index),
                )


def _read_database(path: Path) -> Iterator[RawFrame]:
    with ase.db.connect(path, type="db") as database:
        for index, row in enumerate(database.select()):
            extra = {**row.data, **row.key_value_pairs}
            yield _raw_from_atoms(str(path), index, row.toatoms(), extra)


def _raw_from_atoms(
    file: str, index: int, atoms: Atoms, extra: Mapping[str, Any] | None = None
) -> RawFrame:
    """Gather labels from where ASE puts them: calculator results, database rows, info, arrays."""
    results = getattr(atoms.calc, "results", {}) if atoms.calc is not None else {}
    arrays = {k: v for k, v in atoms.arrays.items() if k not in ("numbers", "positions")}
    fields = {**_consistent(results), **(extra or {}), **atoms.info, **arrays}
    return RawFrame(
        file=file,
        index=index,
        atomic_numbers=atoms.numbers,
        positions=atoms.positions,
        cell=np.array(atoms.cell),
        pbc=np.array(atoms.pbc),
        fields={k: v for k, v in fields.items() if v is not None},
        layout="ase",
    )


def _consistent(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return results of a calculator with the energy that belongs to the forces.

    With smeared occupations that is the free energy; ASE's `energy` is extrapolated to none.
    """
    energy, free = results.get("energy"), results.get("free_energy")
    if energy is None or free is None or abs(energy - free) <= SAME_ENERGY:
        return dict(results)
    return {**results, "energy": free, EXTRAPOLATED: energy}


def _read_npz(path: Path) -> Iterator[RawFrame]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"cannot read '{path}': expected an npz archive of plain arrays") from error
    numbers = _npz_array(path, arrays, "numbers")
    positions = _npz_array(path, arrays, "positions")
    _check_npz(path, arrays, numbers, positions)
    labels = {k: v for k, v in arrays.items() if v.shape[:1] == positions.shape[:1]}
    for name in (*NPZ_NAMES["numbers"], *NPZ_NAMES["positions"]):
        labels.pop(name, None)
    for index, coordinates in enumerate(positions):
        fields = {key: values[index] for key, values in labels.items()}
        for field in ("energy", "forces"):  # the plain names work as well
            found = [fields[name] for name in NPZ_NAMES[field] if name in fields]
            if found:
                fields.setdefault(field, found[0])
        yield RawFrame(
            file=str(path),
            index=index,
            atomic_numbers=(numbers[index] if numbers.ndim == 2 else numbers).astype(np.int64),
            positions=coordinates.astype(np.float64),
            cell=np.zeros((3, 3)),
            pbc=np.zeros(3, dtype=bool),
            fields=fields,
            layout="npz",
        )


def _check_npz(
    path: Path, arrays: Mapping[str, np.ndarray], numbers: np.ndarray, positions: np.ndarray
) -> None:
    """Refuse arrays of other types and shapes than rMD17 has."""
    if positions.ndim != 3 or positions.shape[2] != 3:
        raise UserError(f"'{path}' coords: expected shape (K, N, 3), got {positions.shape}")
    if positions.dtype.kind not in "iuf":
        raise UserError(f"'{path}' coords: expected numbers, got type {positions.dtype}")
    if numbers.shape not in (positions.shape[1:2], positions.shape[:2]):
        raise UserError(
            f"'{path}' nuclear_charges: expected shape ({positions.shape[1]},), got {numbers.shape}"
        )
    kind = numbers.dtype.kind
    if kind not in "iuf" or (kind == "f" and (numbers != np.round(numbers)).any()):
        text = f"'{path}' nuclear_charges: expected whole numbers, got {numbers.ravel()[:3]}"
        raise UserError(text)
    for name in (*NPZ_NAMES["energy"], *NPZ_NAMES["forces"], "energy"):
        if name in arrays and arrays[name].shape[:1] != positions.shape[:1]:
            raise UserError(
                f"'{path}' {name}: expected {len(positions)} frames as in coords, got shape "
                f"{arrays[name].shape}"
            )


def _npz_array(path: Path, arrays: Mapping[str, np.ndarray], field: str) -> np.ndarray:
    for name in NPZ_NAMES[field]:
        if name in arrays:
            return arrays[name]
    raise UserError(
        f"'{path}': no array '{NPZ_NAMES[field][0]}' for {field} "
        f"(arrays there: {', '.join(arrays)}): expected the rMD17 layout"
    )


_READERS = {
    ".npz": _read_npz,
    ".db": _read_database,
    ".xyz": _read_xyz,
    ".extxyz": _read_xyz,
}
