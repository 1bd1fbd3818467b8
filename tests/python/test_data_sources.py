# SPDX-License-Identifier: MIT
"""Data from several files: weights, names and units of their own, labels of some atoms only."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from ase import units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from pyictp import train
from pyictp.config.load import Config, DataConfig, DataFile, TrainConfig, load_config, to_dict
from pyictp.data.frames import read_frames
from pyictp.errors import UserError
from pyictp.graph.derivatives import evaluate_graph
from pyictp.model.ictp import ICTPModel
from pyictp.training.batches import join, single
from pyictp.training.loss import ErrorSums, LossWeights, squared_errors
from pyictp.training.prepare import prepare_data
from train_toys import MODEL, assert_same_run, changed, emt_frames, make_config, rows

WEIGHTS = LossWeights(1.0, 10.0, 0.1)


pytestmark = pytest.mark.usefixtures("quick_training")


@pytest.fixture
def folder(tmp_path):
    """Ten frames in two files."""
    frames = emt_frames(10)
    write(tmp_path / "a.extxyz", frames[:6])
    write(tmp_path / "b.extxyz", frames[6:])
    return tmp_path


def without(atoms, *labels):
    """Return a copy that lacks some labels."""
    kept = {k: v for k, v in atoms.calc.results.items() if k not in labels}
    copy = atoms.copy()
    copy.calc = SinglePointCalculator(copy, **kept)
    return copy


def prepared(*files, **data):
    """Return what training would see of some files, all of them for training."""
    valid = files[0].file if isinstance(files[0], DataFile) else files[0]
    data = DataConfig(train=files, valid=(valid,), **data)
    training = TrainConfig(stress_weight=0.1)
    return prepare_data(Config(model=MODEL, data=data, training=training), progress=False)


def toy_model():
    torch.manual_seed(4)
    return ICTPModel(dataclasses.replace(MODEL, elements=("Ni", "Cu"), avg_num_neighbors=12.0))


def gradient(samples, weights=WEIGHTS):
    """Return the gradient of the training loss of all samples in one batch, in float64."""
    model = toy_model().double()
    batch = join([single(sample) for sample in samples])
    loss = weights.as_tensor @ squared_errors(evaluate_graph(model, batch.graph, True), batch)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([g.flatten() for g in gradients])


def test_weight_two_is_the_frame_twice(folder):
    a, b = str(folder / "a.extxyz"), str(folder / "b.extxyz")
    expected = gradient(prepared(a, b, a).train)
    of_file = gradient(prepared(DataFile(a, weight=2.0), b).train)
    torch.testing.assert_close(of_file, expected, rtol=1e-11, atol=1e-11)

    frames = emt_frames(10)
    for atoms in frames[:6]:
        atoms.info["config_weight"] = 2.0
    write(folder / "weighted.extxyz", frames)
    of_frames = gradient(prepared(str(folder / "weighted.extxyz")).train)
    torch.testing.assert_close(of_frames, expected, rtol=1e-11, atol=1e-11)
    assert not torch.allclose(gradient(prepared(a, b).train), expected, rtol=1e-2)


def test_every_label_has_its_weight(folder):
    frames = emt_frames(2)
    names = (
        "config_weight",
        "config_energy_weight",
        "config_forces_weight",
        "config_stress_weight",
    )
    frames[0].info |= dict(zip(names, (2.0, 3.0, 0.5, 0.25), strict=True))
    write(folder / "c.extxyz", frames)
    own = DataFile(str(folder / "c.extxyz"), 1.5, 0.5, 4.0, 3.0)
    samples = prepared(own).train
    assert samples[0].weights == pytest.approx((4.5, 6.0, 2.25))
    assert samples[1].weights == pytest.approx((0.75, 6.0, 4.5))
    model = toy_model().double()
    plain = prepared(str(folder / "a.extxyz")).train[:2]  # the same frames
    expected = np.zeros(3)
    for sample, weights in zip(plain, [(4.5, 6.0, 2.25), (0.75, 6.0, 4.5)], strict=True):
        batch = single(sample)
        expected += squared_errors(evaluate_graph(model, batch.graph), batch).numpy() * weights
    batch = join([single(sample) for sample in samples])
    sums = squared_errors(evaluate_graph(model, batch.graph), batch)
    np.testing.assert_allclose(sums, expected, rtol=1e-12)


def test_validation_is_not_weighted(folder):
    a, b = str(folder / "a.extxyz"), str(folder / "b.extxyz")
    config = Config(
        model=MODEL, data=DataConfig(train=(DataFile(a, weight=3.0), b)), training=TrainConfig()
    )
    data = prepare_data(config, progress=False)
    assert {sample.weights for sample in data.valid} == {(1.0, 1.0, 1.0)}
    assert (3.0, 3.0, 3.0) in {sample.weights for sample in data.train}
    message = (
        f"data.valid, '{b}': forces_weight is 2, but validation errors are not weighted: "
        "expected 0 (not used) or 1"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        DataConfig(valid=(DataFile(b, forces_weight=2.0),))


def test_weight_zero_is_the_training_without_the_file(folder):
    frames = emt_frames(10)
    for atoms in frames[6:]:
        atoms.info["config_weight"] = 0.0
    write(folder / "marked.extxyz", frames)
    config = make_config(folder)
    config = changed(config, max_epochs=2)
    a, b = str(folder / "a.extxyz"), str(folder / "b.extxyz")
    choices = {
        "plain": (a,),
        "zero": (a, DataFile(b, weight=0.0)),
        "marked": (str(folder / "marked.extxyz"),),
    }
    for name, files in choices.items():
        data = DataConfig(train=files, num_train=4, num_valid=2)
        train.train(dataclasses.replace(changed(config, output=str(folder / name)), data=data))
    assert_same_run(folder / "plain", folder / "zero")
    assert_same_run(folder / "plain", folder / "marked")


def test_a_label_of_weight_zero_need_not_be_there(folder):
    frames = [without(atoms, "forces") for atoms in emt_frames(4)]
    write(folder / "energies.extxyz", frames)
    a, energies = str(folder / "a.extxyz"), str(folder / "energies.extxyz")
    with pytest.raises(UserError, match=r"energies.extxyz' frame 0: no forces under 'forces'"):
        prepared(a, energies)
    samples = prepared(a, DataFile(energies, forces_weight=0.0)).train
    assert [sample.forces is None for sample in samples] == [False] * 6 + [True] * 4


def test_a_file_may_have_its_own_names_and_units(folder):
    frames = [without(atoms, "stress") for atoms in emt_frames(2)]
    for atoms in frames:
        results = atoms.calc.results
        atoms.info["E"] = results["energy"] / units.Hartree
        atoms.arrays["F"] = results["forces"] / (units.Hartree / units.Angstrom)
        atoms.calc = None
    write(folder / "c.extxyz", frames)
    c = str(folder / "c.extxyz")
    own = DataFile(c, energy_key="E", forces_key="F", energy_unit="Hartree")
    frames = read_frames([folder / "a.extxyz", own], DataConfig(), required=("energy", "forces"))
    for mine, other in zip(frames[:2], frames[6:], strict=True):
        assert other.energy == pytest.approx(mine.energy, abs=1e-6)
        np.testing.assert_allclose(other.forces, mine.forces, atol=1e-6)
    with pytest.raises(UserError, match=r"^'.*c.extxyz': no frame has the key 'G' asked for by"):
        read_frames([folder / "a.extxyz", DataFile(c, forces_key="G")])


def test_entries_of_a_config_file(folder, monkeypatch):
    text = "data:\n  train: [{file: a.extxyz, weight: 2, forces_key: F}, b.extxyz]\n"
    (folder / "c.yaml").write_text(text)
    monkeypatch.chdir("/")
    config = load_config(folder / "c.yaml")
    entry = DataFile(str(folder / "a.extxyz"), weight=2.0, forces_key="F")
    assert config.data.train == (entry, str(folder / "b.extxyz"))
    (folder / "d.yaml").write_text(f"data: {to_dict(config.data)}".replace("None", "null"))
    assert load_config(folder / "d.yaml").data.train == config.data.train
    lone = load_config(folder / "c.yaml", ["data.train={file: b.extxyz, energy_weight: 1e-1}"])
    assert lone.data.train == (DataFile(str(folder / "b.extxyz"), energy_weight=0.1),)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{file: a, wight: 2}", "unknown config key 'data.train.wight': did you mean 'weight'?"),
        ("{weight: 2}", "data: an entry with keys needs the key 'file'"),
        ("{file: a, weight: -1}", "data, 'a': weight: expected a weight of 0 or more, got -1.0"),
        ("{file: a, weight: x}", "config key 'data.train.weight': expected float, got 'x'"),
    ],
)
def test_wrong_entries(folder, entry, message):
    (folder / "c.yaml").write_text(f"data: {{train: [{entry}]}}")
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        load_config(folder / "c.yaml")


def test_wrong_weights_of_frames_name_the_frame(folder):
    frames = emt_frames(2)
    frames[1].info["config_weight"] = -2.0
    write(folder / "c.extxyz", frames)
    message = (
        f"'{folder / 'c.extxyz'}' frame 1 field 'config_weight': "
        "expected a weight of 0 or more, got -2.0"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        read_frames([folder / "c.extxyz"])


def test_resume_knows_entries_with_weights(folder):
    config = changed(make_config(folder), max_epochs=1)
    a, b = str(folder / "a.extxyz"), str(folder / "b.extxyz")

    def of(*files):
        data = DataConfig(train=files, num_valid=3)
        return dataclasses.replace(config, data=data)

    train.train(of(a, DataFile(b, weight=2.0)))
    train.train(changed(of(a, DataFile(b, weight=2.0)), max_epochs=2), resume=True)
    assert len(rows(folder / "run")) == 2
    with pytest.raises(UserError, match=r"^--resume: data.train is .*'weight': 3.0.* set it back"):
        train.train(of(a, DataFile(b, weight=3.0)), resume=True)


@pytest.fixture
def partly(folder):
    """Five frames; forces of all atoms, of three, of none, no stress, nothing but an energy."""
    frames = emt_frames(5)
    frames[1].calc.results["forces"][[0, 2, 3]] = np.nan
    frames[2].calc.results["forces"][:] = np.nan
    frames[3] = without(frames[3], "stress")
    frames[4] = without(frames[4], "forces", "stress")
    write(folder / "partly.extxyz", frames)
    return str(folder / "partly.extxyz"), frames


def test_atoms_without_a_label_add_nothing(partly):
    """Loss, errors and scale of the model against sums over the labels that there are."""
    path, frames = partly
    data = prepared(path, allow_missing=True)
    batch = join([single(sample) for sample in data.train])
    prediction = evaluate_graph(toy_model().double(), batch.graph)
    energies, forces = prediction.energies.numpy(), prediction.forces.numpy().reshape(5, 4, 3)
    expected, absolute, labels = np.zeros(3), [], []
    for s, atoms in enumerate(frames):
        results = atoms.calc.results
        expected[0] += (energies[s] - results["energy"]) ** 2 / 4
        if "stress" in results:
            label = -atoms.get_volume() * atoms.get_stress(voigt=False)
            expected[2] += ((prediction.virials[s].numpy() - label) ** 2).sum() / 4
        for atom, label in enumerate(results.get("forces", ())):
            if not np.isnan(label[0]):
                difference = forces[s, atom] - label
                expected[1] += (difference**2).sum()
                absolute += np.abs(difference).tolist()
                labels += label.tolist()
    assert len(labels) == 3 * (4 + 1 + 4)
    np.testing.assert_allclose(squared_errors(prediction, batch), expected, rtol=1e-6)
    sums = ErrorSums(torch.device("cpu"))
    sums.add(prediction, batch)
    assert sums.result(WEIGHTS)["forces_mae"] == pytest.approx(np.mean(absolute), rel=1e-6)
    assert sums.result(WEIGHTS)["loss"] == pytest.approx(expected @ [1, 10, 0.1] / 5, rel=1e-6)
    rms = np.sqrt(np.mean(np.square(labels)))
    np.testing.assert_allclose(data.statistics.scale, rms, rtol=1e-6)
    assert bool(torch.isfinite(gradient(data.train)).all())


def test_nan_is_refused_unless_missing_labels_are_allowed(partly, folder):
    path, frames = partly
    message = f"'{path}' frame 1 field 'forces': value [0, 0] is NaN or infinite"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        prepared(path)
    frames[1].calc.results["forces"][1, 2] = np.nan  # one component of a labelled atom
    write(folder / "torn.extxyz", frames)
    with pytest.raises(UserError, match=r"frame 1 field 'forces': value \[1, 2\] is NaN"):
        prepared(str(folder / "torn.extxyz"), allow_missing=True)


def test_energies_alone_train(folder):
    frames = [without(atoms, "forces", "stress") for atoms in emt_frames(10)]
    write(folder / "energies.extxyz", frames)
    path = str(folder / "energies.extxyz")
    data = prepared(path, allow_missing=True)
    full = prepared(str(folder / "a.extxyz"), str(folder / "b.extxyz"))
    energy_only = gradient(full.train, LossWeights(1.0, 0.0, 0.0))
    torch.testing.assert_close(gradient(data.train), energy_only, rtol=1e-12, atol=1e-12)

    energies = np.array([atoms.calc.results["energy"] for atoms in frames])
    left = energies - data.statistics.shift @ [1, 3]
    np.testing.assert_allclose(data.statistics.scale, np.sqrt(np.mean((left / 4) ** 2)), rtol=1e-6)

    config = changed(
        make_config(folder),
        max_epochs=40,
        learning_rate=0.05,
        plateau_patience=100,
        stress_weight=0.0,
        ema_decay=None,
    )
    data = DataConfig(train=(path,), num_valid=3, allow_missing=True)
    train.train(dataclasses.replace(config, data=data))
    log = rows(folder / "run")
    assert float(log[-1]["train_loss_energy"]) < 0.5 * float(log[0]["train_loss_energy"])
    assert {row["train_loss_forces"] for row in log} == {"0.0"}
    assert {row["valid_forces_mae"] for row in log} == {""}


def test_labels_keep_their_digits(folder):
    """Total energies of many electrons are large: a float32 would round them to 2 meV."""
    frames = emt_frames(1)
    frames[0].calc.results["energy"] = -34567.123456789
    write(folder / "large.extxyz", frames)
    batch = single(prepared(str(folder / "large.extxyz")).train[0])
    assert batch.energies.item() == pytest.approx(-34567.123456789, abs=1e-7)
    assert batch.volumes.item() == pytest.approx(frames[0].get_volume(), abs=1e-6)


def test_stress_of_some_frames(folder):
    frames = emt_frames(4)
    write(folder / "all.extxyz", frames)
    frames[1:] = [without(atoms, "stress") for atoms in frames[1:]]
    write(folder / "some.extxyz", frames)
    all_labels = prepared(str(folder / "all.extxyz")).train
    some = prepared(str(folder / "some.extxyz"), allow_missing=True).train
    expected = gradient(all_labels, LossWeights(1.0, 10.0, 0.0))
    expected = expected + gradient(all_labels[:1], LossWeights(0.0, 0.0, 0.1))
    torch.testing.assert_close(gradient(some), expected, rtol=1e-11, atol=1e-11)
