# SPDX-License-Identifier: MIT
"""The models that come with the project: small, whole, and as good as their cards say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyictp.config import load_config
from pyictp.evaluate import evaluate_frames
from pyictp.potential import load_model, potential_properties
from pyictp.training.prepare import read_split

ROOT = Path(__file__).parents[2]
MODELS = sorted(path.parent for path in ROOT.glob("models/*/model.pt"))


@pytest.fixture(params=MODELS, ids=lambda path: path.name)
def model(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_there_are_models_for_all_configurations() -> None:
    assert [path.name for path in MODELS] == sorted(p.stem for p in ROOT.glob("configs/*.yaml"))


def test_file_and_checkpoint_belong_together(model: Path) -> None:
    assert (model / "model.pt").stat().st_size < 4e6
    exported, checkpoint = load_model(model / "model.pt"), load_model(model)
    config = load_config(model / "config.yaml")
    assert potential_properties(exported) == potential_properties(checkpoint)
    assert tuple(exported.elements) == config.model.elements
    assert exported.metadata["provenance"] == checkpoint.metadata["provenance"]


@pytest.mark.slow
def test_errors_are_those_of_the_card(model: Path, shared_dir: Path) -> None:
    config = load_config(model / "config.yaml")
    assert Path(config.data.train[0]).is_relative_to(shared_dir.resolve())
    _, valid, _ = read_split(config)
    found = evaluate_frames(load_model(model / "model.pt"), valid)
    stored = json.loads((model / "errors.json").read_text())
    for key in ("energy_rmse_mev", "force_rmse_mev_per_a", "force_mae_mev_per_a"):
        assert found[key] == pytest.approx(stored[key], rel=0.01)
    card = (model / "README.md").read_text()
    assert f"{stored['force_mae_mev_per_a']:.2f} meV/A" in card
