# SPDX-License-Identifier: MIT
"""`ictp distill`: `ictp explore` with a large potential as teacher, compared with it at the end."""

from __future__ import annotations

import argparse
from typing import Any

from pyictp.cli import explore
from pyictp.cli.parser import examples


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp distill`; returns its parser."""
    parser = subparsers.add_parser(
        "distill",
        description="Train a small model to say what a large potential says: the loop of ictp "
        "explore with the potential as labeller, then both side by side, errors on structures held "
        "back (explore.test) and times. The same command goes on where a killed one was.",
    )
    examples(parser, "ictp distill student.yaml --dry-run")
    explore.add_arguments(parser)
    parser.set_defaults(run=explore.run, needs="pyictp.explore.distill")
    return parser
