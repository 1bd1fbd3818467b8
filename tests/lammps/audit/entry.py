# SPDX-License-Identifier: MIT
"""What an entry of the audit is: a deck, what shall change in it, and the verdict expected."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MODEL = "pair_style ictp device cpu\npair_coeff * * {model} Ta V W"


class Verdict(StrEnum):
    """What becomes of a deck."""

    EXACT = "exact"  # energy, forces, virial of every step are those of the whole cell; no warning
    WARNED = "warned"  # they are not, and a warning says so
    REFUSED = "refused"  # the pair style ends the run; what came before was exact
    LAMMPS = "LAMMPS refuses"  # LAMMPS ends the run itself; what came before was exact


@dataclass(frozen=True)
class Entry:
    """A deck, and what is expected of it.

    The lines follow the potential and `velocity all create 5000`. A line may name {model} and
    {folder}, where the deck runs.
    """

    name: str
    lines: str
    changes: str = "positions"  # of: positions number types bonds box flip charges; must be
    verdict: Verdict = Verdict.EXACT
    text: str = ""  # of the warning or error
    start: str = "bulk"  # in starts.py
    units: str = "metal"
    pair: str = MODEL
    before: str = "atom_modify map array"  # lines before the box
    without: str = ""  # group of atoms that the model is not to see
    arguments: tuple[str, ...] = ()  # of the command line
    processes: tuple[int, ...] = (1, 3)
    scale: float = 1.0  # of the model, by hybrid/scaled or units; 0: switched off
    lennard_jones: tuple[tuple[int, int], ...] = ()  # types between which lj/cut acts too
    has_bonds: bool = True  # harmonic, where there are bonds; else of bond_style zero
    has_pure_forces: bool = True  # no: the fix pushes before any other fix, the recorder too
    each_run: bool = False  # look after every `run`, for what calls no fix (rRESPA)

    @property
    def elements(self) -> list[str]:
        """Return the element, or NULL, of each atom type, from the pair_coeff line of the model."""
        for line in self.pair.splitlines():
            if "{model}" in line:
                return line.split("{model}")[1].split()
        raise ValueError(f"{self.name}: no pair_coeff with a model")
