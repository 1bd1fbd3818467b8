# SPDX-License-Identifier: MIT
"""Atoms closer than in the training data: what the calculator and batches say of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from model_toys import make_model
from pyictp import ICTPCalculator, evaluate_batch
from pyictp.errors import UserError
from pyictp.graph.graph import build_graph
from pyictp.potential.checkpoint import save_checkpoint
from pyictp.potential.distances import distance_table, shortest_distances
from pyictp.potential.export import export_model

KNOWN = {"shortest_distances": {"H-H": 1.4, "H-O": 0.9}}  # no O near another
TEXT = (
    "atoms 1 (H) and 0 (O) are 0.7 A apart, closer than any such pair in the training data "
    "(0.9 A): what the model says of them is a guess"
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a model in each of its forms, and one of which nothing is known."""
    folder = tmp_path_factory.mktemp("distances")
    model = make_model()
    save_checkpoint(folder / "best.pt", model, provenance=KNOWN)
    export_model(model, folder / "model.pt", "float64", KNOWN)
    export_model(model, folder / "unknown.pt", "float64")
    return {"folder": folder, "file": folder / "model.pt", "unknown": folder / "unknown.pt"}


def hydroxyl(distance: float) -> Atoms:
    """Return an O and an H so far apart, far from another H."""
    positions = [[0, 0, 0], [0, 0, distance], [0, 0, 2.5 + distance]]
    return Atoms("OHH", positions)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("what", ["folder", "file", "native"])
def test_the_calculator_warns_once(
    what: str, files: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    calculator = ICTPCalculator(
        files["folder" if what == "folder" else "file"], native=what == "native"
    )
    for distance in (1.0, 0.9 - 1e-8, 0.7, 0.6):  # a frame that was written and read is no news
        atoms = hydroxyl(distance)
        atoms.calc = calculator
        atoms.get_potential_energy()
        if distance > 0.8:
            assert messages(caplog) == []
    assert len(messages(caplog)) == 1
    assert messages(caplog)[0] in (TEXT, TEXT.replace("1 (H) and 0 (O)", "0 (O) and 1 (H)"))


def test_error_and_ignore(files: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    atoms = hydroxyl(0.7)
    atoms.calc = ICTPCalculator(files["file"], closest="error")
    with pytest.raises(UserError, match=r"0\.7 A apart, closer than any such pair in the training"):
        atoms.get_forces()
    quiet = [ICTPCalculator(files[name], closest="ignore") for name in ("file", "folder")]
    energies = [calculator.get_potential_energy(hydroxyl(0.7)) for calculator in quiet]
    assert energies[0] == pytest.approx(energies[1], abs=1e-10)
    assert messages(caplog) == []
    with pytest.raises(UserError, match=r"closest: expected warn, error or ignore, got 'never'"):
        ICTPCalculator(files["file"], closest="never")


def test_a_pair_that_no_training_frame_had(
    files: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    ICTPCalculator(files["file"]).get_potential_energy(Atoms("OO", [[0, 0, 0], [0, 0, 2.9]]))
    assert "2.9 A apart, but no such pair in the training data came within r_cut" in caplog.text


def test_a_batch_names_the_worst(files: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    many = [hydroxyl(distance) for distance in (1.0, 0.8, 0.7, 0.95)]
    results = evaluate_batch(files["folder"], many, batch_edges=4)
    assert len(results) == 4
    assert len(messages(caplog)) == 1
    assert messages(caplog)[0].startswith("2 of 4 structures, the worst is 2: atoms ")
    with pytest.raises(UserError, match=r"^structure 1: atoms .* are 0\.8 A apart, closer"):
        evaluate_batch(files["folder"], many, closest="error")
    caplog.clear()
    evaluate_batch(files["folder"], many, closest="ignore")
    evaluate_batch(make_model(), many)
    assert messages(caplog) == []


def test_distances_are_those_of_all_images() -> None:
    """Two kinds of atoms in a cell that is smaller than the cutoff."""
    positions = np.array([[0.0, 0, 0], [0.2, 0.1, 1.0]])
    graph = build_graph(positions, np.diag([2.0, 2.2, 2.4]), True, [1, 0], 3.0)
    found = shortest_distances([graph], ["H", "O"])
    assert found == pytest.approx({"H-H": 2.0, "H-O": np.sqrt(1.05), "O-O": 2.0})
    table = distance_table({"shortest_distances": {"H-O": 1.0}}, ("O", "H"), 3.0)
    assert table.tolist() == [[3.0, 1.0], [1.0, 3.0]]  # whatever the order
