# SPDX-License-Identifier: MIT
"""Decks run in LAMMPS, and what became of each."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from deck import PRESSURE_UNIT
from pyictp.model.ictp import ICTPModel
from pyictp.native import plugin_path

from audit.entry import Entry, Verdict
from audit.evaluation import Record, Rule, changes, deviation, evaluate, merge
from audit.starts import start_lines

TIME_PER_DECK = 30  # seconds: a hang fails
TIME_STEP = {"metal": 0.002, "real": 2.0}  # 2 fs
NUM_COLUMNS = 9  # step, energy, six pressures, volume
OURS = re.compile("Pair style ictp|pair_style ictp")
WARNING = re.compile(r"^WARNING: (Pair style ictp.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What became of a deck."""

    error: str
    warnings: list[str]
    deviations: list[float]  # of each evaluation, over the tolerance
    changed: set[str]
    num_virials: int  # that LAMMPS printed

    @property
    def is_exact(self) -> bool:
        """Return whether every evaluation is right."""
        return bool(self.deviations) and max(self.deviations) <= 1.0


def run_entries(
    entries: Sequence[Entry], folder: Path, processes: int, model_file: Path, model: ICTPModel
) -> dict[str, Outcome]:
    """Run entries in one set of processes and return what became of each, by name."""
    decks = []
    for number, entry in enumerate(entries):
        place = folder / str(number)
        place.mkdir(parents=True)
        decks.append(_deck(entry, place, model_file))
    path = folder / "decks.json"
    path.write_text(json.dumps(decks))
    programs = Path(sys.executable).parent
    command = [programs / "mpiexec", "-n", str(processes), sys.executable, "-P"]
    done = subprocess.run(
        [*map(str, command), str(Path(__file__).with_name("driver.py")), str(path)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIME_PER_DECK * len(entries),
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return {
        entry.name: _outcome(entry, Path(deck["folder"]), model)
        for entry, deck in zip(entries, decks, strict=True)
    }


def _deck(entry: Entry, folder: Path, model_file: Path) -> dict[str, Any]:
    names = {
        "{pair}": entry.pair,
        "{model}": str(model_file),
        "{folder}": str(folder),
        "{plugin}": str(plugin_path()),
    }
    lines = [
        f"plugin load {plugin_path()}",
        *start_lines(entry, folder),
        *entry.pair.splitlines(),
        "velocity all create 5000 5 loop geom",
        "neighbor 0.2 bin",
        f"timestep {TIME_STEP[entry.units]}",
        *entry.lines.strip().splitlines(),
    ]
    text = "\n".join(lines)
    for name, value in names.items():
        text = text.replace(name, value)
    return {
        "name": entry.name,
        "folder": str(folder),
        "lines": text.splitlines(),
        "arguments": list(entry.arguments),
        "each_run": entry.each_run,
        "has_bonds": entry.has_bonds,
    }


def _outcome(entry: Entry, folder: Path, model: ICTPModel) -> Outcome:
    answers = [pickle.loads(path.read_bytes()) for path in sorted(folder.glob("*.pickle"))]
    rule = Rule(entry.elements, entry.without, entry.scale, entry.lennard_jones, entry.has_bonds)
    deviations: list[float] = []
    changed: set[str] = set()
    warnings: set[str] = set()
    num_virials = 0
    for replica in sorted({answer["replica"] for answer in answers}):
        parts = [answer["records"] for answer in answers if answer["replica"] == replica]
        log = folder / ("log.lammps" if len(parts) == len(answers) else f"log.lammps.{replica}")
        records = _records(parts, log.read_text(), PRESSURE_UNIT[entry.units])
        deviations += [
            deviation(r, evaluate(r, rule, model), entry.has_pure_forces) for r in records
        ]
        changed |= changes([r for r in records if not r.is_trial])
        num_virials += sum(record.virial is not None for record in records)
        warnings |= {*WARNING.findall(log.read_text())}
    return Outcome(answers[0]["error"], sorted(warnings), deviations, changed, num_virials)


def _records(parts: Sequence[list[dict[str, Any]]], log: str, pressure_unit: float) -> list[Record]:
    """Return the records of all processes of a LAMMPS as one list."""
    virials = {key: value / pressure_unit for key, value in _virials(log).items()}
    last = {(record["run"], record["step"]): k for k, record in enumerate(parts[0])}
    records = []
    for k, rows in enumerate(zip(*parts, strict=True)):
        key = (rows[0]["run"], rows[0]["step"])
        # of several evaluations in a step the last one moves the atoms; LAMMPS prints its virial
        is_trial = last[key] != k
        records.append(merge(rows, None if is_trial else virials.get(key), is_trial))
    return records


def _virials(log: str) -> dict[tuple[int, int], np.ndarray]:
    """Return pressure times volume of thermo's rows: xx yy zz xy xz yz, by run and step."""
    virials, run, is_table = {}, 0, False
    for line in log.splitlines():
        words = line.split()
        if words[:1] == ["audit"] and words[1:2] and words[1].isdigit():
            run = int(words[1])
        is_table = words[:2] == ["Step", "E_vdwl"] or (is_table and words[:1] != ["Loop"])
        if is_table and len(words) == NUM_COLUMNS and words[0].isdigit():
            *pressure, volume = map(float, words[2:])
            virials[run, int(words[0])] = np.array(pressure) * volume
    return virials


def complaint(entry: Entry, outcome: Outcome) -> str:
    """Return what is not as the entry expects, "" if all is."""
    largest = max(outcome.deviations, default=float("nan"))
    seen = f"error {outcome.error!r}, warnings {outcome.warnings}, deviation {largest:.3g}"
    if entry.verdict in (Verdict.REFUSED, Verdict.LAMMPS):
        is_right = bool(entry.text) and entry.text in outcome.error
        is_right = is_right and (outcome.is_exact or not outcome.deviations)
        is_ours = OURS.search(outcome.error) is not None
        is_right = is_right and is_ours == (entry.verdict == Verdict.REFUSED)
        return "" if is_right else f"expected an error with {entry.text!r}: {seen}"
    if outcome.error:
        return f"expected no error: {seen}"
    missing = {*entry.changes.split()} - outcome.changed
    if missing:
        return f"expected changes of {', '.join(sorted(missing))}: {seen}"
    if entry.changes and not outcome.num_virials:
        return f"expected virials: {seen}"
    told = any(entry.text in warning for warning in outcome.warnings) if entry.text else False
    if entry.verdict == Verdict.WARNED:
        return "" if told and not outcome.is_exact else f"expected a warning: {seen}"
    others = [w for w in outcome.warnings if not entry.text or entry.text not in w]
    if not outcome.is_exact or others or (entry.text and not told):
        return f"expected the exact answer, no other warning than {entry.text!r}: {seen}"
    return ""
