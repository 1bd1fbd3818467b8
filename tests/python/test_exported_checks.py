# SPDX-License-Identifier: MIT
"""Whole files that say what cannot be: attributes out of range, weights that are no numbers."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from model_toys import make_model
from pyictp.errors import UserError
from pyictp.potential.checkpoint import load_checkpoint, save_checkpoint
from pyictp.potential.export import export_model
from pyictp.potential.exported import load_exported, read_metadata, write_archive
from pyictp.potential.load import load_model

METADATA = "archive/extra/metadata.json"


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.pt"
    export_model(make_model(elements=("H", "O"), r_cut=3.0), path)
    return path


def with_attributes(path: Path, target: Path, **values: Any) -> Path:
    """Write a file with other attributes; their names in metadata.json follow."""
    metadata = read_metadata(path)
    module = torch.jit.load(path)
    for name, value in values.items():
        setattr(module, name, value)
    write_archive(module, target, metadata | values)
    return target


def with_metadata(path: Path, target: Path, **values: Any) -> Path:
    """Write a file in which only the metadata are other ones."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.namelist():
            data = old.read(member)
            if member == METADATA:
                data = json.dumps(json.loads(data) | values).encode()
            new.writestr(member, data)
    return target


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_exported(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- exported files --------------------------------------------------------------------------------

WRONG = {
    "r_cut": [float("nan"), float("inf"), 1e9, -3.0, 0.0],
    "elements": [[], ["H", "H"], ["H", "Xx"], ["H", "X"], ["H", ""]],
    "num_layers": [0, -1, 10**9],
    "dtype": ["float16", "", "nn"],
    "reference_tolerance": [float("nan"), float("inf"), -1.0],
    "masses": [[], [1.0], [1.0, float("nan")], [1.0, -16.0]],
    "shortest_distances": [[0.0], [0.0, 9.0, 9.0, 0.0], [0.0, -1.0, -1.0, 0.0]],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_attributes_out_of_range(name, value, model_file, tmp_path) -> None:
    path = with_attributes(model_file, tmp_path / "changed.pt", **{name: value})
    found = refusal(path)
    assert f": expected {name} " in found
    assert found.endswith("export it again with `ictp export`")
    with pytest.raises(UserError, match=f": expected {name} "):  # also who only asks what it is
        read_metadata(path)


def test_attributes_that_contradict_the_reference_structure(model_file, tmp_path) -> None:
    """In range, but the structure inside tells that they are not those of the weights."""
    path = tmp_path / "changed.pt"
    with_attributes(model_file, path, r_cut=1.5)
    assert "its reference structure has an edge beyond r_cut 1.5 A" in refusal(path)
    with_attributes(model_file, path, elements=["H"], masses=[1.0], shortest_distances=[0.0])
    assert "its reference structure is damaged" in refusal(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("r_cut", 3.25), ("elements", ["O", "H"]), ("num_layers", 7), ("num_models", 2)],
)
def test_metadata_that_contradict_the_archive(name, value, model_file, tmp_path) -> None:
    path = with_metadata(model_file, tmp_path / "changed.pt", **{name: value})
    assert re.search(rf"its {name} is .*, but .* in its metadata\.json", refusal(path))


@pytest.mark.parametrize("name", ["node_energies", "forces", "virial"])
def test_other_values_than_those_of_the_reference(name, model_file, tmp_path) -> None:
    """What LAMMPS asks of a file before its first step, Python asks as well."""
    module = torch.jit.load(model_file)
    with torch.no_grad():
        getattr(module, f"reference_{name}").add_(0.05)
    path = tmp_path / "changed.pt"
    write_archive(module, path, read_metadata(model_file))
    assert "does not reproduce its reference structure on cpu: deviates by" in refusal(path)


# -- checkpoints -----------------------------------------------------------------------------------


def test_weights_that_are_no_numbers(tmp_path) -> None:
    """One number anywhere is enough, and its place is named."""
    path = tmp_path / "best.pt"
    for name in make_model(elements=("H", "O")).state_dict():
        model = make_model(elements=("H", "O"))
        value = model.state_dict()[name]
        if not value.is_floating_point() or not value.numel():
            continue
        value.view(-1)[-1] = float("nan") if len(name) % 2 else float("-inf")
        save_checkpoint(path, model)
        with pytest.raises(UserError, match=rf"weight {re.escape(name)} is NaN, infinite or no te"):
            load_checkpoint(path)


def test_weights_of_another_architecture(tmp_path) -> None:
    path = tmp_path / "best.pt"
    save_checkpoint(path, make_model(elements=("H", "O")))
    payload = load_checkpoint(path)
    state = dict(payload["model_state"])
    name = [name for name, value in state.items() if value.dim() == 2][-1]
    for wrong in (
        state | {name: state[name][:-1]},
        {key: value for key, value in state.items() if key != name},
        state | {"another": torch.zeros(1)},
    ):
        torch.save(dict(payload) | {"model_state": wrong}, path)
        with pytest.raises(UserError, match=rf"^checkpoint '{path}': its architec") as caught:
            load_model(path)
        assert "\n" not in str(caught.value)
