# SPDX-License-Identifier: MIT
"""Checkpoints are whole or absent, and never run code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from model_toys import cluster_graph, make_cluster, make_model
from pyictp.errors import UserError
from pyictp.graph.derivatives import evaluate_graph
from pyictp.potential import checkpoint
from pyictp.potential.export import export_model
from pyictp.potential.load import load_model


def test_a_model_comes_back_as_it_was(tmp_path: Path, dtype: torch.dtype) -> None:
    model = make_model("odd").to(dtype)
    checkpoint.save_checkpoint(tmp_path / "best.pt", model, provenance={"seed": 3})
    graph = cluster_graph(*make_cluster())
    for path in (tmp_path, tmp_path / "best.pt"):
        loaded = load_model(path)
        assert loaded.model.node_embedding.dtype == dtype
        assert loaded.metadata["provenance"] == {"seed": 3}
        tolerance = {torch.float64: 1e-12, torch.float32: 1e-5}[dtype]
        for name, value in model.state_dict().items():
            assert torch.equal(loaded.model.state_dict()[name], value)
        expected, found = evaluate_graph(model, graph).forces, evaluate_graph(loaded, graph).forces
        torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


def test_the_state_of_a_training_gives_the_averaged_weights(tmp_path: Path) -> None:
    model, average = make_model(seed=0), make_model(seed=1)
    state = {"average": average.state_dict()}
    checkpoint.save_checkpoint(tmp_path / "last.pt", model, training_state=state)
    loaded = load_model(tmp_path / "last.pt")
    assert torch.equal(loaded.model.node_embedding, average.node_embedding)


def test_dtype_can_be_chosen(tmp_path: Path) -> None:
    checkpoint.save_checkpoint(tmp_path / "best.pt", make_model().float())
    assert load_model(tmp_path, dtype=torch.float64).model.node_embedding.dtype == torch.float64


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "best.pt"
    checkpoint.save_checkpoint(path, make_model(), step=1)

    def full_disk(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(
        UserError, match="No space left on device; an older file there is still whole"
    ):
        checkpoint.save_checkpoint(path, make_model(), step=2)
    monkeypatch.undo()
    assert checkpoint.load_checkpoint(path)["step"] == 1
    assert os.listdir(tmp_path) == ["best.pt"]


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not found: expected a training folder"):
        load_model(tmp_path / "none.pt")
    with pytest.raises(UserError, match=r"holds no best\.pt"):
        load_model(tmp_path)
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(UserError, match="is not a checkpoint of ictp train, or is truncated"):
        load_model(tmp_path / "text.pt")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="is not a checkpoint of ictp train: expected one"):
        load_model(tmp_path / "other.pt")
    checkpoint.save_checkpoint(tmp_path / "best.pt", make_model())
    whole = (tmp_path / "best.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="or is truncated"):
        load_model(tmp_path / "cut.pt")
    payload = checkpoint.load_checkpoint(tmp_path / "best.pt")
    torch.save(payload | {"schema_version": 9}, tmp_path / "new.pt")
    with pytest.raises(UserError, match=r"has schema 9, this package reads 1: update pyictp"):
        load_model(tmp_path / "new.pt")


class Malicious:
    def __reduce__(self) -> tuple:
        return (os.system, ("true",))


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    torch.save(
        {"format": "ictp-checkpoint", "schema_version": 1, "x": Malicious()}, tmp_path / "bad.pt"
    )
    with pytest.raises(UserError, match="is not a checkpoint"):
        load_model(tmp_path / "bad.pt")


def test_an_exported_file_is_named_as_such(tmp_path: Path) -> None:
    export_model(make_model(), tmp_path / "model.pt")
    with pytest.raises(UserError, match="is an exported file: give the training folder"):
        checkpoint.load_checkpoint(tmp_path / "model.pt")
