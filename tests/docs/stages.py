# SPDX-License-Identifier: MIT
"""What the pages of docs/ take for granted: small files under the names that they use."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import output_toys
import pytest
import yaml
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones
from ase.io import write
from blocks import ROOT
from pyictp.cli.main import main

SMALL = {"r_cut": 4.0, "num_channels": 4, "l_max_edge": 1, "correlation": 2, "radial_hidden": [8]}
DECK = """units metal
lattice fcc 3.6
region box block 0 3 0 3 0 3
create_box 3 box
create_atoms 1 box
set type 1 type/subset 2 27 102
set type 1 type/subset 3 27 103
mass * 55.0
velocity all create 300 5
pair_style ictp
pair_coeff * * model.pt Ni Fe Cr
fix move all nve
run 10
"""


def labelled(atoms: Atoms, rng: np.random.Generator, **info: str) -> Atoms:
    """Return moved atoms with the labels of a pair potential as wide as their shortest distance."""
    atoms = atoms.copy()
    distances = atoms.get_all_distances(mic=True)
    sigma = 0.9 * distances[distances > 0].min(initial=2.55)
    atoms.positions += rng.normal(scale=0.05, size=(len(atoms), 3))
    atoms.info.update(info)
    atoms.calc = LennardJones(epsilon=0.2, sigma=sigma, rc=5.5, ro=4.0, smooth=True)
    atoms.get_potential_energy()
    return atoms


def frames(path: Path, atoms: Atoms, number: int, seed: int = 0, **info: str) -> None:
    """Write labelled structures."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(exist_ok=True)
    write(path, [labelled(atoms, rng, **info) for _ in range(number)], format="extxyz")


def alloy() -> Atoms:
    """Return four atoms of nickel, iron and chromium."""
    crystal = bulk("Ni", "fcc", a=3.6, cubic=True)
    crystal.symbols[[1, 2]] = ["Fe", "Cr"]
    return crystal


def write_config(path: Path, **training: object) -> None:
    """Write a training of two epochs on my_frames.xyz."""
    model = {**SMALL, "elements": ["Ni", "Fe", "Cr"], "avg_num_neighbors": 12}
    settings = {"max_epochs": 2, "report": False, **training}
    tree = {"model": model, "data": {"train": "my_frames.xyz"}, "training": settings}
    path.write_text(yaml.safe_dump(tree))


def stage_alloy(folder: Path, _: pytest.FixtureRequest) -> None:
    """Data, a configuration, an exported model and an input of an alloy."""
    frames(folder / "my_frames.xyz", alloy(), 20)
    frames(folder / "test_frames.xyz", alloy(), 4, seed=1)
    write(folder / "start.xyz", alloy() * (2, 2, 2))
    write_config(folder / "config.yaml")
    assert main(["-q", "init", str(folder / "config.yaml"), "-o", str(folder / "first")]) == 0
    assert main(["-q", "export", str(folder / "first"), "-o", str(folder / "model.pt")]) == 0
    (folder / "my.in").write_text(DECK)


def stage_training(folder: Path, request: pytest.FixtureRequest) -> None:
    """An alloy to train on, and molecules for a model that comes with the project."""
    stage_alloy(folder, request)
    shutil.copytree(ROOT / "models" / "acac", folder / "models" / "acac")
    frames(folder / "new.xyz", molecule("CH3COCH3"), 12)
    new = {"data": {"train": "new.xyz"}, "training": {"max_epochs": 1, "output": "fine"}}
    (folder / "new.yaml").write_text(yaml.safe_dump(new))


def stage_data(folder: Path, _: pytest.FixtureRequest) -> None:
    """Alloys in groups, a molecule, and its atoms."""
    rng = np.random.default_rng(3)
    (folder / "data").mkdir()
    crystals = [
        labelled(Atoms(pair, [[0, 0, 0], [1.6] * 3], cell=[3.2] * 3, pbc=True), rng, group=name)
        for pair in itertools.combinations_with_replacement(("Mo", "Nb", "Ta", "W"), 2)
        for name in ["-".join(sorted(set(pair)))] * 10
    ]
    write(folder / "data" / "alloys.extxyz", crystals)
    frames(folder / "data" / "molecule.xyz", molecule("H2O"), 500, config_type="300K_MD")
    atoms = [labelled(Atoms(e), rng, config_type="isolated_atom") for e in ("H", "O")]
    write(folder / "data" / "atoms.xyz", atoms)


def stage_formats(folder: Path, _: pytest.FixtureRequest) -> None:
    """Outputs of several codes under the names of the page."""
    for number in (1, 2):
        run = folder / "vasp" / f"run_{number}"
        run.mkdir(parents=True)
        output_toys.write_outcar(run / "OUTCAR")
        output_toys.write_vasprun(run / "vasprun.xml")
        output_toys.write_deepmd(folder / "deepmd" / f"set{number}")
    output_toys.write_espresso(folder / "pw.out")
    output_toys.write_cp2k(folder / "cp2k.out")
    output_toys.write_orca(folder / "orca.out")
    output_toys.write_mtp(folder / "train.cfg")
    atoms = molecule("H2O")
    atoms.info["REF_energy"] = -14.0
    atoms.set_array("REF_forces", np.zeros((3, 3)))
    write(folder / "mace.xyz", atoms, format="extxyz")


def stage_interop(folder: Path, _: pytest.FixtureRequest) -> None:
    """A training folder, and a few structures as names in Python."""
    write_config(folder / "config.yaml")
    assert main(["-q", "init", str(folder / "config.yaml"), "-o", str(folder / "run")]) == 0
    frames(folder / "some.xyz", alloy(), 3)
    lines = "from ase.io import read\nstructures = read('some.xyz', ':')\natoms = structures[0]\n"
    (folder / "prelude.py").write_text(lines)


def stage_md(folder: Path, _: pytest.FixtureRequest) -> None:
    """A little water, and the model that comes with the project."""
    shutil.copytree(ROOT / "models" / "water", folder / "runs" / "water")
    drop = molecule("H2O")
    drop.set_cell([3.1] * 3)
    drop.pbc = True
    write(folder / "water.xyz", drop * (2, 2, 2))


def stage_nothing(_folder: Path, _: pytest.FixtureRequest) -> None:
    """An empty folder."""


STAGES: dict[str, Callable[[Path, pytest.FixtureRequest], None]] = {
    "README.md": stage_alloy,
    "docs/data.md": stage_data,
    "docs/formats.md": stage_formats,
    "docs/install.md": stage_nothing,
    "docs/interop.md": stage_interop,
    "docs/md.md": stage_md,
    "docs/scaling.md": stage_alloy,
    "docs/training.md": stage_training,
}
