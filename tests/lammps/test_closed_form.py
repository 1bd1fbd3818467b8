# SPDX-License-Identifier: MIT
"""What the pair style gives for models whose answer is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from deck import VOIGT, Deck, Structure, pair_lines, run
from structures import STRUCTURES, graph, lattice
from toys import MessageToy, PairToy, evaluate, pair_energy_forces_virial

pytestmark = pytest.mark.lammps
EV_TO_KCAL = 23.060549  # LAMMPS' METAL2REAL


def by_id(structure: Structure) -> np.ndarray:
    """Return the order in which LAMMPS lists the atoms."""
    return np.arange(len(structure.types)) if structure.ids is None else np.argsort(structure.ids)


def voigt(virial: np.ndarray) -> np.ndarray:
    """Return xx yy zz xy xz yz of a tensor."""
    return virial[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]


@pytest.mark.parametrize("name", STRUCTURES)
def test_pair_potential_by_hand(name, export, tmp_path):
    structure = STRUCTURES[name]
    answer = run(tmp_path, structure, Deck(pair_lines(export(PairToy))))
    energies, forces, virial = pair_energy_forces_virial(*graph(structure, 3.0), 3.0)
    order = by_id(structure)
    np.testing.assert_allclose(answer.node_energies, energies[order], atol=1e-12)
    np.testing.assert_allclose(answer.forces, forces[order], atol=1e-12)
    np.testing.assert_allclose(answer.energy, energies.sum(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(answer.virial, voigt(virial), atol=1e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 2e-5)])
@pytest.mark.parametrize("name", STRUCTURES)
def test_message_passing_against_python(name, dtype, tolerance, export, tmp_path):
    structure = STRUCTURES[name]
    options = {"num_layers": 3, "dtype": dtype}
    answer = run(tmp_path, structure, Deck(pair_lines(export(MessageToy, **options))))
    tensors = map(torch.as_tensor, graph(structure, 3.0))
    energies, forces, virial, _ = evaluate(MessageToy(**options), *tensors)
    order = by_id(structure)
    np.testing.assert_allclose(answer.node_energies, energies[order], atol=tolerance)
    np.testing.assert_allclose(answer.forces, forces[order], atol=tolerance)
    np.testing.assert_allclose(answer.virial, voigt(virial), atol=20 * tolerance)
    np.testing.assert_allclose(answer.atom_virials.sum(0), answer.virial, atol=1e-8)
    nine = answer.centroid_virials.sum(0)
    np.testing.assert_allclose(nine[:6], answer.virial, atol=1e-8)
    np.testing.assert_allclose(nine[[6, 7, 8]], virial[[1, 2, 2], [0, 0, 1]], atol=20 * tolerance)


def test_atom_virials_follow_the_documented_partition(export, tmp_path):
    structure = STRUCTURES["triclinic cell below the cutoff"]
    answer = run(tmp_path, structure, Deck(pair_lines(export(MessageToy))))
    species, edge_index, vectors = graph(structure, 3.0)
    *_, gradients = evaluate(MessageToy(), *map(torch.as_tensor, (species, edge_index, vectors)))
    edge_virials = -vectors[:, :, None] * gradients.numpy()[:, None, :]  # (E, 3, 3)
    halves, neighbors = np.zeros((len(species), 3, 3)), np.zeros((len(species), 3, 3))
    for row in edge_index:
        np.add.at(halves, row, 0.5 * edge_virials)
    np.add.at(neighbors, edge_index[1], edge_virials)
    rows, columns = [0, 1, 2, 0, 0, 1, 1, 2, 2], [0, 1, 2, 1, 2, 2, 0, 0, 1]
    np.testing.assert_allclose(answer.atom_virials, halves[:, rows[:6], columns[:6]], atol=1e-9)
    np.testing.assert_allclose(answer.centroid_virials, neighbors[:, rows, columns], atol=1e-9)


def test_forces_are_finite_differences_inside_lammps(export, tmp_path):
    structure = STRUCTURES["triclinic cell below the cutoff"]
    deck = Deck(pair_lines(export(MessageToy)))
    forces = run(tmp_path, structure, deck).forces
    step = 1e-4
    for atom, axis in [(0, 0), (1, 2)]:
        energies = []
        for sign in (1, -1):
            positions = structure.positions.copy()
            positions[atom, axis] += sign * step
            moved = dataclasses.replace(structure, positions=positions)
            energies.append(run(tmp_path, moved, deck).energy)
        assert forces[atom, axis] == pytest.approx(
            -(energies[0] - energies[1]) / (2 * step), abs=1e-6
        )


@pytest.mark.parametrize("component", range(6))
@pytest.mark.parametrize("toy", [PairToy, MessageToy])
def test_virial_is_the_strain_derivative_inside_lammps(toy, component, export, tmp_path):
    structure = STRUCTURES["triclinic cell below the cutoff"]
    deck = Deck(pair_lines(export(toy)))
    column, row = ([0, 1, 2, 0, 0, 1][component], [0, 1, 2, 1, 2, 2][component])
    energies = []
    for sign in (1, -1):
        strain = np.eye(3)
        strain[row, column] += sign * 1e-5  # x' = x strain keeps the cell lower triangular
        positions, cell = structure.positions @ strain, structure.cell @ strain
        moved = dataclasses.replace(structure, positions=positions, cell=cell)
        energies.append(run(tmp_path, moved, deck).energy)
    slope = (energies[0] - energies[1]) / 2e-5
    answer = run(tmp_path, structure, deck)
    # xx yy zz yx zx zy of the nine: MessageToy has preferred directions, so xy and yx differ
    nine = answer.centroid_virials.sum(0)[[0, 1, 2, 6, 7, 8]]
    assert nine[component] == pytest.approx(-slope, abs=1e-5), VOIGT[component]
    if toy is PairToy:
        assert answer.virial[component] == pytest.approx(-slope, abs=1e-5), VOIGT[component]


def test_real_units_are_metal_converted(export, tmp_path):
    structure = STRUCTURES["bulk"]
    pair = pair_lines(export(MessageToy))
    metal = run(tmp_path, structure, Deck(pair))
    real = run(tmp_path, structure, Deck(pair, units="real"))
    assert real.energy == pytest.approx(EV_TO_KCAL * metal.energy, rel=1e-12)
    np.testing.assert_allclose(real.forces, EV_TO_KCAL * metal.forces, atol=1e-10)
    np.testing.assert_allclose(real.node_energies, EV_TO_KCAL * metal.node_energies, rtol=1e-12)
    np.testing.assert_allclose(real.virial, EV_TO_KCAL * metal.virial, atol=1e-8)
    np.testing.assert_allclose(
        real.centroid_virials, EV_TO_KCAL * metal.centroid_virials, atol=1e-8
    )


def test_deleted_atoms_and_repeated_runs(export, tmp_path):
    structure = lattice((3, 3, 3), 2.9)
    pair = pair_lines(export(MessageToy))
    commands = ["run 0", "run 0 pre no", "group gone id 3 17 40", "run 3"]
    commands += ["delete_atoms group gone compress no", "run 0", "run 0"]
    answer = run(tmp_path, structure, Deck(pair, modify=["fix 1 all nve"], run=commands))
    left = Structure(answer.positions, structure.types[answer.ids - 1], structure.cell)
    assert len(left.types) == len(structure.types) - 3
    energies, forces, _, _ = evaluate(MessageToy(), *map(torch.as_tensor, graph(left, 3.0)))
    np.testing.assert_allclose(answer.node_energies, energies, atol=1e-10)
    np.testing.assert_allclose(answer.forces, forces, atol=1e-10)


def test_nve_conserves_energy_and_reads_new_lists(export, tmp_path):
    structure = lattice((3, 3, 3), 2.9)
    modify = ["velocity all create 6000 1 loop geom", "fix 1 all nve", "neighbor 0.2 bin"]
    modify += ["timestep 0.002"]
    deck = Deck(pair_lines(export(MessageToy)), modify=modify, run=["run 100"])
    answer = run(tmp_path, structure, deck)
    moved = dataclasses.replace(structure, positions=answer.positions)
    energies, forces, _, _ = evaluate(MessageToy(), *map(torch.as_tensor, graph(moved, 3.0)))
    assert "Neighbor list builds = 0" not in answer.log
    assert np.abs(answer.positions - structure.positions).max() > 0.2
    np.testing.assert_allclose(answer.energy, energies.sum(), atol=1e-10)
    np.testing.assert_allclose(answer.forces, forces, atol=1e-10)
