# SPDX-License-Identifier: MIT
"""The section `labeller` of a configuration: which method labels structures."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pyictp.config.load import find_file
from pyictp.config.reader import Count, Positive, check_fields
from pyictp.errors import UserError

Xtb = Literal["GFN2-xTB", "GFN1-xTB", "IPEA1-xTB"]  # what tblite has
METHODS = ("lammps", "calculator", "xtb", "command", "function")  # of labels
# what makes a labeller another one; how many processes it has does not
WHO = (*METHODS, "arguments", "elements", "units")


@dataclass(frozen=True)
class LabellerConfig:
    """The section `labeller`: where energies and forces come from; one of the first five."""

    lammps: tuple[str, ...] = ()  # lines: pair_style ..., pair_coeff ...
    calculator: str | None = None  # dotted name of an ASE calculator: ase.calculators.emt.EMT
    xtb: Xtb | None = None  # by the package tblite
    command: str | None = None  # program with {input} and {output}, extended XYZ files
    function: str | None = None  # module:name or file.py:name; takes Atoms, returns them labelled
    arguments: Mapping[str, Any] | None = None  # keywords of the calculator
    elements: tuple[str, ...] = ()  # of lammps: types 1, 2, ...; may be left out for one element
    units: Literal["metal", "real"] = "metal"  # of lammps
    processes: Count = 1  # structures labelled at a time
    slurm: str | None = None  # file: #SBATCH lines and modules of a job; each structure is one
    wait: bool = True  # for jobs of Slurm; false: end, the same command collects them later
    timeout: Positive | None = None  # [minutes] for one structure; null: no limit

    @property
    def method(self) -> str:
        """Return which of METHODS is set."""
        return next(name for name in METHODS if getattr(self, name))

    def __post_init__(self) -> None:
        """Refuse two labellers, and options of another one."""
        given = [name for name in METHODS if getattr(self, name)]
        if len(given) > 1:
            raise UserError(f"labeller: {' and '.join(given)} are given: expected one of them")
        check_fields(self, "labeller")
        if self.arguments and given and given[0] not in ("calculator", "xtb"):
            raise UserError("labeller.arguments are for a calculator or xtb")
        if self.slurm and self.timeout:
            raise UserError(
                "labeller.timeout: the time of a job is in labeller.slurm (#SBATCH --time): leave "
                "it out"
            )


def find_words(labeller: LabellerConfig, folder: Path) -> LabellerConfig:
    """Return a labeller with the whole paths of those of its words that are files.

    Raises:
        UserError: the command is no line of words, the function no module:name, there is no such
            file for Slurm.
    """
    slurm = labeller.slurm and find_file(labeller.slurm, folder)
    if labeller.slurm and not (slurm and Path(slurm).is_file()):
        raise UserError(
            f"labeller.slurm: '{labeller.slurm}' not found: expected a file with the #SBATCH lines "
            "of a job"
        )
    return dataclasses.replace(
        labeller,
        lammps=tuple(_find_in_line(line, folder) for line in labeller.lammps),
        command=_find_words(labeller.command, folder),
        function=_find_function(labeller.function, folder),
        arguments=_find_arguments(labeller.arguments, folder),
        slurm=slurm,
    )


def _find_in_line(line: str, folder: Path) -> str:
    """Return a LAMMPS command with the whole paths of those of its words that are files."""
    words = []
    for word in line.split():
        found = find_file(word, folder)
        if found is None or not Path(found).is_file():
            words.append(word)
        else:
            words.append(_quoted(found))
    return " ".join(words)


def _quoted(word: str) -> str:
    """Return a word so that LAMMPS takes it as it is: blanks, #, $ and & mean nothing in quotes."""
    if not set(word) & set(" \t#$&\"'"):
        return word
    return next(mark + word + mark for mark in ('"', "'", '"""') if mark not in word)


def _find_words(command: str | None, folder: Path) -> str | None:
    """Return a command line with the whole paths of those of its words that are files."""
    if command is None:
        return None
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UserError(f"labeller.command: '{command}' is no line of words: {error}") from None
    places = [(folder / word, Path(word)) for word in words]
    found = [next((place for place in two if place.is_file()), None) for two in places]
    # links stay: the python of a virtual environment is one
    return shlex.join(str(f.absolute()) if f else w for f, w in zip(found, words, strict=True))


def _find_arguments(value: Any, folder: Path) -> Any:
    """Return keywords with the whole paths of what is there; a path is a word with a slash."""
    if isinstance(value, Mapping):
        return {key: _find_arguments(item, folder) for key, item in value.items()}
    if isinstance(value, str) and "/" in value and len(value.split()) == 1:
        return find_file(value, folder) or value
    return value


def _find_function(text: str | None, folder: Path) -> str | None:
    if text is None:
        return None
    module, colon, name = text.rpartition(":")
    if not (colon and module and name.isidentifier()):
        raise UserError(f"labeller.function: expected module:name or file.py:name, got '{text}'")
    return f"{find_file(module, folder) or module}:{name}"
