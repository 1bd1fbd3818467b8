# SPDX-License-Identifier: MIT
"""pair_style ictp, or another, inside LAMMPS: time per step in steady state, and peak memory.

Constant energy with a neighbor rebuild every 10 steps, which is what a liquid at room temperature
needs or more; steps of 0.1 fs keep random weights from blowing the structure apart and cost the
same as longer ones.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from pyictp.native import plugin_path

REBUILD = 10  # steps between two neighbor lists

DECK = f"""
units metal
atom_style atomic
read_data structure.data
replicate {{replicate}}
{{pair}}
velocity all create 300 5
neigh_modify every {REBUILD} delay 0 check no
fix move all nve
timestep 0.0001
thermo 1000000
run {{warm_up}}
run {{steps}}
"""


class LammpsError(RuntimeError):
    """LAMMPS ended with an error."""


def write_data(atoms: Atoms, elements: tuple[str, ...], path: Path) -> None:
    """Write a LAMMPS data file of an orthogonal box."""
    lengths = atoms.cell.lengths()
    lines = ["timed structure", "", f"{len(atoms)} atoms", f"{len(elements)} atom types"]
    lines += [f"0 {x:.10f} {a}lo {a}hi" for x, a in zip(lengths, "xyz", strict=True)]
    masses = [atomic_masses[atomic_numbers[element]] for element in elements]
    lines += ["", "Masses", "", *(f"{i} {mass}" for i, mass in enumerate(masses, 1))]
    lines += ["", "Atoms # atomic", ""]
    types = [elements.index(symbol) + 1 for symbol in atoms.get_chemical_symbols()]
    for i, (kind, (x, y, z)) in enumerate(zip(types, atoms.get_positions(wrap=True), strict=True)):
        lines.append(f"{i + 1} {kind} {x:.10f} {y:.10f} {z:.10f}")
    path.write_text("\n".join(lines) + "\n")


class LammpsRun:
    """Runs one exported model on one structure with a number of processes."""

    def __init__(
        self,
        folder: Path,
        model: Path,
        elements: tuple[str, ...],
        atoms: Atoms,
        processes: int = 1,
        device: str = "cpu",
        replicate: tuple[int, int, int] = (1, 1, 1),
        launch: str = "",
        pair: Sequence[str] = (),
    ) -> None:
        """Take what to run.

        Args:
            folder: for files; must be this run's own, on a disk that all processes see.
            model: the exported file.
            elements: one per atom type.
            atoms: the structure.
            processes: how many to start.
            device: as for pair_style ictp.
            replicate: LAMMPS repeats the structure so many times along each edge.
            launch: command that starts n processes, such as `srun -n {n}`; none is mpiexec for
                several processes, nothing for one.
            pair: lines of another pair style in the place of ours; the model is then not read.
        """
        self.folder, self.elements = folder, elements
        self.atoms, self.processes, self.device = atoms, processes, device
        ours = (f"pair_style ictp device {device}", f"pair_coeff * * {model} {' '.join(elements)}")
        self.pair = pair or ours
        self.replicate, self.launch = replicate, launch
        self.steps = REBUILD
        self.seconds = 0.0  # per step, of the last run
        self.busy = 0.0  # processor time / wall time, of the last run
        self.phases = ""  # what the pair style says of the last run that was timed

    def measure(self) -> tuple[float, float]:
        """Return wall and processor seconds per step of the second of two runs.

        Processor seconds are the mean over processes; the first run is the warm-up.
        """
        self._run(self.atoms, REBUILD, self.steps)
        found = re.findall(r"pair ictp: (\d+ evaluations.*)", self.output())
        self.phases = found[-1] if found else ""
        return self.seconds, self.seconds * self.busy

    def choose_steps(self, target: float) -> None:
        """Set the number of steps such that a run takes about `target` s, 10 to 1000 steps."""
        self._run(self.atoms, 2, 2)
        lists = round(target / self.seconds / REBUILD)
        self.steps = REBUILD * min(max(lists, 1), 100)

    def memory_per_atom(self, tiny: Atoms, large: Atoms) -> float:
        """Return the peak of memory [kB] with a large cell less that with a tiny one, per atom.

        The highest resident memory of each process is read while it runs; sum over processes.
        """
        peaks = [self.peak_memory(atoms) for atoms in (tiny, large)]
        return (peaks[1] - peaks[0]) / (len(large) - len(tiny))

    def peak_memory(self, atoms: Atoms) -> float:
        """Return the sum over processes of the highest resident memory with these atoms [kB]."""
        return self._run(atoms, 1, 1, watch=True)

    def output(self) -> str:
        """Return what LAMMPS printed in the last call."""
        return (self.folder / "screen.txt").read_text()

    def _run(self, atoms: Atoms, warm_up: int, steps: int, watch: bool = False) -> float:
        """Run LAMMPS; return the peak of memory [kB] if watched."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_data(atoms, self.elements, self.folder / "structure.data")
        deck = DECK.format(
            pair="\n".join(self.pair),
            replicate=" ".join(map(str, self.replicate)),
            warm_up=warm_up,
            steps=steps,
        )
        (self.folder / "in.lmp").write_text(deck)
        with (self.folder / "screen.txt").open("w") as screen:
            process = subprocess.Popen(
                [*self._launcher(), program("lmp"), "-in", "in.lmp", "-log", "none"],
                cwd=self.folder,
                env=os.environ
                | {"LAMMPS_PLUGIN_PATH": str(plugin_path().parent), "OMP_NUM_THREADS": "1"},
                stdout=screen,
                stderr=subprocess.STDOUT,
            )
            peak = self._watch(process) if watch else 0.0
            process.wait()
        output = self.output()
        times = re.findall(r"Loop time of (\S+) on", output)
        if process.returncode or len(times) != 2:
            errors = [line for line in output.splitlines() if "ERROR" in line] or ["no message"]
            raise LammpsError(f"LAMMPS ended with code {process.returncode}: {errors[0]}")
        self.seconds = float(times[-1]) / steps
        self.busy = float(re.findall(r"(\S+)% CPU use with", output)[-1]) / 100
        return peak

    def _launcher(self) -> list[str]:
        if self.launch:
            return self.launch.format(n=self.processes).split()
        return [program("mpiexec"), "-n", str(self.processes)] if self.processes > 1 else []

    def _watch(self, process: subprocess.Popen[bytes]) -> float:
        """Return the sum over LAMMPS processes of the highest resident memory [kB]."""
        peaks: dict[int, float] = {}
        while process.poll() is None:
            for pid in _running_in(self.folder):
                peaks[pid] = max(peaks.get(pid, 0.0), _peak_memory(pid))
            time.sleep(0.02)
        return sum(sorted(peaks.values())[-self.processes :])


def program(name: str) -> str:
    """Return the path of a program, that beside this Python first.

    Raises:
        LammpsError: if it is nowhere.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise LammpsError(f"program '{name}' not found: install this package with LAMMPS and MPICH")
    return found


def _running_in(folder: Path) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink() == folder.resolve():
                    yield int(entry.name)
            except OSError:  # ended, or not ours
                continue


def _peak_memory(pid: int) -> float:
    try:
        match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return float(match.group(1)) if match else 0.0
