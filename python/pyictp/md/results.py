# SPDX-License-Identifier: MIT
"""What came out of a run: summary.json, tables, pictures, from the files LAMMPS left."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write

from pyictp.md import analysis, pictures
from pyictp.md.averages import energy_drift, time_average
from pyictp.md.lammps import read_frames, read_thermo
from pyictp.md.settings import SAMPLED, Settings
from pyictp.md.structure import Placed

SKIPPED = 0.2  # of a run, before averages
SKIPPED_OF_RAMP = 0.9  # where the temperature changes, its end is what counts
SECONDS_PER_DAY = 86400
CM3_PER_MOL = 0.602214076  # of 1 A^3 per particle
MOST_DRAWN = 5000  # atoms in a picture: more are a blot and take a minute
LEAST_INDEPENDENT = 3  # samples, below which a spread is not known
OUTPUTS = (  # of LAMMPS and of this module: what --overwrite removes
    *("log.lammps", "trajectory.lammpstrj", "final.lammpstrj", "final.data", "final.extxyz"),
    *("summary.json", "thermo.png", "minimize.png", "rdf.png", "rdf.csv", "msd.png", "msd.csv"),
    "structure.png",
)


def analyse(folder: Path, settings: Settings, placed: Placed) -> dict[str, Any]:
    """Return the numbers of a run, whole or cut short; write tables, pictures, final.extxyz.

    Raises:
        UserError: LAMMPS left no thermo table.
    """
    thermo = read_thermo(folder / "log.lammps")
    steps, frames = read_frames(folder / "trajectory.lammpstrj")
    num_atoms = _count(settings, placed)
    done = int(thermo["Step"][-1])
    result: dict[str, Any] = {"atoms": num_atoms, "steps_done": done}
    if settings.minimizes:
        result |= _minimization(folder, thermo, num_atoms)
    else:
        skipped = SKIPPED_OF_RAMP if settings.ensemble == "anneal" else SKIPPED
        result |= _dynamics(folder, settings, placed, thermo, skipped)
        kept = slice(int(skipped * len(frames)), None)
        mobile = np.tile(~placed.fixed, num_atoms // len(placed.fixed))
        result |= _structure(folder, steps[kept] * settings.timestep, frames[kept], mobile)
    if settings.uncertainty:
        result |= _uncertainty(settings, thermo)
    final = folder / "final.lammpstrj"
    last = read_frames(final)[1] if final.exists() else frames
    if last:
        end = placed.back(last[-1], settings.repeat)
        write(folder / "final.extxyz", end)
        if num_atoms <= MOST_DRAWN:
            start = placed.original.repeat(settings.repeat)
            pictures.draw_structures(folder / "structure.png", {"start": start, "end": end})
    return result | _speed(settings, thermo, num_atoms)


def _count(settings: Settings, placed: Placed) -> int:
    return len(placed.atoms) * int(np.prod(settings.repeat))


def _minimization(folder: Path, thermo: Mapping[str, np.ndarray], num_atoms: int) -> dict[str, Any]:
    pictures.draw_minimization(folder / "minimize.png", thermo, num_atoms)
    found = re.findall(r"Stopping criterion = (.*)", (folder / "log.lammps").read_text())
    return {
        "energy_start_eV": float(thermo["PotEng"][0]),
        "energy_end_eV": float(thermo["PotEng"][-1]),
        "max_force_component_eV_per_A": float(thermo["Fmax"][-1]),
        "stopped_by": found[-1] if found else None,
    }


def _dynamics(
    folder: Path,
    settings: Settings,
    placed: Placed,
    thermo: Mapping[str, np.ndarray],
    skipped: float,
) -> dict[str, Any]:
    num_atoms = _count(settings, placed)
    periodic = bool(placed.atoms.pbc.all())
    target = None
    if settings.ensemble != "nve":
        ends = (settings.temperature, settings.to_temperature)
        target = np.interp(thermo["Step"], (0, settings.steps), ends)
    pictures.draw_dynamics(folder / "thermo.png", thermo, num_atoms, periodic, target)
    kept = slice(int(skipped * len(thermo["Step"])), None)
    result: dict[str, Any] = {
        "time_ps": float(thermo["Time"][-1]),
        "temperature_K": _average(thermo["Temp"][kept]),
        "potential_energy_eV": _average(thermo["PotEng"][kept]),
        "total_energy_eV": _average(thermo["TotEng"][kept]),
    }
    if periodic:
        result["pressure_bar"] = _average(thermo["Press"][kept])
        result["volume_A3"] = _average(thermo["Volume"][kept])
        mass = placed.atoms.get_masses().sum() * np.prod(settings.repeat)  # g/mol
        result["density_g_per_cm3"] = _average(mass / thermo["Volume"][kept] / CM3_PER_MOL)
    for name, repeat in zip("abc", settings.repeat, strict=True):
        if settings.pressure is not None:
            result[f"cell_{name}_A"] = _average(thermo[f"Cell{name}"][kept] / repeat)
    if settings.ensemble == "nve" and len(thermo["Time"]) > 2:
        drift = energy_drift(thermo["Time"], thermo["TotEng"], num_atoms)
        result["energy_drift_meV_per_atom_per_ps"] = drift
    return result


def _average(values: np.ndarray) -> dict[str, float | None]:
    if len(values) < 10:
        return {"mean": float(values.mean()), "error": None}
    average = time_average(values)
    known = average.independent >= LEAST_INDEPENDENT
    return {"mean": average.mean, "error": average.error if known else None}


def _uncertainty(settings: Settings, thermo: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the largest samples; rows between two samples repeat the first."""
    result = {}
    for name in settings.samples:
        values = thermo[SAMPLED[name]]
        row = int(np.argmax(values))
        result[f"largest_{name}"] = {"value": float(values[row]), "step": int(thermo["Step"][row])}
    return result


def _structure(
    folder: Path, times: np.ndarray, frames: list[Atoms], mobile: np.ndarray
) -> dict[str, Any]:
    """Return peaks of g(r) and, of mobile atoms (N,), diffusion coefficients; write curves."""
    result: dict[str, Any] = {}
    if frames and frames[0].pbc.all() and len(frames[0]) > 1:
        r, g = analysis.radial_distributions(frames)
        pictures.draw_distributions(folder / "rdf.png", r, g)
        _write_table(folder / "rdf.csv", {"r_A": r, **g})
        highest = {pair: int(np.argmax(values)) for pair, values in g.items()}
        result["rdf_highest"] = {
            pair: {"r_A": float(r[index]), "g": float(g[pair][index])}
            for pair, index in highest.items()
        }
    if len(frames) > 2 and len(frames[0]) > 1:
        positions = np.array([frame.positions[mobile] for frame in frames])
        moving = frames[0][mobile]
        masses = moving.get_masses() if mobile.all() else None
        lags, msd = analysis.mean_square_displacements(
            times, positions, moving.get_chemical_symbols(), masses
        )
        pictures.draw_displacements(folder / "msd.png", lags, msd)
        _write_table(folder / "msd.csv", {"lag_ps": lags, **msd})
        result["diffusion"] = {element: _diffusion(lags, msd[element]) for element in msd}
    return result


def _diffusion(lags: np.ndarray, msd: np.ndarray) -> dict[str, Any]:
    found = analysis.diffusion(lags, msd)
    return {"cm2_per_s": found.coefficient, **({"why": found.why} if found.why else {})}


def _write_table(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            table.writerow([f"{value:.6g}" for value in row])


def _speed(
    settings: Settings, thermo: Mapping[str, np.ndarray], num_atoms: int
) -> dict[str, float | None]:
    seconds, steps = float(thermo["CPU"][-1]), float(thermo["Step"][-1] - thermo["Step"][0])
    if not seconds or not steps:
        return {"us_per_atom_and_step": None}
    speed: dict[str, float | None] = {"us_per_atom_and_step": 1e6 * seconds / steps / num_atoms}
    if settings.minimizes:
        return speed
    return speed | {"ns_per_day": steps * settings.timestep / 1000 / seconds * SECONDS_PER_DAY}
