# SPDX-License-Identifier: MIT
"""The repulsion of nuclei: formula, switch, derivatives, and trainings around it."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from ase.data import atomic_numbers, covalent_radii
from ase.io import read, write
from ase.units import Bohr
from model_toys import cluster_graph, make_cluster, make_model, predict
from pyictp import train
from pyictp.cli import main as cli
from pyictp.config.load import ModelConfig
from pyictp.errors import UserError
from pyictp.graph.derivatives import evaluate_graph, stress_from_virial
from pyictp.graph.graph import build_graph
from pyictp.model.zbl import ZBLRepulsion
from pyictp.potential import checkpoint
from pyictp.potential.export import export_model
from pyictp.potential.load import load_model
from train_toys import changed, make_config, rows

ELEMENTS = ("C", "Cu", "W")
PAIRS = [(a, b) for a in range(3) for b in range(3)]
WIDE = {"zbl": True, "zbl_reach": 1.3}  # for the lattices of train_toys: 3.43 A of 3.5 A


def repulsion() -> ZBLRepulsion:
    return ZBLRepulsion(ELEMENTS, 10.0, 1.0)


def energy(distance: float, a: int, b: int) -> float:
    """Return the energy [eV] of two atoms."""
    graph = build_graph([[0, 0, 0], [0, 0, distance]], np.zeros((3, 3)), False, [a, b], 10.0)
    return evaluate_graph(repulsion(), graph).energies.item()


def outer_radius(a: int, b: int) -> float:
    return sum(covalent_radii[atomic_numbers[ELEMENTS[s]]] for s in (a, b))


def published(r: float, a: int, b: int) -> float:
    """Return the potential [eV] with the digits of the book, without a switch."""
    z1, z2 = atomic_numbers[ELEMENTS[a]], atomic_numbers[ELEMENTS[b]]
    x = r * (z1**0.23 + z2**0.23) / (0.8854 * Bohr)
    terms = ((0.1818, 3.2), (0.5099, 0.9423), (0.2802, 0.4029), (0.02817, 0.2016))
    return 14.39965 * z1 * z2 / r * sum(c * np.exp(-d * x) for c, d in terms)


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_published_formula_up_to_the_inner_radius(a, b):
    for distance in (0.01, 0.1, 0.3, 0.499 * outer_radius(a, b)):
        assert energy(distance, a, b) == pytest.approx(published(distance, a, b), rel=2e-3)


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_switched_between_the_radii(a, b):
    outer = outer_radius(a, b)
    for u in (0.6, 0.75, 0.9):
        t = 2 * u - 1
        expected = published(u * outer, a, b) * (1 - 10 * t**3 + 15 * t**4 - 6 * t**5)
        assert energy(u * outer, a, b) == pytest.approx(expected, rel=2e-3)
    assert energy(outer * (1 - 1e-3), a, b) > 0
    assert energy(outer, a, b) == 0.0
    assert energy(1.01 * outer, a, b) == 0.0


def derivatives(r: torch.Tensor) -> list[torch.Tensor]:
    """Return V, V' and V'' of copper at distances r [A]."""
    r = r.clone().requires_grad_(True)
    values = repulsion().pair_energies(r, torch.full_like(r, 4, dtype=torch.int64))
    (slopes,) = torch.autograd.grad(values.sum(), r, create_graph=True)
    (curvatures,) = torch.autograd.grad(slopes.sum(), r)
    return [values.detach(), slopes.detach(), curvatures]


@pytest.mark.parametrize("at", [0.5, 1.0])
def test_two_derivatives_are_continuous_at_both_radii(at):
    radius = at * outer_radius(1, 1)
    steps = torch.tensor([1e-3, 1e-4, 1e-5], dtype=torch.float64)
    for below, above, step in zip(
        derivatives(radius - steps), derivatives(radius + steps), (1e3, 1e4, 1e5), strict=True
    ):
        jumps = (below - above).abs()
        assert jumps[-1] < step * 1e-5
        assert (jumps[1:] < 0.2 * jumps[:-1]).all()  # linear or better in the distance
    if at == 1.0:
        assert all(not bool(d.any()) for d in derivatives(radius + steps))


def test_differentiable_twice_through_the_switch():
    pair = torch.tensor([0, 4, 5, 8, 1, 4])
    lengths = repulsion().outer[pair] * torch.tensor([0.2, 0.51, 0.6, 0.8, 0.97, 1.2])
    lengths = lengths.requires_grad_(True)
    potential = repulsion()
    assert torch.autograd.gradcheck(lambda r: potential.pair_energies(r, pair), lengths)
    assert torch.autograd.gradgradcheck(lambda r: potential.pair_energies(r, pair), lengths)


def test_forces_and_stress_of_a_crystal_are_derivatives():
    model = make_model(elements=("Cu", "Ni"), **WIDE | {"r_cut": 3.5})
    rng = np.random.default_rng(0)
    cell = 3.4 * np.eye(3) + rng.normal(scale=0.1, size=(3, 3))
    places = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    positions = places @ cell + rng.normal(scale=0.2, size=(4, 3))
    species = [0, 1, 0, 1]

    def predicted(shift=0.0, strain=0.0):
        deformation = np.eye(3) + strain
        moved = (positions + shift) @ deformation
        return evaluate_graph(model, build_graph(moved, cell @ deformation, True, species, 3.5))

    found, step = predicted(), 1e-5
    stress = stress_from_virial(found.virials, torch.tensor([np.linalg.det(cell)]))[0].numpy()
    for atom, axis in ((0, 0), (1, 2), (3, 1)):
        shift = np.zeros((4, 3))
        shift[atom, axis] = step
        slope = (predicted(shift).energies - predicted(-shift).energies).item() / (2 * step)
        assert found.forces[atom, axis].item() == pytest.approx(-slope, abs=1e-6)
        strain = np.zeros((3, 3))
        strain[axis, (axis + 1) % 3] = strain[(axis + 1) % 3, axis] = step / 2
        slope = (predicted(0, strain).energies - predicted(0, -strain).energies).item() / (2 * step)
        assert stress[axis, (axis + 1) % 3] == pytest.approx(slope / np.linalg.det(cell), abs=1e-7)


def test_a_model_is_its_network_and_the_repulsion(dtype):
    positions, species = make_cluster(9)
    settings = {"elements": ("Cu", "Ni"), "r_cut": 3.0}
    network = make_model(**settings).to(dtype)
    model = make_model(**settings, zbl=True).to(dtype)
    assert list(model.state_dict()) == list(network.state_dict())
    alone = ZBLRepulsion(("Cu", "Ni"), 3.0, model.config.zbl_reach)
    parts = [predict(network, positions, species)]
    parts.append(evaluate_graph(alone, cluster_graph(positions, species)))
    whole = predict(model, positions, species)
    assert parts[1].energies > 50
    for name in ("node_energies", "forces", "virials"):
        expected = sum(getattr(part, name) for part in parts)
        torch.testing.assert_close(getattr(whole, name), expected, rtol=1e-10, atol=1e-10)
    lone = [predict(m, positions[:1], species[:1]).energies for m in (network, model)]
    assert torch.equal(*lone)


@pytest.mark.parametrize("portable", [False, True])
def test_exported_file(portable, dtype, tmp_path):
    model = make_model(elements=("Cu", "Ni"), zbl=True)
    name = str(dtype).removeprefix("torch.")
    export_model(model, tmp_path / "model.pt", name, portable=portable)
    positions, species = make_cluster(9)
    expected = predict(model, positions, species)
    found = evaluate_graph(load_model(tmp_path / "model.pt"), cluster_graph(positions, species))
    # the repulsion is in float64 in either file: errors are in scale with the network
    limit = {torch.float64: 1e-9, torch.float32: 2e-4}[dtype]
    torch.testing.assert_close(found.forces, expected.forces, rtol=0, atol=limit)
    torch.testing.assert_close(found.node_energies, expected.node_energies, rtol=0, atol=limit)


def test_cutoff_radius_must_hold_the_repulsion():
    text = (
        "model.zbl: the repulsion of Cs and Cs ends at 3.42 A, beyond model.r_cut 3.2 A: "
        "raise model.r_cut, or lower model.zbl_reach to 0.65"
    )
    with pytest.raises(UserError) as error:
        make_model(elements=("O", "Cs"), r_cut=3.2, zbl=True)
    assert str(error.value) == text
    make_model(elements=("O", "Cs"), r_cut=3.2, zbl=True, zbl_reach=0.65)
    with pytest.raises(UserError, match=r"^model.zbl_reach: expected above 0, got -1.0$"):
        ModelConfig(zbl_reach=-1.0)


def assert_same(one, other, graph):
    forces = [evaluate_graph(model, graph).forces for model in (one, other)]
    torch.testing.assert_close(*forces, rtol=1e-12, atol=1e-12)


def test_files_from_before_and_files_with_it(tmp_path, capsys):
    model = make_model()
    checkpoint.save_checkpoint(tmp_path / "old.pt", model)
    payload = checkpoint.load_checkpoint(tmp_path / "old.pt")
    for key in ("zbl", "zbl_reach"):
        payload["model_config"].pop(key)
    torch.save(payload, tmp_path / "old.pt")
    graph = cluster_graph(*make_cluster())
    loaded = load_model(tmp_path / "old.pt")
    assert_same(loaded.model, model, graph)
    model = make_model(elements=("Cu", "Ni"), zbl=True, zbl_reach=0.9)
    checkpoint.save_checkpoint(tmp_path / "new.pt", model)
    export_model(model, tmp_path / "exported.pt")
    loaded = load_model(tmp_path / "new.pt")
    assert_same(loaded.model, model, graph)
    capsys.readouterr()
    for name in ("new.pt", "exported.pt"):
        assert cli.main(["info", str(tmp_path / name), "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)["model"]
        assert (shown["zbl"], shown["zbl_reach"]) == (True, 0.9)


class TestTraining:
    """The network learns what the repulsion leaves of the labels."""

    pytestmark = pytest.mark.usefixtures("quick_training")

    @pytest.fixture
    def config(self, tmp_path):
        config = make_config(tmp_path)
        data = dataclasses.replace(config.data, isolated_atoms={"Cu": -1.5, "Ni": 2.5})
        return dataclasses.replace(changed(config, dtype="float64"), data=data)

    @staticmethod
    def with_repulsion(config, folder):
        """Add ZBL to the labels of a training and to its model."""
        potential = ZBLRepulsion(("Ni", "Cu"), 3.5, WIDE["zbl_reach"])
        frames = read(config.data.train[0], ":")
        for atoms in frames:
            species = (atoms.numbers == atomic_numbers["Cu"]).astype(int)
            graph = build_graph(atoms.positions, atoms.cell[:], True, species, 3.5)
            found = evaluate_graph(potential, graph)
            stress = stress_from_virial(found.virials, torch.tensor([atoms.get_volume()]))[0]
            atoms.calc.results["energy"] += found.energies.item()
            atoms.calc.results["forces"] += found.forces.numpy()
            stress = stress.numpy()[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
            atoms.calc.results["stress"] += stress
        assert abs(found.energies.item()) > 1
        write(folder / "zbl.extxyz", frames)
        data = dataclasses.replace(config.data, train=(str(folder / "zbl.extxyz"),))
        model = dataclasses.replace(config.model, **WIDE)
        return dataclasses.replace(
            changed(config, output=str(folder / "zbl")), data=data, model=model
        )

    def test_the_network_learns_the_rest(self, config, tmp_path):
        plain, _ = train.train(config)
        around, _ = train.train(self.with_repulsion(config, tmp_path))
        assert around.model.e0.tolist() == [2.5, -1.5]  # Ni, Cu
        for name, value in plain.model.state_dict().items():
            other = around.model.state_dict()[name]
            torch.testing.assert_close(other, value, rtol=1e-5, atol=1e-7, msg=name)
        errors = [
            [float(r["valid_forces_rmse"]) for r in rows(tmp_path / f)] for f in ("run", "zbl")
        ]
        np.testing.assert_allclose(*errors, rtol=1e-5)
        assert errors[0][-1] < errors[0][0]

    def test_resumed_and_fine_tuned_models_keep_it(self, config, tmp_path):
        config = changed(self.with_repulsion(config, tmp_path), max_epochs=2)
        train.train(config)
        trainer, _ = train.train(changed(config, max_epochs=3), resume=True)
        assert trainer.model.zbl is not None
        without = dataclasses.replace(config, model=dataclasses.replace(config.model, zbl=False))
        with pytest.raises(UserError, match=r"^--resume: model.zbl is False, but "):
            train.train(without, resume=True)
        fine = changed(config, output=str(tmp_path / "fine"))
        fine = dataclasses.replace(fine, model=ModelConfig())
        trainer, _ = train.train(fine, finetune=tmp_path / "zbl")
        assert trainer.model.config.zbl_reach == WIDE["zbl_reach"]
        assert trainer.model.zbl is not None
        expected = "--finetune: model.zbl is False, but the model to start from has True: "
        with pytest.raises(UserError, match=f"^{expected}"):
            train.train(fine, finetune=tmp_path / "zbl", given_model={"zbl": False}, overwrite=True)

    def test_trainings_from_before_go_on(self, config, tmp_path):
        config = changed(config, max_epochs=2)
        train.train(config)
        last = tmp_path / "run" / "last.pt"
        payload = torch.load(last, weights_only=True)
        for section in (payload["model_config"], payload["config"]["model"]):
            for key in ("zbl", "zbl_reach"):
                section.pop(key)
        torch.save(payload, last)
        trainer, _ = train.train(changed(config, max_epochs=3), resume=True)
        assert trainer.position.epoch == 3
        fine = dataclasses.replace(config, model=dataclasses.replace(config.model, zbl=True))
        with pytest.raises(UserError, match=r"^--resume: model.zbl is True, but "):
            train.train(fine, resume=True)
