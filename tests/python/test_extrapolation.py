# SPDX-License-Identifier: MIT
"""Extrapolation grades against Mahalanobis distances of numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import read, write
from model_toys import cluster_graph, make_cluster, make_model
from numpy.testing import assert_allclose
from pyictp import train
from pyictp.cli.main import main
from pyictp.config.load import Config
from pyictp.data.samples import GraphDataset
from pyictp.errors import UserError
from pyictp.graph.graph import Graph
from pyictp.model.ictp import ICTPModel
from pyictp.potential.checkpoint import build_model, load_checkpoint, save_checkpoint
from pyictp.potential.exported import load_exported
from pyictp.potential.extrapolation import (
    FLOOR,
    UNSEEN,
    add_grade,
    fit_grade,
    grade_of,
    needed_grade,
)
from pyictp.potential.load import load_model
from pyictp.training.prepare import read_split
from train_toys import changed, make_config


def clusters(number: int, first_seed: int = 0, num_atoms: int = 9) -> list[Graph]:
    return [
        cluster_graph(*make_cluster(num_atoms, seed))
        for seed in range(first_seed, first_seed + number)
    ]


def training_graphs(config: Config) -> list[Graph]:
    """Return the structures that a training of copper and nickel is made of."""
    samples = GraphDataset(read_split(config)[0], ("Ni", "Cu"), config.model.r_cut)
    return [sample.graph for sample in samples]


def arguments(graph: Graph) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    return graph.species, graph.edge_index, graph.edge_vectors, graph.num_local


def features_of(model: ICTPModel, graphs: list[Graph]) -> tuple[np.ndarray, np.ndarray]:
    """Return what the last readout sees, (N, C), and species, (N,), structure by structure."""
    found = [model.energies_and_features(*arguments(graph))[1] for graph in graphs]
    species = torch.cat([graph.species for graph in graphs]).numpy()
    return torch.cat(found).detach().double().numpy(), species


def mahalanobis(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return distances (n,) from the mean of `known` (m, C), 1 for the farthest of them.

    The inverse of the covariance after adding a part of its largest eigenvalue to the diagonal.
    """
    covariance = np.cov(known.T, bias=True)
    ridge = FLOOR * np.linalg.eigvalsh(covariance).max() * np.eye(len(covariance))
    inverse = np.linalg.inv(covariance + ridge)

    def distances(features: np.ndarray) -> np.ndarray:
        shifted = features - known.mean(0)
        return np.sqrt(np.einsum("ni,ij,nj->n", shifted, inverse, shifted))

    return distances(asked) / distances(known).max()


@pytest.mark.parametrize("num_layers", [1, 2])
def test_grades_are_mahalanobis_distances(num_layers: int) -> None:
    model = make_model(num_layers=num_layers)
    known, other = clusters(12), clusters(3, 50) + clusters(2, 60, num_atoms=14)
    grade = fit_grade(model, known)
    features, species = features_of(model, known)
    asked, asked_species = features_of(model, other)
    found = grade(torch.from_numpy(asked), torch.from_numpy(asked_species)).numpy()
    for s in (0, 1):
        want = mahalanobis(features[species == s], asked[asked_species == s])
        assert_allclose(found[asked_species == s], want, rtol=1e-6)
    assert found.min() < 1 < found.max()  # some are denser than the known ones


def test_the_farthest_training_atom_of_each_element_has_grade_one() -> None:
    model, known = make_model(), clusters(12)
    features, species = features_of(model, known)
    found = fit_grade(model, known)(torch.from_numpy(features), torch.from_numpy(species)).numpy()
    for s in (0, 1):
        assert found[species == s].max() == pytest.approx(1, rel=1e-12)
        assert found[species == s].min() < 0.9


def test_how_structures_are_batched_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, known = make_model(), clusters(6)
    together = fit_grade(model, known)
    monkeypatch.setattr("pyictp.potential.extrapolation.BATCH_EDGES", 1)
    alone = fit_grade(model, known)
    features, species = map(torch.from_numpy, features_of(model, clusters(3, first_seed=20)))
    assert_allclose(together(features, species), alone(features, species), rtol=1e-9)


def test_an_element_without_training_atoms_is_far_away() -> None:
    model, graphs = make_model(), clusters(4)
    hydrogen = [
        cluster_graph(make_cluster(7, seed)[0], np.zeros(7, dtype=int)) for seed in range(9)
    ]
    grade = fit_grade(model, hydrogen)
    features, species = features_of(model, graphs)
    found = grade(torch.from_numpy(features), torch.from_numpy(species)).numpy()
    oxygen = species == 1
    assert_allclose(found[oxygen], UNSEEN * np.linalg.norm(features[oxygen], axis=1))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("equal", [False, True], ids=["one_atom", "equal_atoms"])
def test_atoms_without_spread_give_finite_grades(equal: bool, dtype: torch.dtype) -> None:
    """One oxygen atom, or the same one in every structure, is a point: itself 0, all else far."""
    model = make_model().to(dtype)
    positions, _ = make_cluster(7, 3)
    known = [cluster_graph(positions, np.array([1, 0, 0, 0, 0, 0, 0]))] * (4 if equal else 1)
    grade = fit_grade(model, known)
    for graphs, low, high in ((known, 0, 1), (clusters(3), 1, np.inf)):
        features, species = features_of(model, graphs)
        found = grade(torch.from_numpy(features), torch.from_numpy(species)).numpy()
        oxygen = found[species == 1]
        assert np.isfinite(found).all()
        assert low <= oxygen.min() <= oxygen.max() < high


def test_add_grade_changes_nothing_else_of_a_checkpoint(tmp_path: Path) -> None:
    path, model, known = tmp_path / "best.pt", make_model(), clusters(4)
    save_checkpoint(path, model, provenance={"seed": 3}, other={"kept": [1, 2]})
    before = load_checkpoint(path)
    assert grade_of(before) is None
    add_grade(path, known)
    after = load_checkpoint(path)
    assert after["provenance"] == {"seed": 3}
    assert after["other"] == {"kept": [1, 2]}
    for name, value in before["model_state"].items():
        assert torch.equal(after["model_state"][name], value)
    features, species = map(torch.from_numpy, features_of(model, known))
    found, want = grade_of(after), fit_grade(model, known)
    assert_allclose(found(features, species), want(features, species), rtol=1e-9)
    loaded = load_model(path, dtype=torch.float32)
    assert loaded.grade.center.dtype == torch.float64
    assert loaded.model.state_dict().keys() == model.state_dict().keys()  # so it can be exported


@pytest.mark.usefixtures("quick_training")
def test_a_checkpoint_without_a_grade_where_one_is_needed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "best.pt", make_model())
    with pytest.raises(UserError, match=r"^the first model: expected the extrapolation grade"):
        needed_grade(load_checkpoint(tmp_path / "best.pt"), "the first model")


def test_training_stores_what_export_computes_of_its_training_frames(tmp_path: Path) -> None:
    config = changed(make_config(tmp_path), max_epochs=2)
    trainer, _ = train.train(config)
    atoms = [read(frame.name.replace(":", "@")) for frame in read_split(config)[0]]
    lone = [Atoms(e, info={"config_type": "isolated_atom"}) for e in ("Cu", "Ni")]
    used, output = tmp_path / "used.extxyz", tmp_path / "model.pt"
    write(used, [*atoms, *lone])  # isolated atoms are no training structures
    command = ["export", str(trainer.folder.path), "-o", str(output), "--dtype", "float64"]
    assert main([*command, "--training-data", str(used)]) == 0
    computed = load_exported(output)
    payload = load_checkpoint(trainer.folder.best)
    model, stored = build_model(payload, torch.float64), grade_of(payload)
    largest = [0.0, 0.0]
    for graph in training_graphs(config):
        grades = stored(model.energies_and_features(*arguments(graph))[1].detach(), graph.species)
        assert_allclose(computed.grades(graph), grades, rtol=1e-5)
        largest = [max(largest[s], grades[graph.species == s].max().item()) for s in (0, 1)]
    assert_allclose(largest, 1, rtol=1e-3)  # the covariance is that of float32 features


@pytest.mark.usefixtures("quick_training")
def test_a_training_goes_on_from_a_checkpoint_with_a_grade(tmp_path: Path) -> None:
    config = changed(make_config(tmp_path), max_epochs=1)
    trainer, _ = train.train(config)
    before = grade_of(load_checkpoint(trainer.folder.best))
    train.train(changed(config, max_epochs=3), resume=True)
    after = grade_of(load_checkpoint(trainer.folder.best))
    assert not torch.equal(before.center, after.center)  # best.pt is another model now
    with torch.no_grad():
        model, graphs = build_model(load_checkpoint(trainer.folder.best)), training_graphs(config)
        found = [
            after(model.energies_and_features(*arguments(g))[1], g.species).max() for g in graphs
        ]
    assert max(found).item() == pytest.approx(1, rel=1e-5)
