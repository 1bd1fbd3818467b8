# SPDX-License-Identifier: MIT
"""A training that takes a second: rattled alloys labelled by a closed-form potential."""

import csv
import dataclasses

import numpy as np
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from pyictp.checkpoint import load_checkpoint
from pyictp.config import Config, DataConfig, ModelConfig, TrainConfig

MODEL = ModelConfig(
    r_cut=3.5,
    num_channels=4,
    l_max_edge=1,
    l_max_hidden=1,
    correlation=2,
    num_radial=4,
    radial_hidden=(8,),
    readout_hidden=(4,),
)


def emt_frames(number):
    """Rattled copper-nickel cells of four atoms, labelled by a closed-form potential."""
    rng = np.random.default_rng(1)
    frames = []
    for _ in range(number):
        atoms = bulk("Cu", cubic=True)
        atoms.symbols[1] = "Ni"
        atoms.positions += rng.normal(scale=0.08, size=(4, 3))
        atoms.set_cell(atoms.cell[:] * (1 + rng.normal(scale=0.01)), scale_atoms=True)
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        stress = atoms.get_stress()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=stress)
        frames.append(atoms)
    return frames


def make_config(folder):
    """Return a small training on frames written to `folder`; its run folder is `folder`/run."""
    write(folder / "train.extxyz", emt_frames(10))
    training = TrainConfig(
        output=str(folder / "run"),
        batch_size=3,
        max_epochs=6,
        stress_weight=0.1,
        plateau_patience=1,
        device="cpu",
    )
    data = DataConfig(train=(str(folder / "train.extxyz"),), num_train=7, num_valid=3)
    return Config(model=MODEL, data=data, training=training)


def changed(config, **training):
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **training))


def rows(path):
    with open(path / "log.csv", newline="") as file:
        return [
            {k: v for k, v in row.items() if k not in ("seconds", "samples_per_second")}
            for row in csv.DictReader(file)
        ]


def assert_same_run(one, other):
    """Compare two run folders bit for bit, but for times."""
    assert rows(one) == rows(other)
    for name in ("best.pt", "last.pt"):
        first, second = load_checkpoint(one / name), load_checkpoint(other / name)
        for key, value in first["model_state"].items():
            assert torch.equal(value, second["model_state"][key]), (name, key)
    states = [load_checkpoint(path / "last.pt")["training_state"] for path in (one, other)]
    for state in states:
        state["position"].pop("seconds")
    assert states[0]["position"] == states[1]["position"]
    assert states[0]["schedule"] == states[1]["schedule"]
    for key, values in states[0]["optimizer"]["state"].items():
        for name, value in values.items():
            assert torch.equal(value, states[1]["optimizer"]["state"][key][name])
