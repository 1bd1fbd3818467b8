# SPDX-License-Identifier: MIT
"""The loop: train, run dynamics, choose, label, train on; each stage is done once."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ase import Atoms

from pyictp.common.extxyz import load_structures, save_structures
from pyictp.common.progress import Counter, say
from pyictp.config.load import to_dict
from pyictp.errors import UserError
from pyictp.explore import results
from pyictp.explore.frames import (
    has_labels,
    is_free_atom,
    largest_force,
    split_batches,
    to_frames,
)
from pyictp.explore.inputs import Inputs, check_inputs, read_inputs
from pyictp.explore.labeller_check import check_labeller
from pyictp.explore.measure import measure
from pyictp.explore.retrain import export_committee, train_member
from pyictp.explore.select import select
from pyictp.explore.settings import UNITS, ExploreConfig
from pyictp.explore.simulate import FRAMES, Visit, plan_runs, simulate
from pyictp.explore.state import State
from pyictp.labelling.label_pool import forget_failures, label_structures
from pyictp.potential.checkpoint import build_model, load_checkpoint
from pyictp.potential.extrapolation import needed_grade
from pyictp.training.prepare import required_labels

START, VALID, TEST, ADDED = "start.extxyz", "valid.extxyz", "test.extxyz", "added.extxyz"
MODEL = "ensemble.pt"


class Exploration:
    """One exploration in its folder."""

    def __init__(self, config: ExploreConfig, folder: Path, quiet: bool = False) -> None:
        """Take up what the folder holds; a quiet one prints no progress.

        Raises:
            UserError: it is of another exploration.
        """
        self.config, self.folder, self.quiet = config, folder, quiet
        self.state = State(folder, config)
        self.unit = UNITS[config.uncertainty.by]

    # -- the loop ---------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Run all cycles that are left; return the results, which `results.json` holds too.

        Raises:
            UserError: a stage failed in a way that the next cycle would meet again.
        """
        inputs = self.inputs()
        check_inputs(inputs, self.config)  # before all the work
        if self.state.stages:
            self.say(f"going on in '{self.folder}'")
        self.state.stage("start", lambda: self.start(inputs))
        ended = f"{self.config.explore.cycles} cycles are done"
        for cycle in range(self.config.explore.cycles + 1):
            if cycle > 0:
                reason = self.gather(cycle)
                if reason:
                    ended = reason
                    break
            self.state.stage(f"{cycle} train", partial(self.train, cycle))
            self.state.stage(f"{cycle} measure", partial(self.measure, cycle))
            self.write_results(f"cycle {cycle} is done")
        return self.write_results(ended)

    def gather(self, cycle: int) -> str:
        """Run dynamics, choose and label; return why the loop ends here, if it does."""
        former = self.state.stages.get(f"{cycle} select")
        if former and not former["selected"] and former["settings"] != self.search():
            shutil.rmtree(self.folder / f"cycle_{cycle}", ignore_errors=True)
            self.state.forget(f"{cycle} dynamics", f"{cycle} select")  # others may find more
        self.state.stage(f"{cycle} dynamics", lambda: self.dynamics(cycle))
        chosen = self.state.stage(f"{cycle} select", lambda: self.select(cycle))
        if not chosen["selected"]:
            return self.reason_to_end(cycle)
        self.state.stage(f"{cycle} label", lambda: self.label(cycle))
        return ""

    def reason_to_end(self, cycle: int) -> str:
        """Return why a cycle found nothing to label.

        Raises:
            UserError: all runs ended above `high` before a frame between the thresholds was seen.
        """
        visits = [Visit(**v) for v in self.state.stages[f"{cycle} dynamics"]["runs"]]
        found = self.state.stages[f"{cycle} select"]
        if found["candidates"]:
            return (
                f"cycle {cycle} found nothing to label: {found['near_duplicates']} near duplicates "
                f"of what is known, {found['too_close']} with atoms too close, "
                f"{found['closer_than_training_data']} with atoms closer than in the training data"
            )
        halted = sum(visit.halted for visit in visits)
        if not halted:
            return f"cycle {cycle} found nothing above {self.limits()[0]}: the models know it"
        self.write_results("no candidates")
        raise UserError(
            f"cycle {cycle}: {halted} of {len(visits)} runs ended above {self.limits()[1]} and no "
            "frame was between the thresholds: raise uncertainty.high, lower dynamics.temperatures "
            "or dynamics.every, and run the command again"
        )

    def search(self) -> dict[str, Any]:
        """Return the settings that decide what a cycle finds."""
        tree = to_dict(self.config)
        return {name: tree[name] for name in ("dynamics", "uncertainty", "selection")}

    def limits(self) -> tuple[str, str]:
        """Return both thresholds as text."""
        wanted = self.config.uncertainty
        low, high = (f"{value:g} {self.unit}".strip() for value in (wanted.low, wanted.high))
        return low, high

    # -- the stages -------------------------------------------------------------------------------

    def inputs(self) -> Inputs:
        """Return what the loop begins with: from its own folder, once that is written."""
        if "start" not in self.state.stages:
            return read_inputs(self.config)
        train, valid, test = (load_structures(self.folder / n) for n in (START, VALID, TEST))
        return Inputs(
            train, valid, test, plan_runs(self.config.dynamics, self.config.explore.seed, 1)
        )

    def start(self, inputs: Inputs) -> dict[str, Any]:
        """Write the labelled structures to begin with and those held back."""
        sources = {START: inputs.train, VALID: inputs.valid, TEST: inputs.test}
        check = check_labeller(
            sources[START], self.config.labeller, self.folder / "check", self.believed()
        )
        self.say(f"labeller   {self.config.labeller.method}: {check.describe()}")
        for name, structures in sources.items():
            sources[name] = self._with_labels(structures, name)
            if structures:
                save_structures(self.folder / name, sources[name])
        counts = {name: len(structures) for name, structures in sources.items()}
        self.say(f"start      {counts[START]} labelled frames, {counts[TEST]} held back to test")
        return {"frames": counts, "labeller": check.differences}

    def _with_labels(self, structures: list[Atoms], name: str) -> list[Atoms]:
        """Return structures with labels, those that had none last."""
        known = [atoms for atoms in structures if has_labels(atoms)]
        bare = [atoms for atoms in structures if not has_labels(atoms)]
        return known + (self._label(bare, f"labels of {name}", f"labels/{name}") if bare else [])

    def train(self, cycle: int) -> dict[str, Any]:
        """Train all members and export them."""
        here, config = self.folder / f"cycle_{cycle}", self.config
        batches = self.batches(cycle)
        common = load_structures(self.folder / VALID)
        fraction = 0.0 if common else config.data.valid_fraction
        folders, members = [], []
        for member in range(config.explore.committee):
            train, valid = split_batches(batches, fraction, config.explore.seed, member)
            data = here / "data"
            files = (data / f"train_{member}.extxyz", data / f"valid_{member}.extxyz")
            files[0].parent.mkdir(parents=True, exist_ok=True)
            for path, structures in zip(files, (train, common or valid), strict=True):
                save_structures(path, structures)
            folders.append(here / f"member_{member}")
            start = self.folder / f"cycle_{cycle - 1}" / f"member_{member}" if cycle else None
            done = train_member(config, member, files, folders[-1], start)
            members.append(done)
            self.say(
                f"train      model {member + 1} of {config.explore.committee}: {len(train)} frames,"
                f" {done['epochs']} epochs, best validation loss {done['best_validation_loss']:.4g}"
                f", {done['seconds']:.0f} s"
            )
        export_committee(folders, here / MODEL)
        return {"frames": sum(map(len, batches)), "members": members}

    def batches(self, cycle: int) -> list[list[Atoms]]:
        """Return the labelled structures that a cycle trains on, as they came."""
        added = [self.folder / f"cycle_{c}" / ADDED for c in range(1, cycle + 1)]
        return [load_structures(self.folder / START), *map(load_structures, added)]

    def measure(self, cycle: int) -> dict[str, Any]:
        """Evaluate the models on the structures held back."""
        frames = to_frames(load_structures(self.folder / TEST))
        if not frames:
            return {}
        found = measure(self.folder / f"cycle_{cycle}" / MODEL, frames, self.config.uncertainty.by)
        self.say(
            f"test       force RMSE {found['force_rmse_mev_per_a']:.1f} meV/A, energy RMSE "
            f"{found['energy_rmse_mev_per_atom']:.2f} meV/atom"
        )
        return found

    def dynamics(self, cycle: int) -> dict[str, Any]:
        """Run LAMMPS for every structure and temperature."""
        config = self.config
        self.say(f"\ncycle {cycle} of {config.explore.cycles}")
        model = self.folder / f"cycle_{cycle - 1}" / MODEL
        elements = self.elements(cycle - 1)
        runs = plan_runs(config.dynamics, config.explore.seed, cycle)
        visits = []
        counter = Counter(len(runs) * config.dynamics.steps, "steps")
        progress = None if self.quiet else counter.advance
        for run in runs:
            folder = self.folder / f"cycle_{cycle}" / "runs" / run.name
            wanted = (config.dynamics, config.uncertainty)
            visits.append(simulate(run, *wanted, model, elements, folder, progress))
        counter.close()
        for visit in visits:
            if visit.problem:
                self.say(f"dynamics   {visit.problem}")
        looks, halted = sum(v.looks for v in visits), sum(v.halted for v in visits)
        low, high = self.limits()
        self.say(
            f"dynamics   {len(runs)} runs, {looks} looks: {sum(v.below for v in visits)} below "
            f"{low}, {sum(v.between for v in visits)} between; {halted} runs ended above {high}"
        )
        return {"runs": [asdict(visit) for visit in visits]}

    def elements(self, cycle: int) -> list[str]:
        """Return the elements of the models of a cycle."""
        return list(self._first_model(cycle)["model_config"]["elements"])

    def _first_model(self, cycle: int) -> dict[str, Any]:
        return load_checkpoint(self.folder / f"cycle_{cycle}" / "member_0" / "best.pt")

    def select(self, cycle: int) -> dict[str, Any]:
        """Choose frames of the dynamics for labels."""
        here = self.folder / f"cycle_{cycle}"
        names = [run["name"] for run in self.state.stages[f"{cycle} dynamics"]["runs"]]
        candidates = [a for name in names for a in load_structures(here / "runs" / name / FRAMES)]
        if not candidates:
            return {"candidates": 0, "selected": 0, "settings": self.search()}
        payload = self._first_model(cycle - 1)
        known = [a for batch in self.batches(cycle - 1) for a in batch if not is_free_atom(a)]
        found = select(
            candidates,
            known,
            build_model(payload),
            needed_grade(payload, f"the first model of cycle {cycle - 1}"),
            self.config.selection,
            self.config.explore.seed + cycle,
            payload.get("provenance", {}),
        )
        save_structures(here / "selected.extxyz", [candidates[i] for i in found.chosen])
        self.say(
            f"select     {len(found.chosen)} of {len(candidates)} candidates "
            f"({found.near} near duplicates, {found.too_close} with atoms too close, "
            f"{found.closer} with atoms closer than in the training data, "
            f"{found.surplus} more than selection.max_frames)"
        )
        return {
            "candidates": len(candidates),
            "selected": len(found.chosen),
            "near_duplicates": found.near,
            "too_close": found.too_close,
            "closer_than_training_data": found.closer,
            "surplus": found.surplus,
            "distances": found.distances,
            "settings": self.search(),
        }

    def label(self, cycle: int) -> dict[str, Any]:
        """Label what was chosen and add it to the data."""
        here = self.folder / f"cycle_{cycle}"
        selected = load_structures(here / "selected.extxyz")
        labelled = self._label(selected, f"labels of cycle {cycle}", f"cycle_{cycle}/labels")
        kept, limit = [], self.config.selection.max_force
        for atoms in labelled:
            force = largest_force(atoms)
            if force <= limit:
                kept.append(atoms)
            else:
                self.say(f"label      a force of {force:.1f} eV/A is above {limit:g}: left out")
        if not kept:
            raise UserError(f"cycle {cycle}: all forces are above selection.max_force: raise it")
        save_structures(here / ADDED, kept)
        self.say(f"label      {len(kept)} of {len(selected)} structures added")
        return {"added": len(kept), "failed": len(selected) - len(labelled)}

    def _label(self, structures: Sequence[Atoms], what: str, name: str) -> list[Atoms]:
        folder = self.folder / name
        counter = Counter(len(structures), "labels")
        progress = None if self.quiet else counter.advance
        labelled, failed = label_structures(
            structures, self.config.labeller, folder, progress, self.believed()
        )
        counter.close()
        for index, reason in failed:
            self.say(f"label      structure {index} is left out: {reason}")
        if not labelled:
            forget_failures(folder)  # so that the next start tries again
            raise UserError(f"{what}: none could be labelled: {failed[0][1]}")
        return labelled

    def believed(self) -> tuple[str, ...]:
        """Return the labels that the trainings refuse where no matter has them."""
        config = self.config
        return required_labels(config.training) if config.data.check_labels else ()

    # -- what people see --------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Print a line of progress, and note it in explore.log."""
        if not self.quiet:
            say(text)
        if text.strip():
            with (self.folder / "explore.log").open("a") as log:
                log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text.strip()}\n")

    def write_results(self, ended: str) -> dict[str, Any]:
        """Write results.json and results.png of the cycles that are done; return the numbers."""
        found = results.collect(self.state.stages, self.config.uncertainty, ended)
        results.write(found, self.folder)
        return found
