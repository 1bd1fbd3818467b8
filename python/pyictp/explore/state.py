# SPDX-License-Identifier: MIT
"""Which stages of an exploration are done, so that a killed one goes on where it was."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pyictp.common.files import atomic_path, remove_leftovers, writing
from pyictp.config.load import to_dict
from pyictp.errors import UserError
from pyictp.explore.settings import ExploreConfig

FILE = "state.json"
VERSION = 1
# what a loop may not change on its way; other keys act on what is not done yet
FIXED = ("model", "data", "training.seed", "explore.committee", "explore.seed", "explore.test")


class State:
    """The finished stages of a folder with their results, in `state.json`."""

    def __init__(self, folder: Path, config: ExploreConfig) -> None:
        """Read what is there.

        Raises:
            UserError: it is of another loop.
        """
        self.path = folder / FILE
        self.fixed = _fixed(config)
        self.stages: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        if self.path.exists():
            self._read(folder)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.path)

    def stage(self, name: str, work: Callable[[], Any]) -> Any:
        """Return the result of a stage, plain values; a finished one is not worked on again.

        Args:
            name: unique in the loop.
            work: does the stage; may be called again after it was killed halfway.
        """
        if name not in self.stages:
            start = time.monotonic()
            self.stages[name] = work()
            self.seconds[name] = round(time.monotonic() - start, 1)
            self._write()
        return self.stages[name]

    def forget(self, *names: str) -> None:
        """Let stages be done again."""
        for name in names:
            self.stages.pop(name, None)
        self._write()

    def _write(self) -> None:
        content = {
            "version": VERSION,
            "fixed": self.fixed,
            "stages": self.stages,
            "seconds": self.seconds,  # of each stage, in the session that ended it
        }
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n")

    def _read(self, folder: Path) -> None:
        try:
            content = json.loads(self.path.read_text())
            version, fixed, stages = content["version"], content["fixed"], content["stages"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"'{self.path}' is no state of an exploration: give another explore.output, or "
                "--overwrite"
            ) from error
        if version != VERSION:
            raise UserError(f"'{self.path}' has version {version}, this package reads {VERSION}")
        for key, value in self.fixed.items():
            if fixed.get(key) != value:
                raise UserError(
                    f"'{folder}' was begun with {key} {_brief(fixed.get(key))}, now it is "
                    f"{_brief(value)}: set it back, give another explore.output, or --overwrite"
                )
        self.stages, self.seconds = stages, content.get("seconds", {})


def _fixed(config: ExploreConfig) -> dict[str, Any]:
    """Return FIXED keys by their names; of files the names without folders, which may move."""
    tree = to_dict(config)
    values: dict[str, Any] = {}
    for name in FIXED:
        section, _, key = name.partition(".")
        chosen = {key: tree[section][key]} if key else tree[section]
        values |= {f"{section}.{k}": _portable(v) for k, v in chosen.items()}
    return values


def _portable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _portable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_portable(item) for item in value]
    return Path(value).name if isinstance(value, str) and "/" in value else value


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else f"{text[:57]}..."
