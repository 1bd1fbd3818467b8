# SPDX-License-Identifier: MIT
"""Losses of the steps: the sum of the epoch, and a look for those that left all bounds."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from torch import Tensor

from pyictp.common.files import atomic_path
from pyictp.data.frames import Frame
from pyictp.data.labels import TO_VOIGT
from pyictp.training.parallel import SINGLE, Processes

CHECK_INTERVAL = 50  # steps between two looks at the losses: looking waits for the device
WINDOW = 50  # steps whose median loss is the usual one; before so many nothing is judged
PERSISTENCE = 5  # steps in a row above the bound: a lone odd structure is no divergence
NUM_NAMES = 4  # structures named in a message


class Diverged(Exception):
    """The loss is not finite, or far above what it was."""

    def __init__(self, reason: str, suspects: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Say why; suspects: the step where it showed and the one before, with their samples."""
        super().__init__(reason)
        self.reason, self.suspects = reason, suspects


class LossWatch:
    """Collects the losses of the steps on the device and judges them every CHECK_INTERVAL steps.

    A training has diverged when a loss is not finite, or when PERSISTENCE steps in a row have a
    loss per structure above `factor` times the median of the last WINDOW ordinary ones.
    """

    def __init__(
        self,
        weights: Tensor,
        factor: float | None,
        device: torch.device,
        processes: Processes = SINGLE,
    ) -> None:
        """Begin an epoch.

        Args:
            weights: (3,) of the sums of squared errors.
            factor: None: only losses that are not finite count.
            device: of the sums.
            processes: which share every step.
        """
        self.weights, self.factor, self.processes = weights.cpu(), factor, processes
        self.epoch_sums = torch.zeros(3, dtype=torch.float64)  # of the steps looked at
        self.usual: deque[float] = deque(maxlen=WINDOW)  # losses per structure
        self.num_high = 0  # steps in a row above the bound
        self._buffer = torch.zeros(CHECK_INTERVAL, 3, dtype=torch.float64, device=device)
        self._waiting: list[tuple[int, Sequence[int]]] = []  # not looked at: step, samples
        self._seen: deque[tuple[int, Sequence[int]]] = deque(maxlen=PERSISTENCE + 1)

    @property
    def last_steps(self) -> list[tuple[int, Sequence[int]]]:
        """Return the last step looked at and the one before, with their samples."""
        return list(self._seen)[-2:]

    def add(self, sums: Tensor, step: int, samples: Sequence[int]) -> None:
        """Take the (3,) sums of squared errors of a step; look if it is time.

        Raises:
            Diverged: as `look`.
        """
        self._buffer[len(self._waiting)] = sums
        self._waiting.append((step, samples))
        if len(self._waiting) == CHECK_INTERVAL:
            self.look()

    def look(self) -> None:
        """Add the losses that wait to the sums of the epoch, and judge them; collective.

        Raises:
            Diverged: with the step that did it.
        """
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        # summed in the order of the steps, whenever one looks: a resumed epoch has the same sum
        rows = self.processes.sum_(self._buffer)[: len(waiting)].cpu()
        for sums, (step, samples) in zip(rows, waiting, strict=True):
            self._seen.append((step, samples))
            self.epoch_sums += sums
            self._judge(float(self.weights @ sums) / len(samples))

    def _judge(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise Diverged("training loss became NaN or infinite", self.last_steps)
        if self.factor is None:
            return
        is_high = len(self.usual) == WINDOW and loss > self.factor * statistics.median(self.usual)
        if not is_high:
            self.usual.append(loss)
            self.num_high = 0
            return
        self.num_high += 1
        if self.num_high == PERSISTENCE:
            bound = f"{self.factor:g} times its median (training.divergence_factor)"
            raise Diverged(f"training loss rose above {bound}", list(self._seen)[:2])

    def end_epoch(self) -> None:
        """Begin the sums of the next epoch."""
        self.epoch_sums.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training needs; all steps are looked at."""
        return {"epoch_sums": self.epoch_sums, "usual": list(self.usual), "num_high": self.num_high}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self.epoch_sums = state["epoch_sums"].clone()
        self.usual = deque(state["usual"], maxlen=WINDOW)
        self.num_high = state["num_high"]
        self._waiting = []
        self._seen.clear()


def describe(error: Diverged, frames: Sequence[Frame]) -> str:
    """Return the steps and the names of the structures that may have caused a divergence."""
    parts = []
    for step, samples in error.suspects:
        chosen = [frames[index] for index in samples[:NUM_NAMES]]
        names = [f"{Path(frame.file).name}:{frame.index}" for frame in chosen]
        more = f" and {len(samples) - NUM_NAMES} more" if len(samples) > NUM_NAMES else ""
        parts.append(f"step {step} ({', '.join(names)}{more})")
    return " and ".join(parts)


def save_failed(path: Path, error: Diverged, frames: Sequence[Frame]) -> None:
    """Write the structures of the suspect steps as extended XYZ, labels in eV and A.

    Each carries `name` (file:frame) and `step`. The last step is where it showed; the update by the
    one before it may be the cause.

    Args:
        path: the file.
        error: the divergence.
        frames: of all training samples.
    """
    atoms = [
        to_atoms(frames[index], name=frames[index].name, step=step)
        for step, samples in error.suspects
        for index in samples
    ]
    if atoms:
        with atomic_path(path) as temporary:
            write(temporary, atoms, format="extxyz")


def to_atoms(frame: Frame, **info: Any) -> Atoms:
    """Return a frame as ASE sees it, its labels as results of a calculation."""
    atoms = Atoms(frame.atomic_numbers, frame.positions, cell=frame.cell, pbc=frame.pbc, info=info)
    stress = None if frame.stress is None else frame.stress[TO_VOIGT]
    labels = {"energy": frame.energy, "forces": frame.forces, "stress": stress}
    atoms.calc = SinglePointCalculator(atoms, **_known(labels.items()))
    return atoms


def _known(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in pairs if value is not None}
