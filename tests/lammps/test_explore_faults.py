# SPDX-License-Identifier: MIT
"""An exploration in which LAMMPS dies: what was seen before is used, and the reason is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ase.io import read
from explore_toys import write_loop
from pyictp.cli.main import main
from pyictp.md.lammps import lammps_command

pytestmark = [pytest.mark.lammps, pytest.mark.slow, pytest.mark.timeout(600)]

# runs the real LAMMPS on a deck that ends in the middle of its steps
DYING = """#!{python}
import os, pathlib, re, sys
if "-in" in sys.argv:
    deck = pathlib.Path(sys.argv[sys.argv.index("-in") + 1])
    text, number = re.subn(r"(?m)^run .*", "run {steps}\\n{end}", deck.read_text())
    assert number == 1, text
    deck.write_text(text)
os.execv("{lmp}", ["{lmp}", *sys.argv[1:]])
"""


def dying_lammps(folder: Path, steps: int, end: str) -> Path:
    """Return a program like lmp that ends after some steps."""
    path = folder / "lmp"
    (real,) = lammps_command(None, 1)
    path.write_text(DYING.format(python=sys.executable, lmp=real, steps=steps, end=end))
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("no_such_command", "Unknown command: no_such_command"),
        pytest.param(
            "shell exec {folder}/kill_parent", "ended by signal 9 (Killed)", marks=pytest.mark.long
        ),
    ],
    ids=["error", "kill"],
)
def test_lammps_that_dies_on_the_way(tmp_path, capsys, end, told):
    (tmp_path / "kill_parent").write_text("#!/bin/sh\nkill -9 $PPID\n")
    (tmp_path / "kill_parent").chmod(0o755)
    loop = write_loop(tmp_path)
    lmp = dying_lammps(tmp_path, 8, end.format(folder=tmp_path))
    assert main(["explore", str(loop), f"dynamics.lmp={lmp}"]) == 0
    printed = capsys.readouterr()
    assert printed.out.count(told) == 2  # of both runs
    frames = read(tmp_path / "loop" / "cycle_1" / "added.extxyz", ":")
    assert len(frames) == 3
    assert {atoms.info["step"] for atoms in frames} <= {0, 4, 8}


def test_lammps_that_dies_at_its_start_ends_the_exploration(tmp_path, capsys):
    loop = write_loop(tmp_path)
    lmp = dying_lammps(tmp_path, 0, "no_such_command")
    lmp.write_text(lmp.read_text().replace('"run 0', '"no_such_start\\nrun 0'))
    assert main(["explore", str(loop), f"dynamics.lmp={lmp}"]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: run ")
    assert "no_such_start" in error
    assert not (tmp_path / "loop" / "cycle_1" / "added.extxyz").exists()
