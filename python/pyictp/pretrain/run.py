# SPDX-License-Identifier: MIT
"""A pretraining in its folder: starting structures, walks, frames, model; each is done once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from ase import Atoms

from pyictp import __version__
from pyictp.common.extxyz import load_structures, save_structures
from pyictp.common.files import atomic_path, write_json
from pyictp.common.progress import Counter, say
from pyictp.config.load import Config, to_dict
from pyictp.errors import UserError
from pyictp.labelling.label_pool import forget_failures, label_structures, start_labeller
from pyictp.pretrain.folder import (
    FRAMES,
    MODEL,
    RESULTS,
    STARTS,
    STATE,
    check_folder,
    clear,
    describe_teacher,
    fixed_keys,
    read_state,
)
from pyictp.pretrain.sample import Sample, collect, count_done, forget_left_out, sample
from pyictp.pretrain.settings import PretrainConfig
from pyictp.pretrain.structures import Starts, read_starts
from pyictp.pretrain.walks import FAILED, KINDS, plan_walks
from pyictp.train import train_to_end


class Pretraining:
    """One pretraining in its folder."""

    def __init__(self, config: PretrainConfig, folder: Path, quiet: bool, overwrite: bool) -> None:
        """Take up what the folder holds; a quiet one prints no progress.

        Raises:
            UserError: it holds something else, or another pretraining.
        """
        self.config, self.folder, self.quiet = config, folder, quiet
        check_folder(folder)
        if overwrite:
            clear(folder)
        self.state = read_state(folder, fixed_keys(config))
        self._write_config()

    def run(self, train: bool = True) -> dict[str, Any]:
        """Do what is left; return the results, which `results.json` holds too.

        Args:
            train: a model too, after the frames.

        Raises:
            UserError: nothing could be sampled, or as `train`.
        """
        structures = self.starts()
        found = self.sample(structures)
        results = self.results(found)
        if train:
            results["training"] = self.train(results)
        write_json(self.folder / RESULTS, results)
        return results

    def starts(self) -> list[Atoms]:
        """Return the starting structures that the teacher labels, as written at the first start."""
        file = self.folder / STARTS
        if not file.exists():
            found = read_starts(self.config.pretrain, self.config.labeller)
            kept = self._labelled(found)
            self.state |= {"left_out": dict(found.left_out), "structures": len(kept)}
            self._write_state()
            save_structures(file, kept)
        self._say("structures", self.state["structures"], self.state["left_out"])
        return load_structures(file)

    def _labelled(self, found: Starts) -> list[Atoms]:
        """Return the structures that the teacher labels; count the others among those left out."""
        folder = self.folder / "check"
        labelled, failed = label_structures(found.structures, self.config.labeller, folder)
        if not labelled:
            forget_failures(folder)
            raise UserError(f"the teacher labels none of the structures: {failed[0][1]}")
        if failed:
            found.left_out[f"that the teacher does not label ({failed[0][1]})"] += len(failed)
        bad = {index for index, _ in failed}
        return [atoms for index, atoms in enumerate(found.structures) if index not in bad]

    def sample(self, structures: list[Atoms]) -> Sample:
        """Return all frames; those that are not there yet are sampled."""
        walks = plan_walks(structures, self.config.sampling)
        total = sum(walk.frames for walk in walks)
        if not total:
            raise UserError("no structure has a bond that turns: set sampling.dynamics above 0")
        done = sum(count_done(walk, self.folder) for walk in walks)
        counter = Counter(total, "frames", done)
        try:
            sample(walks, self.config, self.folder, _nothing if self.quiet else counter.advance)
        finally:
            counter.close()
        found = collect(walks, self.folder)
        if len(found.frames) < 2:
            forget_left_out(walks, self.folder)  # so that the next start tries again
            reason = next(iter(found.examples.values()))
            number = len(found.frames)
            raise UserError(f"of {total} frames {number} are left to train on: {reason}")
        save_structures(self.folder / FRAMES, found.frames)
        left_out = dict(found.left_out)
        if FAILED in left_out:  # the one that is not known without its message
            left_out[found.examples[FAILED]] = left_out.pop(FAILED)
        self._say("frames", len(found.frames), left_out)
        return found

    def train(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """Train a model on all frames."""
        config = self.config
        data = replace(config.data, train=(str((self.folder / FRAMES).resolve()),))
        training = replace(config.training, output=str(self.folder / MODEL))
        keys = ("teacher", "structures", "frames", "left_out", "sampling", "pyictp")
        return train_to_end(
            Config(config.model, data, training),
            origin={key: results[key] for key in keys if results[key]},
            quiet=self.quiet,
        )

    def results(self, found: Sample) -> dict[str, Any]:
        """Return teacher, numbers and settings of the sampling, plain values."""
        config = self.config
        names = ("temperatures", "every", "equilibration", "timestep", "friction")
        sampling = {name: to_dict(config.sampling)[name] for name in names}
        return {
            "teacher": describe_teacher(config),
            "structures": self.state["structures"],
            "frames": {kind: found.kinds[kind] for kind in KINDS if found.kinds[kind]},
            "left_out": dict(found.left_out),
            "structures_left_out": self.state["left_out"],
            "sampling": {
                **{name: value for name, value in sampling.items() if value is not None},
                "seed": config.pretrain.seed,
            },
            "pyictp": __version__,
        }

    def _say(self, what: str, number: int, left_out: Mapping[str, int]) -> None:
        if self.quiet:
            return
        reasons = "; ".join(f"{count} {reason}" for reason, count in left_out.items())
        say(f"{what:<10} {number}" + (f", left out: {reasons}" if reasons else ""))

    def _write_config(self) -> None:
        with atomic_path(self.folder / "config.yaml") as temporary:
            text = "# complete configuration of this pretraining, as last run\n"
            text += yaml.safe_dump(to_dict(self.config), sort_keys=False, default_flow_style=None)
            temporary.write_text(text)
        if not (self.folder / STATE).exists():
            self._write_state()

    def _write_state(self) -> None:
        with atomic_path(self.folder / STATE) as temporary:
            temporary.write_text(json.dumps(self.state, indent=1) + "\n")


def _nothing() -> None:
    """Show no progress."""


def plan(config: PretrainConfig) -> list[str]:
    """Return what a pretraining would do, after reading its structures and starting the teacher.

    Raises:
        UserError: a file is missing or wrong, or the teacher does not start.
    """
    found = read_starts(config.pretrain, config.labeller)
    start_labeller(config.labeller)
    walks = plan_walks(found.structures, config.sampling)
    left_out = "".join(f", {number} left out {reason}" for reason, number in found.left_out.items())
    lines = [
        f"structures {len(found.structures)}{left_out}",
        f"teacher    {describe_teacher(config)['name']}",
    ]
    for kind in KINDS:
        own = [walk for walk in walks if walk.kind == kind]
        if own:
            lines.append(f"{kind:<12} {sum(w.frames for w in own)} frames of {len(own)} walks")
    return lines
