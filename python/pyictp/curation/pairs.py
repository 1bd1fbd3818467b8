# SPDX-License-Identifier: MIT
"""Pairs of nearly the same structure: there, forces and stress foretell the energy difference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pyictp.common.arrays import FloatArray
from pyictp.data.frames import Frame
from pyictp.graph.neighbors import periodic_cell

BLOCK = 1000  # frames compared with one another at once
MAX_MOVE = 0.5  # A; farther atoms are no small displacement
MAX_STRAIN = 0.1
SAME_CELL = 1e-6  # strain


@dataclass(frozen=True)
class Pair:
    """Two frames, and the energy difference that their labels foretell by the trapezoidal rule."""

    first: Frame
    second: Frame
    energy_change: float  # E2 - E1 [eV]
    force_work: float  # -1/2 sum (F1 + F2) . dx [eV]
    stress_work: float  # 1/2 (V1 s1 + V2 s2) : strain [eV], 0 for one cell
    slack: float  # 1/2 sum |F2 - F1| |dx| [eV], what the rule may be wrong by
    move: float  # largest displacement besides strain and translation [A]
    strain: float  # largest component of the strain between the cells


def pairs_of_one_cell(frames: Sequence[Frame]) -> list[Pair]:
    """Return each frame and the nearest one with the same atoms in the same cell or none.

    Atoms must be in one order. Frames need energies and forces; moves up to `MAX_MOVE`.
    Molecules are turned onto one another first.
    """
    usable = [f for f in frames if f.energy is not None and f.forces is not None]
    usable = [f for f in usable if len(f.atomic_numbers) > 1]
    return _pairs(usable, lambda f: (*_kind(f), np.round(f.cell[f.pbc], 6).tobytes()), False)


def pairs_of_two_cells(frames: Sequence[Frame]) -> list[Pair]:
    """Return each frame and the nearest one in a cell that is strained by up to `MAX_STRAIN`.

    Frames need energies, forces and stresses, and pbc along all cell vectors.
    """
    usable = [f for f in frames if None not in (f.energy, f.volume) and f.pbc.all()]
    usable = [f for f in usable if f.forces is not None and f.stress is not None]
    return _pairs(usable, _kind, True)


def _kind(frame: Frame) -> tuple[Hashable, ...]:
    return frame.atomic_numbers.tobytes(), frame.pbc.tobytes()


def _pairs(frames: Sequence[Frame], key: Callable[[Frame], Hashable], strained: bool) -> list[Pair]:
    """Return the pairs of nearest frames of every set of comparable ones."""
    sets: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        sets[key(frame)].append(frame)
    pairs = []
    for members in sets.values():
        for start in range(0, len(members), BLOCK):
            block = members[start : start + BLOCK]
            pairs += [make_pair(block[i], block[j]) for i, j in _nearest(block, strained)]
    return [p for p in pairs if p.move <= MAX_MOVE and p.strain <= MAX_STRAIN]


def _nearest(frames: Sequence[Frame], strained: bool) -> Iterator[tuple[int, int]]:
    """Yield the indices (i < j) of every frame and the one most like it, each pair once."""
    if len(frames) < 2:
        return
    vectors = np.stack([_features(frame) for frame in frames])  # (K, D)
    norms = np.square(vectors).sum(axis=1)
    distances = norms[:, None] + norms[None, :] - 2 * vectors @ vectors.T  # (K, K), squared
    np.fill_diagonal(distances, np.inf)
    if strained:
        cells = np.stack([frame.cell.ravel() for frame in frames])  # (K, 9)
        largest = np.abs(cells).max()
        for row, cell in enumerate(cells):
            same = np.abs(cells - cell).max(axis=1) < 1e-4 * largest
            distances[row, same] = np.inf
    partners = distances.argmin(axis=1)
    found = [(i, int(j)) for i, j in enumerate(partners) if distances[i, j] < np.inf]
    yield from sorted({(min(i, j), max(i, j)) for i, j in found})


def _features(frame: Frame) -> FloatArray:
    """Return a vector (D,) [A] that is near that of another frame where the structures are near.

    Molecules: all distances (up to 100 atoms, else positions). Cells: scaled positions on a
    circle, and the cell.
    """
    if not frame.pbc.any():
        centered = frame.positions - frame.positions.mean(axis=0)
        if len(centered) > 100:
            return centered.ravel()
        first, second = np.triu_indices(len(centered), 1)
        return np.linalg.norm(centered[first] - centered[second], axis=1)
    box = periodic_cell(frame.cell, frame.pbc)
    scaled = frame.positions @ np.linalg.inv(box)  # (N, 3)
    lengths = np.linalg.norm(box, axis=1) / (2 * np.pi)
    angles = 2 * np.pi * scaled
    circle = np.where(frame.pbc, [np.cos(angles), np.sin(angles)], [angles, 0 * angles]) * lengths
    return np.concatenate([circle.ravel(), box.ravel()])


def make_pair(first: Frame, second: Frame) -> Pair:
    """Return two frames of the same atoms, compared; both must be labelled."""
    assert first.energy is not None
    assert second.energy is not None
    moves, forces, strain = _displacements(first, second)
    assert first.forces is not None
    stress_work = 0.0
    if np.abs(strain).max() > SAME_CELL and first.stress is not None and second.stress is not None:
        virials = [f.stress * (f.volume or 0.0) for f in (first, second) if f.stress is not None]
        stress_work = 0.5 * float(np.sum((virials[0] + virials[1]) * strain))
    lengths = np.linalg.norm(moves, axis=1)
    jumps = np.linalg.norm(forces - first.forces, axis=1)
    return Pair(
        first=first,
        second=second,
        energy_change=second.energy - first.energy,
        force_work=-0.5 * float(np.sum((first.forces + forces) * moves)),
        stress_work=stress_work,
        slack=0.5 * float(lengths @ jumps),
        move=float(lengths.max()),
        strain=float(np.abs(strain).max()),
    )


def _displacements(first: Frame, second: Frame) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return moves (N, 3) [A], the second frame's forces (N, 3) [eV/A] and the strain (3, 3).

    Moves are those of scaled positions, in the mean cell, without the common translation.
    """
    assert second.forces is not None
    if not first.pbc.any():
        start = first.positions - first.positions.mean(axis=0)
        end = second.positions - second.positions.mean(axis=0)
        rotation = _rotation(end, start)
        return end @ rotation - start, second.forces @ rotation, np.zeros((3, 3))
    boxes = [periodic_cell(frame.cell, frame.pbc) for frame in (first, second)]
    scaled = [
        f.positions @ np.linalg.inv(box) for f, box in zip((first, second), boxes, strict=True)
    ]
    change = scaled[1] - scaled[0]
    change = np.where(first.pbc, change - np.round(change), change)
    mean_box = 0.5 * (boxes[0] + boxes[1])
    moves = change @ mean_box
    gradient = np.linalg.solve(mean_box, boxes[1] - boxes[0])
    return moves - moves.mean(axis=0), second.forces, 0.5 * (gradient + gradient.T)


def _rotation(points: FloatArray, target: FloatArray) -> FloatArray:
    """Return the rotation R (3, 3) for which points @ R is nearest to target (Kabsch)."""
    left, _, right = np.linalg.svd(points.T @ target)
    sign = np.sign(np.linalg.det(left @ right))
    return (left * [1.0, 1.0, sign]) @ right
