# SPDX-License-Identifier: MIT
"""Options of `ictp explore`."""

from __future__ import annotations

import argparse
from typing import Any

from pyictp.cli.parser import examples, later


def add_explore(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp explore`; returns its parser."""
    parser = subparsers.add_parser(
        "explore",
        help="active learning: dynamics, labels and training in a loop",
        description="Train a few models, run dynamics with them in LAMMPS, label frames in which "
        "they are unsure, train on; as often as the configuration says. The same command goes on "
        "where a killed one was.",
    )
    examples(
        parser,
        "ictp explore si.yaml --dry-run",
        "ictp explore si.yaml explore.cycles=8",
    )
    add = parser.add_argument
    add("config", metavar="CONFIG", help="YAML file, see docs/explore.md")
    add("overrides", metavar="SECTION.KEY=VALUE", nargs="*", help="replaces values of the file")
    add("--overwrite", action="store_true", help="begin anew in a folder that holds a loop")
    add("--dry-run", action="store_true", help="read everything, say what would be done, stop")
    add("--json", metavar="FILE", help="also write results.json there")
    parser.set_defaults(run=later("pyictp.explore.command"))
    return parser
