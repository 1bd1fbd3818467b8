# SPDX-License-Identifier: MIT
"""Frames of the same atoms in two populations that no chemistry parts: two units, two methods."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase.formula import Formula

from pyictp.common.arrays import FloatArray
from pyictp.common.units import unit_factor
from pyictp.curation.checks import MIN_FRAMES, RARE, Finding, same_atoms
from pyictp.curation.label_checks import ENERGY_UNITS, FORCE_UNITS, NAMED
from pyictp.data.frames import Frame

FAR = 10.0  # eV/atom, more than any bond
APART = 1.0  # eV/atom, a gap to look at
WIDE = 10.0  # times what either population spreads over,
WIDE_NAMED = 2.0  # or so many times where a unit gives the ratio
FEW = 3  # frames on either side, where a unit gives the ratio
RELAXED = 0.1  # eV/A; smaller forces may be those of relaxed structures
SHOWN_FILES = 3


@dataclass(frozen=True)
class Split:
    """Values of frames of the same atoms, parted at their widest gap."""

    low: list[Frame]
    high: list[Frame]
    gap: float  # between the populations
    spread: float  # within the wider one
    centers: tuple[float, float]  # medians

    @property
    def fewer(self) -> int:
        """Return the number of frames of the smaller population."""
        return min(len(self.low), len(self.high))


def find_populations(frames: Sequence[Frame]) -> list[Finding]:
    """Return one line for all frames of the same atoms whose energies or forces fall in two.

    Half of the frames wrong are no outliers, and labels that are all in one wrong unit match
    one another; only beside frames in another unit they show.
    """
    alike: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        alike[same_atoms(frame)].append(frame)
    return [f for own in alike.values() for f in (*_two_energies(own), *_two_forces(own))]


def _two_energies(frames: Sequence[Frame]) -> Iterator[Finding]:
    """Yield the line of energies per atom too far from one another, if they are."""
    known = [f for f in frames if f.energy is not None]
    per_atom = [f.energy / len(f.atomic_numbers) for f in known if f.energy is not None]
    split = _widest_gap(known, np.array(per_atom))
    if split is None:
        return
    ratio = _ratio(split.centers)
    names = _named(ratio, ENERGY_UNITS)
    wide, many = (WIDE_NAMED, FEW) if names else (WIDE, MIN_FRAMES)
    apart = split.gap > max(APART, wide * split.spread) and split.fewer >= many
    if apart or split.gap > FAR:
        reason = f"a factor of {ratio:.4g}, as between eV and {names}"
        text = "another unit, method or reference energy"
        yield _finding("energies", split, "eV/atom", reason if names else text)


def _two_forces(frames: Sequence[Frame]) -> Iterator[Finding]:
    """Yield the line of root mean square forces that a unit parts, if there is one."""
    known, sizes = [], []
    for frame in frames:
        if frame.forces is not None and frame.forces.any():
            known.append(frame)
            sizes.append(np.sqrt(np.mean(np.square(frame.forces))))
    split = _widest_gap(known, np.log(sizes))
    if split is None or split.fewer < MIN_FRAMES or split.gap < split.spread:
        return
    low, high = np.exp(split.centers).tolist()
    names = _named(high / low, FORCE_UNITS)
    if names and low > RELAXED:
        reason = f"a factor of {high / low:.3g}, as between eV/A and {names}"
        split = replace(split, centers=(low, high))
        yield _finding("forces", split, "eV/A root mean square", reason)


def _widest_gap(frames: Sequence[Frame], values: FloatArray) -> Split | None:
    """Return the frames parted where their values (K,) leave most room; None for mere outliers."""
    if len(frames) < 2:
        return None
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    start = int(np.diff(ordered).argmax()) + 1
    few = min(start, len(frames) - start) <= max(2, RARE * len(frames))
    if few and len(frames) >= MIN_FRAMES:
        return None
    low, high = ordered[:start], ordered[start:]
    return Split(
        low=[frames[i] for i in sorted(order[:start])],
        high=[frames[i] for i in sorted(order[start:])],
        gap=float(high[0] - low[-1]),
        spread=float(max(np.ptp(low), np.ptp(high))),
        centers=(float(np.median(low)), float(np.median(high))),
    )


def _ratio(centers: tuple[float, float]) -> float:
    """Return how many times one is the other, 1 or more; 0 for two signs."""
    first, second = sorted(map(abs, centers))
    return second / first if centers[0] * centers[1] > 0 else 0.0


def _named(ratio: float, names: Sequence[str]) -> str:
    """Return the units that differ from eV and A by this factor, "" if none does."""
    factors = {name: unit_factor(name) for name in names}
    near = [n for n, f in factors.items() if 1 / NAMED < ratio / max(f, 1 / f) < NAMED]
    return " or ".join(near)


def _finding(what: str, split: Split, unit: str, reason: str) -> Finding:
    later = max((split.low, split.high), key=lambda own: (own[0].file, own[0].index))[0]
    (low, high), (first, second) = _sources(split), split.centers
    formula = Formula.from_dict(dict(Counter(later.symbols))).format("metal")
    text = (
        f"{what} of {formula} fall in two, near {first:.6g} {unit} ({low}) and near "
        f"{second:.6g} ({high}): {reason}"
    )
    return Finding("inconsistent", later.name, text)


def _sources(split: Split) -> tuple[str, str]:
    """Return the number of frames of either population, and the files or groups that tell them."""
    texts = [f"frames: {len(own)}" for own in (split.low, split.high)]
    for key in ("file", "group"):
        names = [dict.fromkeys(getattr(f, key) for f in own) for own in (split.low, split.high)]
        if names[0].keys().isdisjoint(names[1]):
            shown = [", ".join([*own][:SHOWN_FILES]) or "no group" for own in names]
            return f"{texts[0]}, {shown[0]}", f"{texts[1]}, {shown[1]}"
    return texts[0], texts[1]
