# SPDX-License-Identifier: MIT
"""Every block of LAMMPS commands in the pages runs, and the Python of docs/pair_style.md."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from blocks import blocks_run_by
from pyictp.config.load import ModelConfig
from pyictp.model.ictp import ICTPModel
from pyictp.potential.export import export_model, reference_graph
from pyictp.potential.extrapolation import fit_grade
from session import lammps_session

pytestmark = pytest.mark.lammps
HERE = "tests/lammps/test_documentation.py"
COMMANDS = blocks_run_by(HERE, "lammps", "indented")
CRYSTAL = """
units metal
atom_modify map array
lattice fcc 3.6
region box block 0 3 0 3 0 3
create_box 3 box
create_atoms 1 box
set type 1 type/subset 2 27 102
set type 1 type/subset 3 27 103
mass * 55.0
displace_atoms all random 0.05 0.05 0.05 99
velocity all create 300 5
fix move all nve
"""
PAIR = ["pair_style ictp", "pair_coeff * * model.pt Ni Fe Cr"]


def make_model(seed: int) -> ICTPModel:
    torch.manual_seed(seed)
    config = ModelConfig(
        elements=("Cr", "Fe", "Ni"),
        r_cut=4.0,
        num_channels=4,
        l_max_edge=1,
        l_max_hidden=1,
        correlation=2,
        radial_hidden=(8,),
        readout_hidden=(8,),
        avg_num_neighbors=18.0,
    )
    model = ICTPModel(config)
    model.scale.fill_(0.1)
    return model


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Return a folder with the files that the pages name."""
    path = tmp_path_factory.mktemp("files")
    models = [make_model(seed) for seed in (1, 2)]
    export_model(models[0], path / "model.pt", "float32")
    grade = fit_grade(models[0], [reference_graph(models[0])])
    export_model(models, path / "ensemble.pt", "float32", grade=grade)
    return path


@pytest.fixture
def folder(files, tmp_path, monkeypatch) -> Path:
    """Return a folder, the current one, with these files."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("commands", COMMANDS, ids=lambda text: text.splitlines()[0])
def test_commands(commands, folder):
    lines = commands.splitlines()
    if not any(line.startswith("pair_style") for line in lines):
        lines = [*PAIR, *lines]
    with lammps_session(folder) as lmp:
        lmp.commands_list([*CRYSTAL.strip().splitlines(), *lines, "run 10"])
    assert "WARNING: Pair style ictp" not in (folder / "log.lammps").read_text()


def test_python_module(folder):
    (folder / "my.in").write_text("\n".join([CRYSTAL.strip(), *PAIR]))
    (script,) = blocks_run_by(HERE, "python")
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^4\.0 -?\d+\.\d+$", done.stdout, re.MULTILINE)
