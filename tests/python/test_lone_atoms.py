# SPDX-License-Identifier: MIT
"""Atoms without a neighbor: alone in a batch they have the energies they have beside others."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from model_toys import cluster_graph, make_cluster, make_model
from pyictp.config.load import Config, DataConfig
from pyictp.data.frames import from_atoms
from pyictp.data.samples import make_sample
from pyictp.data.statistics import compute_statistics
from pyictp.graph.derivatives import evaluate_graph
from pyictp.graph.graph import Graph, collate
from pyictp.model.ictp import ICTPModel
from pyictp.potential.load import as_potential
from pyictp.reports.evaluate import evaluate_frames
from pyictp.train import train
from torch import Tensor
from train_toys import MODEL, changed, emt_frames, make_config, no_pictures, rows

SPECIES = [0, 1, 1]  # H O O


def lone_graphs() -> list[Graph]:
    """Return an atom alone, and two that are further apart than the cutoff."""
    apart = torch.tensor([[0.0, 0.0, 0.0], [0.0, 7.0, 0.0]], dtype=torch.float64)
    one = cluster_graph(apart[:1], np.array(SPECIES[:1]))
    return [one, cluster_graph(apart, np.array(SPECIES[1:]))]


def gradients(model: ICTPModel, energies: Tensor) -> dict[str, Tensor]:
    """Return what a loss of these energies does to each weight, zero where it does nothing."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    loss = (energies - torch.arange(len(energies)) / 7).square().sum()
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    pairs = zip(names, parameters, found, strict=True)
    return {name: torch.zeros_like(p) if g is None else g for name, p, g in pairs}


@pytest.mark.usefixtures("compiled_parts")
@pytest.mark.parametrize("fused", [True, False], ids=["operators", "plain"])
@pytest.mark.parametrize("knots", [None, 32])
@pytest.mark.parametrize("variant", ["symmetric", "one_layer", "odd_coupled"])
def test_a_batch_without_edges_is_what_its_atoms_are_beside_others(
    variant: str, knots: int | None, fused: bool
) -> None:
    """The reference has a cluster in the same batch, no knots and no operators."""
    model = make_model(variant)
    beside = collate([*lone_graphs(), cluster_graph(*make_cluster())])
    reference = evaluate_graph(model.use_operators(False).eval(), beside)
    lone, energies = collate(lone_graphs()), {}
    assert lone.num_edges == 0
    if knots is not None:
        model.interpolate_radial(0.9, knots)
    model.train()
    prediction = evaluate_graph(model.use_operators(fused), lone)
    torch.testing.assert_close(prediction.node_energies, reference.node_energies[:3])
    assert not prediction.forces.any()
    for graph, name in ((lone, "ours"), (beside, "theirs")):
        model.use_operators(fused if name == "ours" else False)
        model.train(name == "ours")
        arguments = graph.species, graph.edge_index, graph.edge_vectors, graph.num_local
        energies[name] = gradients(model, model(*arguments)[:3])
    assert any(value.any() for value in energies["ours"].values())
    torch.testing.assert_close(energies["ours"], energies["theirs"])


def lone_atom(symbol: str, energy: float) -> Atoms:
    atoms = Atoms(symbol, [[0.1, 0.2, 0.3]])
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.zeros((1, 3)))
    return atoms


@pytest.mark.parametrize("knots", [None, 64])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_training_takes_lone_atoms(tmp_path, monkeypatch, knots, batch_size) -> None:
    """With steps of one structure each lone atom is a batch of its own, in training and after."""
    no_pictures(monkeypatch)
    structures = [*emt_frames(5), *(lone_atom(s, e) for s, e in (("Cu", 1), ("Ni", 2), ("Cu", 1)))]
    config = make_config(tmp_path)
    write(tmp_path / "train.extxyz", structures)
    write(tmp_path / "valid.extxyz", [lone_atom("Ni", 2.0), *emt_frames(7)[5:]])
    files = {part: (str(tmp_path / f"{part}.extxyz"),) for part in ("train", "valid")}
    config = Config(model=MODEL, data=DataConfig(**files), training=config.training)
    config = changed(config, batch_size=batch_size, radial_knots=knots, max_epochs=2)
    trainer, _ = train(config)
    losses = [float(row["train_loss"]) for row in rows(tmp_path / "run")]
    assert len(losses) == 2
    assert all(map(math.isfinite, losses))
    potential = as_potential(tmp_path / "run", torch.device("cpu"), None)
    result = evaluate_frames(potential, from_atoms(structures[5:]), batch_size=1)
    assert result["force_rmse_mev_per_a"] == 0
    assert trainer.position.epoch == 2


def test_lone_atoms_alone_start_from_their_energies() -> None:
    """One atom of each element: the ridge of the shifts leaves less than half of a difference."""
    frames = from_atoms([lone_atom("Cu", -3.0), lone_atom("Ni", -5.0)])
    samples = [make_sample(frame, ("Ni", "Cu"), 3.5) for frame in frames]
    found = compute_statistics(samples, np.zeros(2))
    # closed form of the ridge: (1 + 1)^-1 of what is off the mean of -4
    np.testing.assert_allclose(found.shift, [-4.5, -3.5])
    assert found.avg_num_neighbors == 1
    assert dataclasses.astuple(found)[2].tolist() == [1, 1]
