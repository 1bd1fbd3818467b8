# SPDX-License-Identifier: MIT
"""Every deck of lammps_inputs/ runs as it stands, with an untrained model; its physics holds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pyictp.config.load import ModelConfig
from pyictp.md.lammps import read_thermo
from pyictp.model.ictp import ICTPModel
from pyictp.native import plugin_path
from pyictp.potential.export import export_model

pytestmark = pytest.mark.lammps
TIME_LIMIT = 120  # s

CONFIG = ModelConfig(
    elements=("Co", "Ni", "Fe", "Cr"),
    r_cut=4.0,
    num_channels=8,
    l_max_edge=2,
    l_max_hidden=1,
    correlation=2,
    radial_hidden=(16,),
    readout_hidden=(8,),
    avg_num_neighbors=18.0,
)


@pytest.fixture(scope="session")
def model_file(tmp_path_factory) -> Path:
    """Return an exported untrained model; its scale keeps forces below those of a metal."""
    torch.manual_seed(1)
    model = ICTPModel(CONFIG)
    model.scale.fill_(0.1)
    model.shift.fill_(-4.0)
    path = tmp_path_factory.mktemp("decks") / "model.pt"
    export_model(model, path, "float32")
    return path


def run_deck(root: Path, folder: Path, name: str, *arguments: str, **environment: str) -> str:
    """Run a copy of a deck alone in a folder; returns what LAMMPS printed."""
    shutil.copy(root / "lammps_inputs" / f"{name}.in", folder)
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lmp")), "-in", f"{name}.in", *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert "WARNING: Dangerous" not in done.stdout
    return done.stdout


@pytest.fixture
def as_it_stands(root, tmp_path, model_file):
    """Return a function that runs a deck without -var: model.pt beside it, a folder of plugins."""
    shutil.copy(model_file, tmp_path / "model.pt")
    return lambda name: run_deck(root, tmp_path, name, LAMMPS_PLUGIN_PATH=str(plugin_path().parent))


def printed(text: str, pattern: str) -> float:
    """Return the number that the deck prints where the pattern has its group."""
    match = re.search(pattern, text)
    assert match, text[-2000:]
    return float(match.group(1))


def test_nve_conserves_energy(as_it_stands, tmp_path):
    drift = printed(as_it_stands("nve"), r"\nEnergy drift: (\S+) meV/atom/ps")
    assert abs(drift) < 0.5
    assert (tmp_path / "nve.dump").read_text().count("ITEM: TIMESTEP") == 11


def test_npt_prints_the_mean_lattice_parameter(as_it_stands, tmp_path):
    mean = printed(as_it_stands("npt"), r"\nLattice parameter at 300 K: (\S+) A")
    lengths = read_thermo(tmp_path / "log.lammps")["v_a"]
    assert lengths.min() <= mean <= lengths.max()


def test_minimize_lowers_energy_and_forces(as_it_stands, tmp_path):
    text = as_it_stands("minimize")
    energy = printed(text, r"\nRelaxed: (\S+) eV/atom")
    tables = re.findall(r"\n *0 +(-\d+\.\d+)", text)
    assert energy < float(tables[0]) / 108
    assert read_thermo(tmp_path / "log.lammps")["Lx"][-1] != pytest.approx(3 * 3.58, abs=1e-6)


def test_hybrid_zbl_repels_and_conserves_energy(as_it_stands, tmp_path):
    as_it_stands("hybrid_zbl")
    thermo = read_thermo(tmp_path / "log.lammps")
    assert thermo["c_zbl"].max() > 1.0
    assert np.ptp(thermo["TotEng"]) < 0.5  # of 100 eV given to one atom


@pytest.mark.parametrize("name", ["nve", "npt", "minimize", "hybrid_zbl"])
def test_model_and_plugin_by_option(root, tmp_path, model_file, name):
    arguments = [
        "-var",
        "model",
        str(model_file),
        "-var",
        "plugin",
        str(plugin_path()),
        "-var",
        "steps",
        "10",
    ]
    assert "ictp" in run_deck(root, tmp_path, name, *arguments)


def test_all_decks_are_tested(root):
    names = {path.stem for path in (root / "lammps_inputs").glob("*.in")}
    assert names == {"nve", "npt", "minimize", "hybrid_zbl"}
