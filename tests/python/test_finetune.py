# SPDX-License-Identifier: MIT
"""Fine-tuning: parts of a model, new elements, energies with another zero."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from model_toys import VARIANTS, cluster_graph, make_cluster, make_model
from pyictp import train
from pyictp.config.load import ModelConfig, TrainConfig
from pyictp.data.samples import Sample
from pyictp.errors import UserError
from pyictp.graph.derivatives import evaluate_graph
from pyictp.potential.checkpoint import load_checkpoint, save_checkpoint
from pyictp.training.batches import Batch, single
from pyictp.training.finetune import adopt_isolated, extend_model, most_similar, refit_shifts
from pyictp.training.freezing import select_trainable
from train_toys import assert_same_run, changed, emt_frames, make_config, rows

pytestmark = pytest.mark.usefixtures("quick_training")


@pytest.fixture
def config(tmp_path):
    """Return the configuration of a small training."""
    return changed(make_config(tmp_path), max_epochs=2)


def fine(config, tmp_path, name="fine", frames=None, **training):
    """Return the configuration of a fine-tuning, on other frames if given."""
    config = changed(config, output=str(tmp_path / name), **training)
    data = config.data
    if frames is not None:
        write(tmp_path / f"{name}.extxyz", frames)
        data = dataclasses.replace(data, train=(str(tmp_path / f"{name}.extxyz"),))
    return dataclasses.replace(config, model=ModelConfig(), data=data)


def alloy_frames(number, offset=0.0):
    """Rattled cells of copper, nickel, and aluminium in every other frame."""
    rng = np.random.default_rng(3)
    frames = []
    for index in range(number):
        atoms = bulk("Cu", cubic=True)
        atoms.symbols[1] = "Ni"
        atoms.symbols[2] = "Al" if index % 2 else "Cu"
        atoms.positions += rng.normal(scale=0.08, size=(4, 3))
        atoms.calc = EMT()
        energy = atoms.get_potential_energy() + offset * len(atoms)
        forces, stress = atoms.get_forces(), atoms.get_stress()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=stress)
        frames.append(atoms)
    return frames


# -- parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patterns", "beginnings"),
    [
        (["readout"], ["layers.0.readout.", "layers.1.readout."]),
        (["layers.1"], ["layers.1."]),
        (["layers.1.*"], ["layers.1."]),
        (["layers.*.skip", "node_*"], ["layers.0.skip.", "layers.1.skip.", "node_embedding"]),
        (["radial"], ["layers.0.interaction.radial.", "layers.1.interaction.radial."]),
        (["linear"], ["layers.0.linear.", "layers.1.linear."]),
        (["layers.0.product"], ["layers.0.product."]),
        (["interaction", "layers.0"], ["layers.0.", "layers.1.interaction."]),
        (["*"], [""]),
        (None, [""]),
    ],
)
def test_names_of_parts(patterns, beginnings):
    model = make_model()
    select_trainable(model, patterns)
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == name.startswith(tuple(beginnings)), name
    assert sum(parameter.requires_grad for parameter in model.parameters()) >= len(beginnings)


@pytest.mark.parametrize("pattern", ["readouts", "0", "layers.2", "weight", "maps"])
def test_an_unknown_part_is_refused(pattern):
    message = (
        f"training.trainable: '{pattern}' names no part of the model: expected node_embedding, "
        "interaction, radial, linear_in, linear_out, product, linear, skip, readout, layers.0, "
        "layers.1, or null for all"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        select_trainable(make_model(), ["readout", pattern])
    with pytest.raises(UserError, match=r"^training\.trainable is empty: name parts"):
        select_trainable(make_model(), [])


@pytest.mark.parametrize("decay", [0.99, None])
def test_frozen_parts_stay_bit_for_bit(config, tmp_path, decay):
    train.train(config)
    parts = fine(config, tmp_path, trainable=("readout", "layers.1.product"), ema_decay=decay)
    train.train(changed(parts, weight_decay=0.1), finetune=tmp_path / "run")
    start = load_checkpoint(tmp_path / "run" / "best.pt")["model_state"]
    for name in ("best.pt", "last.pt"):
        end = load_checkpoint(tmp_path / "fine" / name)["model_state"]
        for key, value in start.items():
            trained = ".readout." in key or key.startswith("layers.1.product.")
            assert torch.equal(end[key], value) != trained, (name, key)
    log = (tmp_path / "fine" / "ictp.log").read_text()
    assert re.search(r"608 parameters \(\d+ of them trained\)", log)


# -- new elements ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("variant", [*VARIANTS])
def test_an_extended_model_is_the_old_one_on_old_elements(variant, fused):
    model = make_model(variant)
    larger = extend_model(model, ("H", "O", "Cu", "C", "F"))
    if not fused:
        model.use_operators(False)
        larger.use_operators(False)
    positions, species = make_cluster()
    graph = cluster_graph(positions, species)
    one, other = evaluate_graph(model, graph), evaluate_graph(larger, graph)
    torch.testing.assert_close(other.node_energies, one.node_energies, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(other.forces, one.forces, rtol=1e-12, atol=1e-12)
    # fluorine is a copy of oxygen
    copied = evaluate_graph(larger, cluster_graph(positions, np.where(species == 1, 4, species)))
    torch.testing.assert_close(copied.node_energies, one.node_energies, rtol=1e-12, atol=1e-12)
    assert larger.config.elements == ("H", "O", "Cu", "C", "F")


@pytest.mark.parametrize(
    ("element", "known", "expected"),
    [
        ("F", ["H", "O", "Cl"], "Cl"),
        ("N", ["H", "C", "Na"], "C"),
        ("K", ["Ca", "Na"], "Na"),
        ("Al", ["Cu", "Ni", "Si"], "Si"),
        ("Eu", ["La", "Gd", "Y"], "Gd"),
        ("Hf", ["Fe", "Zr", "W"], "Zr"),
        ("Ne", ["H", "He", "F"], "He"),
        ("He", ["H", "F"], "F"),
        ("Au", ["Pt", "Ag"], "Ag"),
    ],
)
def test_the_most_similar_element(element, known, expected):
    assert most_similar(element, known) == expected


def test_new_elements_are_learned(config, tmp_path, capsys):
    train.train(config)
    capsys.readouterr()
    other = fine(config, tmp_path, frames=alloy_frames(10), max_epochs=30)
    trainer, _ = train.train(other, finetune=tmp_path / "run")
    assert trainer.model.config.elements == ("Ni", "Cu", "Al")
    printed = capsys.readouterr().out
    assert "new elements begin as copies: Al of Cu" in printed
    assert "kept for the elements it knew (training.refit_shift: auto)" in printed
    log = rows(tmp_path / "fine")
    assert float(log[-1]["valid_loss"]) < 0.3 * float(log[0]["valid_loss"])
    # the shift of the old elements is that of the start
    start = load_checkpoint(tmp_path / "run" / "best.pt")["model_state"]
    assert torch.equal(trainer.model.shift[:2], start["shift"])
    saved = load_checkpoint(tmp_path / "fine" / "best.pt")
    assert saved["model_config"]["elements"] == ["Ni", "Cu", "Al"]


@pytest.mark.parametrize(
    ("former", "distances", "labels"),
    [
        (
            {"shortest_distances": {"Ni-Cu": 1.0, "Cu-Cu": 9.0}, "trained_on": ["stress"]},
            {"Ni-Ni": None, "Ni-Cu": 1.0, "Cu-Cu": "new"},
            ["energy", "forces", "stress"],
        ),
        ({"untrained": True}, {"Ni-Ni": None, "Ni-Cu": "new"}, ["energy", "forces"]),
        ({"imported_from": "ckpt_1"}, {"Ni-Ni": 0.0, "Ni-Cu": "new"}, None),
    ],
    ids=["trained", "untrained", "imported"],
)
def test_what_a_fine_tuned_model_knows(config, tmp_path, former, distances, labels):
    """Of distances the smaller ones; an import leaves open what it has learned."""
    config = changed(config, max_epochs=1, stress_weight=0.0)
    start = make_model(elements=("Ni", "Cu"), r_cut=3.5)
    save_checkpoint(tmp_path / "start.pt", start, provenance=former)
    trainer, _ = train.train(config)
    new = load_checkpoint(trainer.folder.best)["provenance"]["shortest_distances"]
    trainer, _ = train.train(fine(config, tmp_path), finetune=tmp_path / "start.pt")
    provenance = load_checkpoint(trainer.folder.best)["provenance"]
    assert provenance["finetuned_from"] == "start.pt"
    assert provenance["trained_on"] == labels
    for pair, expected in distances.items():
        expected = new[pair] if expected == "new" else expected
        assert provenance["shortest_distances"].get(pair) == expected


def test_a_fine_tuning_is_resumed_bit_for_bit(config, tmp_path):
    train.train(config)
    isolated = {"Al": -1.5}
    runs = []
    for name in ("whole", "halves"):
        other = fine(
            config,
            tmp_path,
            name,
            alloy_frames(10),
            max_epochs=4,
            schedule="plateau",
            trainable=("readout", "skip"),
        )
        data = dataclasses.replace(
            other.data, train=(str(tmp_path / "whole.extxyz"),), isolated_atoms=isolated
        )
        runs.append(dataclasses.replace(other, data=data))
    trainer, _ = train.train(runs[0], finetune=tmp_path / "run")
    assert trainer.model.e0.tolist() == [0.0, 0.0, -1.5]
    train.train(changed(runs[1], max_epochs=2), finetune=tmp_path / "run")
    train.train(runs[1], resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "halves")


def test_elements_that_the_new_data_lack_stay(config, tmp_path):
    train.train(config)
    frames = emt_frames(4)
    for atoms in frames:
        atoms.symbols[:] = "Cu"
    other = fine(config, tmp_path, frames=frames, max_epochs=1)
    other = dataclasses.replace(
        other, data=dataclasses.replace(other.data, num_train=3, num_valid=1)
    )
    trainer, _ = train.train(other, finetune=tmp_path / "run")
    assert trainer.model.config.elements == ("Ni", "Cu")


def test_given_elements_may_go_on_after_those_of_the_model(config, tmp_path):
    train.train(changed(config, max_epochs=1))
    other = fine(config, tmp_path, max_epochs=1)
    given = {"elements": ["Ni", "Cu", "Pd"]}
    trainer, _ = train.train(other, finetune=tmp_path / "run", given_model=given)
    assert trainer.model.config.elements == ("Ni", "Cu", "Pd")
    with pytest.raises(UserError, match=r"^--finetune: model.elements is \['Cu', 'Ni'\], but the"):
        train.train(
            fine(config, tmp_path, "other"),
            finetune=tmp_path / "run",
            given_model={"elements": ["Cu", "Ni"]},
        )


# -- energy zero ----------------------------------------------------------------------------------


def labelled_by(model, shifts, noise, number=12, num_species=2) -> list[Batch]:
    """Clusters whose energies are the model's plus shifts (S,) per atom and noise [eV/atom]."""
    generator = np.random.default_rng(5)
    batches = []
    for seed in range(number):
        positions, _ = make_cluster(int(generator.integers(3, 8)), seed)
        species = generator.integers(0, num_species, len(positions))
        graph = cluster_graph(positions, species)
        energy = float(evaluate_graph(model, graph).energies[0])
        energy += float(np.asarray(shifts)[species].sum())
        energy += len(species) * noise * generator.normal()
        batches.append(single(Sample(graph, energy, None, None, None, str(seed))))
    return batches


def test_another_energy_zero_is_seen():
    """Two very different shifts whose mean is small: only the fit sees them."""
    model, second = make_model(), make_model()
    before = model.shift.clone()
    batches = labelled_by(model, [7.0, -7.0], noise=0.0)
    text = refit_shifts([model, second], batches, 2, "auto")
    expected = before + torch.tensor([7.0, -7.0])
    torch.testing.assert_close(model.shift, expected, rtol=0, atol=1e-9)
    assert torch.equal(model.shift, second.shift)
    assert text.endswith("fitted ones are used (training.refit_shift: auto)")


@pytest.mark.parametrize(("refit", "moved"), [("auto", False), (False, False), (True, True)])
def test_a_small_mismatch_moves_the_shift_only_on_demand(refit, moved):
    model = make_model()
    before = model.shift.clone()
    batches = labelled_by(model, [0.03, 0.01], noise=0.01)
    text = refit_shifts([model], batches, 2, refit)
    assert torch.equal(model.shift, before) != moved
    assert ("fitted ones are used" in text) == moved
    assert (text == "") == (refit is False)
    if moved:  # the minimum of the energy term of the loss: no small change makes it smaller
        losses = [energy_loss(model, batches)]
        for step in ([1e-3, 0], [-1e-3, 0], [0, 1e-3], [0, -1e-3]):
            model.shift += torch.tensor(step)
            losses.append(energy_loss(model, batches))
            model.shift -= torch.tensor(step)
        assert min(losses) == losses[0]


def energy_loss(model, batches):
    return sum(
        float((evaluate_graph(model, b.graph).energies - b.energies) ** 2 / b.num_atoms)
        for b in batches
    )


def test_too_few_frames_tell_nothing():
    model = make_model()
    before = model.shift.clone()
    text = refit_shifts([model], labelled_by(model, [7.0, -7.0], 0.0, number=1), 2, "auto")
    assert torch.equal(model.shift, before)
    assert "unknown (few frames) with shifts fitted" in text


@pytest.mark.parametrize("old", [[0.0, 0.0], [5.0, 3.0]])
def test_shifts_of_new_elements_are_fitted(old):
    """By themselves where the old ones agree with the labels, else all."""
    model = extend_model(make_model(), ("H", "O", "C"))
    before = model.shift.clone()
    batches = labelled_by(model, [*old, 2.5], noise=1e-6, num_species=3)
    refit_shifts([model], batches, 2, "auto")
    expected = before + torch.tensor([*old, 2.5])
    torch.testing.assert_close(model.shift, expected, rtol=0, atol=1e-4)
    assert torch.equal(model.shift[:2], before[:2]) == (old == [0.0, 0.0])


# -- isolated atoms -------------------------------------------------------------------------------


def relative_energy(model, graph):
    """Return the energy of a structure above its isolated atoms [eV]."""
    energy = evaluate_graph(model, graph).energies.item()
    return energy - model.e0[graph.species].sum().item()


def with_isolated(energies):
    """Return two models of the same weights that know isolated atoms."""
    models = [make_model(), make_model()]
    for model in models:
        model.e0[:] = torch.tensor(energies, dtype=torch.float64)
    return models


def test_isolated_atoms_of_another_method_move_the_shifts():
    models = with_isolated([-13.6, -430.0])
    graph = cluster_graph(*make_cluster())
    before = [relative_energy(model, graph) for model in models]
    text = adopt_isolated(models, {"H": -12.5, "O": -2041.0}, {"H", "O"})
    assert [model.e0.tolist() for model in models] == [[-12.5, -2041.0]] * 2
    assert [relative_energy(model, graph) for model in models] == pytest.approx(before, abs=1e-9)
    assert text.endswith("H -12.5 eV (the model's -13.6), O -2041 eV (the model's -430)")


def test_isolated_atoms_of_the_same_method_move_nothing():
    models = with_isolated([-13.6, 0.0])  # of oxygen the model knows none
    shift = models[0].shift.clone()
    assert adopt_isolated(models, {"H": -13.605, "O": -432.0}, {"H", "O"}) == ""
    assert torch.equal(models[0].shift, shift)
    assert models[1].e0.tolist() == [-13.605, -432.0]
    assert adopt_isolated(with_isolated([-13.6, -430.0]), {"H": -13.6}, {"H", "O"}) == ""


def test_some_isolated_atoms_of_another_method_are_refused():
    message = (
        "--finetune: isolated atoms of another method than the start model's: H -12.5 eV (the "
        "model's -13.6); expected those of all elements, O is missing: add it, or leave all out, "
        "and training.refit_shift finds the zero of the energies"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        adopt_isolated(with_isolated([-13.6, -430.0]), {"H": -12.5}, {"H", "O"})
    assert adopt_isolated(with_isolated([-13.6, -430.0]), {"H": -12.5}, {"H"})  # no new oxygen


@pytest.mark.parametrize(("isolated", "kept"), [((), [0.0, 0.0]), (("O",), [0.0, -430.0])])
def test_isolated_atoms_are_forgotten_where_energies_have_another_zero(isolated, kept):
    model, other = with_isolated([-13.6, -430.0])
    batches = labelled_by(model, [7.0, -7.0], noise=0.0)
    refit_shifts([model], batches, 2, "auto", isolated)
    assert model.e0.tolist() == kept
    refit_shifts([other], labelled_by(other, [0.03, 0.01], noise=0.01), 2, "auto")
    assert other.e0.tolist() == [-13.6, -430.0]


def test_another_method_with_its_isolated_atoms(config, tmp_path, capsys):
    """Energies of a method with other zeros: they are known, nothing is fitted."""
    atoms = {"Ni": -3.0, "Cu": -2.0}
    data = dataclasses.replace(config.data, isolated_atoms=atoms)
    train.train(dataclasses.replace(config, data=data))
    capsys.readouterr()
    frames = emt_frames(10)
    for each in frames:
        each.calc.results["energy"] += 3 * 70.0 - 40.0  # per Cu and Ni
    other = fine(config, tmp_path, frames=frames, max_epochs=1)
    moved = dataclasses.replace(other.data, isolated_atoms={"Ni": -43.0, "Cu": 68.0})
    other = dataclasses.replace(other, data=moved)
    trainer, _ = train.train(other, finetune=tmp_path / "run")
    start = load_checkpoint(tmp_path / "run" / "best.pt")["model_state"]
    assert trainer.model.e0.tolist() == [-43.0, 68.0]
    expected = start["shift"] + torch.tensor([-40.0, 70.0])
    torch.testing.assert_close(trainer.model.shift, expected, rtol=0, atol=1e-9)
    printed = capsys.readouterr().out
    assert "isolated atoms of another method, energy shifts move with them: Ni -43 eV" in printed
    assert "kept (training.refit_shift: auto)" in printed


def test_refit_shift_knows_three_values():
    with pytest.raises(
        UserError, match=r"^training\.refit_shift: expected auto, true or false, got"
    ):
        TrainConfig(refit_shift="yes")
