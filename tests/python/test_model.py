# SPDX-License-Identifier: MIT
"""Symmetries, smoothness and derivatives of the model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from model_toys import (
    VARIANTS,
    cluster_graph,
    make_cluster,
    make_model,
    predict,
    rotate_compact,
    rotation,
)
from pyictp.graph.derivatives import evaluate_graph, stress_from_virial
from pyictp.graph.graph import build_graph, collate
from pyictp.model import kernels
from pyictp.model.ictp import ICTPModel
from pyictp.model.mixing import SpeciesMixing
from pyictp.model.products import Irrep


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "improper"])
def test_energy_is_invariant_and_forces_turn(variant: str, sign: int) -> None:
    model, (positions, species) = make_model(variant), make_cluster()
    matrix = sign * rotation()
    before, after = (
        predict(model, positions, species),
        predict(model, positions @ matrix.T, species),
    )
    torch.testing.assert_close(after.node_energies, before.node_energies, atol=1e-11, rtol=0)
    torch.testing.assert_close(after.forces, before.forces @ matrix.T, atol=1e-11, rtol=0)
    assert before.forces.abs().max() > 1e-3


@pytest.mark.parametrize("variant", ["symmetric", "odd", "rank4", "coupled"])
@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "improper"])
def test_hidden_features_turn_as_their_irreps(variant: str, sign: int) -> None:
    model, (positions, species) = make_model(variant), make_cluster()
    found: list[list[torch.Tensor]] = []
    hook = model.layers[0].register_forward_hook(lambda _, __, output: found.append(output))
    matrix = sign * rotation()
    predict(model, positions, species)
    predict(model, positions @ matrix.T, species)
    hook.remove()
    for irrep, before, after in zip(model.layers[0].irreps, *found, strict=True):
        assert before.shape == (7, irrep.dim, 4)
        expected = torch.einsum("ab,nbc->nac", rotate_compact(irrep.rank, matrix), before)
        torch.testing.assert_close(
            after, expected * (sign if irrep.pseudo else 1), atol=1e-11, rtol=0
        )
        if irrep != Irrep(0, True):  # three equal factors have no pseudo scalar
            assert before.abs().max() > 1e-6


def test_pseudo_scalars_tell_mirror_images_apart() -> None:
    """Four factors of A are enough for chirality; only odd products see it."""
    model, (positions, species) = make_model("odd", correlation=4), make_cluster()
    place = model.layers[0].irreps.index(Irrep(0, True))
    found: list[torch.Tensor] = []
    model.layers[0].register_forward_hook(lambda _, __, output: found.append(output[place]))
    predict(model, positions, species)
    predict(model, -positions, species)
    assert found[0].abs().max() > 1e-6
    torch.testing.assert_close(found[1], -found[0], atol=1e-12, rtol=1e-9)
    assert not any(irrep.pseudo for irrep in make_model("symmetric").layers[0].irreps)


def test_atoms_can_be_permuted_and_moved_together() -> None:
    model, (positions, species) = make_model(), make_cluster()
    order = np.random.default_rng(0).permutation(len(species))
    before = predict(model, positions, species)
    after = predict(model, positions[order] + torch.tensor([3.0, -40.0, 0.7]), species[order])
    torch.testing.assert_close(after.node_energies, before.node_energies[order], atol=1e-11, rtol=0)
    torch.testing.assert_close(after.forces, before.forces[order], atol=1e-11, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_forces_are_the_derivative_of_the_energy(variant: str) -> None:
    model, (positions, species) = make_model(variant), make_cluster(5)
    forces, step = predict(model, positions, species).forces, 1e-4
    for atom, axis in ((0, 0), (2, 1), (4, 2)):
        shift = torch.zeros_like(positions)
        shift[atom, axis] = step
        up, down = (predict(model, positions + s * shift, species).energies.item() for s in (1, -1))
        assert forces[atom, axis].item() == pytest.approx(-(up - down) / (2 * step), abs=2e-6)


def test_stress_is_the_derivative_of_the_energy_in_a_triclinic_cell() -> None:
    model = make_model()
    positions, species = make_cluster(5)
    cell = np.array(
        [[3.4, 0.0, 0.0], [0.7, 3.1, 0.0], [-0.4, 0.5, 3.6]]
    )  # smaller than the cutoff's sphere

    def evaluate(strain: np.ndarray) -> tuple[float, torch.Tensor]:
        graph = build_graph(positions.numpy() @ strain, cell @ strain, True, species, 3.0)
        found = evaluate_graph(model, graph)
        return found.energies.item(), found.virials

    volume = torch.tensor([abs(np.linalg.det(cell))])
    stress = stress_from_virial(evaluate(np.eye(3))[1], volume)[0]
    for a, b in ((0, 0), (1, 1), (0, 2), (1, 2)):
        strain = np.zeros((3, 3))
        strain[a, b] = strain[b, a] = 1e-5 if a == b else 0.5e-5
        slope = (evaluate(np.eye(3) + strain)[0] - evaluate(np.eye(3) - strain)[0]) / 2e-5
        assert stress[a, b].item() * volume.item() == pytest.approx(slope, abs=1e-5)


def test_energy_and_forces_go_smoothly_through_the_cutoff() -> None:
    model = make_model()
    _, species = make_cluster(3)

    def at(distance: float) -> tuple[float, float]:
        positions = torch.tensor(
            [[0.0, 0, 0], [1.1, 0, 0], [distance, 0.3, 0]], dtype=torch.float64
        )
        found = predict(model, positions, species)
        return found.energies.item(), found.forces[2, 0].item()

    edge = (3.0**2 - 0.3**2) ** 0.5  # atoms 0 and 2 lose sight of each other here
    for offset in (1e-3, 1e-4):
        inside, outside = at(edge - offset), at(edge + offset)
        slope = abs(at(edge + 2 * offset)[0] - outside[0]) + 2 * offset * abs(outside[1])
        assert abs(inside[0] - outside[0]) < slope + 1e-9
        assert abs(inside[1] - outside[1]) < 50 * offset


def test_cutoff_is_smooth_where_nothing_else_is_near() -> None:
    """Two atoms: beyond the cutoff nothing, and just inside it a third-order contact."""
    model = make_model()
    species = np.array([0, 1])

    def interaction(distance: float) -> float:
        positions = torch.tensor([[0.0, 0, 0], [distance, 0, 0]], dtype=torch.float64)
        return (
            predict(model, positions, species).energies.item()
            - predict(model, positions * 10, species).energies.item()
        )

    assert interaction(3.0 + 1e-9) == 0.0
    near, nearer = abs(interaction(3.0 - 2e-2)), abs(interaction(3.0 - 1e-2))
    assert 0 < nearer < near / 6  # f falls with the third power of the distance to the cutoff


def test_scaled_radial_functions_are_scaled_first_weights() -> None:
    model, scaled = make_model(), make_model(radial_scale=3.0)
    with torch.no_grad():
        for layer in model.layers:
            layer.interaction.radial.layers[0].weight *= 3.0
    one, other = (predict(m, *make_cluster()) for m in (model, scaled))
    torch.testing.assert_close(one.energies, other.energies)
    torch.testing.assert_close(one.forces, other.forces)


def test_no_edges_and_no_atoms() -> None:
    model = make_model()
    lone = predict(model, torch.zeros(1, 3, dtype=torch.float64), np.array([1]))
    assert lone.forces.tolist() == [[0.0, 0.0, 0.0]]
    empty = evaluate_graph(
        model, cluster_graph(torch.zeros(0, 3, dtype=torch.float64), np.zeros(0, dtype=np.int64))
    )
    assert empty.node_energies.shape == (0,)


def test_structures_in_a_batch_do_not_see_each_other() -> None:
    model = make_model()
    structures = [make_cluster(n, seed=n) for n in (5, 3, 7)]
    graphs = [cluster_graph(*structure) for structure in structures]
    together = evaluate_graph(model, collate(graphs))
    alone = [evaluate_graph(model, graph) for graph in graphs]
    torch.testing.assert_close(
        together.energies, torch.cat([p.energies for p in alone]), atol=1e-11, rtol=0
    )
    torch.testing.assert_close(
        together.forces, torch.cat([p.forces for p in alone]), atol=1e-11, rtol=0
    )
    torch.testing.assert_close(
        together.virials, torch.cat([p.virials for p in alone]), atol=1e-11, rtol=0
    )


def test_float32_agrees_and_tables_survive_the_round_trip() -> None:
    model, (positions, species) = make_model(), make_cluster()
    exact = predict(model, positions, species)
    single = predict(model.float(), positions, species)
    assert single.node_energies.dtype == torch.float64
    torch.testing.assert_close(single.forces, exact.forces, atol=2e-5, rtol=0)
    fresh = ICTPModel(model.config).double()
    for name, table in model.double().named_buffers():
        if not name.endswith(("scale", "shift", "e0")):
            torch.testing.assert_close(table, dict(fresh.named_buffers())[name], rtol=0, atol=0)


def test_second_derivatives_that_training_needs() -> None:
    """The gradient of a force loss to a weight against finite differences of the loss."""
    model, (positions, species) = make_model("odd", correlation=3), make_cluster(5)
    graph = cluster_graph(positions, species)

    def loss() -> torch.Tensor:
        return evaluate_graph(model, graph, training=True).forces.square().sum()

    loss().backward()
    for name in (
        "layers.0.interaction.radial.layers.1.weight",
        "layers.1.last.0.weights.weight",
        "node_embedding",
    ):
        name = name.replace("layers.1.last", "layers.1.product.last")
        weight = dict(model.named_parameters())[name]
        slope, step = weight.grad.flatten()[1].item(), 1e-5
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                weight.flatten()[1] += sign * step
            values.append(loss().item())
            with torch.no_grad():
                weight.flatten()[1] -= sign * step
        assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-7)


def test_model_without_elements_is_refused() -> None:
    with pytest.raises(ValueError, match="elements is empty"):
        ICTPModel(dataclasses.replace(make_model().config, elements=()))


@pytest.mark.parametrize("num_species", [3, 20])
@pytest.mark.parametrize("num_nodes", [0, 7])
def test_maps_by_species(num_species: int, num_nodes: int) -> None:
    """Also where most species are absent, whose matrices are left out."""
    torch.manual_seed(0)
    x = torch.randn(num_nodes, 3, 4).double()
    weight = torch.randn(num_species, 4, 5).double().requires_grad_()
    species = torch.randint(0, num_species, (num_nodes,))
    mixing = SpeciesMixing()
    functions = [mixing, torch.jit.script(mixing)]
    if kernels.operators_available():
        compiled = SpeciesMixing()
        kernels.use_operators(compiled, True)
        functions += [compiled, torch.jit.script(compiled)]
    expected = torch.einsum("ndv,nvu->ndu", x, weight[species])
    (slope,) = torch.autograd.grad(expected.square().sum(), weight)
    for function in functions:
        found = function(x, weight, species)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(torch.autograd.grad(found.square().sum(), weight)[0], slope)
