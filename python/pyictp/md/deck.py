# SPDX-License-Identifier: MIT
"""The LAMMPS input of a run, to read, to change and to run again."""

from __future__ import annotations

from collections.abc import Sequence

import jinja2

from pyictp import __version__
from pyictp.md.settings import BAROSTAT, THERMOSTAT, Settings

TITLES = {
    "nve": "Constant energy",
    "nvt": "Constant temperature",
    "npt": "Constant temperature and pressure",
    "minimize": "Minimization of the energy, in the box as it is",
    "anneal": "A temperature that changes linearly",
}


def render(settings: Settings, elements: Sequence[str], boundary: str, structure: str) -> str:
    """Return the text of `in.lammps`.

    Args:
        settings: of the run.
        elements: of LAMMPS types 1, 2, ...
        boundary: the words after `boundary`.
        structure: where the atoms come from, for a comment.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pyictp.md"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("in.lammps.j2").render(
        title=TITLES[settings.ensemble],
        version=__version__,
        run=settings,
        elements=" ".join(elements),
        types=", ".join(f"{kind} {element}" for kind, element in enumerate(elements, start=1)),
        boundary=boundary,
        structure=structure,
        thermostat=THERMOSTAT,
        barostat=BAROSTAT,
    )
