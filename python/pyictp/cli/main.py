# SPDX-License-Identifier: MIT
"""The `ictp` command: finds the file of a subcommand, turns errors into one line."""

from __future__ import annotations

from pyictp.common.interrupt import leaving_at_once

with leaving_at_once():
    import argparse
    import importlib
    import keyword
    import logging
    import os
    import platform
    import sys
    import traceback
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from pyictp import __version__
    from pyictp.cli.parser import CommandParser, did_you_mean, examples
    from pyictp.common.progress import logger
    from pyictp.errors import UserError


# {group: {command: what it does}}; `ictp --help` has them in this order.
GROUPS = {
    "data": {
        "convert": "outputs of other codes as extended XYZ",
        "stats": "what a data set holds, what looks wrong",
        "split": "write train, valid and test files",
    },
    "models": {
        "train": "train a model as a YAML file says",
        "pretrain": "a model from the labels of a cheap teacher",
        "report": "a training on one HTML page",
        "evaluate": "errors on labelled structures",
        "info": "what is inside a model file",
        "init": "an untrained model",
        "import": "a MACE model, or a checkpoint of the reference implementation",
    },
    "dynamics": {
        "export": "write the file that pair_style ictp reads",
        "md": "run a structure in LAMMPS, with pictures",
        "properties": "elastic constants, phonons, surfaces, ...",
        "explore": "active learning: run, label, train, repeat",
        "distill": "a small model that says what a large one says",
        "plugin-path": "print the folder for LAMMPS_PLUGIN_PATH",
    },
    "this installation": {
        "doctor": "what works, what to mend",
        "demo": "an alloy from labels to LAMMPS in minutes",
        "completion": "commands and options at the Tab key",
    },
}
COMMANDS = {name: text for group in GROUPS.values() for name, text in group.items()}
DESCRIPTION = "Irreducible Cartesian tensor potentials: train, export, run in LAMMPS."
MORE_HELP = "ictp COMMAND --help has the options of a command."
EXIT_STATUS = """exit status:
  0  done
  1  a mistake that you can mend, or a failure: one line on standard error says which
  2  the command line was not understood
  130 after Ctrl-C, 143 after SIGTERM, 141 when the reader of a pipe has gone"""


class CommandsAction(argparse._SubParsersAction):
    """Adds parsers of commands with the one-line help of `COMMANDS`."""

    def add_parser(self, name: str, **options: Any) -> CommandParser:
        """Return a new parser; its description is `help` where none is given."""
        options.setdefault("description", options.get("help"))
        options["help"] = COMMANDS[name]
        return super().add_parser(name, **options)


def build_parser(commands: Sequence[str] = tuple(COMMANDS)) -> CommandParser:
    """Return the parser that knows the given subcommands."""
    parser = CommandParser(
        prog="ictp",
        usage="ictp [-h] [--version] [-q] [-v] COMMAND ...",
        description=f"{DESCRIPTION}\n\n{_overview()}\n\n{MORE_HELP}",
    )
    parser.set_defaults(quiet=False, verbose=False)  # -q and -v stand before or after the command
    parser.add_argument("--version", action=_Version, nargs=0, help="print versions and exit")
    subparsers = parser.add_subparsers(
        dest="command",
        prog="ictp",
        metavar="COMMAND",
        action=CommandsAction,
        help=argparse.SUPPRESS,  # the description has them all
    )
    for name in commands:
        _module(name).add_parser(subparsers)
    examples(parser, "ictp train config.yaml", "ictp export run -o model.pt", "ictp doctor")
    parser.epilog = f"{parser.epilog}\n\n{EXIT_STATUS}"
    return parser


def _module(command: str) -> Any:
    """Return the module of a command; it imports nothing slow before it runs."""
    name = command.replace("-", "_")
    return importlib.import_module(f"pyictp.cli.{name}{'_' * keyword.iskeyword(name)}")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print what matters in a report of a defect; nothing slow is imported for it."""
        from importlib.metadata import PackageNotFoundError, version

        from pyictp.doctor.machine import instruction_set

        parts = [f"Python {platform.python_version()}", f"{instruction_set()} operators"]
        for package in ("lammps", "torch"):
            try:
                parts.insert(0, f"{package} {version(package)}")
            except PackageNotFoundError:
                parts.insert(0, f"no {package}")
        print(f"pyictp {__version__} ({', '.join(parts)})")
        parser.exit()


def _overview() -> str:
    """Return all commands with a line each, in groups."""
    lines = []
    for group, commands in GROUPS.items():
        lines.append(f"{group}:")
        lines += [f"  {name:<12} {text}" for name, text in commands.items()]
    return "\n".join(lines)


class _Messages(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Write to what standard error is now."""
        print(f"{record.levelname.lower()}: {self.format(record)}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit status, see `EXIT_STATUS`."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names of files need not be text
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            status = _run(arguments)
        except SystemExit:  # help has been printed
            sys.stdout.flush()
            raise
        sys.stdout.flush()  # a reader that has gone shall show here, not when Python ends
        return status
    except (Exception, KeyboardInterrupt) as error:
        return _explain(error)


def _run(arguments: Sequence[str]) -> int:
    name = next((word for word in arguments if not word.startswith("-")), None)
    with leaving_at_once():
        parser = build_parser([name] if name in COMMANDS else [])
    if name is None:
        parser.parse_args(arguments)
        parser.print_help()
        return 0
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS) or ": expected one of " + ", ".join(COMMANDS)
        parser.error(f"there is no command '{name}'{hint}")
    args, rest = parser.parse_known_args(arguments)
    if rest and hasattr(args, "overrides") and not any(word.startswith("-") for word in rest):
        args.overrides += rest  # argparse takes no second group of words after an option
    elif rest:
        _subparser(parser, name).refuse(rest)
    _set_messages(args.quiet, args.verbose)
    if hasattr(args, "needs"):
        with leaving_at_once():  # PyTorch takes seconds
            importlib.import_module(args.needs)
    return int(args.run(args) or 0)


def _subparser(parser: CommandParser, name: str) -> CommandParser:
    (action,) = (action for action in parser._actions if isinstance(action, CommandsAction))
    return action.choices[name]


def _set_messages(quiet: bool, verbose: bool) -> None:
    """Let the package's messages appear on standard error, as many as asked for."""
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    logger.handlers = [_Messages()]
    logger.setLevel(level)
    logger.debug("pyictp %s, Python %s, %s", __version__, platform.python_version(), sys.executable)


def _explain(error: BaseException) -> int:
    """Say in one line what went wrong; return the exit status."""
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python's last flush
        return 141
    if isinstance(error, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return 130
    if isinstance(error, UserError):
        text = str(error)
    elif isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        text = "out of memory: take a smaller model, batch or file, or a machine with more"
    elif isinstance(error, OSError):
        what = error if error.filename is None else f"'{error.filename}': {error.strerror}"
        text = f"cannot read or write {what}"
    else:
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        where = f"{Path(place.filename).name}, line {place.lineno}"
        text = f"unexpected {reason} ({where}): -v shows the traceback; please report it"
    if not isinstance(error, UserError):
        logger.debug("traceback of the error", exc_info=error)
    print(f"error: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
