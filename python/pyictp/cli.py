# SPDX-License-Identifier: MIT
"""The `ictp` command: finds the module of a subcommand, turns user errors into one line."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from pyictp import __version__
from pyictp.errors import UserError

# Module and function that adds the parser of each command; only the one asked for is imported.
COMMANDS = {
    "train": ("pyictp.train", "add_parser"),
    "evaluate": ("pyictp.evaluate", "add_parser"),
    "report": ("pyictp.training_report", "add_parser"),
    "export": ("pyictp.export", "add_parser"),
    "info": ("pyictp.info", "add_parser"),
    "import": ("pyictp.new_run", "add_import_parser"),
    "init": ("pyictp.new_run", "add_init_parser"),
    "plugin-path": ("pyictp.native", "add_parser"),
    "split": ("pyictp.split", "add_parser"),
    "stats": ("pyictp.stats", "add_parser"),
    "demo": ("pyictp.demo.run", "add_parser"),
}


def build_parser(commands: Sequence[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """Return the parser that knows the given subcommands."""
    parser = argparse.ArgumentParser(
        prog="ictp",
        description="Irreducible Cartesian tensor potentials: train, export, run in LAMMPS.",
        epilog="example: ictp train config.yaml && ictp export run -o model.pt",
    )
    parser.add_argument("--version", action="version", version=f"pyictp {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name in commands:
        module, function = COMMANDS[name]
        getattr(importlib.import_module(module), function)(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit status: 1 for a user's mistake, 2 for a wrong option."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    known = arguments and arguments[0] in COMMANDS
    parser = build_parser([arguments[0]] if known else tuple(COMMANDS))
    args, rest = parser.parse_known_args(arguments)
    if rest and hasattr(args, "overrides") and not any(word.startswith("-") for word in rest):
        args.overrides += rest  # argparse takes no second group of words after an option
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return int(args.run(args) or 0)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
    except OSError as error:
        what = error if error.filename is None else f"'{error.filename}': {error.strerror}"
        print(f"error: cannot read or write {what}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
