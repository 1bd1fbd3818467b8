# SPDX-License-Identifier: MIT
"""One structure in, the same with energy, forces and perhaps stress out: the ready labellers."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.genericfileio import BaseProfile
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from pyictp.common.extxyz import load_structure, save_structures
from pyictp.data.frames import from_atoms
from pyictp.errors import UserError
from pyictp.labelling.settings import LabellerConfig

Labeller = Callable[[Atoms, Path], Atoms]  # structure, an empty folder to work in -> labelled one
FORMER = ("energy", "free_energy", "energies", "forces", "stress", "stresses", "virial")
MESSAGES = "messages.txt"  # what a labeller prints, in its folder
SAME = 1e-4  # A: how far a labeller may move atoms, by the digits of a file


def make_labeller(settings: LabellerConfig) -> Labeller:
    """Return what labels one structure, in eV, eV/A and eV/A^3.

    Raises:
        UserError: the program, calculator, function or package does not exist; from the labeller
            itself: the structure could not be labelled.
    """
    method = settings.method
    if method == "lammps":
        from pyictp.labelling.lammps_labeller import (
            lammps_labels,  # the others start without PyTorch
        )
        from pyictp.md.lammps import lammps_command

        lammps_command()  # is it there?
        return _checked(lambda atoms, folder: lammps_labels(atoms, settings, folder))
    if method == "command":
        _check_program(str(settings.command))
        return _checked(lambda atoms, folder: _run_command(atoms, settings, folder))
    if method == "function":
        function = _function(str(settings.function))
        return _checked(lambda atoms, _: function(atoms))
    calculator = make_calculator(settings)
    if type(calculator).__module__.startswith("ase."):
        calculator = None  # one for each: they remember folders and programs of the one before

    def calculate(atoms: Atoms, folder: Path) -> Atoms:
        with _in_folder(folder):
            return calculated(atoms, calculator or make_calculator(settings))

    return _checked(calculate)


def _checked(label: Labeller) -> Labeller:
    """Return a labeller whose labels are whole, finite and those of the structure given."""

    def checked(atoms: Atoms, folder: Path) -> Atoms:
        # labels that it came with would stand for those that the labeller forgets
        atoms = without_labels(atoms)
        labelled = label(atoms.copy(), folder)
        if not isinstance(labelled, Atoms):
            raise UserError(f"labeller: expected ase.Atoms back, got {type(labelled).__name__}")
        if len(labelled) != len(atoms) or (labelled.numbers != atoms.numbers).any():
            raise UserError(
                "labeller: expected the structure's own atoms in their order back, got "
                f"{labelled.get_chemical_formula()} for {atoms.get_chemical_formula()}"
            )
        if np.abs(labelled.positions - atoms.positions).max() > SAME:
            raise UserError("labeller: the atoms came back moved: expected labels, no relaxation")
        (frame,) = from_atoms([labelled])
        if frame.energy is None or frame.forces is None:
            missing = "energy" if frame.energy is None else "forces"
            raise UserError(f"labeller: no {missing} came back")
        result = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        labels: dict[str, Any] = {"energy": frame.energy, "forces": frame.forces}
        if frame.stress is not None:
            labels["stress"] = full_3x3_to_voigt_6_stress(frame.stress)
        result.calc = SinglePointCalculator(result, **labels)
        result.info = dict(atoms.info)
        return result

    return checked


def without_labels(atoms: Atoms) -> Atoms:
    """Return a structure without energy, forces and stress, wherever ASE keeps them."""
    bare = atoms.copy()  # which has no calculator
    for name in FORMER:
        bare.info.pop(name, None)
        bare.arrays.pop(name, None)
    return bare


def make_calculator(settings: LabellerConfig) -> Any:
    """Return the ASE calculator of `calculator` or `xtb`.

    Raises:
        UserError: there is no such package or calculator, or it does not start.
    """
    arguments = dict(settings.arguments or {})
    if settings.method == "xtb":
        name = "tblite.ase.TBLite"
        arguments = {"method": settings.xtb, "verbosity": 0, **arguments}
    else:
        name = str(settings.calculator)
    module, _, attribute = name.rpartition(".")
    kind = _imported(module or name, attribute, f"labeller.{settings.method}")
    try:
        if isinstance(arguments.get("profile"), Mapping):
            arguments["profile"] = _profile(kind, arguments["profile"])
        return kind(**arguments)
    except Exception as error:  # constructors raise whatever they like
        program = next(iter(str(arguments.get("command", "")).split()), "")
        missing = f" (no program '{program}' on the PATH)" if program and not which(program) else ""
        raise UserError(f"labeller: {name} does not start: {_reason(error)}{missing}") from error


def _profile(kind: Any, values: Mapping[str, Any]) -> Any:
    """Return how ASE starts the program of a calculator: command, folders."""
    found = vars(importlib.import_module(kind.__module__)).values()
    profiles = [v for v in found if isinstance(v, type) and issubclass(v, BaseProfile)]
    (profile,) = (v for v in profiles if v.__module__ == kind.__module__)
    return profile(**values)


def _function(text: str) -> Callable[[Atoms], Atoms]:
    module, _, name = text.rpartition(":")
    return _imported(module, name, "labeller.function")


def _imported(module: str, name: str, key: str) -> Any:
    """Return an attribute of a module, named with dots or by its file."""
    try:
        if module.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(module).stem, module)
            assert spec is not None
            assert spec.loader is not None
            loaded = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(loaded)
        else:
            loaded = importlib.import_module(module)
        return getattr(loaded, name)
    except ModuleNotFoundError as error:
        hint = ": pip install tblite" if error.name == "tblite" else ""
        raise UserError(f"{key}: Python package '{error.name}' not found{hint}") from error
    except AttributeError:
        raise UserError(f"{key}: '{module}' has no '{name}'") from None
    except Exception as error:  # whatever the module does when it is imported
        raise UserError(f"{key}: cannot import '{module}': {_reason(error)}") from error


@contextlib.contextmanager
def _in_folder(folder: Path) -> Iterator[None]:
    """Be where the files of a program may lie; what calculators print goes there as well."""
    with (
        (folder / MESSAGES).open("w") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
        contextlib.chdir(folder),
    ):
        yield


def calculated(atoms: Atoms, calculator: Any) -> Atoms:
    """Return a structure with the labels of a calculator, of periodic ones the stress as well.

    The energy is the one that the forces are slopes of: with smeared occupations the free energy.

    Raises:
        UserError: the calculator says that its electronic steps did not converge.
    """
    labelled = atoms.copy()
    labelled.calc = calculator
    # forces first: some programs must be asked for them, and give the energy as well
    labels = {"forces": labelled.get_forces(), "energy": labelled.get_potential_energy()}
    if getattr(calculator, "converged", True) is False:  # Vasp tells, others fail
        raise UserError("the electronic steps did not converge: more steps, or other mixing")
    free = getattr(calculator, "results", {}).get("free_energy")
    labels["energy"] = labels["energy"] if free is None else free
    if atoms.pbc.any() and atoms.cell.rank == 3:
        # not every calculator knows one; trainings that need it say so
        with contextlib.suppress(PropertyNotImplementedError):
            labels["stress"] = labelled.get_stress()
    labelled.calc = SinglePointCalculator(labelled, **labels)
    return labelled


def _check_program(command: str) -> None:
    """Refuse a command whose first word is no program; it runs in another folder than this one."""
    program = next(iter(shlex.split(command)), "")
    is_relative = "/" in program and not Path(program).is_absolute()
    if is_relative or which(program) is None:
        raise UserError(
            f"labeller.command: expected a program on the PATH, beside the configuration or with "
            f"its whole path, got '{program}', which is none: install it, or make it executable"
        )


def _run_command(atoms: Atoms, settings: LabellerConfig, folder: Path) -> Atoms:
    """Run a program that reads and writes extended XYZ; its messages go to a file beside them."""
    given, made = folder / "input.extxyz", folder / "output.extxyz"
    save_structures(given, [atoms])
    words = [
        word.replace("{input}", str(given)).replace("{output}", str(made))
        for word in shlex.split(str(settings.command))
    ]
    log = folder / MESSAGES
    try:
        with log.open("w") as file:
            done = subprocess.run(
                words,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
            )
    except OSError as error:
        raise UserError(f"labeller.command: '{words[0]}': {error.strerror}") from error
    if done.returncode != 0:
        lines = log.read_text(errors="replace").strip().splitlines()
        last = f": {lines[-1].strip()}" if lines else ""
        raise UserError(f"'{words[0]}' ended with status {done.returncode}{last}")
    if not made.is_file():
        raise UserError(f"'{words[0]}' wrote no file {{output}} ('{made.name}')")
    return load_structure(made)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
