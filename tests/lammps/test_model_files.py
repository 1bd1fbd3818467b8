# SPDX-License-Identifier: MIT
"""What a user reads when the file of pair_coeff is not one that this build can run."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from deck import Deck, pair_lines, run
from pyictp.potential.exported import write_archive
from structures import STRUCTURES
from toys import MessageToy, PairToy, export_toy

pytestmark = pytest.mark.lammps


def assert_refused(tmp_path: Path, model: Path, text: str) -> None:
    with pytest.raises(RuntimeError, match=re.escape(text)):
        run(tmp_path / "run", STRUCTURES["lone atom"], Deck(pair_lines(model)))


@pytest.mark.parametrize(
    "content",
    [b"", b"not a zip archive", pickle.dumps({"weights": [1.0]})],
    ids=["0", "text", "pickle"],
)
def test_no_archive(content, tmp_path):
    path = tmp_path / "notes.pt"
    path.write_bytes(content)
    text = f"model '{path}': not an exported model (those are zip archives, this file is something"
    assert_refused(tmp_path, path, text)


def test_another_archive(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path, weights=np.zeros(3))
    assert_refused(tmp_path, path, f"model '{path}': not an exported model (")


@pytest.mark.parametrize("kept", [0.1, 0.6, 0.999])
def test_truncated(kept, export, tmp_path):
    path = tmp_path / "half.pt"
    whole = export(MessageToy).read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    assert_refused(tmp_path, path, f"model '{path}': is truncated: copy it or export it again")


def test_operator_of_a_later_build(export, tmp_path):
    path = tmp_path / "later.pt"
    with zipfile.ZipFile(export(MessageToy)) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"ictp.exchange", b"ictp.telepathy"))
    text = f"model '{path}': needs the operator ictp::telepathy which this build does not have"
    assert_refused(tmp_path, path, text)


class Unfinished(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.schema_version = 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_missing_attributes(tmp_path):
    path = tmp_path / "unfinished.pt"
    write_archive(torch.jit.script(Unfinished()), path, {})
    text = f"model '{path}': lacks elements of schema 2: export it again with `ictp export`"
    assert_refused(tmp_path, path, text)


def test_torchscript_of_something_else(tmp_path):
    path = tmp_path / "linear.pt"
    linear = torch.jit.script(torch.nn.Linear(2, 2))
    linear.save(str(path))
    assert_refused(tmp_path, path, f"model '{path}': not an exported model (code/")
    write_archive(linear, path, {})
    text = f"model '{path}': a TorchScript file without schema_version, so not an exported"
    assert_refused(tmp_path, path, text)


def test_checkpoint_or_folder(tmp_path):
    path = tmp_path / "best.pt"
    torch.save({"format": "ictp-checkpoint", "weights": torch.zeros(3)}, path)
    text = f"model '{path}': is a checkpoint of a training: export it with `ictp export`"
    assert_refused(tmp_path, path, text)
    text = f"model '{tmp_path}': is a folder: export the model of a training with `ictp export`"
    assert_refused(tmp_path, tmp_path, text)


def test_failure_inside_the_model(tmp_path):
    path = export_toy(tmp_path / "small.pt", PairToy(), strength=torch.zeros(1, 1).double())
    text = f"model '{path}': index 1 is out of bounds for dimension 1 with size 1"
    assert_refused(tmp_path, path, text)


@pytest.mark.parametrize("schema", [1, 3])
def test_another_schema(schema, tmp_path):
    path = export_toy(tmp_path / "new.pt", PairToy(), schema_version=schema)
    text = f"model '{path}': has schema {schema}, this build reads 2: export it again with `ictp"
    assert_refused(tmp_path, path, text)


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        ("reference_node_energies", 1e-3, "node energies [eV] differ by 0.001, allowed is 1e-08"),
        ("reference_node_energies", float("nan"), "node energies [eV] differ by "),
        ("reference_forces", 1e-3, "forces [eV/A] differ by 0.001, allowed is 1e-08"),
        ("reference_virial", 1e-3, "virial components [eV] differ by 0.001, allowed is 1e-07"),
    ],
)
def test_self_check(name, change, text, tmp_path):
    toy = PairToy()
    getattr(toy, name).add_(change)
    path = export_toy(tmp_path / "wrong.pt", toy)
    full = f"model '{path}': does not reproduce its reference structure on cpu: {text}"
    assert_refused(tmp_path, path, full)
