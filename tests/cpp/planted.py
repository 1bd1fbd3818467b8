# SPDX-License-Identifier: MIT
"""Faults put into copies of sources, to see that the sanitizers find them.

One source with a change of text is compiled as the build under sanitizers compiled it, and the
library that it is part of is linked again, in a copy of the package.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sanitized import BIN, ROOT, call


@dataclass(frozen=True)
class Fault:
    """Which texts of a source become which others, and the library that the source is part of."""

    source: str
    changes: Mapping[str, str]
    library: str

    def text(self) -> str:
        """Return the source with the fault; an error if it has not each text once."""
        text = (ROOT / self.source).read_text()
        for old, new in self.changes.items():
            if text.count(old) != 1:
                raise ValueError(f"{self.source}: expected once, got {text.count(old)} of {old!r}")
            text = text.replace(old, new)
        return text


def plant(fault: Fault, site: Path, folder: Path) -> Path:
    """Return a folder as `site`, a result of sanitized.build, with the fault in its library."""
    build = site.parent
    source = folder / Path(fault.source).name
    source.write_text(fault.text())
    commands = json.loads((build / "compile_commands.json").read_text())
    # of a file that is compiled for several instruction sets the first, baseline
    entry = next(entry for entry in commands if entry["file"] == str(ROOT / fault.source))
    compiler = shlex.split(entry["command"])
    output = compiler[compiler.index("-o") + 1]
    compiler[compiler.index("-o") + 1] = str(folder / "fault.o")
    compiler[compiler.index("-c") + 1] = str(source)
    call(compiler, build)
    planted = folder / "site"
    shutil.copytree(site, planted, symlinks=True)
    linker = call([BIN / "ninja", "-t", "commands", "-s", fault.library], build)
    for old, new in {
        output: folder / "fault.o",
        f"-o {fault.library}": f"-o {planted / 'pyictp' / 'lib' / fault.library}",
    }.items():
        assert linker.count(f" {old} ") == 1
        linker = linker.replace(f" {old} ", f" {new} ")
    call(["sh", "-c", linker], build)
    return planted
