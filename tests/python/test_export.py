# SPDX-License-Identifier: MIT
"""The exported file reproduces the model, says what it is, and refuses what it is not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.io import write
from model_toys import VARIANTS, cluster_graph, make_cluster, make_model
from pyictp.cli.main import main
from pyictp.errors import UserError
from pyictp.graph.derivatives import evaluate_graph
from pyictp.model.ictp import ICTPModel
from pyictp.model.tabulate import ACCURACY
from pyictp.potential import export
from pyictp.potential.checkpoint import save_checkpoint
from pyictp.potential.exported import (
    ExportedPotential,
    check_reference,
    load_exported,
    read_metadata,
)
from pyictp.potential.extrapolation import ExtrapolationGrade, fit_grade
from pyictp.potential.load import load_model


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a float64 file of the standard toy model."""
    path = tmp_path_factory.mktemp("export") / "model.pt"
    export.export_model(make_model(), path, "float64", {"note": "toy"}, radial="network")
    return path


@pytest.mark.parametrize("variant", VARIANTS)
def test_exported_model_is_the_model(variant: str, tmp_path: Path) -> None:
    model = make_model(variant)
    export.export_model(model, tmp_path / "model.pt", "float64", radial="network")
    loaded = load_exported(tmp_path / "model.pt")
    for seed, num_atoms in enumerate((7, 4, 1)):  # other sizes: nothing is specialised
        graph = cluster_graph(*make_cluster(num_atoms, seed=seed))
        expected, found = evaluate_graph(model, graph), evaluate_graph(loaded, graph)
        torch.testing.assert_close(found.node_energies, expected.node_energies, atol=1e-12, rtol=0)
        torch.testing.assert_close(found.forces, expected.forces, atol=1e-12, rtol=0)


def test_portable_file_needs_no_operator_but_the_exchange(tmp_path: Path) -> None:
    model, graph = make_model(), cluster_graph(*make_cluster())
    for portable in (False, True):
        export.export_model(
            model, tmp_path / "model.pt", "float64", portable=portable, radial="network"
        )
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
    loaded = load_model(tmp_path / "model.pt")
    assert loaded.dtype == torch.float32
    graph = cluster_graph(*make_cluster())
    expected, found = evaluate_graph(model, graph), evaluate_graph(loaded, graph)
    assert found.node_energies.dtype == torch.float64
    # the tables' slopes are forces
    tolerance = ACCURACY[torch.float32].slope
    limit = tolerance * expected.forces.abs().max().item()
    torch.testing.assert_close(found.forces, expected.forces, atol=limit, rtol=0)
    reference = load_exported(tmp_path / "model.pt").module.reference_forces
    assert 0 < deviation < tolerance * reference.abs().max().item()


def test_tables_in_float64(tmp_path: Path) -> None:
    """Quintic ones, without being asked for: forces are the slopes of tables."""
    model = make_model()
    deviations = {
        dtype: export.export_model(model, tmp_path / f"{dtype}.pt", dtype, {"shortest_edge": 0.5})
        for dtype in ("float32", "float64")
    }
    assert 0 < deviations["float64"] < deviations["float32"] / 1e4
    graph = cluster_graph(*make_cluster())
    expected = evaluate_graph(model, graph)
    found = evaluate_graph(load_model(tmp_path / "float64.pt"), graph)
    limit = ACCURACY[torch.float64].slope * expected.forces.abs().max().item()
    torch.testing.assert_close(found.forces, expected.forces, atol=limit, rtol=0)
    (table, _) = read_metadata(tmp_path / "float64.pt")["radial_tables"]
    assert table["error"] <= 1e-10


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


def test_masses_are_the_standard_ones(exported: Path) -> None:
    assert load_exported(exported).module.masses == [1.008, 15.999]
    assert read_metadata(exported)["masses"] == [1.008, 15.999]


@pytest.mark.parametrize(
    ("provenances", "expected"),
    [
        ([{}], [0, 0, 0, 0]),
        ([{"shortest_distances": {"H-O": 0.9}}], [3, 0.9, 0.9, 3]),
        (
            [
                {"shortest_distances": {"H-H": 1.5, "H-O": 0.9, "O-O": 2.0}},
                {},
                {"shortest_distances": {"H-H": 1.4, "H-O": 0.95}},
            ],
            [1.5, 0.95, 0.95, 3],
        ),
    ],
    ids=["unknown", "known", "several"],
)
def test_the_file_knows_the_shortest_distances(
    provenances: list[dict[str, Any]],
    expected: list[float],
    members: list[ICTPModel],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A pair that never came near has the cutoff radius; of several models the largest counts."""
    path = tmp_path / "model.pt"
    export.export_model(members[: len(provenances)], path, "float64", provenances)
    loaded = load_exported(path)
    assert loaded.shortest_distances.ravel().tolist() == expected
    assert read_metadata(path)["shortest_distances"] == expected
    assert main(["info", str(path)]) == 0
    said = f"shortest_distances\n  H-H                    {float(expected[0])}\n"
    said = said if any(expected) else "shortest_distances     not known\n"
    assert said in capsys.readouterr().out


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


@pytest.mark.parametrize("shortest_edge", [0.0, 1.2, 2.6, 3.0])
def test_the_reference_structure_keeps_to_the_distances_of_training(shortest_edge: float) -> None:
    """Tables are not exact below them, where a good model would be refused by chance."""
    lengths = torch.linalg.vector_norm(
        export.reference_graph(make_model(r_cut=5.0), shortest_edge).edge_vectors, dim=1
    )
    assert lengths.min() >= shortest_edge - 1e-12


def test_the_reference_structure_has_edges_whatever_the_shortest_distance() -> None:
    graph = export.reference_graph(make_model(), 100.0)
    assert set(graph.edge_index[0].tolist()) == set(range(graph.num_nodes))


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
    with pytest.raises(UserError, match="has schema 7, this package reads 2: export it again"):
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


@pytest.fixture(scope="module")
def members() -> list[ICTPModel]:
    """Return small models that differ in more than their weights."""
    small = {"l_max_edge": 1, "l_max_hidden": 1, "correlation": 2}
    layers = {0: 2, 1: 3, 2: 1}
    return [make_model(seed=s, num_layers=number, **small) for s, number in layers.items()]


@pytest.fixture(scope="module")
def grade(members: list[ICTPModel]) -> ExtrapolationGrade:
    """Return the grade of the first member."""
    return fit_grade(members[0], [cluster_graph(*make_cluster(9, seed)) for seed in range(8)])


@pytest.fixture(scope="module")
def ensemble(
    members: list[ICTPModel], grade: ExtrapolationGrade, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a float64 file of the members."""
    path = tmp_path_factory.mktemp("ensemble") / "ensemble.pt"
    notes = [{"note": str(number)} for number in range(3)]
    export.export_model(members, path, "float64", notes, radial="network", grade=grade)
    return path


def assert_is_ensemble(
    loaded: ExportedPotential,
    members: list[ICTPModel],
    grade: ExtrapolationGrade,
    tolerance: float,
) -> None:
    """Compare mean, members and grades of a file with the models in memory."""
    for seed, num_atoms in enumerate((7, 4, 1)):
        graph = cluster_graph(*make_cluster(num_atoms, seed=seed))
        arguments = graph.species, graph.edge_index, graph.edge_vectors, graph.num_local
        found = [evaluate_graph(model, graph) for model in members]
        for name in ("node_energies", "forces", "virials"):
            mean = sum(getattr(one, name) for one in found) / len(members)
            got = getattr(evaluate_graph(loaded, graph), name)
            torch.testing.assert_close(got, mean, atol=tolerance, rtol=0)
        for index, one in enumerate(found):
            got = evaluate_graph(loaded.member(index), graph)
            torch.testing.assert_close(got.forces, one.forces, atol=3 * tolerance, rtol=0)
        features = members[0].energies_and_features(*arguments)[1].detach()
        want = grade(features, graph.species)
        assert want.shape == (num_atoms,)
        relative = min(1e4 * tolerance, 0.01)  # narrow directions are whitened
        torch.testing.assert_close(loaded.grades(graph), want, atol=0, rtol=relative)


def test_an_ensemble_is_the_mean_of_its_members(
    ensemble: Path, members: list[ICTPModel], grade: ExtrapolationGrade
) -> None:
    loaded = load_exported(ensemble)
    assert (loaded.num_models, loaded.has_grade) == (3, True)
    assert_is_ensemble(loaded, members, grade, 1e-11)
    assert check_reference(loaded) < 1e-11
    assert loaded.module.num_layers == 3  # the most, for readers that count exchanges


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "float32"},
        {"dtype": "float32", "radial": "network", "portable": True},
    ],
    ids=lambda options: "_".join(map(str, options.values())),
)
def test_float32_ensembles(
    options: dict[str, Any],
    members: list[ICTPModel],
    grade: ExtrapolationGrade,
    tmp_path: Path,
) -> None:
    before = [{k: v.clone() for k, v in model.state_dict().items()} for model in members]
    export.export_model(members, tmp_path / "model.pt", grade=grade, **options)
    assert_is_ensemble(load_exported(tmp_path / "model.pt"), members, grade, 2e-5)
    for model, state in zip(members, before, strict=True):  # nothing was changed
        assert model.state_dict().keys() == state.keys()
        assert all(torch.equal(value, state[k]) for k, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"r_cut": 3.5},
            "an ensemble shares one graph: expected r_cut 3.0 as of the first model, model 2 has "
            "3.5: train it with 'model.r_cut=3.0'",
        ),
        (
            {"elements": ("O", "H")},
            "an ensemble shares one graph: expected elements [H, O] as of the first model, model 2 "
            "has [O, H]: train it with 'model.elements=[H, O]'",
        ),
    ],
)
def test_models_that_cannot_share_a_graph_are_refused(
    changes: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "a.pt", make_model())
    save_checkpoint(tmp_path / "b.pt", make_model(**changes))
    output = tmp_path / "ensemble.pt"
    arguments = [str(tmp_path / name) for name in ("a.pt", "b.pt")]
    assert main(["export", *arguments, "-o", str(output)]) == 1
    text = capsys.readouterr().err
    assert message in text
    assert len(text.splitlines()) == 1
    assert not output.exists()


def test_the_same_model_twice_is_refused(
    members: list[ICTPModel], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(tmp_path / name) for name in ("a.pt", "b.pt", "again.pt")]
    for name, model in zip(names, (members[0], members[1], members[0]), strict=True):
        save_checkpoint(name, model)
    output = tmp_path / "ensemble.pt"
    assert main(["export", *names, "-o", str(output)]) == 1
    text = capsys.readouterr().err
    assert "models 1 and 3 are the same: train one with another training.seed, or leave it" in text
    assert len(text.splitlines()) == 1
    assert not output.exists()


def test_command_makes_an_ensemble_of_checkpoints(
    members: list[ICTPModel], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, model in enumerate(members):
        save_checkpoint(tmp_path / f"{number}.pt", model, provenance={"seed": number})
    names = [str(tmp_path / f"{number}.pt") for number in range(3)]
    output = str(tmp_path / "ensemble.pt")
    assert main(["export", *names, "-o", output, "--dtype", "float64"]) == 0
    text = capsys.readouterr().out
    pattern = r"\(3 models, [\d.]+ MB, float64\): reloaded, on its small reference structure "
    assert re.search(rf"{pattern}.* trained mean\n", text)
    assert "not compared on training frames: --training-data FILE does that" in text
    assert "no extrapolation grade: the training did not end; --training-data FILE gives" in text
    water = molecule("H2O")
    frames = [water.copy() for _ in range(5)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=seed)
    write(tmp_path / "water.xyz", frames)
    options = ["--json", "--training-data", str(tmp_path / "water.xyz")]
    assert main(["export", *names, "-o", output, *options]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["num_models"], said["has_grade"], said["dtype"]) == (3, True, "float32")
    assert said["file"] == output
    distances = read_metadata(output)["shortest_distances"]
    between = min(atoms.get_distance(1, 2) for atoms in frames)
    assert distances[0] == pytest.approx(between, abs=1e-7)
    hydroxyl = min(atoms.get_distances(0, [1, 2]).min() for atoms in frames)
    assert distances[1:] == pytest.approx([hydroxyl, hydroxyl, 3.0], abs=1e-7)  # no O near another
    assert [one["provenance"]["seed"] for one in read_metadata(output)["other_models"]] == [1, 2]
    write(tmp_path / "methane.xyz", molecule("CH4"))
    options[-1] = str(tmp_path / "methane.xyz")
    assert main(["export", *names, "-o", output, *options]) == 1
    assert "atom 0 is C, but the model's elements are H O" in capsys.readouterr().err


def test_a_file_without_grade_says_so(exported: Path) -> None:
    graph = cluster_graph(*make_cluster())
    loaded = load_exported(exported)
    assert (loaded.num_models, loaded.has_grade) == (1, False)
    with pytest.raises(UserError, match=r"^the file has no extrapolation grade: export it again"):
        loaded.grades(graph)


def test_info_tells_members_apart(ensemble: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(ensemble)]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^num_models +3$", text, re.MULTILINE)
    assert re.search(r"^has_grade +True$", text, re.MULTILINE)
    second = text[text.index("model 2 differs in") : text.index("model 3 differs in")]
    assert re.search(r"^ +num_layers +3$", second, re.MULTILINE)
    assert "num_channels" not in second  # as in the first
    assert "{" not in text
    assert main(["info", str(ensemble), "--json"]) == 0
    others = json.loads(capsys.readouterr().out)["other_models"]
    assert [other["provenance"]["note"] for other in others] == ["1", "2"]
