# SPDX-License-Identifier: MIT
"""Breakdowns of errors against loops over the frames; the report as a parser sees it."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.units import GPa
from data_toys import ToyPotential, structures
from pyictp import train
from pyictp.cli.main import main
from pyictp.config.load import to_dict
from pyictp.data.frames import Frame, from_atoms
from pyictp.errors import UserError
from pyictp.potential.checkpoint import load_checkpoint
from pyictp.potential.load import as_potential
from pyictp.reports import metrics
from pyictp.reports import page as report
from pyictp.reports import training as training_report
from pyictp.reports.evaluate import evaluate_frames, predict
from pyictp.reports.figures import parity_plots
from pyictp.reports.tables import breakdown_tables, number, worst_tables
from pyictp.training.run_folder import REPORT
from pyictp.training.trainer import Outcome
from train_toys import changed, emt_frames, make_config

TINY = 1e-9  # meV/A: rounding of the lengths
WORST = 7  # index of the frame with the worst forces below


def labelled_frames() -> list[Frame]:
    """Frames of two groups and none, four elements, labels off by random numbers."""
    rng = np.random.default_rng(5)
    frames = []
    for index, name in enumerate(("molecule", "crystal", "sheared", "slab") * 3):
        atoms = structures()[name]
        atoms.rattle(0.05, seed=index)
        frame = from_atoms([atoms])[0]
        parity = predict(
            as_potential(ToyPotential()), [dataclasses.replace(frame, forces=0 * atoms.positions)]
        )
        forces = parity.forces[..., 1] + rng.normal(scale=0.03, size=(len(atoms), 3))
        energy = rng.normal() + evaluate_energy(frame)
        stress = rng.normal(scale=1e-2, size=(3, 3)) if frame.volume else None
        stress = None if stress is None else stress + stress.T
        group = ("bulk", "", "hot")[index % 3]
        fields = {"energy": energy, "forces": forces, "stress": stress, "group": group}
        frames.append(dataclasses.replace(frame, **fields, file="a.xyz", index=index))
    frames[3] = dataclasses.replace(frames[3], energy=None)
    frames[4] = dataclasses.replace(frames[4], forces=None)
    return frames


def evaluate_energy(frame: Frame) -> float:
    parity = predict(as_potential(ToyPotential()), [dataclasses.replace(frame, energy=0.0)])
    return float(parity.energies[0, 1])


def errors_of(frame: Frame) -> dict[str, np.ndarray]:
    """Prediction minus label of one frame, evaluated alone [meV/atom, meV/A, meV/A^3]."""
    parity = predict(as_potential(ToyPotential()), [frame])
    stress = parity.stresses[:, [[0, 5, 4], [5, 1, 3], [4, 3, 2]]].reshape(-1, 2)
    return {
        "energy": 1e3 * (parity.energies[:, 1] - parity.energies[:, 0]) / len(frame.symbols),
        "forces": 1e3 * (parity.forces[..., 1] - parity.forces[..., 0]),
        "labels": 1e3 * parity.forces[..., 0],
        "stress": 1e3 * (stress[:, 1] - stress[:, 0]),
    }


def rms(values: list[np.ndarray]) -> float:
    return math.sqrt(np.mean(np.concatenate([np.ravel(v) for v in values]) ** 2))


def mae(values: list[np.ndarray]) -> float:
    return float(np.mean(np.abs(np.concatenate([np.ravel(v) for v in values]))))


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return labelled_frames()


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("per_group", lambda f: f.group or metrics.NO_GROUP),
        ("per_composition", lambda f: {"C": "CH2O", "H": "CH2O"}.get(f.symbols[0]) or copper(f)),
    ],
)
def test_breakdowns_are_those_of_a_loop(frames, key, names):
    result = evaluate_frames(as_potential(ToyPotential()), frames, batch_size=5)
    by_name: dict[str, list[Frame]] = {}
    for frame in frames:
        by_name.setdefault(names(frame), []).append(frame)
    assert set(result[key]) == set(by_name)
    for name, members in by_name.items():
        errors = [errors_of(frame) for frame in members]
        values = result[key][name]
        assert values["num_structures"] == len(members)
        assert values["num_atoms"] == sum(len(frame.symbols) for frame in members)
        energy, forces, labels, stress = (
            [e[kind] for e in errors] for kind in ("energy", "forces", "labels", "stress")
        )
        assert values["energy_rmse_mev_per_atom"] == pytest.approx(rms(energy))
        assert values["energy_mae_mev_per_atom"] == pytest.approx(mae(energy))
        assert values["force_rmse_mev_per_a"] == pytest.approx(rms(forces))
        assert values["force_mae_mev_per_a"] == pytest.approx(mae(forces))
        assert values["force_rmse_percent"] == pytest.approx(100 * rms(forces) / rms(labels))
        if sum(s.size for s in stress):
            assert values["stress_rmse_mev_per_a3"] == pytest.approx(rms(stress))
        else:
            assert values["stress_rmse_mev_per_a3"] is None


def copper(frame: Frame) -> str:
    return "Cu2O" if "O" in frame.symbols else "Cu"


def test_headline_numbers_of_forces_and_stress(frames):
    result = evaluate_frames(as_potential(ToyPotential()), frames)
    errors = [errors_of(frame) for frame in frames]
    labels = np.concatenate([e["labels"] for e in errors])
    prediction = labels + np.concatenate([e["forces"] for e in errors])
    cosines = [
        a @ b / math.sqrt((a @ a) * (b @ b)) for a, b in zip(labels, prediction, strict=True)
    ]
    assert result["force_cosine"] == pytest.approx(np.mean(cosines))
    assert result["force_rms_mev_per_a"] == pytest.approx(rms([labels]))
    bias = np.mean(np.concatenate([e["energy"] for e in errors]))
    assert result["energy_bias_mev_per_atom"] == pytest.approx(bias)
    stress = rms([e["stress"] for e in errors])
    assert result["stress_rmse_gpa"] == pytest.approx(1e-3 * stress / GPa)
    assert 1 / GPa == pytest.approx(160.21766, rel=1e-6)


def test_bins_of_force_hold_every_atom_once():
    rng = np.random.default_rng(0)
    label = rng.normal(size=(2345, 3)) * rng.lognormal(sigma=1, size=(2345, 1))
    forces = np.stack([label, label + rng.normal(scale=0.1, size=(2345, 3))], axis=-1)
    rows = metrics.by_force_magnitude(forces)
    length = [1e3 * math.hypot(*f) for f in label]
    error = [1e3 * math.hypot(*(f[:, 1] - f[:, 0])) for f in forces]
    assert sum(row["num_atoms"] for row in rows) == 2345
    assert [row["num_atoms"] for row in rows][:9] == pytest.approx([234.5] * 9, abs=1)
    assert rows[-1]["num_atoms"] == pytest.approx(23.5, abs=1)
    for row in rows:
        low, high = row["force_low_mev_per_a"], row["force_high_mev_per_a"]
        last = row is rows[-1]
        members = [
            i for i, f in enumerate(length) if low - TINY <= f < high + (TINY if last else -TINY)
        ]
        assert len(members) == row["num_atoms"]
        assert row["force_median_mev_per_a"] == pytest.approx(
            np.median([length[i] for i in members])
        )
        assert row["error_median_mev_per_a"] == pytest.approx(
            np.median([error[i] for i in members])
        )
        assert row["error_90_mev_per_a"] == pytest.approx(
            np.percentile([error[i] for i in members], 90)
        )
        angles = [
            math.degrees(math.atan2(np.linalg.norm(np.cross(*f.T)), f[:, 0] @ f[:, 1]))
            for f in forces[members]
        ]
        assert row["angle_median_deg"] == pytest.approx(np.median(angles))


def test_forces_of_zero_have_no_direction():
    forces = np.zeros((40, 3, 2))
    assert np.isnan(metrics.force_cosines(forces)).all()
    (row,) = metrics.by_force_magnitude(forces)
    assert row["num_atoms"] == 40
    assert row["angle_median_deg"] is None
    forces[0, :, 0] = [0, 0, 1]
    assert metrics.force_cosines(forces)[0] == 0
    assert metrics.by_force_magnitude(forces[:5]) == []


def test_the_corrupted_frame_is_the_worst(frames):
    forces = frames[WORST].forces.copy()
    forces[2, 1] += 0.9
    spoiled = list(frames)
    spoiled[WORST] = dataclasses.replace(frames[WORST], forces=forces)
    spoiled[5] = dataclasses.replace(frames[5], energy=frames[5].energy - 500.0)
    worst = evaluate_frames(as_potential(ToyPotential()), spoiled)["worst_frames"]
    first = worst["by_forces"][0]
    assert (first["frame"], first["max_force_error_atom"]) == (f"a.xyz:{WORST}", 2)
    assert first["max_force_error_element"] == frames[WORST].symbols[2]
    assert first["max_force_error_mev_per_a"] == pytest.approx(
        np.linalg.norm(errors_of(spoiled[WORST])["forces"][2])
    )
    assert worst["by_energy"][0]["frame"] == "a.xyz:5"
    assert worst["by_energy"][0]["energy_error_mev"] == pytest.approx(500e3, rel=0.02)
    assert len(worst["by_forces"]) == 10
    assert "a.xyz:4" not in [frame["frame"] for frame in worst["by_forces"]]  # has no forces


def test_atoms_without_a_force_label_are_left_out(frames):
    forces = frames[WORST].forces.copy()
    forces[0] = np.nan
    forces[2] += 5.0
    frame = dataclasses.replace(frames[WORST], forces=forces)
    result = evaluate_frames(as_potential(ToyPotential()), [frame, frames[0]])
    assert result["worst_frames"]["by_forces"][0]["max_force_error_atom"] == 2
    counts = [values["num_atoms"] for values in result["per_element"].values()]
    assert sum(counts) == len(forces) - 1 + len(frames[0].symbols)
    assert math.isfinite(result["force_rmse_mev_per_a"])


def test_tables_show_what_there_is(frames):
    result = evaluate_frames(as_potential(ToyPotential()), [f for f in frames if f.group == "hot"])
    titles = [table.title for table in breakdown_tables(result)]
    assert titles == ["Errors by element", "Errors by composition"]  # one group is none
    table = breakdown_tables(result)[0]
    worst = max(
        result["per_element"], key=lambda e: result["per_element"][e]["force_rmse_mev_per_a"]
    )
    assert table.rows[0][:2] == [
        worst,
        number(result["per_element"][worst]["force_rmse_mev_per_a"]),
    ]
    assert table.bars[0] == 100
    single = evaluate_frames(as_potential(ToyPotential()), frames[:1])
    assert worst_tables(single) == []
    numbers = [number(x) for x in (None, 0.0, 3, 0.016603, 9.996, 24.8659, 807.63, 1234.5, -0.5)]
    assert numbers == ["–", "0", "3", "0.0166", "10.0", "24.9", "808", "1234", "−0.500"]
    assert number(0.25, signed=True) == "+0.250"
    assert number(-5e-14, signed=True) == "<0.001"


def test_many_points_make_no_large_picture(frames):
    parity = predict(as_potential(ToyPotential()), frames)
    rng = np.random.default_rng(1)
    forces = rng.normal(size=(200_000, 3, 2))
    elements = rng.choice(["C", "Cu"], size=200_000)
    large = dataclasses.replace(parity, forces=forces, force_elements=elements)
    pictures = parity_plots(large)
    assert "600000 pairs" in pictures[1].caption
    assert max(len(picture.uri) for picture in pictures) < 300_000


class Page(HTMLParser):
    """Checks that elements nest; keeps text of cells, headings and all addresses."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.headings: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href")]
        assert tag not in ("script", "link", "iframe")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
        if "style" not in self.open:
            self.words += data.split()


def check_page(path: Path, result: dict) -> Page:
    """Parse a page, find all headline numbers in it; return it."""
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.addresses
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    assert not re.search(r"https?:|url\(|@import", text)
    text = " ".join(page.words)
    for name, key in (
        ("energy [meV]", "energy_{}_mev"),
        ("energy per atom [meV/atom]", "energy_{}_mev_per_atom"),
        ("forces [meV/Å]", "force_{}_mev_per_a"),
        ("stress [meV/Å³]", "stress_{}_mev_per_a3"),
        ("stress [GPa]", "stress_{}_gpa"),
    ):
        mae, rmse = (number(result[key.format(kind)]) for kind in ("mae", "rmse"))
        assert f"{name} {mae} {rmse}" in text
    assert f"the force RMSE is {number(result['force_rmse_percent'])} % of it" in text
    assert f"predicted forces: {result['force_cosine']:.4f}." in text
    return page


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A training with its report; folder of data and run."""
    folder = tmp_path_factory.mktemp("trained")
    trainer, outcome = train.train(changed(make_config(folder), report=True, max_epochs=3))
    assert outcome is Outcome.FINISHED
    assert trainer.folder.path == folder / "run"
    return folder


def test_a_training_ends_with_its_report(trained):
    result = json.loads((trained / "run" / "report.json").read_text())
    with (trained / "run" / "log.csv").open(newline="") as file:
        log = list(csv.DictReader(file))
    best = log[load_checkpoint(trained / "run" / "best.pt")["epoch"] - 1]
    assert result["num_structures"] == 3
    for key, column in (
        ("force_rmse_mev_per_a", "valid_forces_rmse"),
        ("energy_rmse_mev_per_atom", "valid_energy_rmse"),
        ("stress_mae_mev_per_a3", "valid_stress_mae"),
    ):
        assert result[key] == pytest.approx(1e3 * float(best[column]), rel=1e-3)
    assert result["training"]["epochs"] == 3
    assert result["training"]["num_train"] == 7
    assert result["model"]["elements"] == ["Ni", "Cu"]
    page = check_page(trained / "run" / "report.html", result)
    assert "Training" in page.headings
    assert "Errors by element" in page.headings
    assert "Errors by group" not in page.headings
    assert (trained / "run" / "report.html").stat().st_size < 2_000_000


def test_report_command_makes_it_again(trained, capsys):
    before = json.loads((trained / "run" / "report.json").read_text())
    output = trained / "new" / "r.html"
    assert main(["report", str(trained / "run"), "-o", str(output)]) == 0
    assert capsys.readouterr().out == f"report: {output}\n"
    after = json.loads(output.with_suffix(".json").read_text())
    for name in ("energy_rmse_mev", "force_mae_mev_per_a", "per_element", "by_force_magnitude"):
        assert json.dumps(after[name]) != "null"
    assert after["force_rmse_mev_per_a"] == pytest.approx(before["force_rmse_mev_per_a"], rel=1e-5)
    frames = emt_frames(12)[10:]
    for atoms, name in zip(frames, ("cold", "<b>hot"), strict=True):
        atoms.info["config_type"] = name
    ase.io.write(trained / "more.extxyz", frames)
    words = ["report", str(trained / "run"), str(trained / "more.extxyz"), "-o", str(output)]
    assert main(words) == 0
    page = check_page(output, json.loads(output.with_suffix(".json").read_text()))
    assert "Errors by group" in page.headings
    assert "<b>hot" in page.words  # as text, not as an element


def test_evaluate_writes_the_same_numbers(trained, capsys):
    path, numbers = trained / "e" / "r.html", trained / "e" / "r.json"
    options = ["--report", str(path), "--json", str(numbers), "--forces-unit", "eV/Ang"]
    data = str(trained / "train.extxyz")
    assert main(["evaluate", str(trained / "run"), data, *options]) == 0
    assert f"report: {path}" in capsys.readouterr().out
    page = check_page(path, json.loads(numbers.read_text()))
    text = " ".join(page.words)
    assert "was among the training and validation data" in text
    assert f"{data} --forces-unit eV/Ang --report {path}" in text
    for wrong in ("r.txt", ""):
        assert main(["evaluate", "nothere", data, "--report", str(trained / wrong)]) == 1
        assert capsys.readouterr().err.endswith("expected the name of a file that ends in .html\n")


def test_an_exported_model_has_no_training_curves(trained):
    model, path = trained / "model.pt", trained / "exported.html"
    assert main(["export", str(trained / "run"), "-o", str(model)]) == 0
    data = str(trained / "train.extxyz")
    assert main(["evaluate", str(model), data, "--report", str(path)]) == 0
    page = Page(path.read_text())
    assert "Training" not in page.headings
    assert report.about_model(model)["num_channels"] == 4


def test_data_that_are_gone_or_changed_give_one_line(trained, capsys):
    run, data = trained / "run", trained / "train.extxyz"
    before = {name: (run / name).read_bytes() for name in REPORT}
    kept = data.read_bytes()
    try:
        ase.io.write(data, emt_frames(12))
        assert main(["report", str(run)]) == 0  # num_train and num_valid are fixed numbers
        tree = (run / "config.yaml").read_text()
        (run / "config.yaml").write_text(tree.replace("num_train: 7", "num_train: null"))
        assert main(["report", str(run)]) == 1
        assert "have changed: num_train was 7 and is 9 now" in capsys.readouterr().err
        (run / "config.yaml").write_text(tree)
        data.unlink()
        assert main(["report", str(run)]) == 1
        assert capsys.readouterr().err == (
            f"error: the validation frames of '{run}' cannot be read again: '{data}' is not there: "
            f"name labelled structures: ictp report {run} DATA\n"
        )
    finally:
        data.write_bytes(kept)
        for name, contents in before.items():
            (run / name).write_bytes(contents)
    assert main(["report", str(trained)]) == 1
    assert "holds no config.yaml" in capsys.readouterr().err


def test_a_report_that_fails_leaves_the_training_whole(tmp_path, caplog):
    config = changed(make_config(tmp_path), report=True, max_epochs=1)
    (tmp_path / "run" / "report.html").mkdir(parents=True)  # in the way of the page
    trainer, outcome = train.train(config)
    assert outcome is Outcome.FINISHED
    assert load_checkpoint(trainer.folder.last)["config"] == to_dict(config)
    (record,) = [r for r in caplog.records if "no report" in r.message]
    assert record.levelname == "WARNING"
    assert "cannot write" in record.message
    assert "the training is saved; try again: ictp report" in record.message
    assert not (tmp_path / "run" / "report.json").exists()


def test_no_report_without_a_model_or_where_it_is_switched_off(tmp_path):
    trainer, _ = train.train(changed(make_config(tmp_path), max_epochs=1))
    assert not (tmp_path / "run" / "report.html").exists()
    trainer.folder.best.unlink()
    training_report.write_training_report(trainer.folder, [], trainer.device, 1, quiet=True)
    assert not (tmp_path / "run" / "report.html").exists()


def test_overwrite_deletes_an_old_report(tmp_path):
    config = changed(make_config(tmp_path), max_epochs=1)
    train.train(config)
    (tmp_path / "run" / "report.html").write_text("old")
    train.train(config, overwrite=True)
    assert not (tmp_path / "run" / "report.html").exists()


def test_a_frame_without_labels_is_refused_by_report(trained):
    frame = emt_frames(1)[0]
    frame.calc = None
    ase.io.write(trained / "bare.extxyz", frame)
    arguments = ["report", str(trained / "run"), str(trained / "bare.extxyz")]
    assert main(arguments) == 1


def test_a_report_is_an_html_file(tmp_path):
    with pytest.raises(UserError, match=r"ends in \.html$"):
        report.check_report_path(tmp_path / "model.pt")
    report.check_report_path(tmp_path / "a.html")
