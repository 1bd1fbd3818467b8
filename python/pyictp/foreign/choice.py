# SPDX-License-Identifier: MIT
"""What of a file is taken: one of its heads, the elements that are kept, a charge and a spin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ase.data import chemical_symbols
from torch import Tensor

from pyictp.errors import UserError
from pyictp.foreign.pickles import Record
from pyictp.foreign.records import get, kind, tensor


@dataclass(frozen=True)
class Choice:
    """What of a file is taken: one head, and some of its elements."""

    head: int
    head_name: str
    heads: tuple[str, ...]
    all_elements: tuple[str, ...]
    species: tuple[int, ...]  # of those kept, in the file
    state: Mapping[str, int] = field(default_factory=dict)  # charge and spin, if it sees them

    @property
    def elements(self) -> tuple[str, ...]:
        """Return the elements kept, in the order of the file."""
        return tuple(self.all_elements[i] for i in self.species)


def choose(model: Record, head: str | None, elements: Sequence[str] | None) -> Choice:
    """Return which head and elements of a MACE file are taken.

    Raises:
        UserError: there are several heads and none is named, or it has not what is named.
    """
    heads = get(model, "heads", None) or ["Default"]
    if not all(isinstance(name, str) for name in heads):
        raise UserError("its heads are no names: the file is damaged")
    numbers = [int(z) for z in tensor(model, "atomic_numbers").tolist()]
    return choice_of(heads, numbers, head, elements)


def choice_of(
    heads: Sequence[str], numbers: Sequence[int], head: str | None, elements: Sequence[str] | None
) -> Choice:
    """Return which of some heads and elements are taken.

    Args:
        heads: that a file has.
        numbers: atomic numbers that it knows.
        head: None where there is one.
        elements: those to keep; None: all.

    Raises:
        UserError: there are several heads and none is named, or it has not what is named.
    """
    if head is None and len(heads) > 1:
        raise UserError(f"it has several heads: choose one with --head: {', '.join(heads)}")
    if head is not None and head not in heads:
        raise UserError(f"it has no head '{head}': expected one of {', '.join(heads)}")
    if not numbers or not all(0 < z < len(chemical_symbols) for z in numbers):
        raise UserError("its atomic numbers are none: the file is damaged")
    known = tuple(chemical_symbols[z] for z in numbers)
    missing = [element for element in elements or () if element not in known]
    if missing:
        raise UserError(f"--elements {missing[0]}: it knows only {' '.join(known)}")
    species = tuple(i for i, e in enumerate(known) if elements is None or e in elements)
    name = heads[0] if head is None else head
    return Choice(heads.index(name), name, tuple(heads), known, species)


def atomic_energies(model: Record, choice: Choice) -> Tensor:
    """Return the energies of lone atoms of the head, (S,) float64 [eV]."""
    energies = tensor(get(model, "atomic_energies_fn"), "atomic_energies")
    rows = energies.reshape(-1, len(choice.all_elements))
    return rows[choice.head if len(rows) > 1 else 0][list(choice.species)]


def scale_and_shift(model: Record, choice: Choice) -> tuple[float, float]:
    """Return factor and shift [eV] of the head; plain MACE has 1 and 0."""
    if kind(model) == "MACE":
        return 1.0, 0.0
    values = [tensor(get(model, "scale_shift"), name).flatten() for name in ("scale", "shift")]
    scale, shift = (v[choice.head if len(v) > 1 else 0].item() for v in values)
    return scale, shift
