# SPDX-License-Identifier: MIT
"""The demo's report: goals, numbers and pictures in one HTML file that needs only a browser."""

from __future__ import annotations

import base64
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from ase import Atoms
from ase.io import read

import pyictp
from pyictp.common.drawing import save
from pyictp.demo import alloy, figures
from pyictp.demo.runs import TIME_STEP
from pyictp.md.analysis import radial_distributions
from pyictp.md.averages import Average, energy_drift, time_average
from pyictp.md.lammps import read_frames, read_thermo, seconds_per_step
from pyictp.training.run_folder import RunFolder

if TYPE_CHECKING:
    from pyictp.demo.label import Sampling
    from pyictp.demo.runs import Dynamics

NAMES = ("teacher", "ictp")
FORCE_GOAL = 60.0  # meV/A
DRIFT_GOAL = 0.1  # meV/atom/ps
LATTICE_GOAL = 0.3  # %
RDF_BINS = 140


def collect(
    output: Path,
    dynamics: Dynamics,
    sampling: Sampling,
    seconds: Mapping[str, float],
    commands: Sequence[str],
) -> dict[str, Any]:
    """Return everything the report shows, and draw its pictures in `output`/pictures.

    Args:
        output: folder of the demo, all stages but the report done.
        dynamics: sizes of the LAMMPS runs.
        sampling: how the data were made.
        seconds: {stage: time} so far.
        commands: `ictp` commands as run.
    """
    nve, npt = read_nve(output, dynamics), read_npt(output, dynamics)
    held_out = json.loads((output / "test.json").read_text())
    numbers = {
        "held_out": held_out,
        "nve": {
            key: nve[key]
            for key in (
                "force_rmse",
                "force_rms",
                "energy_rmse",
                "by_element",
                "drift",
                "rdf_rmse",
                "us_per_atom_step",
            )
        },
        "lattice_parameters": {name: [vars(value) for value in npt[name]] for name in NAMES},
        "temperatures": list(dynamics.npt_temperatures),
        "seconds": dict(seconds),
    }
    return {
        "numbers": numbers,
        "goals": goals(nve, npt),
        "table": table(nve, npt, dynamics),
        "held_out": held_out,
        "nve": nve,
        "pictures": draw(output, nve, npt, dynamics),
        "data": describe_data(output, sampling),
        "dynamics": dynamics,
        "time_step_fs": 1000 * TIME_STEP,
        "seconds": seconds,
        "commands": list(commands),
        "versions": versions(),
        "teacher": {"name": alloy.TEACHER_NAME, "source": alloy.TEACHER_SOURCE},
        "decks": sorted(path.parent.name for path in output.glob("lammps/*/in.lmp")),
    }


def read_nve(output: Path, dynamics: Dynamics) -> dict[str, Any]:
    """Return the constant-energy runs: drift, radial distribution, forces against the teacher's."""
    result: dict[str, Any] = {
        "times": {},
        "energies": {},
        "drift": {},
        "g": {},
        "us_per_atom_step": {},
    }
    num_atoms = 4 * dynamics.nve_repeat**3
    frames: dict[str, list[Atoms]] = {}
    for name in NAMES:
        folder = output / "lammps" / f"{name}-nve"
        thermo = read_thermo(folder / "log.lammps")
        times = result["times"][name] = TIME_STEP * thermo["Step"]
        energies = result["energies"][name] = thermo["TotEng"]
        result["drift"][name] = energy_drift(times, energies, num_atoms)
        result["us_per_atom_step"][name] = 1e6 * seconds_per_step(folder / "log.lammps") / num_atoms
        _, frames[name] = read_frames(folder / "nve.dump")
        result["r"], result["g"][name] = radial_distribution(frames[name])
    again = output / "lammps" / "teacher-rerun"
    forces, reference = forces_of(frames["ictp"]), forces_of(read_frames(again / "rerun.dump")[1])
    symbols = np.array(frames["ictp"][0].get_chemical_symbols())
    energies = read_thermo(output / "lammps" / "ictp-nve" / "log.lammps")["PotEng"]
    teacher_energies = read_thermo(again / "log.lammps")["PotEng"]
    return result | {
        "num_atoms": num_atoms,
        "frames": frames["ictp"],
        "forces": forces,
        "reference": reference,
        "force_rmse": 1000 * rmse(forces, reference),
        "force_rms": 1000 * rmse(reference, np.zeros(1)),
        "by_element": {
            element: 1000 * rmse(forces[:, symbols == element], reference[:, symbols == element])
            for element in alloy.ELEMENTS
        },
        "energy_rmse": 1000 * rmse(energies, teacher_energies) / num_atoms,
        "rdf_rmse": rmse(result["g"]["ictp"], result["g"]["teacher"]),
    }


def radial_distribution(frames: Sequence[Atoms]) -> tuple[np.ndarray, np.ndarray]:
    """Return bin centers [A] and g(r) of all pairs, whatever their elements."""
    alike = [Atoms(["X"] * len(f), f.positions, cell=f.cell, pbc=True) for f in frames]
    r_max = 0.499 * min(frame.cell.lengths().min() for frame in frames)
    r, g = radial_distributions(alike, r_max, RDF_BINS)
    return r, g["X-X"]


def forces_of(frames: Sequence[Atoms]) -> np.ndarray:
    """Return forces (T, N, 3) [eV/A]."""
    return np.array([frame.get_forces() for frame in frames])


def rmse(values: np.ndarray, reference: np.ndarray) -> float:
    """Return the root mean square difference over all components."""
    return float(np.sqrt(np.mean((values - reference) ** 2)))


def read_npt(output: Path, dynamics: Dynamics) -> dict[str, list[Average]]:
    """Return the lattice parameter [A] at constant pressure, {name: one per temperature}."""
    values: dict[str, list[Average]] = {}
    for name in NAMES:
        for temperature in dynamics.npt_temperatures:
            log = output / "lammps" / f"{name}-npt-{temperature:.0f}K" / "log.lammps"
            lengths = read_thermo(log)["Lx"] / dynamics.npt_repeat
            values.setdefault(name, []).append(time_average(lengths))
    return values


def lattice_deviations(npt: Mapping[str, Sequence[Average]]) -> list[float]:
    """Return ictp's deviation from the teacher's lattice parameter at each temperature [%]."""
    return [
        100 * (mine.mean / its.mean - 1)
        for mine, its in zip(npt["ictp"], npt["teacher"], strict=True)
    ]


def goals(nve: Mapping[str, Any], npt: Mapping[str, Sequence[Average]]) -> list[dict[str, Any]]:
    """Return what the demo promises and whether it was met."""
    drift, deviation = abs(nve["drift"]["ictp"]), max(map(abs, lattice_deviations(npt)))
    rows = (
        ("force RMSE on the ictp trajectory", nve["force_rmse"], FORCE_GOAL, "meV/Å", ".1f"),
        ("energy drift (NVE)", drift, DRIFT_GOAL, "meV/atom/ps", ".4f"),
        ("lattice parameter, largest deviation", deviation, LATTICE_GOAL, "%", ".3f"),
    )
    return [
        {
            "title": title,
            "goal": f"< {goal:g} {unit}",
            "measured": f"{value:{form}} {unit}",
            "met": bool(value < goal),
        }
        for title, value, goal, unit, form in rows
    ]


def table(
    nve: Mapping[str, Any], npt: Mapping[str, Sequence[Average]], dynamics: Dynamics
) -> list[dict[str, str]]:
    """Return the rows teacher against ictp."""
    rows = [{"title": "", "teacher": "teacher", "ictp": "ictp"}]
    rows.append(
        {"title": "energy drift [meV/atom/ps]"}
        | {name: f"{nve['drift'][name]:+.4f}" for name in NAMES}
    )
    peak = {name: nve["r"][np.argmax(nve["g"][name])] for name in NAMES}
    rows.append({"title": "first peak of g(r) [Å]"} | {name: f"{peak[name]:.2f}" for name in NAMES})
    rows.append(
        {"title": "height of the first peak"}
        | {name: f"{nve['g'][name].max():.2f}" for name in NAMES}
    )
    for index, temperature in enumerate(dynamics.npt_temperatures):
        averages = {name: npt[name][index] for name in NAMES}
        cells = {name: f"{value.mean:.4f} ± {value.error:.4f}" for name, value in averages.items()}
        rows.append({"title": f"lattice parameter {temperature:.0f} K [Å]"} | cells)
    rows.append(
        {"title": "time per atom and step [µs]"}
        | {name: f"{nve['us_per_atom_step'][name]:.0f}" for name in NAMES}
    )
    return rows


def draw(
    output: Path, nve: Mapping[str, Any], npt: Mapping[str, Sequence[Average]], dynamics: Dynamics
) -> dict[str, str]:
    """Draw the pictures; returns {name: data URI}, those of training and evaluation included."""
    last, folder = nve["frames"][-1], output / "pictures"
    folder.mkdir(exist_ok=True)
    symbols = last.get_chemical_symbols()
    drawn = {
        "crystal": figures.crystal(last),
        "forces": figures.force_parity(nve["forces"], nve["reference"], symbols),
        "drift": figures.energy_drift(nve["times"], nve["energies"], nve["num_atoms"]),
        "rdf": figures.radial_distributions(nve["r"], nve["g"]),
        "lattice": figures.lattice_parameters(dynamics.npt_temperatures, npt),
        "learning": figures.learning_curve(RunFolder(output / "training").read_rows()),
    }
    paths = {name: folder / f"{name}.png" for name in drawn}
    for name, figure in drawn.items():
        save(figure, paths[name])
    paths["parity"] = output / "test.png"
    return {name: data_uri(path) for name, path in paths.items()}


def data_uri(path: Path) -> str:
    """Return a PNG as text that an HTML page can hold."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def describe_data(output: Path, sampling: Sampling) -> dict[str, Any]:
    """Return what the labelled sets hold."""
    sets = {}
    for split, num_cells in sampling.num_cells:
        frames = read(output / "data" / f"{split}.xyz", ":")
        forces = np.concatenate([frame.get_forces() for frame in frames])
        sets[split] = {
            "cells": num_cells,
            "frames": len(frames),
            "atoms": len(forces),
            "force_rms": f"{1000 * np.sqrt(np.mean(forces**2)):.0f}",
        }
    return {"sets": sets, "sampling": sampling}


def versions() -> dict[str, str]:
    """Return the versions of what ran, and the machine."""
    found = {name: importlib.metadata.version(name) for name in ("torch", "lammps", "ase", "numpy")}
    return (
        {"pyictp": pyictp.__version__, "Python": platform.python_version()}
        | found
        | {"machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}"}
    )


def processor() -> str:
    """Return the name of the processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def write_report(output: Path, results: Mapping[str, Any]) -> Path:
    """Write report.html into `output`; returns its path."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pyictp.demo", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    path = output / "report.html"
    path.write_text(environment.get_template("report.html.j2").render(results), encoding="utf-8")
    return path
