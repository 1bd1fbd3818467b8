# SPDX-License-Identifier: MIT
"""`ictp doctor`: what works here, and what to mend."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from pyictp.cli.parser import examples
from pyictp.errors import UserError


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
    parser.set_defaults(run=run, needs="pyictp.doctor.examine")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run all checks; return 1 if there is a problem."""
    from pyictp.doctor.examine import as_dict, examine, line
    from pyictp.doctor.results import Subject

    if not 0 < args.time_limit < math.inf:
        raise UserError(f"--time-limit: expected seconds above 0, got {args.time_limit}")
    plugin = None if args.plugin is None else Path(args.plugin)
    results = []
    for result in examine(Subject(args.lmp, plugin, args.time_limit)):
        results.append(result)
        if not args.json:
            print(line(result), flush=True)
    found = as_dict(results)
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        counts = f"warnings: {found['warnings']}, problems: {found['problems']}"
        print(f"\n{len(results)} checks, {counts}")
    return int(found["problems"] > 0)
