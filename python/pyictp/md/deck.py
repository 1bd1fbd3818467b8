# SPDX-License-Identifier: MIT
"""The LAMMPS input of a run, to read, to change and to run again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jinja2

from pyictp import __version__
from pyictp.common.arrays import IntArray
from pyictp.md.settings import BAROSTAT, THERMOSTAT, Settings

RANGES = 10  # on a line of the deck
PLAIN = " ._-+@:,=()[]"  # in comments, besides letters and digits
LONGEST = 80  # text of a user in a comment
TITLES = {
    "nve": "Constant energy",
    "nvt": "Constant temperature",
    "npt": "Constant temperature and pressure",
    "minimize": "Minimization of the energy, in the box as it is",
    "anneal": "A temperature that changes linearly",
}


def render(
    settings: Settings,
    elements: Sequence[str],
    boundary: str,
    structure: str,
    fixed: Sequence[int] | IntArray = (),
) -> str:
    """Return the text of `in.lammps`.

    Args:
        settings: of the run.
        elements: of LAMMPS types 1, 2, ...
        boundary: the words after `boundary`.
        structure: where the atoms come from, for a comment.
        fixed: indices of atoms that stay where they are, in ascending order.
    """
    values = deck_values(settings, elements, boundary, structure, fixed)
    return templates("pyictp.md").get_template("in.lammps.j2").render(values)


def templates(*packages: str) -> jinja2.Environment:
    """Return what renders the templates of some packages."""
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package) for package in packages]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def deck_values(
    settings: Settings,
    elements: Sequence[str],
    boundary: str,
    structure: str,
    fixed: Sequence[int] | IntArray = (),
) -> dict[str, Any]:
    """Return what the template calls by name; arguments as `render`."""
    return {
        "title": TITLES[settings.ensemble],
        "command": "ictp md",
        "where": "all it reads is in this folder.",
        "version": __version__,
        "run": settings,
        "columns": settings.columns,
        "model": "model.pt",
        "elements": " ".join(elements),
        "types": ", ".join(f"{kind} {element}" for kind, element in enumerate(elements, start=1)),
        "boundary": boundary,
        "structure": comment(structure),
        "fixed": _id_ranges(fixed),
        "thermostat": THERMOSTAT,
        "barostat": BAROSTAT,
    }


def comment(text: str) -> str:
    """Return a user's text as LAMMPS can have it in a comment: one short line of plain characters.

    Line ends, quotes, $, & and # mean something to LAMMPS wherever they are.
    """
    plain = "".join(c if c.isascii() and (c.isalnum() or c in PLAIN) else "?" for c in text)
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 3]}..."


def _id_ranges(indices: Sequence[int] | IntArray) -> list[str]:
    """Return ascending indices as words of `group ID id`, such as 1:4 7, some on each line."""
    ranges: list[list[int]] = []
    for number in (int(index) + 1 for index in indices):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    words = [f"{first}:{last}" if last > first else str(first) for first, last in ranges]
    return [" ".join(words[i : i + RANGES]) for i in range(0, len(words), RANGES)]
