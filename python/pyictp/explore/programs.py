# SPDX-License-Identifier: MIT
"""Configurations to begin with, for programs of density functional theory."""

from __future__ import annotations

from typing import NamedTuple

from pyictp.md.deck import templates


class Program(NamedTuple):
    """A program that labels."""

    title: str
    has_stress: bool


PROGRAMS = {
    "vasp": Program("VASP", True),
    "espresso": Program("Quantum ESPRESSO", True),
    "cp2k": Program("CP2K", True),
    "orca": Program("ORCA, for molecules", False),
}


def configuration(name: str) -> str:
    """Return a configuration of `ictp explore` with one of `PROGRAMS`, for people to change."""
    template = templates("pyictp.explore").get_template("dft.yaml.j2")
    return template.render(name=name, **PROGRAMS[name]._asdict())
