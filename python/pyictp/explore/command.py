# SPDX-License-Identifier: MIT
"""`ictp explore`: from a configuration to models that know more than their first data."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import sys
from pathlib import Path

import yaml

from pyictp.common.files import LOCK, atomic_path, locked
from pyictp.common.progress import is_quiet
from pyictp.config.load import to_dict
from pyictp.errors import UserError
from pyictp.explore.results import table
from pyictp.explore.settings import UNITS, ExploreConfig, load_settings
from pyictp.explore.state import FILE, Terminated


def run(args: argparse.Namespace) -> int:
    """Explore as the command line says; return 0, 130 after Ctrl-C or 143 after SIGTERM."""
    config = load_settings(args.config, args.overrides)
    folder = Path(config.explore.output)
    if args.dry_run:
        if args.json:
            raise UserError("--json writes results, --dry-run has none: leave out one of them")
        print("\n".join(plan(config)))
        return 0

    def end(*_: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, end)
    again = shlex.join(["ictp", "explore", str(args.config), *args.overrides])
    try:
        with locked(folder, "another ictp explore"):
            return _explore(config, folder, args)
    except (KeyboardInterrupt, Terminated) as stop:
        print(f"interrupted: what is done is kept; go on with: {again}", file=sys.stderr)
        return 130 if isinstance(stop, KeyboardInterrupt) else 143


def _explore(config: ExploreConfig, folder: Path, args: argparse.Namespace) -> int:
    from pyictp.explore.loop import Exploration

    if args.overwrite:
        _clear(folder)
    elif not (folder / FILE).exists() and _foreign(folder):
        raise UserError(
            f"'{folder}' is not empty and holds no exploration: give another explore.output"
        )
    exploration = Exploration(config, folder)
    with atomic_path(folder / "config.yaml") as temporary:
        text = "# complete configuration of this exploration, as last run\n"
        text += yaml.safe_dump(to_dict(config), sort_keys=False, default_flow_style=None)
        temporary.write_text(text)
    results = exploration.run()
    last = len(results["cycles"]) - 1
    print("\n".join(["", *table(results)]))
    print(f"\n{results['ended']}; newest models: '{folder / f'cycle_{last}' / 'ensemble.pt'}'")
    if not is_quiet():
        print(f"wrote '{folder / 'results.json'}', results.png")
    if args.json:
        with atomic_path(args.json) as temporary:
            temporary.write_text(json.dumps(results, indent=1) + "\n")
    return 0


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
    from pyictp.explore.inputs import check_inputs, count_labels, read_inputs
    from pyictp.explore.label_pool import start_labeller

    loop, wanted, dynamics = config.explore, config.uncertainty, config.dynamics
    inputs = read_inputs(config)
    check_inputs(inputs, config)
    start_labeller(config.labeller)
    runs, unit = inputs.runs, UNITS[wanted.by]
    valid = f", {count_labels(inputs.valid)} to validate" if inputs.valid else ""
    lines = [
        f"start      {count_labels(inputs.train)}{valid}, {count_labels(inputs.test)} held back to "
        "test",
        f"models     {loop.committee} of them, seeds from {config.training.seed + loop.seed} on",
        f"dynamics   {len(runs)} runs of {dynamics.steps} steps in each of up to {loop.cycles} "
        f"cycles, a look every {dynamics.every}",
        f"candidates {wanted.by} between {wanted.low:g} and {wanted.high:g} {unit}".rstrip(),
        f"labels     by {config.labeller.method}, up to {config.selection.max_frames} a cycle",
    ]
    return [*lines, *(f"  {run.name}: {run.source}" for run in runs)]
