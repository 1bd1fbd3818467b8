# SPDX-License-Identifier: MIT
"""The repulsion of nuclei below the distances of the training data."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii
from ase.io import read, write
from ase.units import Bohr
from model_toys import make_model
from pyictp import train
from pyictp.graph.derivatives import evaluate_graph, stress_from_virial
from pyictp.graph.graph import build_graph
from pyictp.model.core import CoreRepulsion
from pyictp.model.zbl import ZBLRepulsion
from pyictp.potential import checkpoint
from pyictp.potential.distances import KEY, MARGIN, core_distances, distance_table
from pyictp.potential.export import export_model
from pyictp.potential.interface import Potential
from pyictp.potential.load import load_model
from train_toys import changed, make_config, rows

ROOT = Path(__file__).parents[2]
ELEMENTS = ("Cu", "W")
DISTANCES = torch.tensor([[1.9, 2.4], [2.4, 2.1]], dtype=torch.float64)
MODELS = sorted(path.parent for path in ROOT.glob("models/*/model.pt"))


def published(r: float, z1: int, z2: int) -> float:
    """Return the potential [eV] with the digits of the book, without a switch."""
    x = r * (z1**0.23 + z2**0.23) / (0.8854 * Bohr)
    terms = ((0.1818, 3.2), (0.5099, 0.9423), (0.2802, 0.4029), (0.02817, 0.2016))
    return 14.39965 * z1 * z2 / r * sum(c * np.exp(-d * x) for c, d in terms)


def on_line(distance: float, a: int, b: int, r_cut: float = 5.0):
    direction = np.array([2.0, -1.0, 2.0]) / 3.0
    positions = [np.zeros(3), distance * direction]
    return build_graph(positions, np.zeros((3, 3)), False, [a, b], r_cut)


@pytest.mark.parametrize(("a", "b"), list(itertools.product(range(2), repeat=2)))
def test_formula(a, b):
    core, limit = CoreRepulsion(ELEMENTS, DISTANCES), DISTANCES[a, b].item()
    charges = [atomic_numbers[ELEMENTS[s]] for s in (a, b)]
    for distance in (0.2, 0.6 * limit, 0.75 * limit, limit - 0.3, limit - 0.13, limit - 0.02):
        graph = on_line(distance, a, b)
        vectors, energies = core(graph.species, graph.edge_index, graph.edge_vectors, 2)
        t = min(max((distance / limit - 0.7) / 0.3, 0.0), 1.0)
        whole = published(distance, *charges) * (1 - 10 * t**3 + 15 * t**4 - 6 * t**5)
        np.testing.assert_allclose(energies, 2 * [0.5 * whole], rtol=2e-3)
        x = min((limit - distance) / 0.2, 1.0)
        seen = (limit - 0.2 * (x - x**3 + x**4 / 2)) / distance * graph.edge_vectors
        torch.testing.assert_close(vectors, seen, rtol=1e-12, atol=0)
    for distance in (limit + 1e-9, limit + 1.0):
        graph = on_line(distance, a, b)
        vectors, energies = core(graph.species, graph.edge_index, graph.edge_vectors, 2)
        assert torch.equal(vectors, graph.edge_vectors)
        assert not energies.any()


def test_two_derivatives_are_continuous_where_it_begins_and_ends():
    core, pair = CoreRepulsion(ELEMENTS, DISTANCES), torch.tensor([1])

    def derivatives(of, r):
        r = torch.tensor([r], dtype=torch.float64, requires_grad=True)
        value = of(r, pair)
        (slope,) = torch.autograd.grad(value.sum(), r, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), r)
        return np.array([value.item(), slope.item(), curvature.item()])

    for of, places in ((core.limited, (2.4, 2.2)), (core.pair_energies, (2.4, 0.7 * 2.4))):
        for place in places:
            coarse, fine = (
                np.abs(derivatives(of, place - h) - derivatives(of, place + h))
                for h in (1e-3, 1e-5)
            )
            assert (fine <= 0.02 * coarse + 1e-9).all()


def test_differentiable_twice():
    core = CoreRepulsion(ELEMENTS, DISTANCES)
    graph = on_line(1.7, 0, 1)

    def both(vectors):
        return core(graph.species, graph.edge_index, vectors, 2)

    vectors = graph.edge_vectors.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(both, vectors)
    assert torch.autograd.gradgradcheck(both, vectors)


@pytest.mark.parametrize("reach", [0.5, 1.3])
def test_with_a_repulsion_of_its_own_a_model_has_the_nuclei_once(reach):
    own = ZBLRepulsion(ELEMENTS, 5.0, reach)
    core = CoreRepulsion(ELEMENTS, DISTANCES, own)
    for distance in (0.4, 1.0):  # both are whole
        graph = on_line(distance, 0, 1)
        total = own(graph.species, graph.edge_index, graph.edge_vectors, 2)
        total = total + core(graph.species, graph.edge_index, graph.edge_vectors, 2)[1]
        assert total.sum().item() == pytest.approx(published(distance, 29, 74), rel=2e-3)
    rising = [
        own.pair_energies(r, torch.tensor([1])) + core.pair_energies(r, torch.tensor([1]))
        for r in torch.linspace(2.39, 0.3, 60, dtype=torch.float64).unsqueeze(1)
    ]
    assert (np.diff(torch.cat(rising)) > 0).all()


@pytest.mark.parametrize("zbl", [False, True])
def test_forces_and_stress_of_a_crystal_are_derivatives(zbl):
    model = make_model(elements=ELEMENTS, r_cut=3.6, zbl=zbl).repel_below(DISTANCES + 0.4)
    rng = np.random.default_rng(0)
    cell = 3.4 * np.eye(3) + rng.normal(scale=0.1, size=(3, 3))
    places = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    positions = places @ cell + rng.normal(scale=0.2, size=(4, 3))

    def predicted(shift=0.0, strain=0.0, model=model):
        deformation = np.eye(3) + strain
        moved = (positions + shift) @ deformation
        graph = build_graph(moved, cell @ deformation, True, [0, 1, 0, 1], 3.6)
        return evaluate_graph(model, graph)

    found, step = predicted(), 1e-5
    without = predicted(model=make_model(elements=ELEMENTS, r_cut=3.6, zbl=zbl))
    assert (found.energies - without.energies).abs() > 1e-3
    stress = stress_from_virial(found.virials, torch.tensor([np.linalg.det(cell)]))[0].numpy()
    for atom, axis in ((0, 0), (1, 2), (3, 1)):
        shift, strain = np.zeros((4, 3)), np.zeros((3, 3))
        shift[atom, axis] = step
        slope = (predicted(shift).energies - predicted(-shift).energies).item() / (2 * step)
        assert found.forces[atom, axis].item() == pytest.approx(-slope, abs=1e-6)
        strain[axis, (axis + 1) % 3] = strain[(axis + 1) % 3, axis] = step / 2
        slope = (predicted(0, strain).energies - predicted(0, -strain).energies).item() / (2 * step)
        assert stress[axis, (axis + 1) % 3] == pytest.approx(slope / np.linalg.det(cell), abs=1e-7)


@pytest.mark.parametrize("portable", [False, True])
def test_exported_file(portable, dtype, tmp_path):
    model = make_model(elements=ELEMENTS, r_cut=3.6)
    provenance = {KEY: {"Cu-Cu": 1.9, "W-W": 2.1}}
    name = str(dtype).removeprefix("torch.")
    export_model(model, tmp_path / "model.pt", name, provenance, portable)
    exported = load_model(tmp_path / "model.pt")
    checkpoint.provide_core(model, provenance)
    np.testing.assert_allclose(model.core.distances, np.array([1.9, 2.4, 2.4, 2.1]) - MARGIN)
    limit = {torch.float64: 1e-11, torch.float32: 2e-4}[dtype]
    for distance, a, b in ((1.6, 0, 0), (2.9, 0, 1), (0.9, 0, 1), (1.2, 1, 1), (3.0, 1, 1)):
        graph = on_line(distance, a, b, 3.6)
        expected, found = evaluate_graph(model, graph), evaluate_graph(exported, graph)
        scale = max(expected.forces.abs().max().item(), 1.0)
        torch.testing.assert_close(found.forces, expected.forces, rtol=0, atol=limit * scale)
        torch.testing.assert_close(found.energies, expected.energies, rtol=0, atol=limit * scale)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"Cu-Cu": 1.9, "Cu-W": 2.0, "W-W": 2.3}, 2.0),
        ({"Cu-Cu": 1.9, "Cu-W": 2.8, "W-W": 2.3}, 1.2 * 2.1),  # of the mean of the others
        ({"Cu-Cu": 1.9, "W-W": 2.3}, 1.2 * 2.1),
        ({"Cu-Cu": 1.9, "Cu-W": 2.8}, 2.8),
        ({"Cu-Cu": 1.9}, covalent_radii[[29, 74]].sum()),
    ],
)
def test_distance_of_two_elements(known, expected):
    distances = core_distances({KEY: known}, ELEMENTS)
    assert distances[0, 1].item() == distances[1, 0].item() == pytest.approx(expected - MARGIN)
    assert distances[0, 0].item() == pytest.approx(1.9 - MARGIN)


def test_where_nothing_is_known_nothing_is_done():
    for changes, provenance in (
        ({}, {}),
        ({}, {"untrained": True}),
        ({"core_repulsion": False}, {KEY: {"H-H": 1.0}}),
    ):
        model = make_model(**changes)
        checkpoint.provide_core(model, provenance)
        assert model.core is None
    model = make_model()
    checkpoint.provide_core(model, {KEY: {"H-H": 0.0, "H-O": 0.9, "O-O": 0.0}})
    graphs = [on_line(0.5, s, s, 3.0) for s in (0, 1)]
    for graph in graphs:  # pairs of an import, of which the new data know nothing
        same = evaluate_graph(make_model(), graph).energies
        assert torch.equal(evaluate_graph(model, graph).energies, same)
    graph = on_line(0.5, 0, 1, 3.0)
    assert evaluate_graph(model, graph).energies > evaluate_graph(make_model(), graph).energies + 5


class TestTraining:
    """It begins where the data end: training is the same with it and without."""

    pytestmark = pytest.mark.usefixtures("quick_training")

    @staticmethod
    def without(config, tmp_path):
        model = dataclasses.replace(config.model, core_repulsion=False)
        return dataclasses.replace(changed(config, output=str(tmp_path / "without")), model=model)

    def test_the_same_training(self, tmp_path):
        config = make_config(tmp_path)
        trainer, _ = train.train(config)
        other, _ = train.train(self.without(config, tmp_path))
        assert trainer.average_model.core is not None
        assert other.average_model.core is None
        for name, value in trainer.model.state_dict().items():
            assert torch.equal(value, other.model.state_dict()[name]), name
        losses = [[r["train_loss"] for r in rows(tmp_path / f)] for f in ("run", "without")]
        assert losses[0] == losses[1]

    def test_the_distances_are_those_of_the_training_frames(self, tmp_path):
        config = make_config(tmp_path)
        train.train(changed(config, max_epochs=1))
        loaded = load_model(tmp_path / "run")
        known = loaded.metadata["provenance"][KEY]
        elements = loaded.elements
        table = loaded.model.core.distances.reshape(2, 2)
        assert len(known) == 2  # Ni and Ni never meet
        for pair, length in known.items():
            i, j = (elements.index(element) for element in pair.split("-"))
            assert table[i, j].item() == pytest.approx(length - MARGIN)  # Ni-Ni is not known

    def test_fine_tuning_on_closer_atoms_moves_it_inwards(self, tmp_path):
        config = make_config(tmp_path)
        train.train(changed(config, max_epochs=1))
        frames = read(config.data.train[0], ":")
        for atoms in frames:
            results = atoms.calc.results
            atoms.set_cell(0.9 * atoms.cell[:], scale_atoms=True)
            atoms.calc.atoms, atoms.calc.results = atoms.copy(), results
        write(tmp_path / "close.extxyz", frames)
        data = dataclasses.replace(config.data, train=(str(tmp_path / "close.extxyz"),))
        fine = dataclasses.replace(changed(config, output=str(tmp_path / "fine")), data=data)
        trainer, _ = train.train(changed(fine, max_epochs=1), finetune=tmp_path / "run")
        before = load_model(tmp_path / "run").model.core.distances
        now = trainer.average_model.core.distances
        expected = 0.9 * (before + MARGIN) - MARGIN
        torch.testing.assert_close(now[1:], expected[1:], rtol=1e-4, atol=0)  # of Cu

    def test_a_network_with_a_hole_is_stopped(self, tmp_path):
        """Inside the crystal: an atom is pushed into its neighbor."""
        config = make_config(tmp_path)
        train.train(config)
        loaded = load_model(tmp_path / "run")
        frame = read(config.data.train[0])
        assert rises(loaded, frame.positions, frame.cell[:], frame.numbers, True)


def rises(model: Potential, positions, cell, numbers, pbc) -> bool:
    """Push the first atom into its neighbor: whether the energy rises all the way by 30 eV."""
    elements = [atomic_numbers[element] for element in model.elements]
    species = np.array([elements.index(number) for number in numbers])
    graph = build_graph(positions, cell, pbc, species, model.r_cut)
    vectors = graph.edge_vectors[graph.edge_index[0] == 0].numpy()
    vector = min(vectors, key=np.linalg.norm)
    energies = []
    for length in np.arange(np.linalg.norm(vector) - 0.05, 0.3, -0.05):
        moved = np.array(positions, dtype=float)
        moved[0] += vector * (1.0 - length / np.linalg.norm(vector))
        graph = build_graph(moved, cell, pbc, species, model.r_cut)
        energies.append(evaluate_graph(model, graph).energies.item())
    close = np.array(energies[-8:])
    return bool((np.diff(close) > 0).all() and close[-1] > energies[0] + 30)


@pytest.mark.parametrize("folder", MODELS, ids=lambda path: path.name)
def test_no_shipped_model_has_a_hole(folder):
    """Two atoms alone, from the shortest distance of the data to 0.3 A."""
    model = load_model(folder / "model.pt")
    assert model.metadata["model"]["core_repulsion"]
    falls = {}
    for (i, a), (j, b) in itertools.combinations_with_replacement(enumerate(model.elements), 2):
        # pairs that never met as a bond may make one, as they do in nature: inside of it they repel
        bond = covalent_radii[[atomic_numbers[a], atomic_numbers[b]]].sum()
        start = min(model.shortest_distances[i, j], bond)
        graphs = [on_line(length, i, j, model.r_cut) for length in np.arange(start, 0.3, -0.05)]
        energies = np.array([evaluate_graph(model, graph).energies.item() for graph in graphs])
        assert np.isfinite(energies).all()
        falls[f"{a}-{b}"] = (np.maximum.accumulate(energies) - energies).max()
        assert energies[-1] > energies[0] + 8  # eV; H and H 0.35 A apart have 10
    # wells of pairs without a molecule around, which no data have; networks fall by up to 1e12 eV
    assert {pair: fall for pair, fall in falls.items() if fall > 0.15} == {}


def test_a_warm_alloy_is_as_without():
    """Its unlike pairs were in the data of `models/monbtaw` as crystals at rest alone."""
    payload = checkpoint.load_checkpoint(ROOT / "models/monbtaw/best.pt")
    model = checkpoint.build_model(payload, torch.float64)
    atoms = bulk("Mo", a=3.24, cubic=True).repeat(3)
    atoms.symbols[:] = np.random.default_rng(0).permutation(np.resize(model.config.elements, 54))
    atoms.rattle(0.08, seed=1)
    species = [model.config.elements.index(element) for element in atoms.symbols]
    graph = build_graph(atoms.positions, atoms.cell[:], True, species, model.r_cut)
    with_core = evaluate_graph(model, graph)
    table = distance_table(payload["provenance"], model.config.elements, model.r_cut)
    kinds = graph.species[graph.edge_index].numpy()
    assert (graph.edge_vectors.norm(dim=1).numpy() < table[kinds[0], kinds[1]] - 0.15).any()
    model.core = None
    assert torch.equal(evaluate_graph(model, graph).forces, with_core.forces)
