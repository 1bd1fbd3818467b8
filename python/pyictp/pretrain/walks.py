# SPDX-License-Identifier: MIT
"""One frame of a walk after the other, in a worker process: moved, labelled, judged, written.

A frame is a file of its own with positions and momenta in full, from which the next one goes on. So
a killed walk loses the frame in hand at most, and ends as it would have ended.
"""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from pyictp.common.files import atomic_path, writing
from pyictp.errors import UserError
from pyictp.labelling.labellers import calculated
from pyictp.labelling.settings import LabellerConfig
from pyictp.labelling.teacher import make_teacher
from pyictp.labelling.workers import Handler, Tell
from pyictp.pretrain.modes import find_modes, load_modes
from pyictp.pretrain.moves import count_parts, displace, reduced_distances, turn, turnable_bonds
from pyictp.pretrain.settings import SamplingConfig

DYNAMICS, TORSIONS, MODES = "dynamics", "torsions", "normal_modes"
KINDS = (DYNAMICS, TORSIONS, MODES)
STRETCH = 1.6  # bonds longer than this times BONDED times radii are broken: the molecule exploded
TRIES = 20  # turns until atoms do not meet
FAILED = "the teacher failed"
MINIMUM = -1  # instead of a frame


class BadFrameError(Exception):
    """A frame that is left out; the message is why, first the words that are counted."""


@dataclass(frozen=True)
class Walk:
    """Frames of one kind from one structure at one temperature."""

    number: int  # of the structure
    kind: str
    temperature: float  # K
    replica: int
    frames: int
    start: Atoms

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        return f"{self.number:05}_{self.kind}_{self.temperature:g}K_{self.replica}"

    def files(self, folder: Path, frame: int) -> tuple[Path, Path]:
        """Return the file of a frame, and that which says why there is none."""
        stem = folder / "walks" / self.name / f"{frame:05}"
        return stem.with_suffix(".npz"), stem.with_suffix(".failed")


def plan_walks(structures: Sequence[Atoms], settings: SamplingConfig) -> list[Walk]:
    """Return all walks; of torsions only those of molecules with a bond that turns."""
    walks = []
    for number, atoms in enumerate(structures):
        turns = settings.torsions and not atoms.pbc.any() and turnable_bonds(atoms)
        kinds = [(DYNAMICS, settings.dynamics, k) for k in range(settings.walks)]
        kinds += [(TORSIONS, settings.torsions if turns else 0, 0)]
        kinds += [(MODES, settings.normal_modes, 0)]
        for kind, frames, replica in kinds:
            walks += [
                Walk(number, kind, temperature, replica, frames, atoms)
                for temperature in settings.temperatures
                if frames
            ]
    return walks


@dataclass(frozen=True)
class Task:
    """A frame to sample, or the minimum that the frames of a walk start from."""

    walk: Walk
    frame: int  # or MINIMUM
    folder: Path


def start_worker(settings: SamplingConfig, labeller: LabellerConfig, seed: int) -> Handler:
    """Return what samples frames, in a worker process; see that the teacher starts.

    Raises:
        UserError: it does not.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before the teacher is loaded: one core each
    make_teacher(labeller, Path())

    def handle(task: Task, tell: Tell) -> str | None:
        target, _ = task.walk.files(task.folder, max(task.frame, 0))
        work = target.with_suffix(f".work.{os.getpid()}")
        with writing(work):
            work.mkdir(parents=True, exist_ok=True)
        try:
            teacher = make_teacher(labeller, work, lambda: tell(None))  # nothing of former frames
            if task.frame == MINIMUM:
                find_modes(task.walk.start, teacher, task.folder, task.walk.number)
            else:
                _Sampler(task, settings, teacher, seed).write(target)
        except BadFrameError as error:
            return str(error)
        except Exception as error:  # teachers raise whatever they like, and sampling goes on
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            return f"{FAILED}: {kind}{' '.join(str(error).split())}"
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return None

    return handle


class _Sampler:
    """Makes one frame."""

    def __init__(self, task: Task, settings: SamplingConfig, teacher: Any, seed: int) -> None:
        self.task, self.walk, self.settings, self.teacher = task, task.walk, settings, teacher
        self.rng = np.random.default_rng([seed, zlib.crc32(self.walk.name.encode()), task.frame])

    @cached_property
    def timestep(self) -> float:
        """Return fs."""
        if self.settings.timestep is not None:
            return self.settings.timestep
        return 0.5 if 1 in self.walk.start.numbers else 1.0

    def write(self, target: Path) -> None:
        """Write the frame that comes next.

        Raises:
            BadFrameError: it is none.
        """
        moves: dict[str, Callable[[], Atoms]] = {
            DYNAMICS: self.dynamics,
            TORSIONS: self.torsion,
            MODES: self.mode,
        }
        atoms = moves[self.walk.kind]()
        self.check_places(atoms)
        labelled = calculated(atoms, self.teacher)
        self.check_labels(labelled)
        arrays = {"positions": atoms.positions, "momenta": atoms.get_momenta()}
        with atomic_path(target) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays, **labelled.calc.results)

    def dynamics(self) -> Atoms:
        """Go on from the frame before; where that was none, begin anew."""
        former, _ = self.walk.files(self.task.folder, self.task.frame - 1)
        atoms = self.walk.start.copy()
        if former.exists():
            with np.load(former) as state:
                atoms.positions, momenta = state["positions"], state["momenta"]
                atoms.set_momenta(momenta)
            return self.run(atoms, self.settings.every)
        self.warm(atoms)
        return self.run(atoms, self.settings.equilibration + self.settings.every)

    def torsion(self) -> Atoms:
        """Turn bonds, then run."""
        for _ in range(TRIES):
            atoms = turn(self.walk.start, self.rng)
            if atoms is not None:
                self.warm(atoms)
                return self.run(atoms, self.settings.every)
        raise BadFrameError(f"atoms too close: after each of {TRIES} turns")

    def mode(self) -> Atoms:
        """Displace the relaxed structure."""
        modes = load_modes(self.task.folder, self.walk.number)
        if modes is None:
            raise BadFrameError("no minimum found: the structure has no normal modes")
        atoms = self.walk.start.copy()
        atoms.positions = modes.positions
        return displace(atoms, modes.hessian, self.walk.temperature, self.rng)

    def warm(self, atoms: Atoms) -> None:
        """Set velocities."""
        MaxwellBoltzmannDistribution(atoms, temperature_K=self.walk.temperature, rng=self.rng)

    def run(self, atoms: Atoms, steps: int) -> Atoms:
        """Run Langevin dynamics."""
        atoms.calc = self.teacher
        langevin = Langevin(
            atoms,
            self.timestep * units.fs,
            temperature_K=self.walk.temperature,
            friction=self.settings.friction / units.fs,
            fixcm=False,
            rng=self.rng,
        )
        langevin.run(steps)
        atoms.calc = None
        return atoms

    def check_places(self, atoms: Atoms) -> None:
        """Refuse what no molecule or crystal is."""
        if not np.isfinite(atoms.positions).all():
            raise BadFrameError("exploded: positions that are no numbers")
        closest = reduced_distances(atoms).min()
        if closest < self.settings.closest:
            raise BadFrameError(f"atoms too close: {closest:.2f} of their covalent radii")
        if not atoms.pbc.any():
            parts, before = count_parts(atoms, STRETCH), count_parts(self.walk.start, STRETCH)
            if parts > before:
                raise BadFrameError(f"exploded: {parts} parts, {before} at the start")

    def check_labels(self, atoms: Atoms) -> None:
        """Refuse labels that are no numbers, and forces that no sampling should meet."""
        labels = [np.ravel(values) for values in atoms.calc.results.values()]
        if not np.isfinite(np.concatenate(labels)).all():
            raise BadFrameError("labels not finite: the teacher gives no numbers")
        force = np.linalg.norm(atoms.get_forces(apply_constraint=False), axis=1).max()
        if force > self.settings.max_force:
            raise BadFrameError(f"force above sampling.max_force: {force:.1f} eV/A")


def read_frame(walk: Walk, path: Path) -> Atoms:
    """Return a frame that was sampled, with its labels, kind and temperature."""
    with np.load(path) as state:
        labels = {name: state[name] for name in state.files}
    atoms = Atoms(walk.start.numbers, labels.pop("positions"), cell=walk.start.cell)
    atoms.pbc = walk.start.pbc
    labels.pop("momenta")
    labels["energy"] = float(labels["energy"])
    atoms.calc = SinglePointCalculator(atoms, **labels)
    atoms.info = {
        "config_type": f"{walk.kind}_{walk.temperature:g}K",
        "source": walk.start.info["source"],
    }
    return atoms
