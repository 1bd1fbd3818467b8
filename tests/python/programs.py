# SPDX-License-Identifier: MIT
"""Executable files that stand in for programs; imports nothing slow."""

from __future__ import annotations

import sys
from pathlib import Path


def python_program(module: str, function: str) -> str:
    """Return the text of a program that calls a function of a module with its words."""
    path = Path(module)
    return (
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(path.parent)!r})\n"
        f"import {path.stem}\nsys.exit({path.stem}.{function}(sys.argv[1:]))\n"
    )


def write_program(path: Path, text: str) -> None:
    """Write an executable file."""
    path.write_text(text)
    path.chmod(0o755)
