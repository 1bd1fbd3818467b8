# SPDX-License-Identifier: MIT
"""All entries of the audit, by family: one for each kind of command that touches atoms."""

from __future__ import annotations

from audit.atoms import BONDS, CHANGE
from audit.entry import Entry
from audit.flows import FLOW, KINDS
from audit.lists import EXCLUDE, ORDER
from audit.moves import BOX, MOVE
from audit.styles import BESIDE, RUN

FAMILIES: dict[str, tuple[Entry, ...]] = {
    "Atoms move, or are held": MOVE,
    "Heat and momentum flow": FLOW,
    "The box changes": BOX,
    "Atoms come, go, or change type": CHANGE,
    "Bonds": BONDS,
    "Neighbors are taken away, lists are kept": EXCLUDE,
    "Order of atoms, processes, communication": ORDER,
    "Kinds of runs, partitions, suffixes": RUN,
    "Other styles beside the model": BESIDE,
    "Kinds of atoms": KINDS,
}
ENTRIES = tuple(entry for family in FAMILIES.values() for entry in family)
