# SPDX-License-Identifier: MIT
"""What labels in eV and A can be: beyond one bound doubtful, beyond another no physics at all."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import units

from pyictp.common.units import unit_factor
from pyictp.data.frames import Frame
from pyictp.errors import UserError

logger = logging.getLogger("pyictp")

# doubtful from the first on, impossible from the second on
ENERGY = (100.0, 1e6)  # eV/atom, positive; negative: not below the energy of all electrons
FORCE = (100.0, 1e4)  # eV/A, a component
STRESS = (200.0, 1000.0)  # GPa, a component
FORCE_RMS = 15.0  # eV/A, of all forces of a file; doubtful
# a stress and the one of the virial beside it may be apart by rounding:
SAME_STRESS = (2e-3, 0.01)  # eV/A^3, and share of the largest component


@dataclass(frozen=True)
class Doubt:
    """A label that is hard to believe."""

    frame: Frame
    label: str
    reason: str  # one word for what is wrong, by which doubts are counted
    text: str
    impossible: bool  # not only unusual

    def __str__(self) -> str:
        """Return the line for people."""
        return f"{self.frame.where} field '{self.label}': {self.text}"


def find_doubts(frames: Sequence[Frame]) -> list[tuple[Doubt, int]]:
    """Return what is hard to believe, a line for each file and reason, with its number of frames.

    The line is of the first frame; those of impossible labels come first.
    """
    groups: dict[tuple[str, ...], list[Doubt]] = defaultdict(list)
    by_file: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        by_file[frame.file].append(frame)
        for doubt in _of_frame(frame):
            groups[(frame.file, doubt.label, doubt.reason)].append(doubt)
    for file, own in by_file.items():
        if (file, "forces", "impossible") not in groups:
            for doubt in _of_file(own):
                groups[(file, doubt.label, doubt.reason)].append(doubt)
    found = [(own[0], len(own)) for own in groups.values()]
    return sorted(found, key=lambda pair: not pair[0].impossible)


def check_labels(frames: Sequence[Frame], used: Collection[str], refuse: bool) -> None:
    """Warn of labels that are hard to believe.

    Args:
        frames: as read.
        used: labels that are trained on.
        refuse: whether an impossible one among those is an error.

    Raises:
        UserError: one is.
    """
    for doubt, number in find_doubts(frames):
        if doubt.impossible and doubt.label in used and refuse:
            raise UserError(f"{doubt}; if it is right set data.check_labels to false")
        logger.warning("%s%s", doubt, others(number))


def others(number: int) -> str:
    """Return how many frames a line speaks for besides the one it names."""
    return f" (and {number - 1} more frames of this file)" if number > 1 else ""


def _of_frame(frame: Frame) -> Iterator[Doubt]:
    if frame.energy is not None:
        yield from _of_energy(frame, frame.energy)
    if frame.forces is not None:
        largest = float(np.nanmax(np.abs(frame.forces)))
        if largest > FORCE[0]:
            text = f"a component of {largest:.4g} eV/A, expected below {FORCE[0]:g}"
            hint = "the unit may be another (forces_unit), or atoms sit on one another"
            yield _doubt(frame, "forces", f"{text}: {hint}", largest > FORCE[1])
    if frame.stress is not None:
        yield from _of_stress(frame)


def _of_energy(frame: Frame, energy: float) -> Iterator[Doubt]:
    per_atom, limit = energy / len(frame.atomic_numbers), all_electron_limit(frame)
    if energy < limit:
        text = f"energy {energy:.6g} eV is below that of all electrons ({limit:.0f} eV)"
        hint = "it may be in kcal/mol or kJ/mol (energy_unit)"
        yield _doubt(frame, "energy", f"{text}: {hint}", True)
    elif per_atom > ENERGY[0]:
        text = f"energy {per_atom:+.6g} eV/atom, expected below {ENERGY[0]:g}"
        hint = "its sign may be lost, or its unit another (energy_unit)"
        yield _doubt(frame, "energy", f"{text}: {hint}", per_atom > ENERGY[1])


def _of_stress(frame: Frame) -> Iterator[Doubt]:
    assert frame.stress is not None
    largest = float(np.abs(frame.stress).max())
    in_gpa = largest / units.GPa
    hint = "it may be in GPa or kbar (stress_unit), or summed over atoms"
    if in_gpa > STRESS[0]:
        text = f"a component of {in_gpa:.0f} GPa ({largest:.4g} eV/A^3), expected below"
        yield _doubt(frame, "stress", f"{text} {STRESS[0]:g} GPa: {hint}", in_gpa > STRESS[1])
    if frame.virial_stress is not None:
        change = float(np.abs(frame.stress - frame.virial_stress).max())
        size = float(max(largest, np.abs(frame.virial_stress).max()))
        if change > SAME_STRESS[0] + SAME_STRESS[1] * size:
            i, j = np.unravel_index(
                np.abs(frame.stress - frame.virial_stress).argmax(), frame.stress.shape
            )
            text = (
                f"component {'xyz'[i]}{'xyz'[j]} is {frame.stress[i, j]:.4g} eV/A^3, of the virial "
                f"beside it -virial/volume is {frame.virial_stress[i, j]:.4g}: mend units or sign "
                "of the wrong one, or set its key (stress_key, virial_key) to null"
            )
            yield Doubt(frame, "stress", "virial", text, True)


def _of_file(frames: Sequence[Frame]) -> Iterator[Doubt]:
    forces = [frame.forces.ravel() for frame in frames if frame.forces is not None]
    rms = float(np.sqrt(np.nanmean(np.square(np.concatenate(forces))))) if forces else 0.0
    if rms > FORCE_RMS:
        text = (
            f"the forces of this file have a root mean square of {rms:.1f} eV/A: "
            f"in kcal/mol/A that would be {rms * unit_factor('kcal/mol'):.2f} eV/A"
        )
        yield Doubt(frames[0], "forces", "root mean square", text, False)


def _doubt(frame: Frame, label: str, text: str, impossible: bool) -> Doubt:
    return Doubt(frame, label, "impossible" if impossible else "doubtful", text, impossible)


def all_electron_limit(frame: Frame) -> float:
    """Return the Thomas-Fermi energy of the atoms [eV], 0.7687 Z^(7/3) Hartree: below any real."""
    return -0.7687 * float(units.Hartree) * float(np.sum(frame.atomic_numbers ** (7 / 3)))
