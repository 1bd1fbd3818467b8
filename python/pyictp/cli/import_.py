# SPDX-License-Identifier: MIT
"""`ictp import`: a model of another program as a training folder."""

from __future__ import annotations

import argparse
from typing import Any

from pyictp.cli.parser import examples


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp import`; returns its parser."""
    parser = subparsers.add_parser(
        "import",
        description="Make a training folder of a model of MACE or SevenNet, or of a checkpoint of "
        "the reference implementation: evaluate, export and train --finetune take it like one of "
        "their own. Energies and forces stay the same; what cannot is refused and named. Nothing "
        "in the file is run, and neither mace-torch nor sevenn is needed. sevennet-0 is the "
        "universal potential of the package sevenn: pip install sevenn --no-deps.",
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        help=".model file of MACE; checkpoint of SevenNet, or sevennet-0, if sevenn is installed; "
        "or ckpt_<epoch>/, or a folder above it",
    )
    parser.add_argument(
        "-o", "--output", metavar="RUN", required=True, help="training folder to write"
    )
    parser.add_argument("--head", metavar="NAME", help="of a model with several heads or methods")
    parser.add_argument(
        "--elements",
        metavar="A",
        nargs="+",
        help="keep these elements only; default: all",
    )
    parser.add_argument(
        "--charge",
        metavar="N",
        type=int,
        help="of every structure, for a model that sees it; default: 0",
    )
    parser.add_argument(
        "--spin",
        metavar="N",
        type=int,
        help="of every structure, as its training data give it: 2S+1, mostly; default: 1",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a training that is in RUN"
    )
    examples(
        parser,
        "ictp import mace.model -o mace",
        "ictp import 2023-12-03-mace-128-L1_epoch-199.model -o mp0 --elements Ta V Nb",
        "ictp import MACE-omol.model -o anion --charge -1 --spin 1",
        "ictp import sevennet-0 -o sevennet",
        "ictp import ckpt_100 -o old",
    )
    parser.set_defaults(run=run, needs="pyictp.training.new_run")
    return parser


def run(args: argparse.Namespace) -> int:
    """Import a model."""
    from pyictp.training.new_run import import_run

    state = {"charge": args.charge, "spin": args.spin}
    print(import_run(args.file, args.output, args.head, args.elements, args.overwrite, **state))
    return 0
