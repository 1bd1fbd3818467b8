# SPDX-License-Identifier: MIT
"""The beginning of an exploration, and what it would do."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import yaml

from pyictp.common.files import LOCK, atomic_path
from pyictp.config.load import to_dict
from pyictp.errors import UserError
from pyictp.explore.inputs import check_inputs, count_labels, read_inputs
from pyictp.explore.loop import Exploration
from pyictp.explore.settings import UNITS, ExploreConfig
from pyictp.explore.state import FILE
from pyictp.labelling.label_pool import start_labeller


def start(config: ExploreConfig, folder: Path, overwrite: bool, quiet: bool) -> Exploration:
    """Return the exploration in a folder, its configuration written there; it has not run.

    Args:
        config: everything there is to set.
        folder: new, or of the same exploration.
        overwrite: begin anew.
        quiet: print no progress.

    Raises:
        UserError: the folder holds something else, or another exploration.
    """
    if overwrite:
        _clear(folder)
    elif not (folder / FILE).exists() and _foreign(folder):
        raise UserError(
            f"'{folder}' is not empty and holds no exploration: give another explore.output"
        )
    exploration = Exploration(config, folder, quiet)
    with atomic_path(folder / "config.yaml") as temporary:
        text = "# complete configuration of this exploration, as last run\n"
        text += yaml.safe_dump(to_dict(config), sort_keys=False, default_flow_style=None)
        temporary.write_text(text)
    return exploration


def _foreign(folder: Path) -> list[str]:
    """Return what is in a folder but our own hidden files, config and log of a killed start."""
    own = ("config.yaml", "explore.log", "check")
    return [n for n in os.listdir(folder) if not n.startswith(".") and n not in own]


def _clear(folder: Path) -> None:
    """Remove an exploration, and nothing else.

    Raises:
        UserError: the folder holds something else.
    """
    if _foreign(folder) and not (folder / FILE).exists():
        raise UserError(f"'{folder}' holds no exploration and is kept: give another explore.output")
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def plan(config: ExploreConfig) -> list[str]:
    """Return what an exploration would do, after reading and checking all that it reads.

    Raises:
        UserError: a file is missing or wrong, or what `check_inputs` and `start_labeller` refuse.
    """
    loop, wanted, dynamics = config.explore, config.uncertainty, config.dynamics
    inputs = read_inputs(config)
    check_inputs(inputs, config)
    start_labeller(config.labeller)
    runs, unit = inputs.runs, UNITS[wanted.by]
    labels = config.labeller.method + (", as jobs of Slurm" if config.labeller.slurm else "")
    valid = f", {count_labels(inputs.valid)} to validate" if inputs.valid else ""
    lines = [
        f"start      {count_labels(inputs.train)}{valid}, {count_labels(inputs.test)} held back to "
        "test",
        f"models     {loop.committee} of them, seeds from {config.training.seed + loop.seed} on",
        f"dynamics   {len(runs)} runs of {dynamics.steps} steps in each of up to {loop.cycles} "
        f"cycles, a look every {dynamics.every}",
        f"candidates {wanted.by} between {wanted.low:g} and {wanted.high:g} {unit}".rstrip(),
        f"labels     by {labels}, up to {config.selection.max_frames} a cycle",
    ]
    return [*lines, *(f"  {run.name}: {run.source}" for run in runs)]
