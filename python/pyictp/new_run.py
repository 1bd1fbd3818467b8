# SPDX-License-Identifier: MIT
"""Training folders that no training made: `ictp import` and `ictp init`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from pyictp.arguments import examples
from pyictp.checkpoint import save_checkpoint
from pyictp.config import Config, TrainConfig, load_config
from pyictp.errors import UserError
from pyictp.model import ICTPModel
from pyictp.training.run_folder import RunFolder
from pyictp.upstream import find_checkpoint, import_checkpoint


def add_import_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp import`; returns its parser."""
    parser = subparsers.add_parser(
        "import",
        description="Make a training folder of a checkpoint of the reference implementation: "
        "evaluate, export and train --finetune take it like one of their own.",
    )
    parser.add_argument("folder", metavar="DIR", help="ckpt_<epoch>/, or a folder above it")
    parser.add_argument(
        "-o", "--output", metavar="RUN", required=True, help="training folder to write"
    )
    examples(parser, "ictp import ckpt_100 -o old")
    parser.set_defaults(run=run_import)
    return parser


def add_init_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp init`; returns its parser."""
    parser = subparsers.add_parser(
        "init",
        description="Make a training folder with random weights, of the architecture and the seed "
        "that a YAML file says: for timing, or to look at an architecture.",
    )
    parser.add_argument("config", metavar="CONFIG", help="YAML file; model.elements must be given")
    parser.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="replaces a value of the file"
    )
    parser.add_argument(
        "-o", "--output", metavar="RUN", required=True, help="training folder to write"
    )
    examples(parser, "ictp init config.yaml 'model.elements=[Cu, Ni]' -o untrained")
    parser.set_defaults(run=run_init)
    return parser


def run_import(args: argparse.Namespace) -> int:
    """Import as the command line says."""
    source = find_checkpoint(Path(args.folder))
    model = import_checkpoint(source)
    config = Config(model=model.config, training=TrainConfig(dtype="float64"))
    write_run(args.output, model, config, {"imported_from": source.name})
    return 0


def run_init(args: argparse.Namespace) -> int:
    """Draw a model with the seed of the configuration."""
    config = load_config(args.config, args.overrides)
    if not config.model.elements:
        raise UserError(
            f"config '{args.config}': model.elements is empty: name the elements of the model"
        )
    torch.manual_seed(config.training.seed)
    model = ICTPModel(config.model).to(getattr(torch, config.training.dtype))
    write_run(args.output, model, config, {"untrained": True, "seed": config.training.seed})
    return 0


def write_run(
    output: str | Path, model: ICTPModel, config: Config, provenance: dict[str, Any]
) -> None:
    """Write a training folder that `evaluate`, `export` and `train --finetune` accept.

    Raises:
        UserError: the folder holds a training already.
    """
    folder = RunFolder(output)
    folder.check(resume=False, overwrite=False)
    folder.open(overwrite=False)
    folder.write_config(config)
    save_checkpoint(folder.best, model, provenance=provenance)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"wrote '{output}': {' '.join(model.config.elements)}, {num_parameters} parameters; "
        f"look at it with: ictp info {output}"
    )
