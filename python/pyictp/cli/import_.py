# SPDX-License-Identifier: MIT
"""`ictp import`: a checkpoint of the reference implementation as a training folder."""

from __future__ import annotations

import argparse
from typing import Any

from pyictp.cli.parser import examples


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp import`; returns its parser."""
    parser = subparsers.add_parser(
        "import",
        description="Make a training folder of a checkpoint of the reference implementation: "
        "evaluate, export and train --finetune take it like one of their own.",
    )
    parser.add_argument("folder", metavar="DIR", help="ckpt_<epoch>/, or a folder above it")
    parser.add_argument(
        "-o", "--output", metavar="RUN", required=True, help="training folder to write"
    )
    examples(parser, "ictp import ckpt_100 -o old")
    parser.set_defaults(run=run, needs="pyictp.training.new_run")
    return parser


def run(args: argparse.Namespace) -> int:
    """Import a checkpoint."""
    from pyictp.training.new_run import import_run

    print(import_run(args.folder, args.output))
    return 0
