# SPDX-License-Identifier: MIT
"""`ictp doctor`."""

from __future__ import annotations

import argparse
from typing import Any

from pyictp.cli.parser import examples, later


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp doctor`; returns its parser."""
    parser = subparsers.add_parser(
        "doctor",
        description="Look at this installation: Python packages, compiled operators and their "
        "numbers, GPU, threads, LAMMPS with the plugin, MPI. One line per check with ok, warning "
        "or problem, and below it what to do. LAMMPS and two processes are really started, "
        "nothing is changed. The exit status is 1 if there is a problem.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--lmp", metavar="FILE", help="LAMMPS to look at; default: lmp on the PATH")
    parser.add_argument(
        "--plugin", metavar="FILE", help="ictpplugin.so to look at; default: the installed one"
    )
    parser.add_argument(
        "--time-limit",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="of every program that is started; default: 120",
    )
    examples(
        parser,
        "ictp doctor",
        "ictp doctor --json --lmp lammps/build/lmp --plugin build/ictpplugin.so",
    )
    parser.set_defaults(run=later("pyictp.doctor.command"))
    return parser
