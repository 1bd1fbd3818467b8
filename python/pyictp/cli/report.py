# SPDX-License-Identifier: MIT
"""`ictp report`: a training on one HTML page."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from pyictp.cli.parser import examples


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp report`; returns its parser."""
    parser = subparsers.add_parser(
        "report",
        description="Write one HTML page of a training: learning curves, errors on its validation "
        "frames or on other labelled structures, the configuration. The numbers go to a JSON file "
        "beside it.",
    )
    parser.add_argument("run_folder", metavar="RUN", help="training folder")
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="*",
        help="labelled structures, fields as in the training; default: its validation frames",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="HTML file, with a JSON file; default: RUN/report"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<number>")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N")
    examples(parser, "ictp report run", "ictp report run test.xyz -o test.html")
    parser.set_defaults(run=run, needs="pyictp.reports.training")
    return parser


def run(args: argparse.Namespace) -> int:
    """Write the page, and the numbers beside it."""
    from pyictp.potential.load import resolve_device
    from pyictp.reports.training import report_run

    words = ["ictp", "report", args.run_folder, *args.data]
    words += ["-o", args.output] if args.output else []
    output = report_run(
        args.run_folder,
        args.data,
        None if args.output is None else Path(args.output),
        shlex.join(words),
        resolve_device(args.device),
        args.batch_size,
        say=print,
        quiet=args.quiet,
    )
    print(f"report: {output}")
    return 0
