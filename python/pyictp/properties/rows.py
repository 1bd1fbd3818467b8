# SPDX-License-Identifier: MIT
"""The numbers of each property, as rows of a table and curves for pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.units import invcm, kg, m

from pyictp.common.arrays import FloatArray
from pyictp.properties import (
    crystals,
    defects,
    expansion,
    lattice_dynamics,
    melting,
    molecules,
    stability,
)
from pyictp.properties.dynamics import driver_of

R_MAX = 6.0  # A, of the curves of two atoms
DENSITY = 1000 * kg / m**3  # g/cm^3


@dataclass(frozen=True)
class Row:
    """A number for people."""

    title: str
    unit: str
    value: float | None  # None: there is none, `text` says why
    text: str = ""  # in place of the number, or a warning behind it


@dataclass
class Measured:
    """What one potential says of a structure."""

    name: str
    rows: list[Row] = dataclasses.field(default_factory=list)
    curves: dict[str, Any] = dataclasses.field(default_factory=dict)  # for pictures, by property

    def values(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        curves = {
            name: [_plain(one) for one in value] if isinstance(value, list) else _plain(value)
            for name, value in self.curves.items()
        }
        rows = {row.title: {"value": row.value, "unit": row.unit} for row in self.rows}
        texts = {row.title: row.text for row in self.rows if row.text}
        return {"name": self.name, "values": rows, "notes": texts, "curves": curves}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(one) for name, one in vars(value).items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    return value


def _cell(found: Measured, atoms: Atoms) -> None:
    lengths, angles = atoms.cell.lengths(), atoms.cell.angles()
    add = found.rows.append
    for letter, length in zip("abc", lengths, strict=True):
        if letter == "a" or abs(length - lengths[0]) > 1e-4 * length:
            add(Row(letter, "A", float(length)))
    for letter, angle in zip(("alpha", "beta", "gamma"), angles, strict=True):
        if abs(angle - 90) > 1e-3:
            add(Row(letter, "degree", float(angle)))
    add(Row("energy", "eV/atom", float(atoms.get_potential_energy() / len(atoms))))
    add(Row("density", "g/cm^3", float(atoms.get_masses().sum() / atoms.get_volume() / DENSITY)))
    add(Row("space group", "", None, crystals.space_group(atoms)))


def _eos(found: Measured, atoms: Atoms) -> None:
    state = crystals.equation_of_state(atoms)
    found.curves["eos"] = state
    found.rows += state_rows(state)


def state_rows(state: crystals.StateEquation) -> list[Row]:
    """Return the numbers of an equation of state."""
    return [
        Row("volume at zero pressure", "A^3/atom", float(state.volume)),
        Row("bulk modulus, of energies", "GPa", float(state.bulk_modulus)),
        Row("its derivative by pressure", "", state.derivative),
    ]


def _elastic(found: Measured, atoms: Atoms) -> None:
    constants = crystals.elastic_constants(atoms)
    found.curves["elastic"] = constants
    large = 1e-3 * np.abs(constants).max() + 0.05
    shown: list[float] = []
    for i in range(6):
        for j in range(i, 6):
            value = float(constants[i, j])
            # by symmetry many are the same: C11 = C22
            if abs(value) > large and all(abs(value - other) > large for other in shown):
                shown.append(value)
                found.rows.append(Row(f"C{i + 1}{j + 1}", "GPa", value))
    averages = crystals.moduli(constants)
    warning = "" if averages.stable else "unstable: a strain lowers the energy"
    found.rows += [
        Row("bulk modulus", "GPa", averages.bulk, warning),
        Row("shear modulus", "GPa", averages.shear),
        Row("Young's modulus", "GPa", averages.young),
        Row("Poisson's ratio", "", averages.poisson),
    ]


def _phonons(found: Measured, atoms: Atoms) -> None:
    result = lattice_dynamics.phonons(atoms)
    found.curves["phonons"] = result
    for point, frequencies in result.points.items():
        found.rows.append(
            Row(f"highest frequency at {point}", "THz", round(float(frequencies.max()), 4))
        )
    unstable = result.lowest < -lattice_dynamics.ZERO
    warning = "imaginary: the crystal is no minimum" if unstable else ""
    found.rows += [
        Row("lowest frequency", "THz", round(result.lowest, 4) + 0.0, warning),
        Row("zero-point energy", "meV/atom", 1e3 * result.zero_point),
        Row("heat capacity at 300 K", "k_B/atom", result.heat_capacity),
    ]


def _expansion(found: Measured, atoms: Atoms) -> None:
    result = expansion.thermal_expansion(atoms)
    found.curves["expansion"] = result
    volume, linear, modulus = result.at(lattice_dynamics.TEMPERATURE)
    few = f"{result.left_out} volumes with imaginary modes left out" if result.left_out else ""
    found.rows += [
        Row("volume at 300 K", "A^3/atom", volume, few),
        Row("linear expansion at 300 K", "1e-6/K", 1e6 * linear),
        Row("bulk modulus at 300 K", "GPa", modulus),
    ]


def _melting(found: Measured, atoms: Atoms, folder: Path, say: Callable[[str], None]) -> None:
    guess = melting.lindemann(atoms)
    driver = driver_of(found.name, atoms, folder)
    result = melting.melting_point(atoms, driver, guess, folder, say=say)
    found.curves["melting"] = result
    told = "between runs that froze and melted"
    if not result.bracketed:
        told = f"{100 * result.share:.0f} % of them crystal"
    found.rows += [
        Row("melting point", "K", result.temperature, f"{result.atoms} atoms, {told}"),
        Row("its error", "K", result.error),
    ]


def _stability(found: Measured, atoms: Atoms, folder: Path, say: Callable[[str], None]) -> None:
    driver = driver_of(found.name, atoms, folder)
    say(f"{found.name}: heating to {stability.HOT:g} K")
    hot = stability.heating(atoms, driver, folder / "heating")
    found.curves["stability"] = {"heating": hot}
    found.rows += _ramp_rows("heated", "K", hot)
    found.rows.append(Row("energy drift on the way", "meV/atom/ps", hot.drift))
    if atoms.pbc.all():
        say(f"{found.name}: compression to {stability.PEAK:g} GPa")
        dense = stability.compression(atoms, driver, folder / "compression")
        found.curves["stability"]["compression"] = dense
        found.rows += _ramp_rows("compressed", "GPa", dense)


def _ramp_rows(what: str, unit: str, ramp: stability.Ramp) -> list[Row]:
    end = f"broke: {ramp.broke}" if ramp.broke else "held to the end"
    learned = "atoms as far apart as in the data" if ramp.close is None else ""
    return [
        Row(f"{what} to", unit, ramp.reached, end),
        Row(f"closer than data, {what}", unit, ramp.close, learned),
    ]


def _vacancy(found: Measured, atoms: Atoms) -> None:
    if len(set(atoms.symbols)) > 1:
        text = "none: of a compound it depends on what the atom goes into"
        found.rows.append(Row("vacancy energy", "eV", None, text))
        return
    found.rows.append(Row("vacancy energy", "eV", defects.vacancy_energy(atoms)))


def _surfaces(found: Measured, atoms: Atoms) -> None:
    lengths, angles = atoms.cell.lengths(), atoms.cell.angles()
    cubic = np.ptp(lengths) < 1e-3 and np.abs(angles - 90).max() < 0.01
    if len(set(atoms.symbols)) > 1 or not cubic:
        text = "none: only faces of cubic crystals of one element"
        found.rows.append(Row("surface energies", "J/m^2", None, text))
        return
    energies = defects.surface_energies(atoms)
    found.rows += [Row(f"surface {face}", "J/m^2", value) for face, value in energies.items()]


def diatomics(found: Measured, elements: Sequence[str], model: Calculator) -> None:
    """Add the curves of pairs of atoms alone."""
    curves = molecules.diatomics(elements, model, R_MAX)
    found.curves["diatomics"] = curves
    for curve in curves:
        notes = [] if curve.length else ["not bound"]
        if curve.hole is not None:
            notes.append(f"hole: energies fall below {curve.hole:.2f} A")
        found.rows.append(Row(f"{curve.pair} alone, bond", "A", curve.length, "; ".join(notes)))
        if curve.length:
            found.rows.append(Row(f"{curve.pair} alone, depth", "eV", curve.depth))


def _geometry(found: Measured, atoms: Atoms) -> None:
    found.rows.append(Row("energy", "eV", float(atoms.get_potential_energy())))
    distances = atoms.get_all_distances()
    for i, j in zip(*np.triu_indices(len(atoms), 1), strict=True):
        pair = f"{atoms.symbols[i]}{i}-{atoms.symbols[j]}{j}"
        radii = molecules.covalent_radii[atoms.numbers[[i, j]]].sum()
        if distances[i, j] < molecules.BONDED * radii and len(atoms) <= molecules.FEW:
            found.rows.append(Row(f"bond {pair}", "A", float(distances[i, j])))


def _vibrations(found: Measured, atoms: Atoms) -> None:
    numbers: FloatArray = molecules.vibrations(atoms)
    found.curves["vibrations"] = numbers
    linear = len(atoms) < 3 or bool(np.sort(atoms.get_moments_of_inertia())[0] < 1e-3)
    order = np.argsort(np.abs(numbers))[(3 if len(atoms) == 1 else 5 if linear else 6) :]
    inner = np.sort(numbers[order])
    if not len(inner):
        found.rows.append(Row("vibrations", "1/cm", None, "none: a lone atom"))
        return
    warning = "imaginary: no minimum" if inner[0] < 0 else ""
    found.rows += [
        Row("lowest vibration", "1/cm", float(inner[0]), warning),
        Row("highest vibration", "1/cm", float(inner[-1])),
        Row("zero-point energy", "meV", float(500 * np.clip(inner, 0, None).sum() * invcm)),
    ]


Step = Callable[[Measured, Atoms], None]
CRYSTALS: dict[str, Step] = {
    "cell": _cell,
    "eos": _eos,
    "elastic": _elastic,
    "phonons": _phonons,
    "vacancy": _vacancy,
    "surfaces": _surfaces,
    "expansion": _expansion,
}
Run = Callable[[Measured, Atoms, Path, Callable[[str], None]], None]
RUNS: dict[str, Run] = {"melting": _melting, "stability": _stability}
MOLECULES: dict[str, Step] = {"geometry": _geometry, "vibrations": _vibrations}
