# SPDX-License-Identifier: MIT
"""LAMMPS' harness for pair styles, see force_style.py, and that it notices what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from force_style import CHECKS, export_untrained, open_force_style, read_reference, write_reference

pytestmark = pytest.mark.lammps
FILE = Path(__file__).with_name("manybody-pair-ictp.yaml")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return export_untrained(tmp_path_factory.mktemp("force_style") / "untrained.pt")


@pytest.mark.parametrize("name", CHECKS)
def test_check(name, model):
    with open_force_style(FILE, model) as style:
        assert style.check(name) == []


@pytest.mark.parametrize("name", ["init_forces", "init_stress", "run_forces", "run_stress"])
def test_a_wrong_number_is_noticed(name, model):
    with open_force_style(FILE, model) as style:
        style.entries[name].flat[-1] += 1e-6
        (problem,) = style.check("plain")
    assert problem.startswith(f"{name} differs by 1e-06, allowed is")


def test_generated_file(model, tmp_path):
    path = tmp_path / FILE.name
    shutil.copy(FILE, path)
    with open_force_style(path, model) as style:
        write_reference(path, style)
    old, new = read_reference(FILE), read_reference(path)
    assert old.keys() == new.keys()
    with open_force_style(path, model) as style:
        assert style.check("plain") == []
