# SPDX-License-Identifier: MIT
"""Damaged files of every kind, drawn with a fixed seed: one line each, never "report it"."""

from __future__ import annotations

import copy
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.io import write
from model_toys import make_model
from pyictp import train
from pyictp.cli.main import main
from pyictp.config.load import to_dict
from pyictp.potential.checkpoint import load_checkpoint, save_checkpoint
from pyictp.potential.export import export_model
from pyictp.potential.exported import load_exported
from train_toys import changed, emt_frames, make_config, write_yaml

pytestmark = pytest.mark.usefixtures("quick_training")
SEED, SECONDS = 4, 2.0  # of each test, whatever the machine
ODD_VALUES = [
    None,
    True,
    -1,
    0,
    10**20,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "\udcff",
    "x" * 300,
    "a\x00b",
]
ODD_VALUES += [[], {}, [[1]], {"a": None}, [None], b"\xff", 1j, {1: 2}]


def draws(most: int) -> Iterator[np.random.Generator]:
    """Yield a generator of random numbers up to `most` times, while there is time."""
    start = time.monotonic()
    for number in range(most):
        if number >= 5 and time.monotonic() - start > SECONDS:
            return
        yield np.random.default_rng([SEED, number])


def damaged(whole: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes with some flipped, overwritten, taken out, put in or cut off."""
    data = bytearray(whole)
    for _ in range(rng.integers(1, 4)):
        place, length = int(rng.integers(len(data))), int(rng.integers(1, 40))
        match rng.integers(5):
            case 0:
                data[place] ^= 1 << int(rng.integers(8))
            case 1:
                data[place : place + length] = rng.bytes(length)
            case 2:
                del data[place : place + length]
            case 3:
                data[place:place] = data[:length]
            case 4:
                del data[max(place, 1) :]
    return bytes(data)


def answers(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> bool:
    """Return whether a command took its input; else it says in one line why not."""
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr().err
    errors = [line for line in said.splitlines() if not line.startswith("warning: ")]
    assert "report it" not in said, said
    if status:
        assert status == 1
        assert sum(line.startswith("error: ") for line in errors) == 1, said
    return status == 0


def places(tree: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the paths of everything in nested mappings and lists."""
    items: Any = ()
    if isinstance(tree, dict):
        items = tree.items()
    elif isinstance(tree, list):
        items = enumerate(tree)
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def replaced(tree: Any, rng: np.random.Generator) -> Any:
    """Return a copy with one value that is another one, of another type, or not there."""
    tree = copy.deepcopy(tree)
    found = [place for place in places(tree) if "optimizer" not in place[:-1]]
    *path, last = found[rng.integers(len(found))]
    branch = tree
    for key in path:
        branch = branch[key]
    if rng.random() < 0.15 and isinstance(branch, dict):
        del branch[last]
    else:
        branch[last] = copy.deepcopy(ODD_VALUES[rng.integers(len(ODD_VALUES))])
    return tree


# -- bytes -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def frames_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "frames.xyz"
    write(path, emt_frames(3), format="extxyz")
    return path


def model() -> torch.nn.Module:
    return make_model(elements=("Ni", "Cu"), r_cut=3.5)


def weights(path: Path) -> dict[str, Any]:
    return load_checkpoint(path)["model_state"]


def outputs(path: Path) -> dict[str, Any]:
    loaded = load_exported(path)
    values = loaded.module.reference_species, loaded.module.reference_edge_index
    vectors = loaded.module.reference_edge_vectors
    return {"energies": loaded(*values, vectors, len(values[0]))}


@pytest.mark.parametrize("content", [weights, outputs])
def test_single_bits(content: Callable[[Path], dict], tmp_path, capsys) -> None:
    """Every flip is refused, or nothing that a reader takes from the file is another."""
    path, flipped = tmp_path / "whole.pt", tmp_path / "flipped.pt"
    save_checkpoint(path, model()) if content is weights else export_model(model(), path, "float64")
    expected, whole = content(path), path.read_bytes()
    refused = number = 0
    for rng in draws(200):
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        flipped.write_bytes(data)
        number += 1
        if answers(capsys, "info", flipped):
            found = content(flipped)
            assert all(torch.equal(value, found[name]) for name, value in expected.items())
        else:
            refused += 1
    assert refused > 0.7 * number  # the others are padding and fields that nobody reads


@pytest.mark.parametrize("kind", ["checkpoint", "exported"])
def test_bytes_of_models(kind, frames_file, tmp_path, capsys) -> None:
    path = tmp_path / "model.pt"
    save_checkpoint(path, model()) if kind == "checkpoint" else export_model(model(), path)
    whole = path.read_bytes()
    taken = 0
    for rng in draws(100):
        path.write_bytes(damaged(whole, rng))
        command = ("info", path) if rng.random() < 0.8 else ("evaluate", path, frames_file)
        taken += answers(capsys, *command)
    path.write_bytes(whole)
    assert answers(capsys, "evaluate", path, frames_file)


def test_members_of_exported_files(frames_file, tmp_path, capsys) -> None:
    """Check sums are right, what is inside is not."""
    path = tmp_path / "model.pt"
    export_model(model(), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for rng in draws(60):
        chosen = list(members)[rng.integers(len(members))]
        if not members[chosen]:
            continue
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, damaged(data, rng) if name == chosen else data)
        answers(capsys, "evaluate", path, frames_file)


def test_values_in_metadata(tmp_path, capsys) -> None:
    path = tmp_path / "model.pt"
    export_model(model(), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    place = "archive/extra/metadata.json"
    metadata = json.loads(members[place])
    for rng in draws(200):
        changes = replaced(metadata, rng)
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                changed_data = json.dumps(changes, default=str).encode()
                archive.writestr(name, changed_data if name == place else data)
        answers(capsys, "info", path)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numbers that are huge
@pytest.mark.parametrize("suffix", [".xyz", ".db", ".npz", ".traj"])
def test_bytes_of_structures(suffix, tmp_path, capsys) -> None:
    path = tmp_path / f"frames{suffix}"
    frames = emt_frames(3)
    if suffix == ".npz":
        numbers, positions = frames[0].numbers, np.array([atoms.positions for atoms in frames])
        energies = np.array([atoms.get_potential_energy() for atoms in frames])
        np.savez(path, z=numbers, R=positions, E=energies, F=0 * positions)
    else:
        write(path, frames)
    whole = path.read_bytes()
    assert answers(capsys, "stats", path)
    for rng in draws(150):
        path.write_bytes(damaged(whole, rng))
        answers(capsys, "stats", path)


# -- values ----------------------------------------------------------------------------------------


def test_values_in_checkpoints(frames_file, tmp_path, capsys) -> None:
    """A whole archive of tensors and plain values, but not as training writes them.

    What is inside the state of an optimizer is PyTorch's own; only the check sums guard that.
    """
    config = changed(make_config(tmp_path), max_epochs=1)
    train.train(config)
    again = write_yaml(changed(config, max_epochs=1), tmp_path / "config.yaml")
    for rng in draws(150):
        name = ("best.pt", "last.pt")[rng.integers(2)]
        path = tmp_path / "run" / name
        whole = path.read_bytes()
        payload = torch.load(path, weights_only=True)
        torch.save(replaced(dict(payload), rng), path)
        commands: list[tuple] = [("info", path), ("evaluate", path, frames_file)]
        if name == "last.pt":
            commands.append(("train", again, "--resume"))
        else:
            commands.append(("export", path, "-o", tmp_path / "model.pt"))
        answers(capsys, *commands[rng.integers(3)])
        path.write_bytes(whole)


def test_values_in_configurations(tmp_path, capsys) -> None:
    """Of a value that is no number, or of another type, the key is named."""
    config = make_config(tmp_path)
    tree = to_dict(config)
    tree["model"]["elements"] = ["Ni", "Cu"]
    path = tmp_path / "config.yaml"
    for number, rng in enumerate(draws(200)):
        changes = json.dumps(replaced(tree, rng) if number else tree, default=str)  # is YAML, too
        path.write_text(changes)
        assert answers(capsys, "init", path, "-o", tmp_path / f"run{number}") or number


def test_bytes_of_configurations(tmp_path, capsys) -> None:
    path = write_yaml(make_config(tmp_path), tmp_path / "config.yaml")
    whole = path.read_bytes()
    for rng in draws(100):
        path.write_bytes(damaged(whole, rng))
        command = ("init", path, "-o", tmp_path / "run")
        answers(capsys, *command)


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["\udcff", "a\nb", "x" * 300, "\u202eb", ""])
def test_names_that_are_none(name, frames_file, tmp_path, capsys) -> None:
    """Missing files with such names, and a model that has one."""
    good = tmp_path / "good.pt"
    save_checkpoint(good, model())
    for command in (
        ["info", name],
        ["stats", name],
        ["train", name],
        ["evaluate", good, name],
        ["evaluate", name, frames_file],
        ["export", name, "-o", tmp_path / "m.pt"],
        ["export", good, "-o", f"{tmp_path}/{name}/{name}"],
        ["md", name, good, "--no-run", "-o", tmp_path / "md"],
        ["explore", name],
        ["import", name, "-o", tmp_path / "imported"],
        ["report", name],
    ):
        assert not answers(capsys, *command) or command[0] == "export"
