# SPDX-License-Identifier: MIT
"""Configuration: YAML in, overrides, and one clear line for each mistake."""

import dataclasses
import math
import re
import typing
from pathlib import Path

import pytest
from pyictp.cli.main import build_parser
from pyictp.config.load import (
    SIZES,
    Config,
    ModelConfig,
    TrainConfig,
    from_dict,
    load_config,
    to_dict,
)
from pyictp.config.training import PUBLISHED, Dtype
from pyictp.data.frames import read_frames
from pyictp.errors import UserError
from pyictp.md.settings import Coupling

CONFIGS = Path(__file__).parents[2] / "configs"
# pretrain_*.yaml: tests/python/test_pretrain_structures.py
OF_TRAIN = sorted(set(CONFIGS.glob("**/*.yaml")) - set(CONFIGS.glob("pretrain_*")))


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return path

    return write


def test_published_recipe(write):
    path = write("training: {recipe: published, batch_size: 32}")
    training = load_config(path, ["training.seed=3"]).training
    assert (training.learning_rate, training.weight_decay, training.amsgrad) == (0.01, 5e-7, True)
    assert (training.schedule, training.plateau_factor, training.plateau_patience) == (
        "plateau",
        0.8,
        50,
    )
    assert (training.optimizer, training.ema_decay, training.max_epochs) == ("adam", 0.99, 2000)
    assert (training.energy_weight, training.forces_weight) == (1.0, 10.0)
    assert (training.batch_size, training.seed) == (32, 3)  # what is set counts
    assert load_config(write("training: {recipe: default}")).training == TrainConfig()


def test_sizes_of_models(write):
    small = load_config(write("model: {size: fast, num_channels: 32}")).model
    assert (small.num_layers, small.l_max_hidden) == (1, 0)
    assert small.num_channels == 32  # what is set beside it counts
    path = write("model: {num_layers: 3, num_channels: 24, r_cut: 4}")
    model = load_config(path, ["model.size=accurate", "model.l_max_hidden=1"]).model
    assert (model.num_layers, model.num_channels, model.r_cut) == (2, 64, 4.0)  # and what is last
    assert model.l_max_hidden == 1
    message = "^model.size: expected one of fast, standard, accurate; got 'tiny'$"
    with pytest.raises(UserError, match=message):
        load_config(path, ["model.size=tiny"])
    with pytest.raises(UserError, match=message):
        load_config(write("model: {size: tiny}"))


def test_a_size_is_one_of_each_architecture():
    keys = {frozenset(size) for size in SIZES.values()}
    assert len(keys) == 1
    assert {ModelConfig(**size) for size in SIZES.values()} != {ModelConfig()}


@pytest.mark.parametrize("path", OF_TRAIN, ids=lambda path: path.stem)
def test_shipped_configurations_are_valid(path):
    config = load_config(path)
    assert (config.training.recipe == "published") == (path.parent.name == "published")
    assert config.data.train
    assert config.training.output


def test_values_overrides_and_round_trip(write):
    path = write("model: {elements: [H, O], r_cut: 4}\ntraining: {learning_rate: 1e-3}\ndata:\n")
    config = load_config(
        path, ["training.max_epochs=7", "model.num_channels=8", "data.num_valid=2"]
    )
    assert config.model.elements == ("H", "O")
    assert config.model.r_cut == 4.0
    assert config.training.learning_rate == 1e-3
    assert (config.training.max_epochs, config.model.num_channels) == (7, 8)
    assert config.data.num_valid == 2
    assert from_dict(Config, to_dict(config), "") == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "training: {max_epoch: 3}",
            "unknown config key 'training.max_epoch': did you mean 'max_epochs'?",
        ),
        ("modle: {}", "unknown config key 'modle': did you mean 'model'?"),
        ("model: {r_cut: five}", "config key 'model.r_cut': expected float, got 'five'"),
        ("model: {num_layers: true}", "config key 'model.num_layers': expected int, got True"),
        ("model: {num_layers: 0}", "model.num_layers: expected 1 to 100, got 0"),
        ("model: {radial_hidden: [8, -5]}", "model.radial_hidden: expected 1 to 10000, got -5"),
        ("model: {readout_hidden: [0]}", "model.readout_hidden: expected 1 to 10000, got 0"),
        (
            "model: {num_product_channels: 0}",
            "model.num_product_channels: expected 1 to 10000, got 0",
        ),
        ("model: {r_cut: .inf}", "model.r_cut: expected above 0 and up to 100, got inf"),
        ("model: {avg_num_neighbors: 0}", "model.avg_num_neighbors: expected above 0, got 0.0"),
        ("model: {radial_scale: -1}", "model.radial_scale: expected above 0, got -1.0"),
        ("model: {elements: [Cu, Xx]}", "model.elements: 'Xx' is no chemical symbol"),
        ("data: {split_seed: -1}", "data.split_seed: expected 0 or more, got -1"),
        (
            "training: {seed: 99999999999999999999999}",
            "training.seed: expected 0 to 9223372036854775807, got 99999999999999999999999",
        ),
        ("model: 3", "config section 'model': expected keys and values, got 3"),
        ("training: {schedule: step}", "training.schedule: expected plateau or cosine, got 'step'"),
        ("training: {learning_rate: 0}", "training.learning_rate: expected above 0, got 0.0"),
        ("training: {ema_decay: 2}", "training.ema_decay: expected 0 to 1, got 2.0"),
        (
            "training: {schedule_by: time}",
            "training.schedule_by is time: set training.max_minutes too",
        ),
        (
            "training: {energy_weight: 0, forces_weight: 0}",
            "training: energy_weight, forces_weight, stress_weight are all 0: nothing to learn",
        ),
    ],
)
def test_mistakes_are_one_line(write, text, message):
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        load_config(write(text))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (
            "max_epochs=3",
            "override 'max_epochs=3': expected section.key=value, "
            "for example training.max_epochs=10",
        ),
        ("training.seed=[", "override 'training.seed=[': '[' is not a valid YAML value"),
        (
            "training.sed=1",
            "unknown config key 'training.sed': did you mean 'seed'?",
        ),
    ],
)
def test_wrong_overrides(write, item, message):
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        load_config(write("{}"), [item])


def test_a_missing_file_and_broken_yaml(write, tmp_path):
    with pytest.raises(UserError, match=r"not found: expected a YAML file$"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "best.pt").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(UserError, match=r"best\.pt' is no text: expected a YAML file$"):
        load_config(tmp_path / "best.pt")
    with pytest.raises(UserError, match=r"is not valid YAML: "):
        load_config(write("model: {"))
    with pytest.raises(UserError, match=r"expected sections model, data, training; got list$"):
        load_config(write("[1]"))
    for text in ("", "# nothing but a comment\n"):
        message = r"config\.yaml' is empty: expected sections model, data, training$"
        with pytest.raises(UserError, match=message):
            load_config(write(text), ["data.train=a.xyz"])


def test_data_paths_are_found_next_to_the_file_first(write, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    path = write("data: {train: [a.xyz, b.xyz, nowhere.xyz], isolated_atoms: b.xyz}")
    for file in (tmp_path / "a.xyz", here / "a.xyz", here / "b.xyz"):
        file.touch()
    data = load_config(path).data
    assert data.train == (
        str(tmp_path / "a.xyz"),
        str(here / "b.xyz"),
        str(tmp_path / "nowhere.xyz"),
    )
    assert data.isolated_atoms == str(here / "b.xyz")


def test_a_path_that_is_nowhere_is_missing_beside_the_file(write, tmp_path, monkeypatch):
    """Two files that name one place name it from wherever they are read."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/other.yaml").write_text("data: {train: [../../data/x.xyz]}")
    path = write("data: {train: [../data/x.xyz]}")
    for folder in (tmp_path, tmp_path / "deep"):
        monkeypatch.chdir(folder)
        found = {load_config(p).data.train for p in (path, tmp_path / "deep/other.yaml")}
        assert found == {(str(tmp_path.parent / "data/x.xyz"),)}
    with pytest.raises(UserError, match=r"x.xyz' not found \(a relative path .* beside it"):
        read_frames(load_config(path).data.train)


def test_isolated_atoms_may_be_numbers_without_a_point(write):
    lone = load_config(write("data: {isolated_atoms: {H: -1e3, O: -2, C: what}}")).data
    assert lone.isolated_atoms == {"H": -1000.0, "O": -2, "C": "what"}


def test_cosine_runs_over_time_only_when_minutes_are_set():
    assert not TrainConfig(max_minutes=3.0, schedule="plateau").time_limited
    assert TrainConfig(max_minutes=3.0).time_limited
    assert not TrainConfig(max_minutes=3.0, schedule_by="epochs").time_limited
    assert not TrainConfig().time_limited


def test_minutes_alone_decide_where_no_epochs_are_given():
    assert TrainConfig().num_epochs == 500
    assert TrainConfig(max_minutes=3.0).num_epochs == math.inf
    assert TrainConfig(max_minutes=3.0, schedule="plateau").num_epochs == math.inf
    assert TrainConfig(max_minutes=3.0, max_epochs=7).num_epochs == 7
    by_epochs = TrainConfig(max_minutes=3.0, schedule_by="epochs")  # a cosine needs an end
    assert by_epochs.num_epochs == 500
    assert TrainConfig(**PUBLISHED).num_epochs == 2000
    assert TrainConfig(**PUBLISHED, max_minutes=3.0).num_epochs == 2000


def test_configurations_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig().r_cut = 3.0


@pytest.mark.parametrize(
    ("command", "option", "kind"),
    [
        ("export", "--dtype", Dtype),
        ("evaluate", "--dtype", Dtype),
        ("md", "--coupling", Coupling),
    ],
)
def test_options_have_the_choices_of_the_keys(command, option, kind):
    (parser,) = (
        action.choices[command]
        for action in build_parser([command])._actions
        if isinstance(action.choices, dict)
    )
    (action,) = (one for one in parser._actions if option in one.option_strings)
    assert tuple(action.choices) == typing.get_args(kind)
