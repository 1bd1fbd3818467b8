# SPDX-License-Identifier: MIT
"""`ictp stats`: what a data set holds, and what looks wrong in it."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pyictp.cli.fields import add_data_options, given_fields
from pyictp.cli.parser import examples
from pyictp.errors import UserError


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp stats`; returns its parser."""
    parser = subparsers.add_parser(
        "stats",
        description="Print what a data set holds (frames, elements, labels, densities, distances) "
        "and warn of frames and labels that look wrong. It is worth a look before the first "
        "training.",
    )
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="+",
        help="extended XYZ, ASE database, npz, outputs of codes",
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
    parser.set_defaults(run=run, needs="pyictp.curation.stats")
    return parser


def run(args: argparse.Namespace) -> int:
    """Print numbers and warnings; return 1 with --strict if there are warnings."""
    from pyictp.common.files import check_writable, write_json
    from pyictp.config import DataConfig
    from pyictp.curation.figures import plot_data
    from pyictp.curation.stats import look_at, report_checks, table
    from pyictp.reports.parity import check_plot_path

    if not 0 < args.cutoff < math.inf:
        raise UserError(f"--cutoff: expected a length above 0 A, got {args.cutoff}")
    if args.json:
        check_writable(args.json)
    if args.plot:
        check_plot_path(Path(args.plot))
    found = look_at(args.data, DataConfig(**given_fields(args)), args.cutoff)
    print(table(found.summary, args.cutoff), end="\n\n")
    print(report_checks(found.checks, found.findings))
    if args.json:
        result = {
            **found.summary,
            "cutoff_a": args.cutoff,
            "checks": [asdict(check) for check in found.checks],
            "warnings": [asdict(finding) for finding in found.findings],
        }
        write_json(args.json, result)
    if args.plot:
        print(f"distributions: {plot_data(found.frames, found.nearest, Path(args.plot))}")
    return int(args.strict and bool(found.findings))
