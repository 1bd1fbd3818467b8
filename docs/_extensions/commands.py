# SPDX-License-Identifier: MIT
"""The reference of all commands, from their parsers."""

from __future__ import annotations

import argparse
import re

from pyictp.cli.main import COMMANDS, EXIT_STATUS, build_parser

USAGE_WIDTH = 88
COMMON = ("messages",)  # groups of options that every command has, shown once


def command_pages() -> str:
    """Return a part for every command, as Markdown."""
    parser = build_parser()
    (action,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    links = [f"| [{name}](#ictp-{name}) | {COMMANDS[name]} |" for name in COMMANDS]
    parts = ["\n".join(["| command | |", "|---|---|", *links])]
    for name, command in action.choices.items():
        parts.append(one_command(f"ictp {name}", command))
    shared = [table(g) for g in parser._action_groups if g.title in COMMON]
    parts += ["## With every command", *shared, "## Exit status", f"```text\n{exit_status()}\n```"]
    return "\n\n".join(parts)


def one_command(name: str, parser: argparse.ArgumentParser) -> str:
    """Return usage, arguments and examples of a command."""
    formatter = argparse.HelpFormatter(parser.prog, width=USAGE_WIDTH)
    formatter.add_usage(parser.usage, parser._actions, ())
    usage = re.sub(r"\[-h\] (\[-q\] \[-v\] ?)?", "", formatter.format_help()).strip()
    parts = [f"## {name}", escape(parser.description or ""), f"```text\n{usage}\n```"]
    positional, options, *others = (g for g in parser._action_groups if g.title not in COMMON)
    parts.append(table(positional, options))
    for group in others:
        parts += [f"*{group.title}*", table(group)]
    lines = re.findall(r"^  (.+)$", parser.epilog or "", re.MULTILINE)
    return "\n\n".join([*parts, "```bash\n" + "\n".join(lines) + "\n```"])


def table(*groups: argparse._ArgumentGroup) -> str:
    """Return the arguments of some groups, --help left out, or nothing."""
    actions = [action for group in groups for action in group._group_actions]
    rows = [row(action) for action in actions if not isinstance(action, argparse._HelpAction)]
    return "\n".join(["| argument | |", "|---|---|", *rows]) if rows else ""


def row(action: argparse.Action) -> str:
    """Return an argument, its help, and its default where the help is silent about it."""
    text = escape((action.help or "") % {**vars(action), "prog": "ictp"})
    default = action.default
    none = default is None or default is False or default in ([], argparse.SUPPRESS)
    if not none and "default" not in text:
        text = f"{text}{'; ' * bool(text)}default: {default}"
    elif action.required and action.option_strings:
        text = f"{text}{'; ' * bool(text)}required"
    return f"| {'<br>'.join(spellings(action))} | {text} |"


def spellings(action: argparse.Action) -> list[str]:
    """Return how an argument is written, with its value."""
    formatter = argparse.HelpFormatter("")
    if not action.option_strings:
        return [code(formatter._format_args(action, action.dest))]
    value = "" if action.nargs == 0 else formatter._format_args(action, action.dest.upper())
    return [code(f"{option} {value}".strip()) for option in action.option_strings]


def code(text: str) -> str:
    """Return text in the type of a program, for a cell of a table."""
    return f"`{text}`".replace("|", "\\|")


def escape(text: str) -> str:
    """Return text that Markdown leaves as it is."""
    return re.sub(r"([|<>*_`\[\]$])", r"\\\1", " ".join(text.split()))


def exit_status() -> str:
    """Return the table of exit statuses without its heading."""
    return "\n".join(line.strip() for line in EXIT_STATUS.splitlines()[1:])
