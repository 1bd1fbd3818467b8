# SPDX-License-Identifier: MIT
"""A labeller as a calculator of ASE, for work that needs forces step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from pyictp.labelling.labellers import Labeller, make_calculator, make_labeller
from pyictp.labelling.settings import LabellerConfig


def make_teacher(
    settings: LabellerConfig, folder: Path, asked: Callable[[], None] | None = None
) -> Any:
    """Return a calculator with the labels of a labeller.

    Calculators and xTB are what they are, potentials of LAMMPS run in one LAMMPS that stays; a
    command or function is called for every structure.

    Args:
        settings: of the labeller.
        folder: empty, for commands to work in.
        asked: called whenever a structure has been calculated.

    Raises:
        UserError: the labeller does not start.
    """
    if settings.method in ("calculator", "xtb"):
        teacher = make_calculator(settings)
    elif settings.method == "lammps":
        from pyictp.labelling.lammps_teacher import LAMMPSTeacher

        teacher = LAMMPSTeacher(settings)
    else:
        teacher = _Called(make_labeller(settings), folder)
    if asked is not None:
        _tell(teacher, asked)
    return teacher


def _tell(teacher: Any, asked: Callable[[], None]) -> None:
    calculate = teacher.calculate

    def calculate_and_tell(*arguments: Any, **keywords: Any) -> None:
        calculate(*arguments, **keywords)
        asked()

    teacher.calculate = calculate_and_tell


class _Called(Calculator):
    """Labels of whatever labels one structure at a time."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012 (ASE's own way)

    def __init__(self, labeller: Labeller, folder: Path) -> None:
        super().__init__()
        self.labeller, self.folder = labeller, folder

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Label a structure."""
        super().calculate(atoms, properties, system_changes)
        self.results = dict(self.labeller(self.atoms, self.folder).calc.results)
