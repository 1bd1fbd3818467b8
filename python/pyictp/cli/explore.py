# SPDX-License-Identifier: MIT
"""`ictp explore`: active learning in a loop."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

from pyictp.cli.parser import examples
from pyictp.errors import UserError

PROGRAMS = ("vasp", "espresso", "cp2k", "orca")


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
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
        "ictp explore --template vasp > vasp.yaml",
        "ictp explore si.yaml --dry-run",
        "ictp explore si.yaml explore.cycles=8",
    )
    parser.add_argument(
        "--template",
        action=_Template,
        choices=PROGRAMS,
        help="print a configuration for a program of density functional theory, stop",
    )
    add_arguments(parser)
    parser.set_defaults(run=run, needs="pyictp.explore.start")
    return parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every loop takes."""
    add = parser.add_argument
    add("config", metavar="CONFIG", help="YAML file, see docs/explore.md")
    add("overrides", metavar="SECTION.KEY=VALUE", nargs="*", help="replaces values of the file")
    add("--overwrite", action="store_true", help="begin anew in a folder that holds a loop")
    add("--dry-run", action="store_true", help="read everything, say what would be done, stop")
    add("--json", metavar="FILE", help="also write results.json there")


class _Template(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, _: Any, value: Any, *__: Any) -> None:
        """Print a configuration, for people to change."""
        from pyictp.explore.programs import configuration

        print(configuration(value), end="")
        parser.exit()


def run(args: argparse.Namespace) -> int:
    """Explore, or distill; return 0, 130 after Ctrl-C or 143 after SIGTERM."""
    from pyictp.common.files import locked, write_json
    from pyictp.common.interrupt import Terminated, raise_terminated
    from pyictp.explore.distill import check_distillation, compare, describe
    from pyictp.explore.results import table, write
    from pyictp.explore.settings import load_settings
    from pyictp.explore.start import plan, start
    from pyictp.labelling.slurm import UnderWay

    config = load_settings(args.config, args.overrides)
    folder = Path(config.explore.output)
    if args.command == "distill":
        check_distillation(config)
    if args.dry_run:
        if args.json:
            raise UserError("--json writes results, --dry-run has none: leave out one of them")
        print("\n".join(plan(config)))
        return 0

    signal.signal(signal.SIGTERM, raise_terminated)
    again = shlex.join(["ictp", args.command, str(args.config), *args.overrides])
    try:
        with locked(folder, "another ictp explore"):
            exploration = start(config, folder, args.overwrite, args.quiet)
            results = exploration.run()
            last = len(results["cycles"]) - 1
            print("\n".join(["", *table(results)]))
            newest = folder / f"cycle_{last}" / "ensemble.pt"
            print(f"\n{results['ended']}; newest models: '{newest}'")
            if args.command == "distill":
                results["student"] = compare(exploration, last)
                write(results, folder)
                print("\n".join(describe(results["student"])))
            if not args.quiet:
                print(f"wrote '{folder / 'results.json'}', results.png")
            if args.json:
                write_json(args.json, results)
    except UnderWay as left:
        print(f"{left}; collect them, and go on, with: {again}")
    except (KeyboardInterrupt, Terminated) as stop:
        print(f"interrupted: what is done is kept; go on with: {again}", file=sys.stderr)
        return 130 if isinstance(stop, KeyboardInterrupt) else 143
    return 0
