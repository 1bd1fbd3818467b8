# SPDX-License-Identifier: MIT
"""Deviations and grades against the errors that they stand for."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from model_toys import make_model
from pyictp.cli.main import main
from pyictp.errors import UserError
from pyictp.graph.graph import Graph, build_graph
from pyictp.model.ictp import ICTPModel
from pyictp.potential.batch import evaluate_batch
from pyictp.potential.calculator import ICTPCalculator
from pyictp.potential.checkpoint import save_checkpoint
from pyictp.potential.export import export_model
from pyictp.potential.extrapolation import add_grade, fit_grade
from pyictp.potential.loaded_model import LoadedModel
from pyictp.potential.uncertainty import evaluate_uncertain
from pyictp.reports.calibration import calibration, describe_calibration, medians, spreads
from pyictp.reports.comparison import Parity, Structure

FRAMES = 40
ATOMS = 25


def make_parity(deviations: np.ndarray, scale: float, seed: int = 0, **more: object) -> Parity:
    """Return normally distributed errors, `scale` times as large as the deviations (M,) say."""
    rng = np.random.default_rng(seed)
    labels = rng.normal(size=(len(deviations), 3))
    errors = scale * deviations[:, None] / np.sqrt(3) * rng.normal(size=labels.shape)
    energies = rng.normal(size=FRAMES)
    energy_errors = scale * 0.02 * rng.normal(size=FRAMES)
    return Parity(
        energies=np.stack([energies, energies + energy_errors], axis=1),
        num_atoms=np.full(FRAMES, float(ATOMS)),
        energy_structures=np.arange(FRAMES),
        forces=np.stack([labels, labels + errors], axis=2),
        force_elements=np.full(len(labels), "H"),
        force_structures=np.repeat(np.arange(FRAMES), ATOMS),
        force_atoms=np.tile(np.arange(ATOMS), FRAMES),
        stresses=np.zeros((0, 6, 2)),
        stress_structures=np.zeros(0, dtype=np.int64),
        structures=tuple(Structure(f"a:{i}", "", "H25", "H", ATOMS) for i in range(FRAMES)),
        force_deviations=deviations,
        energy_deviations=np.full(FRAMES, 0.02),
        **more,
    )


def some_deviations() -> np.ndarray:
    return np.exp(np.random.default_rng(5).normal(-3, 1, FRAMES * ATOMS))


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_normal_errors_are_covered_as_normal_errors_are(scale: float) -> None:
    found = calibration(make_parity(some_deviations(), scale))
    expected = {1.0: (68.3, 95.4), 2.0: (38.3, 68.3)}[scale]
    for name, tolerance in (("force_deviation", 3), ("energy_deviation", 17)):
        values = found[name]
        assert values["percent_within_1"] == pytest.approx(expected[0], abs=tolerance)
        assert values["percent_within_2"] == pytest.approx(expected[1], abs=tolerance)
        assert values["factor"] == pytest.approx(scale, rel=0.15)
        assert values["percent_within_1_scaled"] == pytest.approx(68.3, abs=tolerance)
        assert values["percent_within_2_scaled"] == pytest.approx(95.4, abs=tolerance)


def ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values)).astype(float)


def test_rank_correlation_over_atoms_and_frames() -> None:
    parity = make_parity(some_deviations(), 1.0)
    errors = np.linalg.norm(parity.forces[..., 1] - parity.forces[..., 0], axis=1)
    found = calibration(parity)["force_deviation"]
    expected = np.corrcoef(ranks(errors), ranks(parity.force_deviations))[0, 1]
    assert found["rank_correlation"] == pytest.approx(expected, rel=1e-9)
    assert expected > 0.5
    largest = [x.reshape(FRAMES, ATOMS).max(axis=1) for x in (errors, parity.force_deviations)]
    expected = np.corrcoef(*map(ranks, largest))[0, 1]
    assert found["rank_correlation_frames"] == pytest.approx(expected, rel=1e-9)


def test_a_grade_that_is_the_error_ranks_perfectly() -> None:
    parity = make_parity(some_deviations(), 1.0)
    errors = np.linalg.norm(parity.forces[..., 1] - parity.forces[..., 0], axis=1)
    for grades, sign in ((errors**2, 1), (-errors, -1)):
        graded = Parity(**(vars(parity) | {"grades": grades}))
        assert calibration(graded)["grade"]["rank_correlation"] == pytest.approx(sign)
    assert calibration(graded)["grade"]["percent_above_1"] == 0


def test_nothing_to_divide_by_is_no_number() -> None:
    """Twice the same model deviates nowhere; labels without forces have no errors."""
    parity = make_parity(np.zeros(FRAMES * ATOMS), 1.0)
    found = calibration(parity)["force_deviation"]
    assert found["factor"] is found["rank_correlation"] is found["percent_within_1"] is None
    assert "rank correlation with errors -" in describe_calibration({"force_deviation": found})[0]
    assert spreads(parity) == []
    plain = Parity(**(vars(parity) | {"force_deviations": None, "energy_deviations": None}))
    assert calibration(plain) == {}
    assert describe_calibration({}) == []


def test_bins_of_the_picture_hold_equal_numbers() -> None:
    parity = make_parity(some_deviations(), 1.0)
    (spread,) = spreads(parity)
    rows = np.array(medians(spread))
    assert rows.shape == (10, 3)
    assert (np.diff(rows[:, 0]) > 0).all()
    order = np.argsort(parity.force_deviations)[:100]
    assert rows[0, 0] == pytest.approx(1e3 * np.median(parity.force_deviations[order]))
    assert rows[-1, 1] > 10 * rows[0, 1]


@pytest.fixture(scope="module")
def molecules() -> list[Atoms]:
    """Return two molecules of different size."""
    rng = np.random.default_rng(2)
    water = np.array([[0, 0, 0], [0.96, 0, 0], [-0.2, 0.94, 0]])
    small = [Atoms("OH2", water + rng.normal(scale=0.05, size=(3, 3))) for _ in range(3)]
    return [*small, Atoms("OH2OH2", np.vstack([water, water + np.array([0, 0, 1.9])]))]


@pytest.fixture(scope="module")
def members() -> list[ICTPModel]:
    small = {"l_max_edge": 1, "l_max_hidden": 1, "correlation": 2}
    return [make_model(seed=seed, **small) for seed in (0, 1, 2)]


@pytest.fixture(scope="module")
def ensemble(
    members: list[ICTPModel], molecules: list[Atoms], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("calibration") / "ensemble.pt"
    export_model(members, path, "float64", grade=fit_grade(members[0], graphs_of(molecules)))
    return path


@pytest.fixture(scope="module")
def run(
    members: list[ICTPModel], molecules: list[Atoms], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a folder as a training of the first member leaves it."""
    folder = tmp_path_factory.mktemp("run")
    save_checkpoint(folder / "best.pt", members[0])
    add_grade(folder / "best.pt", graphs_of(molecules))
    return folder


def graphs_of(molecules: list[Atoms]) -> list[Graph]:
    return [
        build_graph(a.positions, np.zeros((3, 3)), False, (a.numbers == 8).astype(int), 3.0)
        for a in molecules
    ]


def one_by_one(members: list[ICTPModel], atoms: Atoms) -> dict[str, np.ndarray]:
    """Return means and deviations of the members' calculators."""
    energies, forces = [], []
    for model in members:
        single = ICTPCalculator(model)
        energies.append(single.get_property("energy", atoms))
        forces.append(single.get_property("forces", atoms))
    spread = np.array(forces) - np.mean(forces, axis=0)
    return {
        "energy": np.mean(energies),
        "forces": np.mean(forces, axis=0),
        "energy_deviation": np.std(energies),
        "force_deviation": np.sqrt((spread**2).sum(axis=2).mean(axis=0)),
    }


def test_calculator_tells_when_it_is_asked(
    ensemble: Path,
    members: list[ICTPModel],
    molecules: list[Atoms],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    atoms, want = molecules[0].copy(), one_by_one(members, molecules[0])
    calculator = ICTPCalculator(ensemble)
    atoms.calc = calculator
    calls = []

    def counted(*arguments: object) -> object:
        calls.append(1)
        return evaluate_uncertain(*arguments)

    monkeypatch.setattr("pyictp.potential.calculator.evaluate_uncertain", counted)
    np.testing.assert_allclose(atoms.get_forces(), want["forces"], atol=1e-11)
    assert not calls  # no cost
    assert "grade" not in calculator.results
    found = calculator.get_property("force_deviation", atoms)
    np.testing.assert_allclose(found, want["force_deviation"], atol=1e-11)
    assert 0 < calculator.get_property("grade", atoms).max() <= 1 + 1e-9
    assert atoms.get_potential_energy() == pytest.approx(want["energy"], abs=1e-11)
    assert len(calls) == 1  # both at once, and nothing anew
    atoms.positions[0, 0] += 0.1
    assert "grade" not in calculator.get_property("forces", atoms)
    assert calculator.get_property("grade", atoms).max() > 1
    assert len(calls) == 2
    single = ICTPCalculator(members[0])
    assert "grade" not in single.implemented_properties
    with pytest.raises(PropertyNotImplementedError):
        single.get_property("grade", atoms)


def test_batches_tell_when_they_are_asked(
    ensemble: Path, members: list[ICTPModel], molecules: list[Atoms]
) -> None:
    results = evaluate_batch(ensemble, molecules, uncertainty=True)
    calculator = ICTPCalculator(ensemble)
    for atoms, result in zip(molecules, results, strict=True):
        want = one_by_one(members, atoms)
        for name, value in want.items():
            np.testing.assert_allclose(getattr(result, name), value, atol=1e-11)
        np.testing.assert_allclose(result.grade, calculator.get_property("grade", atoms), rtol=1e-9)
    (plain, *_) = evaluate_batch(ensemble, molecules)
    assert plain.grade is plain.force_deviation is plain.energy_deviation is None
    with pytest.raises(UserError, match=r"^uncertainty: expected several models or a grade, this"):
        evaluate_batch(members[0], molecules, uncertainty=True)


def test_a_training_has_its_grade_without_an_export(
    run: Path, ensemble: Path, molecules: list[Atoms]
) -> None:
    calculator = ICTPCalculator(run)
    assert "grade" in calculator.implemented_properties
    assert "force_deviation" not in calculator.implemented_properties
    found, exported = (evaluate_batch(m, molecules, uncertainty=True) for m in (run, ensemble))
    for atoms, one, want in zip(molecules, found, exported, strict=True):
        np.testing.assert_allclose(one.grade, want.grade, rtol=1e-9)
        np.testing.assert_allclose(calculator.get_property("grade", atoms), want.grade, rtol=1e-9)
        assert one.force_deviation is one.energy_deviation is None
    again = pickle.loads(pickle.dumps(calculator))
    np.testing.assert_allclose(again.get_property("grade", molecules[0]), found[0].grade, rtol=1e-9)
    (single, *_) = evaluate_batch(run, molecules, uncertainty=True, dtype="float32")
    np.testing.assert_allclose(single.grade, found[0].grade, rtol=1e-2)


def test_evaluate_has_the_grade_of_a_training(
    run: Path, molecules: list[Atoms], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for atoms, want in zip(molecules, evaluate_batch(run, molecules), strict=True):
        atoms = atoms.copy()
        atoms.calc = SinglePointCalculator(atoms, energy=want.energy, forces=want.forces + 0.01)
        write(tmp_path / "test.xyz", atoms, format="extxyz", append=True)
    assert main(["evaluate", str(run), str(tmp_path / "test.xyz"), "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    assert "\ngrade: rank correlation with errors " in text
    assert "deviation" not in text


def test_the_native_calculator_has_the_mean_alone(ensemble: Path, molecules: list[Atoms]) -> None:
    calculator = ICTPCalculator(ensemble, native=True)
    for name in ("grade", "force_deviation"):
        with pytest.raises(PropertyNotImplementedError):
            calculator.get_property(name, molecules[0])


def test_evaluate_adds_them_to_numbers_picture_and_page(
    ensemble: Path,
    members: list[ICTPModel],
    molecules: list[Atoms],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rng = np.random.default_rng(1)
    frames, errors, deviations = [], [], []
    for atoms in molecules:
        want = one_by_one(members, atoms)
        labels = want["forces"] + 1e-2 * rng.normal(size=(len(atoms), 3))
        frames.append(Atoms(atoms.symbols, atoms.positions))
        frames[-1].calc = SinglePointCalculator(frames[-1], energy=want["energy"], forces=labels)
        errors.append(np.abs(labels - want["forces"]))
        deviations.append(want["force_deviation"])
    write(tmp_path / "test.xyz", frames, format="extxyz")
    outputs = [str(tmp_path / name) for name in ("a.json", "a.html", "a.png")]
    options = ["--json", outputs[0], "--report", outputs[1], "--plot", outputs[2]]
    data = str(tmp_path / "test.xyz")
    assert main(["evaluate", str(ensemble), data, *options, "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    for name in ("force deviation", "energy deviation", "grade"):
        assert f"\n{name}: rank correlation with errors " in text
    found = json.loads(Path(outputs[0]).read_text())["uncertainty"]
    components = np.concatenate(deviations)[:, None] / np.sqrt(3)
    within = 100 * (np.concatenate(errors) <= components).mean()
    assert found["force_deviation"]["percent_within_1"] == pytest.approx(within, abs=1e-6)
    assert found["grade"]["largest"] == pytest.approx(1, rel=1e-5)
    page = Path(outputs[1]).read_text()
    assert "<h2>Uncertainty</h2>" in page
    assert 'alt="grade: rank correlation' in page


def test_a_single_model_without_grade_has_no_section(
    members: list[ICTPModel], molecules: list[Atoms]
) -> None:
    (graph, *_) = graphs_of(molecules)
    found = evaluate_uncertain(LoadedModel(members[0]), graph)
    assert found.grades is found.force_deviations is found.energy_deviations is None
    assert torch.isfinite(found.forces).all()
