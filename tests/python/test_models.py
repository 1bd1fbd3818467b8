# SPDX-License-Identifier: MIT
"""The models that come with the project: small, whole, and as good as their cards say."""

from __future__ import annotations

import json
from collections.abc import Callable
from os.path import normpath
from pathlib import Path
from typing import Any

import publish
import pytest
from pyictp.config.load import Config, DataConfig, load_config, read_tree, to_dict
from pyictp.data.frames import Frame, read_frames
from pyictp.potential.load import load_model
from pyictp.pretrain.settings import load_settings
from pyictp.reports.evaluate import evaluate_frames
from pyictp.training.prepare import read_split

ROOT = Path(__file__).parents[2]

PATHS = ("train", "valid", "isolated_atoms", "output")
NESTED = {
    "per_element",
    "per_group",
    "per_composition",
    "by_force_magnitude",
    "worst_frames",
    "uncertainty",
}
UNITS = {"mev_per_atom": "meV/atom", "mev": "meV", "mev_per_a": "meV/A", "gpa": "GPa"}
CARD = {  # row: key and unit of errors.json, digits
    "energy": ("energy", "mev_per_atom", ".3f"),
    "energy of the structure": ("energy", "mev", ".2f"),
    "forces": ("force", "mev_per_a", ".2f"),
    "stress": ("stress", "gpa", ".3f"),
}
SAMPLED = {name: facts["sampled"] for name, facts in publish.FACTS.items() if "sampled" in facts}
MODELS = sorted(path.parent for path in ROOT.glob("models/*/model.pt"))


@pytest.fixture(params=MODELS, ids=lambda path: path.name)
def model(request: pytest.FixtureRequest) -> Path:
    return request.param


def errors_of(model: Path) -> dict[str, Any]:
    return json.loads((model / "errors.json").read_text())


def test_there_are_models_for_all_configurations() -> None:
    names = {path.stem for path in ROOT.glob("configs/*.yaml")}
    wanted = {name for name in names if not name.startswith("pretrain_")} | set(SAMPLED)
    assert {p.name for p in MODELS} == wanted
    assert set(SAMPLED.values()) <= names


def test_file_and_checkpoint_belong_together(model: Path) -> None:
    assert (model / "model.pt").stat().st_size < publish.MAX_BYTES
    exported, checkpoint = load_model(model / "model.pt"), load_model(model)
    config = load_config(model / "config.yaml")
    assert (exported.elements, exported.r_cut) == (checkpoint.elements, checkpoint.r_cut)
    assert tuple(exported.elements) == config.model.elements
    assert exported.metadata["provenance"] == checkpoint.metadata["provenance"]


def test_configuration_makes_this_model(model: Path) -> None:
    """Null in configs/ is left to the training; paths are those of another folder."""
    name = SAMPLED.get(model.name)
    wanted = to_dict(
        load_settings(ROOT / f"configs/{name}.yaml")
        if name
        else load_config(ROOT / f"configs/{model.name}.yaml")
    )
    shipped = to_dict(load_config(model / "config.yaml"))
    different = {
        f"{section}.{key}": (value, shipped[section][key])
        for section, values in wanted.items()
        if section in shipped
        for key, value in values.items()
        if value not in (None, []) and key not in PATHS and value != shipped[section][key]
    }
    assert different == {}


def test_data_are_those_of_the_configuration(model: Path) -> None:
    """Compared as they are written: what lies around the checkout is another machine's matter."""
    if model.name in SAMPLED:  # a pretraining samples its own
        data = read_tree(model / "config.yaml")["data"]
        assert data["train"] == [f"../../runs/{model.name}/frames.extxyz"]
        return
    paths = (ROOT / f"configs/{model.name}.yaml", model / "config.yaml")
    trees = [(path.parent, read_tree(path)["data"]) for path in paths]
    for key in ("train", "valid"):
        wanted, shipped = (
            [normpath(folder / name) for name in data.get(key, [])] for folder, data in trees
        )
        assert wanted == shipped


def test_shortest_distances_are_known_and_on_the_card(model: Path) -> None:
    metadata, card = load_model(model / "model.pt").metadata, (model / "README.md").read_text()
    known, elements = metadata["provenance"]["shortest_distances"], metadata["elements"]
    for pair, length in known.items():
        i, j = (elements.index(element) for element in pair.split("-"))
        assert metadata["shortest_distances"][i * len(elements) + j] == length
        assert f"{pair} {length:.2f}" in card
    assert min(known.values()) == pytest.approx(metadata["provenance"]["shortest_edge"])


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("acac", {"force_rmse_mev_per_a": 10, "energy_rmse_mev": 2}),
        ("aspirin", {"force_mae_mev_per_a": 12}),
        ("monbtaw", {"energy_rmse_mev_per_atom": 6, "force_rmse_mev_per_a": 120}),
        ("water", {"force_rmse_mev_per_a": 40}),
    ],
)
def test_targets_are_met(name: str, limits: dict[str, float]) -> None:
    stored = errors_of(ROOT / "models" / name)
    assert {key: stored[key] for key, limit in limits.items() if not stored[key] <= limit} == {}


def test_card_and_results_are_those_of_the_errors(model: Path) -> None:
    stored, card = errors_of(model), (model / "README.md").read_text()
    for row, (key, unit, form) in CARD.items():
        if stored[f"{key}_mae_{unit}"] is not None:
            mae, rmse = (format(stored[f"{key}_{kind}_{unit}"], form) for kind in ("mae", "rmse"))
            unit_text = UNITS[unit]
            assert f"| {row} | {mae} {unit_text} | {rmse} {unit_text} " in card
    row = json.loads(publish.RESULTS.read_text())[model.name]
    assert {key: row[key] for key in publish.ERRORS} == {
        key: round(stored[key] or 0.0, 4) for key in publish.ERRORS
    }


def test_table_of_the_documentation_is_that_of_the_results() -> None:
    table = publish.table(json.loads(publish.RESULTS.read_text()))
    assert table in (ROOT / "docs/accuracy.md").read_text()


@pytest.mark.slow
def test_errors_are_those_of_the_card(
    model: Path, load_with_data: Callable[[Path], Config], shared_dir: Path
) -> None:
    if model.name in SAMPLED:
        pytest.skip("its exam lies beside it: test_exam_of_a_sampled_model")
    config = load_with_data(model / "config.yaml")
    assert Path(config.data.train[0]).is_relative_to(shared_dir)
    if config.data.valid:
        valid = read_frames(config.data.valid, config.data)
    else:
        _, valid, _ = read_split(config)
    assert_errors_are_those_stored(model, valid)


@pytest.mark.parametrize("name", SAMPLED)
def test_exam_of_a_sampled_model(name: str) -> None:
    model = ROOT / "models" / name
    assert_errors_are_those_stored(model, read_frames([model / publish.EXAM], DataConfig()))


def assert_errors_are_those_stored(model: Path, frames: list[Frame]) -> None:
    found, stored = evaluate_frames(load_model(model / "model.pt"), frames), errors_of(model)
    numbers = {key: value for key, value in stored.items() if isinstance(value, float | int)}
    assert len(numbers) >= 12
    assert {key: found[key] for key in numbers} == pytest.approx(numbers, rel=0.01, abs=1e-3)
    assert {key for key in stored if found[key] is None} == stored.keys() - numbers.keys() - NESTED
