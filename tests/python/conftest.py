# SPDX-License-Identifier: MIT
"""Fixtures of the tests in Python."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from pyictp.config.load import Config, load_config
from train_toys import no_pictures


@pytest.fixture
def load_with_data(root: Path, shared_dir: Path) -> Callable[[Path], Config]:
    """Return load_config for files that name data in `shared` beside the project: of shared_dir."""

    def moved(name: str) -> str:
        return str(shared_dir / os.path.relpath(name, root.parent / "shared"))

    def load(path: Path) -> Config:
        config = load_config(path)
        train, valid = (tuple(map(moved, getattr(config.data, k))) for k in ("train", "valid"))
        atoms = config.data.isolated_atoms
        atoms = moved(atoms) if isinstance(atoms, str) else atoms
        data = dataclasses.replace(config.data, train=train, valid=valid, isolated_atoms=atoms)
        return dataclasses.replace(config, data=data)

    return load


@pytest.fixture
def quick_training(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Train on one thread, as the equality of runs needs, and without pictures."""
    no_pictures(monkeypatch)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
