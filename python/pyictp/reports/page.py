# SPDX-License-Identifier: MIT
"""The report on a model: numbers and pictures in one HTML file that needs only a browser."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from pyictp import __version__
from pyictp.common.files import atomic_path
from pyictp.errors import UserError
from pyictp.potential.describe import describe
from pyictp.reports import figures as report_figures
from pyictp.reports.comparison import Parity
from pyictp.reports.tables import (
    breakdown_tables,
    headline_table,
    number,
    uncertainty_table,
    worst_tables,
)
from pyictp.training.run_folder import RunFolder

CARDS = (  # JSON key, unit, name
    ("energy_rmse_mev_per_atom", "meV/atom", "energy RMSE"),
    ("force_rmse_mev_per_a", "meV/Å", "force RMSE"),
    ("force_rmse_percent", "%", "force RMSE / RMS force"),
    ("stress_rmse_gpa", "GPa", "stress RMSE"),
)


@dataclass(frozen=True)
class Subject:
    """What a report is about."""

    model: Path  # training folder, checkpoint or exported file
    data: str  # in words, after their number: "frames of data.extxyz"
    commands: tuple[str, ...] = ()  # that make the model and the report again
    files: tuple[str, ...] = ()  # of the data, to tell whether the model knows them


def check_report_path(path: Path) -> None:
    """Refuse a path that is no HTML file.

    Raises:
        UserError: it is a folder or ends like another kind of file.
    """
    if path.is_dir() or path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"report '{path}': expected the name of a file that ends in .html")


def write_report(path: Path, subject: Subject, parity: Parity, result: Mapping[str, Any]) -> None:
    """Write the page.

    Args:
        path: of the HTML file; its folder exists.
        subject: model and data.
        parity: labels and predictions.
        result: the numbers of `parity`, of `metrics.metrics`.

    Raises:
        UserError: the model is unreadable, the file cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pyictp.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(_contents(subject, parity, result))
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def report_numbers(subject: Subject, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of the page and what they are about, plain values for a JSON file."""
    model, training = about_model(subject.model), about_training(subject.model)
    return {
        **result,
        "model": model,
        "training": training,
        "data": subject.data,
        "commands": list(subject.commands),
        "date": time.strftime("%Y-%m-%d"),
        "pyictp": __version__,
    }


def run_folder_of(model: Path) -> RunFolder | None:
    """Return the training folder that a model path means or lies in, None without a log."""
    folder = RunFolder(model if model.is_dir() else model.parent)
    is_run = model.is_dir() or model.name in (folder.best.name, folder.last.name)
    return folder if is_run and folder.log.exists() else None


def about_model(path: Path) -> dict[str, Any]:
    """Return the architecture of a model file, plain values."""
    described = describe(path)
    architecture = described["model"]
    names = ("num_channels", "l_max_edge", "l_max_hidden", "correlation")
    return {
        **{key: described.get(key) for key in ("elements", "r_cut", "num_layers", "dtype")},
        "num_parameters": described.get("num_parameters"),
        **{name: architecture.get(name) for name in names},
    }


def about_training(path: Path) -> dict[str, Any]:
    """Return what is known of the training of a model: data, date, epochs, time, speed."""
    provenance = describe(path).get("provenance", {})
    folder = run_folder_of(path)
    rows = folder.read_rows() if folder else []
    validated = [row for row in rows if row["valid_loss"]]
    best = min(validated, key=lambda row: float(row["valid_loss"]), default=None)
    numbers = {
        "epochs": int(rows[-1]["epoch"]) if rows else None,
        "best_epoch": int(best["epoch"]) if best else None,
        "seconds": _float(rows, "seconds"),
        "samples_per_second": _float(rows, "samples_per_second"),
    }
    return {**provenance, **{key: value for key, value in numbers.items() if value is not None}}


def _float(rows: Sequence[Mapping[str, str]], name: str) -> float | None:
    return float(rows[-1][name]) if rows and rows[-1][name] else None


def _contents(subject: Subject, parity: Parity, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that the template asks for."""
    model, training = about_model(subject.model), about_training(subject.model)
    folder = run_folder_of(subject.model)
    subtitle = f"{result['num_structures']} {subject.data}, {time.strftime('%Y-%m-%d')}"
    return {
        "title": f"ICTP model of {', '.join(model['elements'])}",
        "subtitle": subtitle,
        "warning": _warning(subject, training),
        "cards": [
            {"value": number(result[key]), "unit": unit, "name": name}
            for key, unit, name in CARDS
            if result[key] is not None
        ],
        "facts": _facts(subject, model, training, result),
        "headline": headline_table(result),
        "remarks": _remarks(result),
        "parity": report_figures.parity_plots(parity),
        "histograms": report_figures.error_histograms(parity),
        "breakdowns": breakdown_tables(result),
        "magnitude": report_figures.force_magnitude(result["by_force_magnitude"]),
        "has_tail_bin": len(result["by_force_magnitude"]) > 10,
        "uncertainty": uncertainty_table(result),
        "spreads": report_figures.uncertainty_plots(parity),
        "worst": worst_tables(result),
        "learning": report_figures.learning_curves(folder.read_rows()) if folder else [],
        "commands": subject.commands,
    }


def _warning(subject: Subject, training: Mapping[str, Any]) -> str:
    known = [file for file in subject.files if Path(file).name in training.get("data_files", ())]
    if not known:
        return ""
    names = ", ".join(Path(file).name for file in known)
    return (
        f"{names}: a file of this name was among the training and validation data. "
        "If it is the same one, these are not errors on unseen structures."
    )


def _facts(
    subject: Subject,
    model: Mapping[str, Any],
    training: Mapping[str, Any],
    result: Mapping[str, Any],
) -> list[tuple[str, str]]:
    words = [
        f"{model['num_layers']} layers, {model['num_channels']} channels",
        f"ranks {model['l_max_edge']} (edges) and {model['l_max_hidden']} (messages)",
        f"correlation {model['correlation']}",
        f"cutoff {model['r_cut']:g} Å",
        f"{model['num_parameters']} parameters",
        str(model["dtype"]),
    ]
    return [
        ("Model", "; ".join(word for word in words if "None" not in word)),
        *((name, text) for name, text in _training_facts(training) if text),
        (
            "These errors",
            f"{result['num_structures']} {subject.data}; {result['num_atoms']} atoms",
        ),
        ("Files", f"{subject.model}; made with pyictp {__version__}"),
    ]


def _training_facts(training: Mapping[str, Any]) -> list[tuple[str, str]]:
    data = course = ""
    if "num_train" in training:
        files = ", ".join(training.get("data_files", ()))
        data = f"{training['num_train']} frames, {training['num_valid']} more for validation"
        data += f" ({files})" if files else ""
    if "epochs" in training:
        course = f"{training['epochs']} epochs"
        if "seconds" in training:
            course += f" in {_duration(training['seconds'])}"
            course += f", {number(training['samples_per_second'])} samples/s"
        if "best_epoch" in training:
            course += f"; lowest validation loss in epoch {training['best_epoch']}"
    if training.get("date"):
        course = f"{course}; {training['date']}" if course else training["date"]
    start = training.get("finetuned_from") or training.get("imported_from")
    start = str(start) if start else "random weights" if training.get("untrained") else ""
    return [
        ("Pretraining", _pretraining(training.get("pretraining"))),
        *(("Started from", start), ("Training data", data), ("Training", course)),
    ]


def _pretraining(origin: Mapping[str, Any] | None) -> str:
    """Return whose labels a model learned first, in words; nothing where there were none."""
    if not origin:
        return ""
    kinds = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in origin["frames"].items())
    temperatures = " ".join(f"{value:g}" for value in origin["sampling"]["temperatures"])
    return f"labels of {origin['teacher']['name']}: {kinds}; {temperatures} K"


def _duration(seconds: float) -> str:
    if seconds < 180:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 180 * 60 else f"{seconds / 3600:.1f} h"


def _remarks(result: Mapping[str, Any]) -> str:
    """Return the numbers that stand in no table, in sentences."""
    text = []
    if result["force_rms_mev_per_a"]:
        text.append(
            f"The root mean square of the labelled force components is "
            f"{number(result['force_rms_mev_per_a'])} meV/Å; the force RMSE is "
            f"{number(result['force_rmse_percent'])} % of it."
        )
    if result["force_cosine"] is not None:
        text.append(
            f"Mean cosine of the angle between labelled and predicted forces: "
            f"{result['force_cosine']:.4f}."
        )
    if result["energy_bias_mev_per_atom"] is not None:
        text.append(
            f"Mean signed energy error: "
            f"{number(result['energy_bias_mev_per_atom'], signed=True)} meV/atom."
        )
    return " ".join(text)
