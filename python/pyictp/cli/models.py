# SPDX-License-Identifier: MIT
"""Parsers of the commands about models: train, report, evaluate, info, init, import."""

from __future__ import annotations

import argparse
from typing import Any

from pyictp.cli.data import add_data_options
from pyictp.cli.parser import examples, later


def add_train(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp train`; return its parser."""
    parser = subparsers.add_parser(
        "train",
        description="Train a model as a YAML file says, into the folder training.output: "
        "weights, log, learning curves and a report. Ctrl-C saves; --resume goes on from there. "
        "Every key of the file can be replaced on the command line.",
    )
    parser.add_argument("config", help="YAML file with the sections model, data and training")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="section.key=value",
        help="replaces a value of the file, for example training.max_epochs=10",
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue the training in training.output"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the training in training.output"
    )
    parser.add_argument(
        "--finetune",
        metavar="RUN",
        help="start from the weights of a run folder or checkpoint; its architecture is kept, "
        "elements it does not know are added",
    )
    examples(
        parser,
        "ictp train config.yaml",
        "ictp train config.yaml --resume training.max_epochs=20",
        "ictp train config.yaml --finetune run training.output=tuned",
    )
    parser.set_defaults(run=later("pyictp.train"))
    return parser


def add_report(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp report`; returns its parser."""
    parser = subparsers.add_parser(
        "report",
        description="Write one HTML page of a training: learning curves, errors on its validation "
        "frames or on other labelled structures, the configuration. The numbers go to a JSON file "
        "beside it.",
    )
    parser.add_argument("run_folder", metavar="RUN", help="training folder")
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="*",
        help="labelled structures, fields as in the training; default: its validation frames",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="HTML file, with a JSON file; default: RUN/report"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<number>")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N")
    examples(parser, "ictp report run", "ictp report run test.xyz -o test.html")
    parser.set_defaults(run=later("pyictp.reports.training"))
    return parser


def add_evaluate(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp evaluate`; returns its parser."""
    parser = subparsers.add_parser(
        "evaluate",
        description="Print the errors of a model on labelled structures: energies, forces, "
        "stresses, forces per element; of an exported file also how well its deviations and grades "
        "tell the errors. Also as JSON, as plots, or all on one HTML page.",
    )
    parser.add_argument("model", metavar="MODEL", help="training folder, checkpoint, exported file")
    parser.add_argument(
        "data", metavar="DATA", nargs="+", help="extended XYZ, ASE database or rMD17 npz"
    )
    parser.add_argument("--json", metavar="FILE", help="write the numbers to a JSON file")
    parser.add_argument(
        "--plot", metavar="PATH", help="draw parity plots: image file, or folder for parity.png"
    )
    parser.add_argument(
        "--report", metavar="FILE", help="write numbers and pictures to one HTML file"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<number>")
    parser.add_argument("--dtype", choices=("float32", "float64"), help="default: the model's own")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N")
    add_data_options(parser)
    examples(
        parser,
        "ictp evaluate run test.xyz",
        "ictp evaluate model.pt test.xyz --json errors.json --plot parity.png",
        "ictp evaluate run test.xyz --report errors.html",
    )
    parser.set_defaults(run=later("pyictp.reports.evaluate"))
    return parser


def add_info(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp info`; returns its parser."""
    parser = subparsers.add_parser(
        "info",
        description="Print what a model file says of itself: elements, cutoff, architecture, "
        "precision, energies of isolated atoms, and what it was trained on.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="exported file, checkpoint or training folder"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    examples(parser, "ictp info run", "ictp info model.pt --json")
    parser.set_defaults(run=later("pyictp.potential.describe"))
    return parser


def add_init(subparsers: Any) -> argparse.ArgumentParser:
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
    parser.set_defaults(run=later("pyictp.training.new_run", "run_init"))
    return parser


def add_import(subparsers: Any) -> argparse.ArgumentParser:
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
    parser.set_defaults(run=later("pyictp.training.new_run", "run_import"))
    return parser
