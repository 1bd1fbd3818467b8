# SPDX-License-Identifier: MIT
"""The repulsion of nuclei inside an exported file: against pair_style zbl, and in a collision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.neighborlist import neighbor_list
from deck import Deck, Structure, pair_lines, run
from decompositions import TILED, assert_same, cached_runs
from pyictp import train
from pyictp.config.load import Config, DataConfig, ModelConfig, TrainConfig
from pyictp.graph.derivatives import evaluate_graph
from pyictp.graph.graph import build_graph
from pyictp.model.ictp import ICTPModel
from pyictp.potential.checkpoint import provide_core
from pyictp.potential.distances import KEY
from pyictp.potential.export import export_model
from session import lammps_session
from structures import STRUCTURES

pytestmark = pytest.mark.lammps
SMALL = {
    "num_channels": 4,
    "l_max_edge": 1,
    "l_max_hidden": 1,
    "correlation": 2,
    "radial_hidden": (8,),
    "readout_hidden": (8,),
}
# far from where LAMMPS' own switch begins, the additive constant of that switch is zero too
LAMMPS_ZBL = [
    "pair_style zbl 20 21",
    *(f"pair_coeff {t} {t} {z} {z}" for t, z in enumerate((73, 23, 74), 1)),
]


def make_model(zbl: bool, scale: float = 1.0) -> ICTPModel:
    torch.manual_seed(0)
    config = ModelConfig(
        elements=("Ta", "V", "W"),
        r_cut=3.5,
        avg_num_neighbors=20.0,
        zbl=zbl,
        zbl_reach=1.0,
        **SMALL,
    )
    model = ICTPModel(config).double()
    model.scale.fill_(scale)
    return model


def cluster(positions: list[list[float]], types: list[int]) -> Structure:
    return Structure(np.array(positions) + 9.0, np.array(types), 18 * np.eye(3), (False,) * 3)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Return a file whose network says nothing."""
    path = tmp_path_factory.mktemp("bare") / "model.pt"
    export_model(make_model(zbl=True, scale=0.0), path, "float64")
    return path


@pytest.mark.parametrize("types", [[1, 1, 1], [2, 2, 2], [1, 2, 3], [3, 2, 1]])
def test_same_as_pair_style_zbl_below_the_inner_radius(types, bare, tmp_path):
    # 0.7 to 1.5 A; the smallest inner radius, of V and V, is 1.53 A
    positions = [[0, 0, 0], [0.7, 0.2, 0], [0.1, -1.08, 0.4]]
    structure = cluster(positions, types)
    ours = run(tmp_path / "ours", structure, Deck(pair_lines(bare)))
    theirs = run(tmp_path / "theirs", structure, Deck(LAMMPS_ZBL))
    assert theirs.energy > 300
    assert ours.energy == pytest.approx(theirs.energy, rel=1e-10)
    largest = np.abs(theirs.forces).max()
    np.testing.assert_allclose(ours.forces, theirs.forces, atol=1e-10 * largest)
    np.testing.assert_allclose(ours.virial, theirs.virial, atol=1e-10 * theirs.energy)
    np.testing.assert_allclose(ours.node_energies, theirs.node_energies, rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_two_atoms_at_a_third_of_an_angstrom(dtype, tmp_path):
    structure = cluster([[0, 0, 0], [0.3, 0, 0]], [1, 3])
    answers = [run(tmp_path / "zbl", structure, Deck(LAMMPS_ZBL))]
    for zbl in (False, True):
        path = tmp_path / f"{zbl}.pt"
        export_model(make_model(zbl), path, dtype)
        answers.append(run(tmp_path / str(zbl), structure, Deck(pair_lines(path))))
    repulsion, without, both = answers
    assert repulsion.energy > 20_000
    assert both.energy - without.energy == pytest.approx(repulsion.energy, rel=1e-10)
    np.testing.assert_allclose(both.forces - without.forces, repulsion.forces, atol=1e-5)
    assert both.forces[1, 0] == pytest.approx(-both.forces[0, 0])
    assert both.forces[1, 0] > 10_000


CLOSE = {KEY: {"Ta-Ta": 3.3, "Ta-V": 2.8, "V-V": 2.9, "V-W": 3.2, "W-W": 2.9}}  # Ta and W never met


def make_both(core: bool = True) -> ICTPModel:
    """Return a model with ZBL, and from the distances of CLOSE on inwards with a core."""
    model = make_model(True)
    if core:
        provide_core(model, CLOSE)
    return model


CASES = {"bulk": (), "triclinic": (), "slab": TILED, "cell below the cutoff": ()}
CASES |= {"lone atom": (), "no atoms": ()}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    export_model(make_model(zbl=True), folder / "model.pt", "float64", CLOSE)
    pair = pair_lines(folder / "model.pt", style="ictp device cpu closest ignore")
    cases = {name: (STRUCTURES[name], Deck(pair, setup=setup)) for name, setup in CASES.items()}
    return cached_runs(cases, {number: list(CASES) for number in (1, 2, 4)}, folder)


@pytest.mark.parametrize("name", CASES)
def test_same_as_python(name, answers):
    structure, found = STRUCTURES[name], answers(0)[name]
    arrays = (structure.positions, structure.cell, np.array(structure.pbc), structure.types - 1)
    whole, without_core, without = (
        evaluate_graph(model, build_graph(*arrays, 3.5))
        for model in (make_both(), make_both(core=False), make_model(False))
    )
    expected = len(structure.types) if len(whole.edge_gradients) else 0.0  # 1 eV each
    assert (without_core.energies - without.energies).item() >= expected
    assert (whole.energies - without_core.energies).abs().item() >= expected
    np.testing.assert_allclose(found.node_energies, whole.node_energies, atol=1e-9)
    np.testing.assert_allclose(found.forces, whole.forces, atol=1e-9)
    virial = whole.virials[0].numpy()[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    np.testing.assert_allclose(found.virial, virial, atol=1e-7)


@pytest.mark.mpi
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_same_on_any_number_of_processes(processes, name, answers):
    limits = {"node_energies": 1e-9, "forces": 1e-9, "virial": 1e-7}
    assert_same(answers(processes)[name], answers(0)[name], limits)


COLLISION = """
units metal
atom_modify map array
lattice fcc 3.61
region box block 0 3 0 3 0 3
create_box 1 box
create_atoms 1 box
mass 1 63.546
displace_atoms all random 0.02 0.02 0.02 3
pair_style ictp device cpu
pair_coeff * * {model} Cu
neigh_modify delay 0 every 1
velocity all create 300 7
group projectile id 38
velocity projectile set 123.2 123.2 0.0 units box
fix move all nve
fix step all dt/reset 1 NULL 0.001 0.01
"""


@pytest.fixture(scope="module")
def copper(tmp_path_factory):
    """Return a training on copper close to its lattice, labelled in closed form."""
    folder, rng, frames = tmp_path_factory.mktemp("copper"), np.random.default_rng(0), []
    for _ in range(12):
        atoms = bulk("Cu", cubic=True)
        atoms.positions += rng.normal(scale=0.1, size=(4, 3))
        atoms.calc = EMT()
        values = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **values)
        frames.append(atoms)
    write(folder / "train.extxyz", frames)
    data = DataConfig(train=(str(folder / "train.extxyz"),), num_train=10, num_valid=2)
    training = TrainConfig(
        output=str(folder / "run"), batch_size=2, max_epochs=10, device="cpu", report=False
    )
    return Config(model=ModelConfig(r_cut=3.6, **SMALL), data=data, training=training)


@pytest.mark.slow
@pytest.mark.parametrize("repulsion", ["none", "core", "zbl"])
def test_an_atom_of_100_ev_hits_a_crystal(repulsion, copper, tmp_path):
    model = replace(copper.model, zbl=repulsion == "zbl", core_repulsion=repulsion == "core")
    training = replace(copper.training, output=str(tmp_path / "run"))
    trainer, _ = train.train(replace(copper, model=model, training=training))
    provenance = trainer.extras["provenance"]
    export_model(trainer.average_model, tmp_path / "model.pt", provenance=provenance)
    closest, energies = [], []
    with lammps_session(tmp_path) as lmp:
        lmp.commands_list(COLLISION.format(model=tmp_path / "model.pt").strip().splitlines())
        for _ in range(25):
            lmp.command("run 10")
            positions = np.array(lmp.numpy.extract_atom("x")[: lmp.extract_global("nlocal")])
            atoms = bulk("Cu", a=3.61, cubic=True) * (3, 3, 3)
            atoms.positions[:] = positions
            closest.append(neighbor_list("d", atoms, 3.0).min())
            energies.append(lmp.get_thermo("etotal"))
    assert np.ptp(energies) < 0.3  # eV: the steps are short enough
    if repulsion == "zbl":  # head on, 50 eV in the frame of the center of mass: V S there at 1.21 A
        assert 1.1 < min(closest) < 1.5
    elif repulsion == "core":  # from 2.2 A on, no wider than the data
        assert 1.1 < min(closest) < 1.8
    else:  # a network near the lattice knows no nuclei: they pass through each other
        assert min(closest) < 0.4


HOT = """units metal
lattice bcc 3.25
region box block 0 3 0 3 0 3
create_box 4 box
create_atoms 1 box
set type 1 type/subset 2 13 11
set type 1 type/subset 3 13 12
set type 1 type/subset 4 14 13
mass 1 92.906
mass 2 95.95
mass 3 180.948
mass 4 183.84
pair_style ictp device cpu closest ignore
pair_coeff * * {model} Nb Mo Ta W
velocity all create 10000 {seed}
fix nvt all nvt temp 5000 5000 0.1
timestep 0.001"""


@pytest.mark.long
@pytest.mark.parametrize("seed", [4711, 911])
def test_a_hot_alloy_stays_whole(seed, root, tmp_path):
    """Four metals at 5000 K by the shipped model: without the core atoms were lost in 0.6 ps."""
    with lammps_session(tmp_path) as lmp:
        lmp.commands_list(
            HOT.format(model=root / "models/monbtaw/model.pt", seed=seed).splitlines()
        )
        lmp.command("run 1000")
        positions = np.array(lmp.numpy.extract_atom("x")[: lmp.extract_global("nlocal")])
        assert positions.shape == (54, 3)
        assert lmp.get_thermo("temp") < 8000
        assert lmp.get_thermo("pe") / 54 > -13  # eV
