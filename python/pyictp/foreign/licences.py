# SPDX-License-Identifier: MIT
"""Licences of released models, by the names of their files; weights carry none inside."""

from __future__ import annotations

ACADEMIC = (
    "{name} is under the Academic Software License (ASL, github.com/gabor1/ASL): no commercial "
    "use; what is made of it is bound by it too"
)
MIT = "{name} is under the MIT licence: keep its notice, and cite its authors"
MATERIALS_PROJECT = MIT + "; its training data are the Materials Project's (CC BY 4.0)"
UNKNOWN = (
    "with {count} elements this looks like a foundation model; its licence is not in the "
    "file: see where it came from, some forbid commercial use (ASL)"
)

# lower-case beginnings of file names as released; the first that fits
RELEASED = (
    ("2023-12-10-mace-128-l0", "MACE-MP-0a small", MIT),
    ("2023-12-03-mace-128-l1", "MACE-MP-0a medium", MIT),
    ("2024-01-07-mace-128-l2", "MACE-MP-0a large", MIT),
    ("mace_mptrj_2022.9", "MACE-MP-0a large", MIT),
    ("mace_agnesi_", "MACE-MP-0b", MIT),
    ("mace-small-density-agnesi", "MACE-MP-0b2 small", MIT),
    ("mace-medium-density-agnesi", "MACE-MP-0b2 medium", MIT),
    ("mace-large-density-agnesi", "MACE-MP-0b2 large", MIT),
    ("mace-mp-0b3", "MACE-MP-0b3", MIT),
    ("mace-mpa-0", "MACE-MPA-0", MIT),
    ("mace-omat-0", "MACE-OMAT-0", ACADEMIC),
    ("mace-matpes-", "MACE-MATPES", ACADEMIC),
    ("mace-mh-", "MACE-MH", ACADEMIC),
    ("mace-off2", "MACE-OFF", ACADEMIC),
    ("mace-omol-", "MACE-OMOL", ACADEMIC),
    ("checkpoint_sevennet_0", "SevenNet-0", MATERIALS_PROJECT),
    ("checkpoint_l3i5", "SevenNet-l3i5", MATERIALS_PROJECT),
    ("checkpoint_sevennet_mf_0", "SevenNet-MF-0", MATERIALS_PROJECT),
)
MANY_ELEMENTS = 40  # more than anybody trains for one material


def licence_notice(file_name: str, num_elements: int) -> str | None:
    """Return a line on the licence of a released model, None where the file looks like none.

    Args:
        file_name: as released, in any case; downloads of ASE's calculators drop separators.
        num_elements: that the file knows.
    """
    found = _simple(file_name)
    for start, name, text in RELEASED:
        if found.startswith(_simple(start)):
            return text.format(name=name)
    return UNKNOWN.format(count=num_elements) if num_elements > MANY_ELEMENTS else None


def _simple(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())
