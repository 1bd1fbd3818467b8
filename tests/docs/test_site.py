# SPDX-License-Identifier: MIT
"""`make docs`: strict, whole, and with everything that is generated in it."""

from __future__ import annotations

import argparse
import dataclasses
import re
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from pyictp.cli.main import COMMANDS, build_parser
from pyictp.config.load import Config
from pyictp.explore.settings import ExploreConfig
from pyictp.pretrain.settings import PretrainConfig

bs4 = pytest.importorskip("bs4", reason="furo is not installed: pip install .[docs]")
BROKEN = r"""# A page

[a page](nowhere.md), [a file](nothing.py), [a heading](other.md#nowhere),
[outside](../gone/README.md)

![a picture](missing.png)

$$\nonsense{x}$$
"""


def page(site: Path, name: str) -> bs4.BeautifulSoup:
    """Return a page of the site."""
    return bs4.BeautifulSoup((site / f"{name}.html").read_text(), "html.parser")


def rows(section: bs4.Tag) -> dict[str, list[str]]:
    """Return all rows of the tables of a part of a page by their first cell."""
    cells = [[td.get_text().strip() for td in tr("td")] for tr in section("tr")]
    return {row[0]: row[1:] for row in cells if row}


def test_every_page_is_there_and_reached(site: Path, root: Path) -> None:
    sources = {path.relative_to(root / "docs") for path in (root / "docs").rglob("*.md")}
    linked = {a["href"].partition("#")[0] for a in page(site, "index").select(".sidebar-tree a")}
    for source in sources - {Path("index.md")}:
        assert (site / source).with_suffix(".html").is_file()
        assert source.with_suffix(".html").as_posix() in linked


def test_every_key_is_in_the_reference(site: Path) -> None:
    reference = page(site, "configuration")
    common, further = typing.get_type_hints(Config), typing.get_type_hints(ExploreConfig)
    sections = common | {f"{k}-of-ictp-explore": further[k] for k in further if k not in common}
    retraining = reference.find(id="retraining-of-ictp-explore")
    assert "for all trainings after the first" in retraining.get_text()
    del sections["retraining-of-ictp-explore"]  # its keys are those of training
    own = typing.get_type_hints(PretrainConfig)
    sections |= {f"{k}-of-ictp-pretrain": own[k] for k in own if k not in common | further}
    for name, kind in sections.items():
        found = rows(reference.find(id=name))
        assert list(found) == [field.name for field in dataclasses.fields(kind)]
        for key, (_, default, _, meaning) in found.items():
            assert default, key
            assert len(meaning) > 3, f"{name}.{key} has no comment in the code"
    training = rows(reference.find(id="training"))
    assert training["learning_rate"][:2] == ["number (above 0)", "0.03"]
    assert training["max_minutes"][:3] == ["number (above 0) or null", "null", "min"]
    assert training["optimizer"][:2] == ["muon, adam", "muon"]
    assert "this session" in training["max_minutes"][3]
    # a comment that goes on below, one above its key
    assert training["radial_knots"][3].endswith("null: they are evaluated for every edge")
    assert training["batch_size"][3].startswith("structures of a step")
    assert "learning_rate need not follow" in training["batch_size"][3]
    assert rows(reference.find(id="model"))["radial_hidden"][1] == "[64, 64, 64]"


def test_every_option_is_in_the_reference(site: Path) -> None:
    reference = page(site, "commands")
    parser = build_parser()
    (subparsers,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for name in COMMANDS:
        section = reference.find(id=f"ictp-{name}")
        shown = {word for first in rows(section) for word in re.findall(r"--?[\w-]+|\w+", first)}
        command = subparsers.choices[name]
        for action in command._actions:
            if action.dest in ("help", "quiet", "verbose"):
                continue
            assert set(action.option_strings) <= shown, name
            positional = action.metavar or (action.choices or [action.dest])[0]
            assert action.option_strings or positional.split("[")[0] in section.get_text()
        examples = section.select("div.highlight-bash")[-1].get_text()
        assert examples.split() == command.epilog.partition(":\n")[2].split()


def test_the_format_is_a_page(site: Path) -> None:
    assert page(site, "format").find(id="the-function") is not None


def test_what_is_outside_is_named_or_linked(site: Path, root: Path, tmp_path: Path) -> None:
    assert "models/acac/README.md" in page(site, "accuracy").get_text()
    docs = small_site(root, tmp_path, "[card](../models/x/README.md), [folder](../models)\n")
    (tmp_path / "models" / "x").mkdir(parents=True)
    (tmp_path / "models" / "x" / "README.md").touch()
    build(docs, "-D", "repository=https://host/project")
    links = [a["href"] for a in page(docs / "out", "index").select("article a[href^=http]")]
    assert links == [f"https://host/project/{path}" for path in ("models/x/README.md", "models")]


def test_a_mistake_ends_the_build(root: Path, tmp_path: Path) -> None:
    done = build(small_site(root, tmp_path, BROKEN), check=False)
    assert done.returncode != 0
    for word in ("nowhere.md", "nothing.py", "'nowhere'", "gone/README", "missing.png", "nonsense"):
        assert re.search(f"WARNING: .*{word}", done.stderr), (word, done.stderr)


def small_site(root: Path, folder: Path, text: str) -> Path:
    """Return a folder with the settings of the site and two pages."""
    docs = folder / "docs"
    shutil.copytree(root / "docs" / "_extensions", docs / "_extensions")
    shutil.copytree(root / "docs" / "_static", docs / "_static")
    shutil.copy(root / "docs" / "conf.py", docs)
    (docs / "other.md").write_text("# Another page\n")
    (docs / "index.md").write_text(f"# Home\n\n{text}\n```{{toctree}}\nother\n```\n")
    return docs


def build(docs: Path, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Build a site as the Makefile does."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", *options]
    command += [str(docs), str(docs / "out")]
    return subprocess.run(command, capture_output=True, text=True, check=check)
