# SPDX-License-Identifier: MIT
"""All checks of an installation, one line each, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from pyictp import __version__
from pyictp.doctor import lammps_checks, python_checks
from pyictp.doctor.results import Check, Result, Status, Subject, run_check
from pyictp.errors import UserError

PYTHON_CHECKS: dict[str, Check] = {
    "Python": python_checks.check_python,
    "packages": python_checks.check_packages,
}
MACHINE_CHECKS: dict[str, Check] = {
    "threads": python_checks.check_threads,
    "plugin": lammps_checks.check_plugin,
}
LAMMPS_CHECKS: dict[str, Check] = {
    "LAMMPS": lammps_checks.check_lammps,
    "plugin path": lammps_checks.check_plugin_path,
    "MPI": lammps_checks.check_mpi,
}


def examine(subject: Subject) -> Iterator[Result]:
    """Yield the result of every check as it comes."""
    for name, check in PYTHON_CHECKS.items():
        yield run_check(name, check, subject)
    try:
        yield from python_checks.check_torch(subject)
    except Exception as error:
        yield Result("PyTorch", Status.PROBLEM, f"the check itself failed: {error}", "report it")
    for name, check in MACHINE_CHECKS.items():
        yield run_check(name, check, subject)
    try:
        lammps_checks.find_lmp(subject)
    except UserError as error:
        advice = "what needs LAMMPS was not looked at"
        yield Result("LAMMPS", Status.PROBLEM, str(error), advice)
        return
    for name, check in LAMMPS_CHECKS.items():
        yield run_check(name, check, subject)


def line(result: Result) -> str:
    """Return a result for people, its advice in a line below."""
    text = f"{result.status:<9}{result.name:<13}{result.text}"
    return text + (f"\n{'':<22}-> {result.advice}" if result.advice else "")


def as_dict(results: list[Result]) -> dict[str, Any]:
    """Return plain values for JSON."""
    counts = Counter(result.status for result in results)
    return {
        "pyictp": __version__,
        "problems": counts[Status.PROBLEM],
        "warnings": counts[Status.WARNING],
        "checks": [asdict(result) for result in results],
    }
