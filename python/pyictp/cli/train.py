# SPDX-License-Identifier: MIT
"""`ictp train`: a training as a YAML file says."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import Any

from pyictp.cli.parser import examples


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
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
    parser.set_defaults(run=run, needs="pyictp.train")
    return parser


def run(args: argparse.Namespace) -> int:
    """Train; return 0, 130 after Ctrl-C or 143 after SIGTERM."""
    from pyictp.common.interrupt import StopRequest
    from pyictp.config import load_config, read_tree
    from pyictp.train import train
    from pyictp.training import parallel
    from pyictp.training.trainer import Outcome

    stop = StopRequest()
    try:
        with parallel.start() as processes:
            with processes.together():
                config = load_config(args.config, args.overrides)
                given_model = read_tree(args.config, args.overrides).get("model") or {}
            trainer, outcome = train(
                config,
                resume=args.resume,
                overwrite=args.overwrite,
                finetune=args.finetune,
                given_model=given_model,
                stop=stop,
                processes=processes,
                quiet=args.quiet,
            )
    except KeyboardInterrupt:
        print("interrupted: nothing was saved since the last checkpoint", file=sys.stderr)
        return 130
    again = shlex.join(["ictp", "train", str(args.config), *args.overrides, "--resume"])
    _report(trainer, outcome, again)
    return stop.exit_code if outcome is Outcome.SIGNAL else 0


def _report(trainer: Any, outcome: Any, again: str) -> None:
    from pyictp.training.trainer import Outcome

    position, folder = trainer.position, trainer.folder
    best = f"best validation loss {position.best_loss:.4g} in epoch {position.best_epoch}"
    if outcome is Outcome.FINISHED:
        text = f"finished after {position.epoch} epochs and {position.seconds / 60:.1f} min; "
        text += f"{best}: '{folder.best}'"
        if position.step == trainer.first_step:
            text += "; nothing was left to do: raise training.max_epochs or training.max_minutes"
    else:
        text = f"{outcome.value} in epoch {position.epoch + 1}; saved '{folder.last}'; "
        text += f"continue with: {again}"
    trainer.say(text, sys.stdout if outcome is Outcome.FINISHED else sys.stderr)
