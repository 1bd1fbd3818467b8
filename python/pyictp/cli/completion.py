# SPDX-License-Identifier: MIT
"""`ictp completion`: scripts that let a shell complete commands, options and file names."""

from __future__ import annotations

import argparse
from typing import Any

from pyictp.cli.parser import examples

SHELLS = ("bash", "zsh")


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp completion`; returns its parser."""
    parser = subparsers.add_parser(
        "completion",
        description="Print the script that lets a shell complete commands, options and file names "
        "of ictp at the Tab key. Make it again after an update of pyictp.",
    )
    parser.add_argument("shell", choices=SHELLS)
    examples(
        parser,
        "ictp completion bash > ictp.bash   # and in ~/.bashrc: source /path/to/ictp.bash",
        "ictp completion zsh > _ictp        # in a folder of $fpath",
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    print(script(args.shell))
    return 0


def script(shell: str) -> str:
    """Return the completion script of a shell: all commands and options as they are now."""
    import shtab

    from pyictp.cli.main import build_parser

    parser = build_parser()
    _complete_files(parser)
    return shtab.complete(parser, shell)


def _complete_files(parser: argparse.ArgumentParser) -> None:
    """Let file names complete wherever words are expected, but for choices and numbers."""
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            action.help = "the command"  # shtab leaves out what has none
            for child in action.choices.values():
                _complete_files(child)
        elif _takes_words(action):
            action.complete = shtab.FILE  # type: ignore[attr-defined]


def _takes_words(action: argparse.Action) -> bool:
    is_plain = action.choices is None and action.type is None and action.nargs != 0
    return is_plain and action.dest != "overrides"  # section.key=value
