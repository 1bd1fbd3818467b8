# SPDX-License-Identifier: MIT
"""A training that takes a second: rattled alloys labelled by a closed-form potential."""

import csv
import dataclasses

import numpy as np
import torch
import yaml
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from pyictp.config.load import Config, DataConfig, ModelConfig, TrainConfig, to_dict
from pyictp.potential.checkpoint import load_checkpoint

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
        report=False,
    )
    data = DataConfig(train=(str(folder / "train.extxyz"),), num_train=7, num_valid=3)
    return Config(model=MODEL, data=data, training=training)


def changed(config, **training):
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **training))


def no_pictures(patch):
    """Leave the learning curves out, which take longer than these trainings."""
    patch.setattr("pyictp.training.trainer.plot_learning_curve", lambda _rows, path: path.touch())


def rows(path):
    with open(path / "log.csv", newline="") as file:
        return [
            {k: v for k, v in row.items() if "seconds" not in k and "per_second" not in k}
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
        for name in ("seconds", "epoch_seconds"):
            state["position"].pop(name)
    assert states[0]["position"] == states[1]["position"]
    assert states[0]["schedule"] == states[1]["schedule"]
    assert_equal(states[0]["optimizer"], states[1]["optimizer"])


def assert_equal(one, other):
    """Compare nested plain values and tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert_equal(value, other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for value, twin in zip(one, other, strict=True):
            assert_equal(value, twin)
    else:
        assert one == other


def write_yaml(config, path):
    """Write a configuration for a command line."""
    path.write_text(yaml.safe_dump(to_dict(config)))
    return path
