# SPDX-License-Identifier: MIT
"""Units and signs of labels, tested against one another: energy, forces, stress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import units

from pyictp.common.arrays import FloatArray
from pyictp.common.units import unit_factor
from pyictp.curation.checks import Finding
from pyictp.curation.loose_virials import LooseVirial
from pyictp.curation.pairs import Pair, pairs_of_one_cell, pairs_of_two_cells
from pyictp.data.frames import Frame
from pyictp.data.magnitudes import find_doubts, others

MIN_PAIRS = 5
MAX_PAIRS = 300
RIGHT = (0.6, 1.65)  # slopes of right labels: the rule is not exact; Bohr for A gives 0.53 or 1.89
NAMED = 1.12  # a slope within this factor names a unit; kcal/mol and 25.7 Ry/Bohr are nearer
NOISE = 1e-3  # eV, of energy differences
LINEAR = 0.5  # share of the energy differences that one slope must explain,
MOST = 90  # of so many percent of the points; the others may be wrong
ELASTIC_MOVE = 0.1  # A; frames that differ by more than a strain tell little of the stress
VACUUM = 8.0  # A, gap on all sides of a cluster
BOHR = float(units.Bohr)

FORCE_UNITS = ("kcal/mol/A", "kJ/mol/A", "Hartree/Bohr", "Hartree/A", "Rydberg/Bohr", "meV/A")
ENERGY_UNITS = ("kcal/mol", "kJ/mol", "Hartree", "Rydberg", "meV")
STRESS_UNITS = ("GPa", "kbar", "bar", "Hartree/Bohr^3", "Rydberg/Bohr^3")


@dataclass(frozen=True)
class Check:
    """One test of labels against labels, of one file."""

    name: str
    file: str
    text: str  # what came out, or why it was not possible
    slope: float | None = None  # 1 for right units and signs; None: not possible
    num_points: int = 0


def check_forces(file: str, frames: Sequence[Frame]) -> tuple[list[Check], list[Finding]]:
    """Test energies against forces on pairs of nearly the same structure.

    E2 - E1 over -1/2 sum (F1 + F2) . dx has slope 1; another slope names unit or sign.
    """
    name = "energy and forces"
    if not any(frame.energy is not None and frame.forces is not None for frame in frames):
        return [Check(name, file, "not tested: no frame has both")], []
    pairs = sorted(pairs_of_one_cell(frames), key=lambda pair: pair.move)[:MAX_PAIRS]
    pairs = [pair for pair in pairs if abs(pair.force_work) > 1e-4]
    check = _regression(
        name,
        file,
        np.array([pair.energy_change for pair in pairs]),
        np.array([pair.force_work for pair in pairs]),
        np.array([pair.slack + NOISE for pair in pairs]),
        f"moves up to {max((pair.move for pair in pairs), default=0):.2f} A",
        "two frames with the same atoms in the same order and cell, less than 0.5 A apart",
    )
    if check.slope is None or RIGHT[0] < check.slope < RIGHT[1]:
        return [check], [_contradiction(pair) for pair in pairs if _is_contradiction(pair)]
    guesses = _guesses(check.slope, _force_candidates())
    text = f"energies and forces do not match: slope {check.slope:.4g} instead of 1, {guesses}"
    return [check], [Finding("units", pairs[0].first.name, text)]


def _is_contradiction(pair: Pair) -> bool:
    """Return whether the trapezoidal rule cannot be that wrong; forces are monotonic nearby."""
    noise = 5e-3 + 5e-4 * len(pair.first.atomic_numbers)  # eV: rounding, convergence
    return abs(pair.energy_change - pair.force_work) > pair.slack + noise


def _contradiction(pair: Pair) -> Finding:
    text = (
        f"almost the structure of {pair.first.name} (moved {pair.move:.3f} A), but the energy "
        f"differs by {pair.energy_change:+.3f} eV where the forces give {pair.force_work:+.3f}"
    )
    return Finding("contradiction", pair.second.name, text)


def _force_candidates() -> dict[str, float]:
    """Return the slope of every likely mistake in units of energies, forces or lengths."""
    found = {f"forces in {name}": unit_factor(name) for name in FORCE_UNITS}
    found |= {f"energies in {name}": 1 / unit_factor(name) for name in ENERGY_UNITS}
    return {
        **found,
        "forces per Bohr (eV/Bohr, or Hartree/Bohr beside energies in Hartree)": 1 / BOHR,
        "positions in Bohr": BOHR,
    }


def _stress_candidates() -> dict[str, float]:
    return {f"stress in {name}": unit_factor(name) for name in STRESS_UNITS}


def check_stress(
    file: str, frames: Sequence[Frame], loose: Sequence[LooseVirial]
) -> tuple[list[Check], list[Finding]]:
    """Test stresses against energies of strained cells, and virials of clusters against forces.

    E2 - E1 + 1/2 sum (F1 + F2) . dx over 1/2 (V1 s1 + V2 s2) : strain has slope 1; so has
    sum r (x) F of a cluster over -V s.
    """
    if not loose and all(frame.stress is None for frame in frames):
        return [], []
    pairs = [pair for pair in pairs_of_two_cells(frames) if pair.move < ELASTIC_MOVE]
    first = _regression(
        "energy and stress",
        file,
        np.array([pair.energy_change - pair.force_work for pair in pairs]),
        np.array([pair.stress_work for pair in pairs]),
        np.ones(len(pairs)),
        f"strains up to {max((pair.strain for pair in pairs), default=0):.3f}",
        "frames with the same scaled positions in cells strained by less than 0.1",
    )
    clusters, labels, from_forces = _cluster_virials(frames, loose)
    second = _regression(
        "virial and forces",
        file,
        from_forces,
        labels,
        np.ones(len(labels)),
        f"{len(clusters)} clusters",
        "clusters with a virial, free or with 8 A of vacuum on all sides",
    )
    findings = [
        _stress_finding(check, where)
        for check, where in (
            (first, pairs[0].first.name if pairs else ""),
            (second, clusters[0].name if clusters else ""),
        )
        if check.slope is not None and not RIGHT[0] < check.slope < RIGHT[1]
    ]
    done = [check for check, points in ((first, pairs), (second, clusters)) if points]
    return done or [first, second], findings


def _stress_finding(check: Check, where: str) -> Finding:
    assert check.slope is not None
    guesses = _guesses(check.slope, _stress_candidates())
    text = f"{check.name} do not match: slope {check.slope:.4g} instead of 1, {guesses}"
    return Finding("stress", where, text)


def _cluster_virials(
    frames: Sequence[Frame], loose: Sequence[LooseVirial]
) -> tuple[list[Frame], FloatArray, FloatArray]:
    """Return clusters, and nine components each of the label and of sum r (x) F [eV]."""
    clusters, labels, from_forces = [], [], []
    known: list[tuple[Frame, FloatArray | None, FloatArray | None]] = [
        (item.frame, item.virial, item.frame.positions) for item in loose
    ]
    for frame in frames:
        if frame.stress is not None and frame.volume is not None:
            known.append((frame, -frame.stress * frame.volume, _whole(frame)))
    for frame, virial, positions in known:
        if virial is not None and positions is not None and frame.forces is not None:
            clusters.append(frame)
            labels.append(virial.ravel())
            tensor = positions.T @ frame.forces
            from_forces.append(0.5 * (tensor + tensor.T).ravel())
    return clusters, np.concatenate([[], *labels]), np.concatenate([[], *from_forces])


def _whole(frame: Frame) -> FloatArray | None:
    """Return the positions (N, 3) of a cluster in one piece, None without vacuum on all sides."""
    if not frame.pbc.all() or len(frame.positions) < 2:
        return None
    scaled = (frame.positions @ np.linalg.inv(frame.cell)) % 1.0
    heights = 1 / np.linalg.norm(np.linalg.inv(frame.cell), axis=0)  # (3,), between cell planes
    for axis in range(3):
        values = np.sort(scaled[:, axis])
        gaps = np.diff(values, append=values[0] + 1.0)
        widest = int(gaps.argmax())
        if gaps[widest] * heights[axis] < VACUUM:
            return None
        first = values[(widest + 1) % len(values)]
        scaled[:, axis] = (scaled[:, axis] - first + 1e-9) % 1.0
    return scaled @ frame.cell


def _regression(
    name: str,
    file: str,
    values: FloatArray,
    foretold: FloatArray,
    errors: FloatArray,
    extent: str,
    needs: str,
) -> Check:
    """Return the slope of values over what other labels foretell, all (P,).

    It minimises sum |values - slope * foretold| / errors, which a few wrong points do not move.
    """
    used = np.abs(foretold) > 1e-9
    values, foretold, errors = values[used], foretold[used], errors[used]
    if len(values) < MIN_PAIRS:
        return Check(name, file, f"not tested: this needs {needs}; {len(values)} found")
    slope = _weighted_median(values / foretold, np.abs(foretold) / errors)
    residuals = np.abs(values - slope * foretold) / errors
    most = residuals <= np.percentile(residuals, MOST)
    total = max(float((np.abs(values) / errors)[most].sum()), 1e-12)
    explained = 1 - residuals[most].sum() / total
    if explained < LINEAR:
        percent = f"{100 * max(explained, 0.0):.0f}%"
        text = f"not decided: slope {slope:.3g} explains only {percent} ({extent})"
        return Check(name, file, text)
    text = f"slope {slope:.4g} over {len(values)} points ({extent})"
    return Check(name, file, text, float(slope), len(values))


def _weighted_median(values: FloatArray, weights: FloatArray) -> float:
    order = np.argsort(values)
    sums = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(sums, 0.5 * sums[-1])])


def _guesses(slope: float, candidates: dict[str, float]) -> str:
    """Return the mistakes that give this slope, in words."""
    sign = "the sign is reversed" if slope < 0 else ""
    if sign and RIGHT[0] < -slope < RIGHT[1]:
        return sign
    size = abs(slope)
    near = [name for name, value in candidates.items() if 1 / NAMED < size / value < NAMED]
    unit = f"as for {' or '.join(near)}" if near else "which no known unit gives"
    inverse = [name for name, value in candidates.items() if 1 / NAMED < size * value < NAMED]
    if inverse and not near:
        unit = f"as for labels in eV and A that were read as {' or '.join(inverse)}"
    return f"{unit}, and {sign}" if sign else unit


def check_magnitudes(frames: Sequence[Frame]) -> list[Finding]:
    """Return labels that are hard to believe in eV and A, a line for each file and reason."""
    return [
        Finding(
            "stress" if doubt.label == "stress" else "units",
            doubt.frame.name,
            f"field '{doubt.label}': {doubt.text}{others(number)}",
        )
        for doubt, number in find_doubts(frames)
    ]


def check_loose_virials(loose: Sequence[LooseVirial]) -> list[Finding]:
    """Return frames that training refuses for their virial, one line per file."""
    findings = []
    for item in {item.frame.file: item for item in reversed(loose)}.values():
        key = "stress" if item.virial is None else "virial"
        text = (
            f"has '{item.key}' but no pbc: training refuses it, set data.{key}_key to null; "
            "the stresses of this file were not looked at"
        )
        findings.append(Finding("stress", item.frame.name, text))
    return findings
