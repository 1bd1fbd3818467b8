# SPDX-License-Identifier: MIT
"""Forces, virials and stresses against finite differences of a closed-form energy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from data_toys import LonePotential, ToyPotential, brute_force_energy, structures
from pyictp.data.samples import species_of
from pyictp.graph.derivatives import Prediction, evaluate_graph, stress_from_virial
from pyictp.graph.graph import Graph, build_graph, collate

POTENTIAL = ToyPotential()
PERIODIC = ["crystal", "one_atom_cell", "sheared"]


def graph_of(atoms: Atoms) -> Graph:
    species = species_of(atoms.numbers, POTENTIAL.elements)
    return build_graph(atoms.positions, atoms.cell.array, atoms.pbc, species, POTENTIAL.r_cut)


def predict(atoms: Atoms) -> Prediction:
    return evaluate_graph(POTENTIAL, graph_of(atoms))


@pytest.mark.parametrize("name", structures())
def test_energy_equals_double_loop(name):
    atoms = structures()[name]
    prediction = predict(atoms)
    assert prediction.energies.item() == pytest.approx(brute_force_energy(POTENTIAL, atoms), 1e-12)
    assert prediction.node_energies.sum().item() == pytest.approx(prediction.energies.item(), 1e-13)


@pytest.mark.parametrize("name", structures())
def test_forces_are_minus_the_slope(name):
    atoms = structures()[name]
    forces = predict(atoms).forces.numpy()
    step = 1e-5
    for atom in range(min(len(atoms), 3)):
        for axis in range(3):
            energies = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[atom, axis] += sign * step
                energies.append(brute_force_energy(POTENTIAL, moved))
            slope = (energies[0] - energies[1]) / (2 * step)
            assert forces[atom, axis] == pytest.approx(-slope, abs=1e-8)
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("name", PERIODIC)
def test_stress_is_the_slope_under_strain(name):
    atoms = structures()[name]
    volume = torch.tensor([atoms.get_volume()])
    stress = stress_from_virial(predict(atoms).virials, volume)[0].numpy()
    step = 1e-5
    for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        energies = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[a, b] += sign * step / 2
            strain[b, a] += sign * step / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            energies.append(brute_force_energy(POTENTIAL, strained))
        slope = (energies[0] - energies[1]) / (2 * step) / atoms.get_volume()
        assert stress[a, b] == pytest.approx(slope, rel=1e-7, abs=1e-8)
        assert stress[b, a] == stress[a, b]


def test_virial_has_the_sign_of_lammps():
    atoms = structures()["molecule"]
    prediction = predict(atoms)
    expected = atoms.positions.T @ prediction.forces.numpy()  # sum r_i (x) f_i
    np.testing.assert_allclose(prediction.virials[0].numpy(), expected, atol=1e-12)


def test_collated_structures_do_not_mix():
    systems = list(structures().values())
    joined = evaluate_graph(POTENTIAL, collate([graph_of(atoms) for atoms in systems]))
    alone = [predict(atoms) for atoms in systems]
    for field in ("energies", "node_energies", "forces", "virials", "edge_gradients"):
        expected = torch.cat([getattr(prediction, field) for prediction in alone])
        torch.testing.assert_close(getattr(joined, field), expected, rtol=0, atol=1e-12)


def test_training_keeps_the_graph_and_evaluation_does_not():
    graph = graph_of(structures()["molecule"])
    kept = evaluate_graph(POTENTIAL, graph, training=True)
    (slope,) = torch.autograd.grad(kept.forces.square().sum(), POTENTIAL.amplitude)
    assert bool((slope[:3] != 0).all())
    step = 1e-6
    values = []
    for sign in (1, -1):
        moved = ToyPotential()
        with torch.no_grad():
            moved.amplitude[1] += sign * step
        values.append(evaluate_graph(moved, graph).forces.square().sum().item())
    assert slope[1].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-6)
    with torch.no_grad():
        plain = evaluate_graph(POTENTIAL, graph)
    assert not plain.forces.requires_grad
    assert not plain.energies.requires_grad
    assert torch.equal(plain.forces, kept.forces.detach())


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["lone_atom", "molecule"])
def test_energy_without_edges_has_no_forces(name, training):
    prediction = evaluate_graph(LonePotential(), graph_of(structures()[name]), training)
    assert prediction.energies.item() == 2.0 * len(structures()[name])
    assert not prediction.forces.any()
    assert not prediction.virials.any()


def test_a_batch_of_lone_atoms_can_be_trained_on():
    graph = graph_of(structures()["lone_atom"])
    prediction = evaluate_graph(POTENTIAL, collate([graph, graph]), training=True)
    assert prediction.forces.shape == (2, 3)
    (prediction.energies.sum() + prediction.forces.sum()).backward()


def test_ghosts_get_their_share_of_forces():
    species = torch.tensor([0, 1, 2])
    edge_index = torch.tensor([[0, 0], [1, 2]])
    vectors = torch.tensor([[1.0, 0.2, 0.0], [0.0, 1.5, 0.1]], dtype=torch.float64)
    graph = Graph(species, edge_index, vectors, 1, torch.zeros(3, dtype=torch.int64), 1)
    prediction = evaluate_graph(POTENTIAL, graph)
    assert prediction.node_energies.shape == (1,)
    torch.testing.assert_close(prediction.forces[1:], -prediction.edge_gradients)
    torch.testing.assert_close(prediction.forces[0], prediction.edge_gradients.sum(0))
