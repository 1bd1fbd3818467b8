# SPDX-License-Identifier: MIT
"""`ictp demo`: an alloy from labels to LAMMPS in minutes."""

from __future__ import annotations

import argparse
from importlib import resources
from pathlib import Path
from typing import Any

from pyictp.cli.parser import examples


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp demo`; returns its parser."""
    parser = subparsers.add_parser(
        "demo",
        description="Teach a small model an alloy potential, run both in LAMMPS, and write a "
        "report that compares them: label, train, evaluate, export, dynamics, about 10 minutes.",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        default="demo_output",
        help="new folder for all files; default: demo_output",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="M",
        help="length of the training; default: as in the packaged demo.yaml",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the files of an earlier demo in DIR"
    )
    examples(parser, "ictp demo", "ictp demo --output quick --minutes 2")
    parser.set_defaults(run=run, needs="pyictp.demo.run")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the demo; return 0 if every goal of its report is met, else 1."""
    from pyictp.config import load_config
    from pyictp.demo.run import prepare_folder, run_demo, summary

    output = Path(args.output).resolve()
    overrides = [] if args.minutes is None else [f"training.max_minutes={args.minutes}"]
    with resources.as_file(resources.files("pyictp.demo") / "demo.yaml") as path:
        load_config(path, overrides)  # a wrong length shall not show after the labelling
    prepare_folder(output, args.overwrite)
    report, results = run_demo(output, overrides)
    print(summary(results))
    print(f"\nopen {report}")
    return 0 if all(goal["met"] for goal in results["goals"]) else 1
