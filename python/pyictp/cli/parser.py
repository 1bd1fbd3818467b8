# SPDX-License-Identifier: MIT
"""What the parsers of all `ictp` commands have in common: help with examples, -q and -v."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Sequence
from typing import Any


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Fills one paragraph to the width of the terminal; text of several lines stays as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text.strip():
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)


class CommandParser(argparse.ArgumentParser):
    """A parser with -q and -v, which names the nearest option where one is misspelled."""

    def __init__(self, **options: Any) -> None:
        """As argparse has it; -q and -v keep what was said before the command."""
        super().__init__(formatter_class=HelpFormatter, **options)
        group = self.add_argument_group("messages")
        for short, long, text in (
            ("-q", "--quiet", "results, warnings and errors, but no progress"),
            ("-v", "--verbose", "more messages, and the traceback of an unexpected error"),
        ):
            group.add_argument(
                short, long, action="store_true", default=argparse.SUPPRESS, help=text
            )

    def refuse(self, words: Sequence[str]) -> None:
        """End with status 2 because of words that mean nothing here."""
        known = [option for action in self._actions for option in action.option_strings]
        hint = did_you_mean(words[0].split("=")[0], known) if words[0].startswith("-") else ""
        self.error(f"unrecognized arguments: {' '.join(words)}{hint}")


def examples(parser: argparse.ArgumentParser, *lines: str) -> None:
    """Let `--help` end with examples: command lines as a user types them."""
    parser.epilog = "\n".join([f"example{'s' * (len(lines) > 1)}:", *(f"  {x}" for x in lines)])


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `: did you mean '...'?`, or nothing where no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f": did you mean '{near[0]}'?" if near else ""
