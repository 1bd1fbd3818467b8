# SPDX-License-Identifier: MIT
"""`ictp plugin-path`: the folder for LAMMPS_PLUGIN_PATH."""

from __future__ import annotations

import argparse
from typing import Any

from pyictp.cli.parser import examples
from pyictp.native import plugin_path


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp plugin-path`; returns its parser."""
    parser = subparsers.add_parser(
        "plugin-path",
        description="Print the folder of the LAMMPS plugin. In LAMMPS_PLUGIN_PATH it makes every "
        "lmp that starts know pair_style ictp.",
    )
    examples(parser, "export LAMMPS_PLUGIN_PATH=$(ictp plugin-path)")
    parser.set_defaults(run=run)
    return parser


def run(_: argparse.Namespace) -> int:
    """Print the folder."""
    print(plugin_path().parent)
    return 0
