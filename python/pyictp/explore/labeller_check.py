# SPDX-License-Identifier: MIT
"""Does the labeller work, and is it what labelled the data? One structure shows it at the start."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from pyictp.errors import UserError
from pyictp.explore.frames import has_labels, is_free_atom, to_frames
from pyictp.labelling.label_pool import forget_failures, label_structures
from pyictp.labelling.settings import LabellerConfig

logger = logging.getLogger("pyictp")

FORCES = 0.05  # eV/A: more is another method, or other units
ENERGY = 0.005  # eV/atom
STRESS = 0.003  # eV/A^3, 0.5 GPa


@dataclass(frozen=True)
class Check:
    """How far the labeller is from the labels of a structure; None without any."""

    forces: float | None  # RMS [eV/A]
    energy: float | None  # eV/atom
    stress: float | None = None  # largest component [eV/A^3]

    @property
    def differences(self) -> dict[str, float | None]:
        """Return plain values."""
        return {
            "forces_rms_ev_per_a": self.forces,
            "energy_ev_per_atom": self.energy,
            "stress_ev_per_a3": self.stress,
        }

    @property
    def is_far(self) -> bool:
        """Return whether this is more than two codes of one method differ by."""
        limits = ((self.forces, FORCES), (self.energy, ENERGY), (self.stress, STRESS))
        # so that a difference that is no number is far
        return any(
            not difference <= limit for difference, limit in limits if difference is not None
        )

    def describe(self) -> str:
        """Return the differences in words."""
        parts = []
        if self.forces is not None:
            parts.append(f"forces by {self.forces:.2g} eV/A (RMS)")
        if self.energy is not None:
            parts.append(f"the energy by {self.energy:.2g} eV/atom")
        if self.stress is not None:
            parts.append(f"the stress by {self.stress:.2g} eV/A^3")
        return f"differs from data.train in {' and '.join(parts)}" if parts else "works"


def check_labeller(
    known: Sequence[Atoms],
    settings: LabellerConfig,
    folder: Path,
    believed: Collection[str] = (),
) -> Check:
    """Return how far the labeller is from the labels of the smallest structure; warn if far.

    Args:
        known: structures, not all of them with labels.
        settings: of the labeller.
        folder: to work in.
        believed: labels that must be possible, as `label_structures`.

    Raises:
        UserError: the labeller fails on it, or there is none but isolated atoms.
    """
    smallest = frame_to_check(known)
    labelled, failed = label_structures([smallest], settings, folder, believed=believed)
    if failed:
        forget_failures(folder)
        raise UserError(f"the labeller fails on a structure of data.train: {failed[0][1]}")
    ours, theirs = to_frames([labelled[0], smallest])
    forces = energy = stress = None
    if theirs.forces is not None and ours.forces is not None:
        forces = float(np.sqrt(np.nanmean((ours.forces - theirs.forces) ** 2)))
    if theirs.energy is not None and ours.energy is not None:
        energy = abs(ours.energy - theirs.energy) / len(smallest)
    if theirs.stress is not None and ours.stress is not None:
        stress = float(np.abs(ours.stress - theirs.stress).max())
    check = Check(forces, energy, stress)
    if check.is_far:
        logger.warning(
            "the labeller %s: are method, units and energy zero the same?", check.describe()
        )
    return check


def frame_to_check(known: Sequence[Atoms]) -> Atoms:
    """Return the structure that shows whether the labeller works: the smallest with labels, if any.

    Raises:
        UserError: there is none but isolated atoms.
    """
    usable = [atoms for atoms in known if not is_free_atom(atoms)]
    if not usable:
        raise UserError("data.train: expected structures, got none but isolated atoms")
    return min(usable, key=lambda atoms: (not has_labels(atoms), len(atoms)))
