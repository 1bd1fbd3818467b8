# SPDX-License-Identifier: MIT
"""All properties of a structure by one potential: what is asked for, in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator

from pyictp.errors import UserError
from pyictp.labelling.labellers import make_calculator
from pyictp.labelling.settings import LabellerConfig, Xtb
from pyictp.potential.calculator import ICTPCalculator
from pyictp.properties import crystals, molecules
from pyictp.properties.rows import CRYSTALS, MOLECULES, RUNS, Measured, Row, diatomics

OF_CRYSTALS = (
    *("cell", "eos", "elastic", "phonons", "vacancy", "surfaces", "diatomics"),
    *("expansion", "melting", "stability"),
)
ON_REQUEST = ("expansion", "melting", "stability")  # minutes: measured where it is asked for
OF_MOLECULES = ("geometry", "vibrations", "diatomics", "stability")
OF_ATOMS = ("diatomics", "stability")  # of the structure as it is, or of its elements
XTB = ("GFN2-xTB", "GFN1-xTB")


def calculator(text: str, closest: str = "warn") -> Calculator:
    """Return the calculator of a model file, of an xTB method, or of a dotted name.

    Raises:
        UserError: nothing of this, or a model that is float32 for good.
    """
    if text in XTB:
        return make_calculator(LabellerConfig(xtb=cast("Xtb", text)))
    if not is_model(text):
        return make_calculator(LabellerConfig(calculator=text))
    return ICTPCalculator(text, dtype="float64", closest=closest)


def is_model(text: str) -> bool:
    """Return whether a name is that of a model, not of an xTB method or a dotted one."""
    dotted = "." in text and "/" not in text and not text.endswith(".pt")
    return text not in XTB and (Path(text).exists() or not dotted)


def choose(atoms: Atoms, asked: Sequence[str]) -> tuple[str, ...]:
    """Return the properties to measure, in their order: those asked for, or all that are quick.

    Raises:
        UserError: a property is none of this kind of structure.
    """
    if atoms.pbc.any() and not atoms.pbc.all():
        raise UserError(
            "properties are those of crystals (periodic all around) and of molecules (nowhere): "
            f"expected one of them, got pbc {' '.join('FT'[int(p)] for p in atoms.pbc)}"
        )
    possible = OF_CRYSTALS if atoms.pbc.all() else OF_MOLECULES
    for name in asked:
        if name not in possible:
            kind = "crystal" if atoms.pbc.all() else "molecule"
            raise UserError(f"--of {name}: a {kind} has {', '.join(possible)}")
    return tuple(n for n in possible if n in asked or not (asked or n in ON_REQUEST))


def measure(
    atoms: Atoms,
    name: str,
    asked: Sequence[str],
    say: Callable[[str], None] = lambda _: None,
    folder: Path = Path("properties"),
) -> Measured:
    """Return what one potential says.

    Args:
        atoms: crystal or molecule.
        name: of the potential, as `calculator` takes it.
        asked: of `choose`.
        say: told what begins.
        folder: of the runs of LAMMPS, in folders by their names.

    Raises:
        UserError: the potential cannot be loaded or has no energy; forces do not become small.
    """
    try:
        return _measure(atoms, name, asked, say, folder)
    except CalculationFailed as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{name} has no energy of a structure on the way: {reason}") from error


def _measure(
    atoms: Atoms, name: str, asked: Sequence[str], say: Callable[[str], None], folder: Path
) -> Measured:
    found = Measured(name)
    crystal = bool(atoms.pbc.all())
    steps = CRYSTALS if crystal else MOLECULES
    rest = atoms
    if any(one not in OF_ATOMS for one in asked):
        say(f"{name}: {'cell' if crystal else 'geometry'}")
        relax = crystals.relaxed if crystal else molecules.relaxed_molecule
        rest = relax(atoms, calculator(name))
    for property_name in asked:
        if property_name not in ("cell", "geometry"):
            say(f"{name}: {property_name}")
        if property_name == "diatomics" and name in XTB:
            text = "none: xTB finds no wave function of many lone pairs"
            found.rows.append(Row("pairs of atoms alone", "", None, text))
        elif property_name == "diatomics":
            diatomics(found, sorted(set(atoms.symbols)), calculator(name, closest="ignore"))
        elif property_name in RUNS and not is_model(name):
            text = "none: LAMMPS runs models of this package only"
            found.rows.append(Row(property_name, "", None, text))
        elif property_name in RUNS:
            RUNS[property_name](found, rest, folder / property_name, say)
        else:
            steps[property_name](found, rest)
    return found
