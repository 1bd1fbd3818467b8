# SPDX-License-Identifier: MIT
"""`ictp init`: an untrained model."""

from __future__ import annotations

import argparse
from typing import Any

from pyictp.cli.parser import examples


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp init`; returns its parser."""
    parser = subparsers.add_parser(
        "init",
        description="Make a training folder with random weights, of the architecture and the seed "
        "that a YAML file says: for timing, or to look at an architecture.",
    )
    parser.add_argument("config", metavar="CONFIG", help="YAML file; model.elements must be given")
    parser.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="replaces a value of the file"
    )
    parser.add_argument(
        "-o", "--output", metavar="RUN", required=True, help="training folder to write"
    )
    examples(parser, "ictp init config.yaml 'model.elements=[Cu, Ni]' -o untrained")
    parser.set_defaults(run=run, needs="pyictp.training.new_run")
    return parser


def run(args: argparse.Namespace) -> int:
    """Draw a model with the seed of the configuration."""
    from pyictp.training.new_run import new_run

    print(new_run(args.config, args.overrides, args.output))
    return 0
