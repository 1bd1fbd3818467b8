# SPDX-License-Identifier: MIT
"""`ictp plugin-path`: where other programs find theirs: LAMMPS a folder, i-PI a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pyictp
from pyictp.cli.parser import examples
from pyictp.native import plugin_path


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp plugin-path`; returns its parser."""
    parser = subparsers.add_parser(
        "plugin-path",
        description="Print the folder of the LAMMPS plugin. In LAMMPS_PLUGIN_PATH it makes every "
        "lmp that starts know pair_style ictp.",
    )
    parser.add_argument(
        "--ipi", action="store_true", help="print the file of the driver for i-PI instead"
    )
    examples(
        parser,
        "export LAMMPS_PLUGIN_PATH=$(ictp plugin-path)",
        "ictp plugin-path --ipi  # the file after -P of i-pi-py_driver",
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the folder, or the file."""
    driver = Path(pyictp.__file__).parent / "potential/ipi_driver.py"
    print(driver if args.ipi else plugin_path().parent)
    return 0
