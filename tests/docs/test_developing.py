# SPDX-License-Identifier: MIT
"""docs/developing.md names rooms, directions, goals and tests that are there."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib

import pyictp
import pytest
from blocks import ROOT, blocks_run_by
from pyictp.cli.main import COMMANDS

TEXT = (ROOT / "docs" / "developing.md").read_text()
LINES = [
    line
    for block in blocks_run_by("tests/docs/test_developing.py", "bash")
    for line in block.splitlines()
]


def test_the_floors_are_those_that_are_kept() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    floors = tool["contracts"][0]["layers"]
    assert f"\n{' > '.join(floors)}\n" in TEXT
    contributing = " ".join((ROOT / "CONTRIBUTING.md").read_text().split())
    assert " > ".join(floors).replace(" |", ",") in contributing
    rooms = re.findall(r"^\| `(\w+)` \| .", TEXT, re.MULTILINE)
    assert rooms == [room for floor in floors for room in floor.split(" | ")]


def test_the_commands_are_where_the_page_says() -> None:
    named = re.findall(r"`ictp ([\w-]+)` is `(\w+\.py)`", TEXT)
    assert len(named) == 3
    for command, file in named:
        assert command in COMMANDS
        text = (ROOT / "python" / "pyictp" / "cli" / file).read_text()
        assert f'"{command}"' in text
        if command == "evaluate":
            (line,) = re.findall(r"`(parser\.set_defaults\(.+?\))`", TEXT)
            assert line in text


@pytest.mark.parametrize("line", LINES)
def test_goals_and_tests_are_there(line: str) -> None:
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, check=True, capture_output=True)
    for path in re.findall(r"\btests/[\w/]+\.py|\.venv/bin/\w+", line):
        assert path == ".venv/bin/pytest" or (ROOT / path).is_file(), path
    for marker in re.findall(r"\bnot (\w+)", line):
        assert re.search(rf'^    "{marker}: ', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    for word in re.findall(r"-k (\w+)", line):
        texts = [path.read_text() for path in ROOT.glob("tests/*/test_*.py")]
        assert re.search(rf"^def test_\w*{word}", "\n".join(texts), re.MULTILINE)


def test_files_of_the_page_are_there() -> None:
    for name in re.findall(r"`((?:tests|pair_ictp|\.ci|python)/[\w./]+|[A-Z]+\.md)`", TEXT):
        assert (ROOT / name).exists(), name


def test_the_version_is_the_same_wherever_a_release_changes_it() -> None:
    (line,) = re.findall(
        r"^  (pyproject\.toml .*)$", (ROOT / ".ci/release").read_text(), re.MULTILINE
    )
    files = line.split()
    assert len(files) == 5
    pattern = r"(?:pair_ictp(?: VERSION)? |(?<!-)version(?:__)?(?: =|:) )\"?(\d+\.\d+\.\d+)"
    versions = {name: re.findall(pattern, (ROOT / name).read_text()) for name in files}
    assert versions == {name: [pyictp.__version__] for name in files}
