# SPDX-License-Identifier: MIT
"""Parsers of the commands about data sets: stats, split."""

from __future__ import annotations

import argparse
from typing import Any

from pyictp.cli.parser import examples, later

SPLIT_METHODS = ("random", "group", "farthest")
# As DataConfig has them, which is not imported here.
FIELD_KEYS = {"energy": "energy", "forces": "forces", "stress": "stress", "virial": "virial"}


def add_stats(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp stats`; returns its parser."""
    parser = subparsers.add_parser(
        "stats",
        description="Print what a data set holds (frames, elements, labels, densities, distances) "
        "and warn of frames and labels that look wrong. It is worth a look before the first "
        "training.",
    )
    parser.add_argument(
        "data", metavar="DATA", nargs="+", help="extended XYZ, ASE database or rMD17 npz"
    )
    parser.add_argument("--json", metavar="FILE", help="write numbers and warnings to a JSON file")
    parser.add_argument("--cutoff", type=float, default=5.0, help="of neighbors [A]; default: 5")
    parser.add_argument(
        "--plot", metavar="PATH", help="draw distributions: image file, or folder for data.png"
    )
    parser.add_argument("--strict", action="store_true", help="exit status 1 if there are warnings")
    add_data_options(parser)
    examples(
        parser,
        "ictp stats data.xyz",
        "ictp stats data.xyz --json data.json --plot data.png",
        "ictp stats data.xyz --strict > data.txt   # status 1 if there are warnings",
    )
    parser.set_defaults(run=later("pyictp.curation.stats"))
    return parser


def add_split(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp split`; returns its parser."""
    parser = subparsers.add_parser(
        "split",
        description="Write training, validation and test files out of labelled structures, and "
        "print the data section that trains on them. Frames are drawn at random, by whole groups, "
        "or as different from one another as there are.",
    )
    parser.add_argument(
        "data", metavar="DATA", nargs="+", help="extended XYZ, ASE database or rMD17 npz"
    )
    parser.add_argument("-o", "--output", metavar="FOLDER", required=True, help="where to write")
    number = {"metavar": "N|FRACTION"}
    parser.add_argument("--train", **number, help="default: all frames that remain")
    parser.add_argument("--valid", **number, required=True)
    parser.add_argument("--test", **number, help="default: no test file")
    parser.add_argument(
        "--method",
        choices=SPLIT_METHODS,
        default="random",
        help="random (default); group: whole groups stay together; farthest: training frames as "
        "different from one another as there are",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--group-key",
        metavar="KEY",
        help="field that names the group, or the word file; default: config_type, else group",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument("--json", metavar="FILE", help="write files and numbers to a JSON file")
    add_data_options(parser)
    examples(
        parser,
        "ictp split data.xyz -o parts --valid 0.1 --test 0.1",
        "ictp split data.xyz -o few --train 5 --valid 2 --method farthest",
    )
    parser.set_defaults(run=later("pyictp.curation.split"))
    return parser


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add names and units of the fields of data files."""
    group = parser.add_argument_group("fields of the data")
    for field, default in FIELD_KEYS.items():
        group.add_argument(f"--{field}-key", help=f"default: {default}")
    group.add_argument("--energy-unit", help="for example kcal/mol; default: eV (rMD17: kcal/mol)")
    group.add_argument("--length-unit", help="default: Angstrom")
    group.add_argument("--forces-unit", help="default: energy unit per length unit")
    group.add_argument("--stress-unit", help="default: energy unit per cubed length unit")
