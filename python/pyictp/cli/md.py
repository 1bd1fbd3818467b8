# SPDX-License-Identifier: MIT
"""`ictp md`: a structure in LAMMPS."""

from __future__ import annotations

import argparse
import math
import signal
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from pyictp.cli.parser import examples

ENSEMBLES = ("nve", "nvt", "npt", "minimize", "anneal")
COUPLINGS = ("iso", "aniso", "tri")
CLOSEST = ("warn", "error", "ignore")


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp md`; returns its parser."""
    parser = subparsers.add_parser(
        "md",
        help="molecular dynamics in LAMMPS: deck, run, numbers, pictures",
        description="Run a structure in LAMMPS with a model. The folder gets a deck to change and "
        "run again, log, trajectory, summary.json and pictures.",
    )
    examples(
        parser,
        "ictp md water.xyz model.pt --temperature 300 --time 10 --processes 4 -o water",
        "ictp md crystal.cif run --ensemble npt --repeat 3 3 3 -o crystal",
        "ictp md crystal run -o longer   # goes on where the run in crystal ended",
        "ictp md molecule.xyz model.pt --ensemble minimize -o relaxed",
        "ictp md water.xyz model.pt --temperature 280 300 320 --time 10 -o waters",
    )
    add = parser.add_argument
    add(
        "structure",
        metavar="STRUCTURE",
        nargs="+",
        help="any file ASE reads, FILE@0 for its first frame; the folder of a run, to go on from "
        "its end; several: a folder each",
    )
    add("model", metavar="MODEL", help="exported file, or a training folder to export")
    add("--ensemble", choices=ENSEMBLES, default="nvt", help="default: nvt")
    positive, count, finite = number(float, 0, above=True), number(int, 1), number(float)
    add(
        "--temperature",
        metavar="K",
        type=positive,
        nargs="+",
        default=[300.0],
        help="default: 300; several: a folder each",
    )
    add("--to-temperature", metavar="K", type=positive, help="where anneal ends")
    add("--pressure", metavar="BAR", type=finite, help="of npt (default: 0), possible for anneal")
    add("--coupling", choices=COUPLINGS, help="how a pressure acts on the cell (default: iso)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--time", metavar="PS", type=positive, help="default: 1")
    length.add_argument("--steps", metavar="N", type=count, help="of minimize: 1000 at most")
    add("--equilibrate", metavar="PS", type=positive, help="before, with Langevin; not analysed")
    add("--timestep", metavar="FS", type=positive, help="default: 1, with hydrogen 0.5")
    add("--repeat", metavar="N", type=count, nargs=3, default=(1, 1, 1), help="copies of the cell")
    add("--seed", metavar="N", type=count, default=1, help="of the velocities (default: 1)")
    add("--processes", metavar="N", type=count, default=1, help="of MPI (default: 1)")
    add("--thermo", metavar="N", type=count, help="steps between rows of the log (default: 500)")
    add("--every", metavar="N", type=count, help="steps between frames (default: 500 frames)")
    add(
        "--uncertainty",
        metavar="N",
        type=number(int, 0),
        help="steps between samples of force deviation and grade; 0: none (default: 100 or more, "
        "where the model has them)",
    )
    add(
        "--closest",
        choices=CLOSEST,
        default="warn",
        help="when atoms are closer than in the training data: warn, end with an error, or ignore "
        "it (default: warn)",
    )
    add("-o", "--output", metavar="FOLDER", type=Path, default=Path("md"), help="default: md")
    add("--overwrite", action="store_true", help="replace a run that is in the folder")
    add("--no-run", action="store_true", help="write the deck and what it reads, run nothing")
    add("--lmp", metavar="PROGRAM", help="LAMMPS to run (default: the installed lmp)")
    parser.set_defaults(run=run, needs="pyictp.md.run")
    return parser


def number(kind: type, least: float = -math.inf, above: bool = False) -> Callable[[str], Any]:
    """Return a reader of option values: finite numbers from (or above) `least`."""

    def parse(text: str) -> Any:
        value = kind(text)
        if not (math.isfinite(value) and (value > least if above else value >= least)):
            relation = " above" if above else " of at least"
            bound = f"{relation} {least:g}" if math.isfinite(least) else ""
            raise argparse.ArgumentTypeError(f"expected a finite number{bound}, got {text}")
        return value

    parse.__name__ = {int: "whole number", float: "number"}[kind]
    return parse


def run(args: argparse.Namespace) -> int:
    """Run; return 0, 130 after Ctrl-C or 143 after SIGTERM."""
    signal.signal(signal.SIGTERM, _terminate)
    from pyictp.md.run import run_md
    from pyictp.md.series import plan, run_series
    from pyictp.md.settings import Request

    def say(line: str) -> None:
        print(line, flush=True)

    def run_one(structure: str, request: Request, output: Path) -> int:
        return run_md(
            structure,
            args.model,
            request,
            output,
            overwrite=args.overwrite,
            processes=args.processes,
            lmp=args.lmp,
            only_write=args.no_run,
            say=say,
            quiet=args.quiet,
        )

    values = {field.name: getattr(args, field.name) for field in fields(Request)}
    values |= {"repeat": tuple(args.repeat), "temperature": args.temperature[0]}
    request, runs = Request(**values), plan(args.structure, args.temperature)
    if len(runs) == 1:
        return run_one(args.structure[0], request, args.output)
    return run_series(runs, request, args.output, run_one, say)


def _terminate(number: int, _: object) -> None:
    raise SystemExit(128 + number)  # through LAMMPS, which ends too
