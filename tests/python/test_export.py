# SPDX-License-Identifier: MIT
"""The exported file reproduces the model, says what it is, and refuses what it is not."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from model_toys import VARIANTS, cluster_graph, make_cluster, make_model
from pyictp import export
from pyictp.checkpoint import save_checkpoint
from pyictp.cli import main
from pyictp.derivatives import evaluate_graph
from pyictp.errors import UserError
from pyictp.exported import check_reference, load_exported, read_metadata
from pyictp.potential import load_model


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a float64 file of the standard toy model."""
    path = tmp_path_factory.mktemp("export") / "model.pt"
    export.export_model(make_model(), path, "float64", {"note": "toy"})
    return path


@pytest.mark.parametrize("variant", VARIANTS)
def test_exported_model_is_the_model(variant: str, tmp_path: Path) -> None:
    model = make_model(variant)
    export.export_model(model, tmp_path / "model.pt", "float64")
    loaded = load_exported(tmp_path / "model.pt")
    for seed, num_atoms in enumerate((7, 4, 1)):  # other sizes: nothing is specialised
        graph = cluster_graph(*make_cluster(num_atoms, seed=seed))
        expected, found = evaluate_graph(model, graph), evaluate_graph(loaded, graph)
        torch.testing.assert_close(found.node_energies, expected.node_energies, atol=1e-12, rtol=0)
        torch.testing.assert_close(found.forces, expected.forces, atol=1e-12, rtol=0)


def test_portable_file_needs_no_operator_but_the_exchange(tmp_path: Path) -> None:
    model, graph = make_model(), cluster_graph(*make_cluster())
    for portable in (False, True):
        export.export_model(model, tmp_path / "model.pt", "float64", portable=portable)
        with zipfile.ZipFile(tmp_path / "model.pt") as archive:
            names = [n for n in archive.namelist() if "/code/" in n and n.endswith(".py")]
            code = "".join(archive.read(name).decode() for name in names)
        used = {name for name in ("edge_convolution", "scaled_silu") if f"ops.ictp.{name}" in code}
        assert used == (set() if portable else {"edge_convolution", "scaled_silu"})
        assert "ops.ictp.exchange" in code
        found = evaluate_graph(load_exported(tmp_path / "model.pt"), graph)
        expected = evaluate_graph(model, graph)
        torch.testing.assert_close(found.forces, expected.forces, atol=1e-11, rtol=0)


def test_float32_file_is_close_and_says_so(tmp_path: Path) -> None:
    model = make_model()
    deviation = export.export_model(model, tmp_path / "model.pt")
    assert 0 < deviation < 2e-5
    loaded = load_model(tmp_path / "model.pt")
    assert loaded.dtype == torch.float32
    graph = cluster_graph(*make_cluster())
    expected, found = evaluate_graph(model, graph), evaluate_graph(loaded, graph)
    assert found.node_energies.dtype == torch.float64
    torch.testing.assert_close(found.forces, expected.forces, atol=2e-5, rtol=0)


def test_metadata_says_what_is_inside(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metadata = read_metadata(exported)
    assert metadata["elements"] == ["H", "O"]
    assert metadata["r_cut"] == 3.0
    assert metadata["model"]["num_channels"] == 4
    assert metadata["provenance"] == {"note": "toy"}
    assert main(["info", str(exported), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dtype"] == "float64"
    assert main(["info", str(exported)]) == 0
    assert "num_channels           4" in capsys.readouterr().out


def test_the_file_holds_its_reference_structure(exported: Path) -> None:
    potential = load_exported(exported)
    assert check_reference(potential) < 1e-12
    potential.module.reference_forces += 1e-3
    assert check_reference(potential) == pytest.approx(1e-3)
    assert potential.module.reference_tolerance < 1e-3


def test_reference_virial_is_that_of_the_reference_structure(exported: Path) -> None:
    """For a cluster the virial is the sum of r (x) f over the atoms, about any origin."""
    module = load_exported(exported).module
    graph = export.reference_graph(make_model())
    center, neighbor = graph.edge_index
    positions = torch.zeros(graph.num_nodes, 3, dtype=torch.float64)
    for i, j, vector in zip(center, neighbor, graph.edge_vectors, strict=True):
        if i == 0:
            positions[j] = vector
    torch.testing.assert_close(
        positions.T @ module.reference_forces, module.reference_virial, atol=1e-12, rtol=0
    )


def test_a_model_of_many_elements_has_all_in_its_reference_structure() -> None:
    elements = tuple(["H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na"])
    graph = export.reference_graph(make_model(elements=elements))
    assert set(graph.species.tolist()) == set(range(11))
    assert torch.linalg.vector_norm(graph.edge_vectors, dim=1).min() > 0.5


def test_export_fails_if_the_file_does_not_reproduce_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "check_reference", lambda _: 0.1)
    with pytest.raises(UserError, match=r"the reloaded model deviates by 1\.0e-01 eV"):
        export.export_model(make_model(), tmp_path / "model.pt")
    assert list(tmp_path.iterdir()) == []


def test_command_and_script_write_the_same_file(tmp_path: Path, root: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    save_checkpoint(run / "best.pt", make_model(), provenance={"seed": 0})
    assert main(["export", str(run), "-o", str(tmp_path / "a.pt"), "--dtype", "float64"]) == 0
    script = [sys.executable, str(root / "export" / "export_model.py"), str(run)]
    subprocess.run([*script, "-o", str(tmp_path / "b.pt"), "--dtype", "float64"], check=True)
    a, b = (load_exported(tmp_path / name) for name in ("a.pt", "b.pt"))
    graph = cluster_graph(*make_cluster())
    assert torch.equal(evaluate_graph(a, graph).forces, evaluate_graph(b, graph).forces)
    assert a.metadata == b.metadata


def rewrite_metadata(source: Path, target: Path, **changes: object) -> None:
    """Copy an archive with other metadata; None takes it out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for item in old.infolist():
            data = old.read(item)
            if item.filename.endswith("/extra/metadata.json"):
                data = json.dumps(json.loads(data) | changes).encode()
            new.writestr(item, data)


def test_what_is_no_model_is_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'nothere\.pt' not found: expected a file written by"):
        load_exported("nothere.pt")
    truncated = tmp_path / "truncated.pt"
    truncated.write_bytes(exported.read_bytes()[:20000])
    with pytest.raises(UserError, match="is no exported model, or is truncated"):
        load_exported(truncated)
    newer = tmp_path / "newer.pt"
    rewrite_metadata(exported, newer, schema_version=7)
    with pytest.raises(UserError, match="has schema 7, this package reads 1: export it again"):
        load_exported(newer)
    foreign = tmp_path / "foreign.pt"
    rewrite_metadata(exported, foreign, format="other")
    with pytest.raises(UserError, match="is a TorchScript archive, but no ICTP model"):
        load_model(foreign)
    with pytest.raises(
        UserError,
        match="was exported in float64, asked for float32: export it with --dtype float32",
    ):
        load_model(exported, dtype=torch.float32)


def test_exporting_an_exported_file_is_refused(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(exported)]) == 1
    assert "is an exported file already" in capsys.readouterr().err


def test_energies_far_from_zero_keep_their_differences(tmp_path: Path) -> None:
    """Shifts of -30000 eV in a float32 file: energies still resolve 1e-5 eV."""
    model = make_model()
    model.shift.copy_(torch.tensor([-500.0, -30000.0]))
    export.export_model(model, tmp_path / "model.pt")
    loaded = load_exported(tmp_path / "model.pt")
    graph = cluster_graph(*make_cluster())
    difference = evaluate_graph(loaded, graph).energies - evaluate_graph(model, graph).energies
    assert np.abs(difference.item()) < 1e-5
