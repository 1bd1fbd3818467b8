# SPDX-License-Identifier: MIT
"""`ictp pretrain`: a model from the labels of a cheap teacher."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

from pyictp.cli.parser import examples
from pyictp.errors import UserError


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp pretrain`; returns its parser."""
    parser = subparsers.add_parser(
        "pretrain",
        description="Sample structures with a cheap teacher (xTB, a potential in LAMMPS, any "
        "calculator of ASE) by dynamics, turns about bonds and normal modes, and train a model on "
        "its labels, for ictp train --finetune. The same command goes on where a killed one was.",
    )
    examples(
        parser,
        "ictp pretrain pretrain.yaml --dry-run",
        "ictp pretrain pretrain.yaml labeller.processes=4",
        "ictp train config.yaml --finetune pretrained/model",
    )
    add = parser.add_argument
    add("config", metavar="CONFIG", help="YAML file, see docs/pretraining.md")
    add("overrides", metavar="SECTION.KEY=VALUE", nargs="*", help="replaces values of the file")
    add("--overwrite", action="store_true", help="begin anew in a folder that holds a pretraining")
    add("--dry-run", action="store_true", help="read everything, say what would be done, stop")
    add("--frames-only", action="store_true", help="sample and label, train no model")
    add("--json", metavar="FILE", help="also write results.json there")
    parser.set_defaults(run=run, needs="pyictp.pretrain.run")
    return parser


def run(args: argparse.Namespace) -> int:
    """Pretrain; return 0, 130 after Ctrl-C or 143 after SIGTERM."""
    from pyictp.common.files import locked, write_json
    from pyictp.common.interrupt import Terminated, raise_terminated
    from pyictp.pretrain.folder import FRAMES, MODEL
    from pyictp.pretrain.run import Pretraining, plan
    from pyictp.pretrain.settings import load_settings

    config = load_settings(args.config, args.overrides)
    folder = Path(config.pretrain.output)
    if args.dry_run:
        if args.json:
            raise UserError("--json writes results, --dry-run has none: leave out one of them")
        print("\n".join(plan(config)))
        return 0
    signal.signal(signal.SIGTERM, raise_terminated)
    words = ["ictp", "pretrain", str(args.config), *args.overrides]
    again = shlex.join([*words, *(["--frames-only"] if args.frames_only else [])])
    try:
        with locked(folder, "another ictp pretrain"):
            work = Pretraining(config, folder, args.quiet, args.overwrite)
            results = work.run(train=not args.frames_only)
            if args.json:
                write_json(args.json, results)
    except (KeyboardInterrupt, Terminated) as stop:
        print(f"interrupted: what is done is kept; go on with: {again}", file=sys.stderr)
        return 130 if isinstance(stop, KeyboardInterrupt) else 143
    if args.frames_only:
        print(f"wrote '{folder / FRAMES}'")
    else:
        model = folder / MODEL
        print(f"pretrained '{model}'; go on with: ictp train CONFIG --finetune {model}")
    return 0
