# SPDX-License-Identifier: MIT
"""Frames that look wrong among the others: copies, outliers, atoms too close, net forces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import units
from ase.data import covalent_radii

from pyictp.common.arrays import FloatArray, IntArray
from pyictp.curation.descriptors import structure_vectors
from pyictp.data.frames import Frame
from pyictp.data.samples import elements_of
from pyictp.graph.neighbors import neighbor_pairs, periodic_cell

MIN_FRAMES = 10  # fewer have no outlier
MIN_ALIKE = 30  # and fewer frames of the same atoms none among themselves
RARE = 0.02  # more of the frames than this are a population of their own, no outliers
ENERGY_Z = 6.0  # robust z-score from which an energy can be an outlier
ENERGY_GAP = 4.0  # and how far, in the same unit, it must be from the next more usual one
FORCE_RATIO = 10.0  # times what 95 of 100 components stay below
CLOSE = 0.5  # times the sum of covalent radii
NET_SHARE = 0.05  # |sum F| / sqrt(sum F^2) of a frame
NET_FLOOR = 0.05  # eV/A
NET_RATIO = 20.0  # times the median |sum F|
SAME_DISTANCE = 5e-4  # A
SAME_VECTOR = 2e-3  # components of structure vectors of copies, from SAME_DISTANCE
PROBED = 8  # atoms looked at first
SAME_ENERGY = 1e-3  # eV/atom
SAME_FORCE = 0.05  # eV/A
SAME_STRESS = 5e-3  # eV/A^3


@dataclass(frozen=True)
class Finding:
    """One thing that looks wrong."""

    kind: str
    where: str  # file:frame
    text: str

    def __str__(self) -> str:
        """Return the line for people."""
        return f"{self.where}: {self.text}"


def find_copies(frames: Sequence[Frame], r_cut: float = 5.0) -> list[Finding]:
    """Return frames that hold the same structure up to order of atoms and translation.

    The line says so if their labels differ: then one of them is wrong.
    """
    if len(frames) < 2:
        return []
    vectors = structure_vectors(frames, elements_of(frames), r_cut)
    findings, known = [], set()
    for first, second in _alike(frames, vectors):
        if second not in known:
            partners = match_atoms(frames[first], frames[second])
            if partners is not None:
                known.add(second)
                findings.append(_copy_finding(frames[first], frames[second], partners))
    return findings


def _alike(frames: Sequence[Frame], vectors: FloatArray) -> Iterator[tuple[int, int]]:
    """Yield frames (i < j) that may be copies, by their composition and vectors."""
    keys: dict[Hashable, list[int]] = defaultdict(list)
    for index, frame in enumerate(frames):
        keys[same_atoms(frame)].append(index)
    direction = np.random.default_rng(0).normal(size=vectors.shape[1])
    shadows = vectors @ direction / np.linalg.norm(direction)  # (K,): copies are close
    for members in keys.values():
        order = np.array(sorted(members, key=lambda i: shadows[i]))
        ends = np.searchsorted(shadows[order], shadows[order] + 4 * SAME_VECTOR, side="right")
        for position, end in enumerate(ends):
            index, others = order[position], order[position + 1 : end]
            near = np.abs(vectors[others] - vectors[index]).max(axis=1) < SAME_VECTOR
            yield from ((min(index, j), max(index, j)) for j in others[near].tolist())


def match_atoms(first: Frame, second: Frame) -> IntArray | None:
    """Return for each atom of a frame the one of a copy (N,), None where it is no copy.

    A copy has the same cell, and the same atoms on the same spots up to one translation.
    """
    if np.abs(first.cell - second.cell)[first.pbc].max(initial=0.0) > SAME_DISTANCE:
        return None
    box = periodic_cell(first.cell, first.pbc) if first.pbc.any() else np.eye(3)
    scaled = [frame.positions @ np.linalg.inv(box) for frame in (first, second)]
    numbers, counts = np.unique(first.atomic_numbers, return_counts=True)
    rarest = numbers[counts.argmin()]
    anchor = int(np.argmax(first.atomic_numbers == rarest))
    everything, few = np.arange(len(scaled[0])), np.arange(min(PROBED, len(scaled[0])))
    for other in np.flatnonzero(second.atomic_numbers == rarest):
        shifted = scaled[1] + scaled[0][anchor] - scaled[1][other]
        for atoms in (few, everything):  # most wrong shifts show at once
            change = shifted[None, :, :] - scaled[0][atoms, None, :]  # (n, N, 3)
            change -= np.where(first.pbc, np.round(change), 0.0)
            distances = np.linalg.norm(change @ box, axis=2)  # (n, N)
            strange = first.atomic_numbers[atoms, None] != second.atomic_numbers[None, :]
            distances[strange] = np.inf
            partners = distances.argmin(axis=1)
            if distances.min(axis=1).max() > SAME_DISTANCE:
                break
        else:
            if len(np.unique(partners)) == len(partners):
                return partners
    return None


def _copy_finding(first: Frame, second: Frame, partners: IntArray) -> Finding:
    """Return what to say of two frames with one structure."""
    differences = []
    if first.energy is not None and second.energy is not None:
        change = abs(second.energy - first.energy) / len(partners)
        if change > SAME_ENERGY:
            differences.append(f"the energies differ by {1e3 * change:.1f} meV/atom")
    if first.forces is not None and second.forces is not None:
        change = float(np.abs(second.forces[partners] - first.forces).max())
        if change > SAME_FORCE:
            differences.append(f"the forces by {change:.2f} eV/A")
    if first.stress is not None and second.stress is not None:
        change = float(np.abs(second.stress - first.stress).max())
        if change > SAME_STRESS:
            differences.append(f"the stresses by {change / units.GPa:.1f} GPa")
    text = f"the same structure as {first.name}"
    if differences:
        return Finding("contradiction", second.name, f"{text}, but {', '.join(differences)}")
    return Finding("duplicate", second.name, f"{text}, labels agree")


def find_energy_outliers(frames: Sequence[Frame]) -> list[Finding]:
    """Return frames whose energy per atom is far from all others, for their composition.

    The composition is fitted by least squares; the robust z-score is
    0.6745 (e - median) / MAD. Far is a z-score of `ENERGY_Z` and a gap to the other frames,
    among all frames or among those with the same atoms, if these are many.
    """
    frames = [f for f in frames if f.energy is not None]
    alike: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        alike[same_atoms(frame)].append(frame)
    found: dict[str, Finding] = {}
    for own in (frames, *(own for own in alike.values() if len(own) >= MIN_ALIKE)):
        for finding in _energy_outliers(own) if len(own) >= MIN_FRAMES else ():
            found.setdefault(finding.where, finding)
    return list(found.values())


def same_atoms(frame: Frame) -> Hashable:
    """Return what frames with the same atoms in any order have in common."""
    return np.sort(frame.atomic_numbers).tobytes(), frame.pbc.tobytes()


def _energy_outliers(frames: Sequence[Frame]) -> list[Finding]:
    elements = elements_of(frames)
    fractions = np.array([[f.symbols.count(e) for e in elements] for f in frames], np.float64)
    num_atoms = fractions.sum(axis=1)
    fractions /= num_atoms[:, None]  # (K, S)
    energies = np.array([f.energy for f in frames]) / num_atoms
    fit, *_ = np.linalg.lstsq(fractions, energies, rcond=None)
    residuals = energies - fractions @ fit
    residuals -= np.median(residuals)
    scores = 0.6745 * residuals / max(float(np.median(np.abs(residuals))), 1e-3)
    return [
        Finding(
            "energy outlier",
            frames[i].name,
            f"energy {residuals[i]:+.3f} eV/atom from what its composition has elsewhere "
            f"(robust z-score {scores[i]:.0f})",
        )
        for i in _detached(scores)
    ]


def _detached(scores: FloatArray) -> list[int]:
    """Return the few values that a gap parts from the bulk, on either side."""
    found: list[int] = []
    for sign in (1.0, -1.0):
        order = np.argsort(sign * scores)
        values = sign * scores[order]
        far = np.flatnonzero((values[1:] > ENERGY_Z) & (np.diff(values) > ENERGY_GAP)) + 1
        if far.size and len(values) - far[0] <= max(2, RARE * len(values)):
            found += order[far[0] :].tolist()
    return sorted(found)


def find_force_outliers(frames: Sequence[Frame]) -> list[Finding]:
    """Return frames with a force component far above what the data set has."""
    frames = [f for f in frames if f.forces is not None]
    largest = np.array([np.abs(f.forces).max() for f in frames if f.forces is not None])
    if len(frames) < MIN_FRAMES or not largest.any():
        return []
    components = np.abs(np.concatenate([f.forces.ravel() for f in frames if f.forces is not None]))
    usual = float(np.percentile(components[components > 1e-3 * largest.max()], 95))
    bad = np.flatnonzero(largest > FORCE_RATIO * usual)
    if len(bad) > max(2, RARE * len(frames)):
        return []
    return [
        Finding(
            "force outlier",
            frames[i].name,
            f"a force component of {largest[i]:.1f} eV/A; 95 of 100 are below {usual:.2f}",
        )
        for i in bad
    ]


def find_close_atoms(frames: Sequence[Frame], close: float = CLOSE) -> list[Finding]:
    """Return frames in which two atoms are closer than `close` times their covalent radii's sum."""
    findings = []
    for frame in frames:
        radii = covalent_radii[frame.atomic_numbers]
        center, neighbor, offset = neighbor_pairs(
            frame.positions, frame.cell, frame.pbc, float(2 * close * radii.max())
        )
        vectors = frame.positions[neighbor] - frame.positions[center] + offset
        lengths = np.linalg.norm(vectors, axis=1)
        limits = close * (radii[center] + radii[neighbor])
        if (lengths < limits).any():
            e = int(np.argmin(lengths / limits))
            i, j = int(center[e]), int(neighbor[e])
            names = f"{frame.symbols[i]} (atom {i}) and {frame.symbols[j]} (atom {j})"
            text = f"{names} are {lengths[e]:.2f} A apart; {limits[e]:.2f} A is very short already"
            findings.append(Finding("close atoms", frame.name, text))
    return findings


def net_forces(frames: Sequence[Frame]) -> FloatArray:
    """Return |sum F| [eV/A] of every frame with forces of two atoms or more, none fixed."""
    found = [frame.forces for frame in _free(frames) if frame.forces is not None]
    return np.array([np.linalg.norm(forces.sum(axis=0)) for forces in found])


def _free(frames: Sequence[Frame]) -> list[Frame]:
    """Return frames with forces in which no atom is held; codes write zeros for those."""
    with_forces = [f for f in frames if f.forces is not None and len(f.forces) > 1]
    return [f for f in with_forces if f.forces is not None and f.forces.any(axis=1).all()]


def find_net_forces(frames: Sequence[Frame]) -> list[Finding]:
    """Return frames whose forces do not add up to zero: in part wrong, or from outside.

    The sum is compared with the forces of the frame, and with the sums of the other frames:
    codes that integrate on a grid leave some.
    """
    free, sums = _free(frames), net_forces(frames)
    if not free:
        return []
    usual = float(np.median(sums))
    findings = []
    for frame, size in zip(free, sums, strict=True):
        assert frame.forces is not None
        whole = float(np.linalg.norm(frame.forces))
        unusual = len(free) >= MIN_FRAMES and size > NET_RATIO * usual
        if size > NET_FLOOR and (size > NET_SHARE * whole or unusual):
            text = f"the forces add up to {1e3 * size:.0f} meV/A, not to zero"
            findings.append(Finding("net force", frame.name, f"{text} (median {1e3 * usual:.1f})"))
    return findings
