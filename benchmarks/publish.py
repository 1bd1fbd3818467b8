#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""From finished trainings to `models/`: exported file, checkpoint, log, errors and a card.

    ictp train configs/acac.yaml && python benchmarks/publish.py acac

Errors are those of the exported file on the frames that the training validated on. Paths of this
machine are taken out of the checkpoint and the configuration.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import machine
import torch
import yaml
from pyictp.checkpoint import build_model, load_checkpoint, save_checkpoint
from pyictp.config import Config, DataConfig, load_config, to_dict
from pyictp.evaluate import predict
from pyictp.export import export_model
from pyictp.potential import load_model
from pyictp.reports.metrics import metrics
from pyictp.training.prepare import read_split
from pyictp.training.run_folder import RunFolder

ROOT = Path(__file__).resolve().parent.parent
FACTS = yaml.safe_load((ROOT / "benchmarks/datasets.yaml").read_text())
MAX_BYTES = 4e6


def main() -> None:
    """Publish the runs named on the command line; print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=FACTS, metavar="NAME", help=", ".join(FACTS))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.names:
        card = publish(name, RunFolder(args.runs / name), ROOT / "models" / name)
        errors = card["errors"]
        print(
            f"{name}: E {errors['energy_rmse_mev']:.2f} meV, F RMSE "
            f"{errors['force_rmse_mev_per_a']:.2f} MAE {errors['force_mae_mev_per_a']:.2f} meV/A, "
            f"{card['megabytes']} MB"
        )


def publish(name: str, run: RunFolder, target: Path) -> dict[str, Any]:
    """Write one folder of `models/`; return what its card says."""
    target.mkdir(parents=True, exist_ok=True)
    payload = load_checkpoint(run.best)
    config = load_config(run.path / "config.yaml")
    model = build_model(payload)
    provenance = payload["provenance"]
    without_paths = to_dict(dataclasses.replace(config, data=shipped_data(name)))
    save_checkpoint(
        target / "best.pt",
        model,
        config=without_paths,
        provenance=provenance,
        validation=payload["validation"],
        epoch=payload["epoch"],
    )
    export_model(model, target / "model.pt", "float32", provenance=provenance)
    size = (target / "model.pt").stat().st_size
    if size > MAX_BYTES:
        raise SystemExit(f"{target / 'model.pt'}: {size / 1e6:.1f} MB, more than {MAX_BYTES / 1e6}")
    text = "# complete configuration of this training, as run; data paths as in configs/\n"
    text += yaml.safe_dump(without_paths, sort_keys=False, default_flow_style=None)
    (target / "config.yaml").write_text(text)
    for file in (run.log, run.picture, run.path / "ictp.log"):
        shutil.copy(file, target / file.name)
    card = describe(name, config, payload, target, run)
    for frames in card["errors"]["worst_frames"].values():
        for row in frames:
            row["frame"] = Path(row["frame"]).name
    (target / "errors.json").write_text(json.dumps(card["errors"], indent=1) + "\n")
    (target / "README.md").write_text(render(card))
    return card


def shipped_data(name: str) -> DataConfig:
    """Return the data section as configs/ writes it: relative to that folder."""
    tree = yaml.safe_load((ROOT / f"configs/{name}.yaml").read_text())
    return DataConfig(
        **{key: tuple(v) if isinstance(v, list) else v for key, v in tree["data"].items()}
    )


def describe(
    name: str, config: Config, payload: Mapping[str, Any], target: Path, run: RunFolder
) -> dict[str, Any]:
    """Return everything the card says."""
    _, valid, _ = read_split(config)
    potential = load_model(target / "model.pt", torch.device("cpu"))
    with run.log.open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    computer, provenance = machine.describe(), payload["provenance"]
    return {
        "name": name,
        "facts": FACTS[name],
        "model": payload["model_config"],
        "parameters": sum(p.numel() for p in build_model(payload).parameters()),
        "megabytes": round((target / "model.pt").stat().st_size / 1e6, 2),
        "errors": metrics(predict(potential, valid)),
        "held_out": "a validation file" if config.data.valid else "drawn at random from the file",
        "num_train": provenance["num_train"],
        "num_valid": provenance["num_valid"],
        "files": provenance["data_files"],
        "minutes": float(last["seconds"]) / 60,
        "epochs": int(last["epoch"]),
        "rate": float(last["samples_per_second"]),
        "processor": computer["cpu"],
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
