# SPDX-License-Identifier: MIT
"""The structures that sampling starts from, and which of them its teacher cannot describe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ase import Atoms
from ase.io.formats import parse_filename

from pyictp.data.readers import RawFrame, read_raw
from pyictp.errors import UserError
from pyictp.labelling.settings import LabellerConfig
from pyictp.pretrain.settings import PretrainingConfig
from pyictp.pretrain.smiles import embed, read_smiles

CHARGE = ("charge", "total_charge")  # names of fields of a frame
UNPAIRED = ("unpaired", "spin")  # electrons
MULTIPLICITY = "multiplicity"


@dataclass(frozen=True)
class Starts:
    """What sampling starts from."""

    structures: list[Atoms]  # without labels; `info` has where each is from
    left_out: Counter[str]  # reason: structures


def read_starts(settings: PretrainingConfig, labeller: LabellerConfig) -> Starts:
    """Return the structures of all files and SMILES that the teacher can describe.

    Left out are lone atoms, a charge or unpaired electrons other than the teacher's
    (`labeller.arguments`), and for xTB an odd number of electrons.

    Raises:
        UserError: a file or SMILES cannot be read, or nothing is left.
    """
    kept: list[Atoms] = []
    left_out: Counter[str] = Counter()
    for atoms in _all(settings, left_out):
        reason = unsuitable(atoms, labeller)
        if reason is None:
            cell = atoms.cell if atoms.pbc.any() else None  # a box around a molecule means nothing
            kept.append(Atoms(atoms.numbers, atoms.positions, cell=cell, pbc=atoms.pbc))
            kept[-1].info["source"] = atoms.info["source"]
        else:
            left_out[reason] += 1
    if not kept:
        reasons = "; ".join(f"{number} {reason}" for reason, number in left_out.items())
        raise UserError(f"no structure is left to sample: {reasons}")
    return Starts(kept, left_out)


def _all(settings: PretrainingConfig, left_out: Counter[str]) -> list[Atoms]:
    found = [atoms for name in settings.structures for atoms in _read(name)]
    for smiles in read_smiles(settings.smiles):
        conformers = embed(smiles, settings.conformers, settings.seed)
        if not conformers:
            left_out["without a place for their atoms (RDKit)"] += 1
        for atoms in conformers:
            atoms.info["source"] = smiles
        found += conformers
    return found


def _read(name: str) -> list[Atoms]:
    """Return the frames that FILE, FILE@INDEX or FILE@SLICE names."""
    file, index = parse_filename(name)
    frames = read_raw(file)
    try:
        chosen = frames if index is None else frames[index]
    except (IndexError, TypeError):
        chosen = []
    chosen = [chosen] if isinstance(chosen, RawFrame) else chosen
    if not chosen:
        raise UserError(f"pretrain.structures: '{name}' names none of {len(frames)} frames")
    return [_atoms(frame) for frame in chosen]


def _atoms(frame: RawFrame) -> Atoms:
    atoms = Atoms(frame.atomic_numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
    atoms.info = {
        name: frame.fields[name]
        for name in (*CHARGE, *UNPAIRED, MULTIPLICITY)
        if name in frame.fields
    }
    atoms.info["source"] = f"{frame.file.rsplit('/', 1)[-1]}:{frame.index}"
    return atoms


def unsuitable(atoms: Atoms, labeller: LabellerConfig) -> str | None:
    """Return why the teacher cannot describe a structure; None where it can."""
    if len(atoms) < 2 and not atoms.pbc.any():
        return "lone atoms"
    arguments = labeller.arguments or {}
    charge = _number(atoms.info, CHARGE, 0)
    if charge != _number(arguments, ("charge",), 0):
        return "with another charge than the teacher's"
    wanted = _number(arguments, (MULTIPLICITY,), 1) - 1
    given = _number(atoms.info, (MULTIPLICITY,), 1 + _number(atoms.info, UNPAIRED, wanted)) - 1
    is_odd = (int(atoms.numbers.sum()) - charge - wanted) % 2 == 1
    if given != wanted or (labeller.method == "xtb" and is_odd):
        return "with unpaired electrons that the teacher does not have"
    return None


def _number(values: Mapping[str, Any], names: tuple[str, ...], default: int) -> int:
    """Return the first of some fields, as a whole number."""
    found = next((values[name] for name in names if values.get(name) is not None), default)
    try:
        return round(float(found))
    except (TypeError, ValueError):
        raise UserError(f"field '{names[0]}': expected a whole number, got {found!r}") from None
