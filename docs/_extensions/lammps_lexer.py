# SPDX-License-Identifier: MIT
"""Colours for LAMMPS input."""

from __future__ import annotations

from typing import ClassVar

from pygments.lexer import RegexLexer, bygroups
from pygments.token import Comment, Keyword, Name, Number, Text, Whitespace
from sphinx.application import Sphinx


class LammpsLexer(RegexLexer):
    """The command at the start of a line, numbers, variables, comments."""

    name = "LAMMPS"
    aliases: ClassVar = ["lammps"]
    tokens: ClassVar = {
        "root": [
            (r"#.*$", Comment.Single),
            (r"^([ \t]*)(\w+)", bygroups(Whitespace, Keyword)),
            (r"\$\{\w+\}|\$\([^)]*\)|\b[cvf]_\w+", Name.Variable),
            (r"(?<![\w.])[+-]?\d+(\.\d*)?([eE][+-]?\d+)?(?![\w.])", Number),
            (r"\s+", Whitespace),
            (r"[^\s#$]+|\$", Text),
        ]
    }


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the language `lammps`."""
    app.add_lexer("lammps", LammpsLexer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
