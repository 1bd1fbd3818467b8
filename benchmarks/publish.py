#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""From finished trainings to `models/`: exported file, checkpoint, log, errors and a card.

    ictp train configs/acac.yaml && python benchmarks/publish.py acac
    python benchmarks/publish.py --again acac     # the published checkpoint, exported anew

Errors are those of the exported file on the frames that the training validated on; of a model whose
frames `ictp pretrain` sampled, on those of other molecules, runs/NAME_exam/frames.extxyz, which
become models/NAME/exam.extxyz. Paths of this machine are taken out of the checkpoint and the
configuration. Both need the training data.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import machine
import torch
import yaml
from ase.build import bulk
from pyictp.config.load import Config, DataConfig, load_config, to_dict
from pyictp.data.frames import read_frames
from pyictp.data.samples import Sample, make_sample
from pyictp.potential.checkpoint import build_model, load_checkpoint, save_checkpoint
from pyictp.potential.export import export_model
from pyictp.potential.extrapolation import KEY, add_grade, grade_of
from pyictp.potential.load import load_model
from pyictp.properties.measure import choose, measure
from pyictp.reports.evaluate import predict
from pyictp.reports.metrics import metrics
from pyictp.training.prepare import read_split
from pyictp.training.provenance import PRETRAINING, learned_from
from pyictp.training.run_folder import RunFolder

ROOT = Path(__file__).resolve().parent.parent
FACTS = yaml.safe_load((ROOT / "benchmarks/datasets.yaml").read_text())
RESULTS = ROOT / "benchmarks/results/accuracy.json"
EXAM = "exam.extxyz"
PHYSICS = "properties.json"
MEASURED = ("cell", "elastic", "vacancy", "surfaces", "diatomics")  # of ictp properties
FCC_ORDER = ("111", "100", "110")  # of surfaces, by their energy
MAX_BYTES = 8e6  # hydrogen molecules alone make the tables of models/organic so fine
SUMMARY = ("num_train", "num_valid", "channels", "parameters", "minutes", "epochs", "rate")
SUMMARY += ("megabytes", "date", "processor", "torch", "seed")
ERRORS = ("energy_mae_mev", "energy_rmse_mev", "energy_rmse_mev_per_atom", "force_mae_mev_per_a")
ERRORS += ("force_rmse_mev_per_a", "force_rmse_percent", "stress_rmse_gpa")


def main() -> None:
    """Publish the runs named on the command line; print what all models reach."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=FACTS, metavar="NAME", help=", ".join(FACTS))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    parser.add_argument(
        "--again",
        action="store_true",
        help="publish what models/ holds once more: the same weights and errors, in the format of "
        "today, with what is noted of the training data today",
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for name in args.names:
        target = ROOT / "models" / name
        if args.again:
            card = publish(name, RunFolder(target), target, results[name]["processor"])
            results[name]["megabytes"] = card["megabytes"]
            continue
        folder = args.runs / name
        if "sampled" in FACTS[name]:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(args.runs / f"{name}_exam" / "frames.extxyz", target / EXAM)
            folder = folder / "model"
        card = publish(name, RunFolder(folder), target)
        results[name] = {key: card[key] for key in SUMMARY}
        results[name] |= {key: round(card["errors"][key] or 0.0, 4) for key in ERRORS}
    RESULTS.write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n")
    print(table(results))


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what all published models reach, as a table for people."""
    lines = [
        "| set | frames | channels | parameters | minutes | epochs "
        "| energy RMSE meV (meV/atom) | forces MAE / RMSE meV/A | stress RMSE GPa | file MB "
        "| published E / F |",
        "|" + "---|" * 11,
    ]
    for name, row in results.items():
        published = "; ".join(f"{k} {v}" for k, v in FACTS[name]["published"].items())
        lines.append(
            f"| [{name}](../models/{name}/README.md) | {row['num_train']} + {row['num_valid']} "
            f"| {row['channels']} | {row['parameters']:,} | {row['minutes']:.0f} | {row['epochs']} "
            f"| {row['energy_rmse_mev']:.2f} ({row['energy_rmse_mev_per_atom']:.3f}) "
            f"| {row['force_mae_mev_per_a']:.2f} / {row['force_rmse_mev_per_a']:.2f} "
            f"| {row['stress_rmse_gpa'] or '-'} | {row['megabytes']} | {published} |"
        )
    return "\n".join(lines)


def publish(
    name: str, run: RunFolder, target: Path, processor: str | None = None
) -> dict[str, Any]:
    """Write one folder of `models/`, perhaps from itself; return what its card says.

    `processor` is that of the training, None: of this machine.
    """
    target.mkdir(parents=True, exist_ok=True)
    config = load_config(run.path / "config.yaml")
    samples = training_samples(config, load_checkpoint(run.best))
    if KEY not in load_checkpoint(run.best):  # a training of before extrapolation grades
        add_grade(run.best, (sample.graph for sample in samples))
    payload = load_checkpoint(run.best)
    model = build_model(payload)
    # trainings of before shortest distances do not say; fine-tuned models know more than these
    learned = learned_from(samples, model.config.elements, config.training)
    payload["provenance"] = provenance = {**learned, **payload["provenance"]}
    without_paths = to_dict(dataclasses.replace(config, data=shipped_data(name, config)))
    save_checkpoint(
        target / "best.pt",
        model,
        config=without_paths,
        provenance=provenance,
        validation=payload["validation"],
        epoch=payload["epoch"],
        **{KEY: payload[KEY]},
    )
    grade = grade_of(payload)
    export_model(model, target / "model.pt", "float32", provenance=provenance, grade=grade)
    size = (target / "model.pt").stat().st_size
    if size > MAX_BYTES:
        raise SystemExit(f"{target / 'model.pt'}: {size / 1e6:.1f} MB, more than {MAX_BYTES / 1e6}")
    text = "# complete configuration of this training, as run\n"
    text += yaml.safe_dump(without_paths, sort_keys=False, default_flow_style=None)
    (target / "config.yaml").write_text(text)
    if run.path != target:
        for file in (run.log, run.picture, run.path / "ictp.log"):
            shutil.copy(file, target / file.name)
        write_errors(config, target)
    write_physics(name, target)
    card = describe(name, config, payload, target, processor or machine.describe()["cpu"])
    (target / "README.md").write_text(render(card))
    return card


def write_errors(config: Config, target: Path) -> None:
    """Write the errors of an exported file on its exam, or what its training validated on."""
    exam = target / EXAM
    valid = read_frames([exam], config.data) if exam.is_file() else read_split(config)[1]
    potential = load_model(target / "model.pt", torch.device("cpu"))
    errors = metrics(predict(potential, valid))
    for frames in errors["worst_frames"].values():
        for row in frames:
            row["frame"] = Path(row["frame"]).name
    (target / "errors.json").write_text(json.dumps(errors, indent=1) + "\n")


def write_physics(name: str, target: Path) -> None:
    """Write what `ictp properties` measures of the crystals that datasets.yaml names."""
    found = {}
    for element, facts in FACTS[name].get("crystals", {}).items():
        atoms = bulk(element, facts["structure"], a=facts["a"], cubic=True)
        found[element] = measure(atoms, str(target), choose(atoms, MEASURED)).values()
        found[element] = {key: found[element][key] for key in ("values", "notes")}
    if found:
        (target / PHYSICS).write_text(json.dumps(found, indent=1) + "\n")


def physics(name: str, target: Path) -> list[dict[str, Any]]:
    """Return the rows of the card: crystal, quantity, the model's value, the measured one."""
    rows = []
    for element, facts in FACTS[name].get("crystals", {}).items():
        found = json.loads((target / PHYSICS).read_text())[element]
        for title, row in found["values"].items():
            known = facts["measured"].get(title)
            value = row["value"]
            rows.append(
                {
                    "crystal": f"{facts['structure']} {element}",
                    "title": title if row["unit"] == "" else f"{title} [{row['unit']}]",
                    "text": found["notes"].get(title, "") if value is None else f"{value:.5g}",
                    "measured": "" if known is None else f"{known:g}",
                    "off": known is not None and value is not None and off(value / known),
                }
            )
        order = [found["values"].get(f"surface ({face})", {}).get("value") for face in FCC_ORDER]
        if facts["structure"] == "fcc" and order != sorted(order):
            text = "is (111), (100), (110) in fcc metals, not here"
            row = {"crystal": f"fcc {element}", "title": "order of surfaces", "text": text}
            rows.append({**row, "measured": "", "off": True})
    return rows


def off(ratio: float) -> bool:
    """Return whether a value is further from the measured one than functionals are: by 15 %."""
    return abs(ratio - 1) > 0.15


def training_samples(config: Config, payload: Mapping[str, Any]) -> list[Sample]:
    """Return the structures that a training has learned from."""
    settings = payload["model_config"]
    train, _, _ = read_split(config)
    return [make_sample(frame, settings["elements"], settings["r_cut"]) for frame in train]


def shipped_data(name: str, config: Config) -> DataConfig:
    """Return the data section of configs/ with paths relative to a folder of models/."""
    here = ROOT / "models" / name
    if "sampled" in FACTS[name]:
        data = dataclasses.replace(config.data, train=(str(ROOT / f"runs/{name}/frames.extxyz"),))
    else:
        data = load_config(ROOT / f"configs/{name}.yaml").data

    def relative(path: str) -> str:
        return os.path.relpath(path, here)

    lone = data.isolated_atoms
    return dataclasses.replace(
        data,
        train=tuple(relative(file) for file in data.train),
        valid=tuple(relative(file) for file in data.valid),
        isolated_atoms=relative(lone) if isinstance(lone, str) else lone,
    )


def describe(
    name: str, config: Config, payload: Mapping[str, Any], target: Path, processor: str
) -> dict[str, Any]:
    """Return everything the card says."""
    with RunFolder(target).log.open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    provenance = payload["provenance"]
    held_out = "a validation file" if config.data.valid else "drawn at random from the file"
    if (target / EXAM).is_file():
        held_out = f"`{EXAM}`: molecules of other scaffolds, sampled in the same way"
    return {
        "name": name,
        "facts": FACTS[name],
        "model": payload["model_config"],
        "channels": payload["model_config"]["num_channels"],
        "parameters": sum(p.numel() for p in build_model(payload).parameters()),
        "megabytes": round((target / "model.pt").stat().st_size / 1e6, 2),
        "errors": json.loads((target / "errors.json").read_text()),
        "held_out": held_out,
        "num_train": provenance["num_train"],
        "num_valid": provenance["num_valid"],
        "files": provenance["data_files"],
        "shortest": provenance["shortest_distances"],
        "pretraining": provenance.get(PRETRAINING),
        "physics": physics(name, target),
        "minutes": float(last["seconds"]) / 60,
        "epochs": int(last["epoch"]),
        "rate": float(last["samples_per_second"]),
        "processor": processor,
        "date": provenance["date"],
        "torch": provenance["torch"],
        "seed": config.training.seed,
    }


def render(card: Mapping[str, Any]) -> str:
    """Return the card as Markdown."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT / "benchmarks"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template("card.md.j2").render(card)


if __name__ == "__main__":
    main()
