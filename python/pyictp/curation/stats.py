# SPDX-License-Identifier: MIT
"""What a data set holds, and what looks wrong in it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import units
from ase.data import atomic_masses

from pyictp.common.arrays import FloatArray
from pyictp.config import DataConfig
from pyictp.curation import checks as data_checks
from pyictp.curation import label_checks
from pyictp.curation.checks import Finding
from pyictp.curation.label_checks import Check
from pyictp.curation.loose_virials import LooseVirial, read_with_loose_virials
from pyictp.curation.parts import is_free_atom
from pyictp.curation.populations import find_populations
from pyictp.data.frames import LABELS, Frame, missing_labels
from pyictp.graph.neighbors import neighbor_pairs
from pyictp.potential.distances import named, shortest_lengths

SHOWN_GROUPS = 20
SHOWN_FINDINGS = 5  # per kind
GRAMS_PER_CM3 = 1e24 / units.kg * 1e3  # of amu/A^3


@dataclass(frozen=True)
class Contacts:
    """Distances within the cutoff of one frame."""

    num_neighbors: float  # mean over atoms
    shortest: dict[str, float]  # by pair of elements, "Cu-O" [A]
    nearest: FloatArray  # (<= N,) distance of the nearest neighbor of atoms that have one [A]


def contacts(frame: Frame, cutoff: float) -> Contacts:
    """Return the distances within `cutoff` [A] of a frame."""
    center, neighbor, offset = neighbor_pairs(frame.positions, frame.cell, frame.pbc, cutoff)
    vectors = frame.positions[neighbor] - frame.positions[center] + offset  # (E, 3)
    lengths = np.linalg.norm(vectors, axis=1)
    nearest = np.full(len(frame.atomic_numbers), np.inf)
    np.minimum.at(nearest, center, lengths)
    elements, kinds = np.unique(frame.symbols, return_inverse=True)
    shortest = shortest_lengths(kinds, center, neighbor, lengths, len(elements))
    by_pair = named(shortest, elements.tolist())
    return Contacts(len(center) / len(nearest), by_pair, nearest[np.isfinite(nearest)])


def summarise(frames: Sequence[Frame], contacts_of: Sequence[Contacts]) -> dict[str, Any]:
    """Return the numbers of a data set; None where there is no label.

    Free atoms count as frames only.
    """
    kept = [i for i, frame in enumerate(frames) if not is_free_atom(frame)]
    bulk, near = [frames[i] for i in kept], [contacts_of[i] for i in kept]
    shortest: dict[str, float] = {}
    for item in near:
        for pair, length in item.shortest.items():
            shortest[pair] = min(length, shortest.get(pair, np.inf))
    atoms = Counter(symbol for frame in bulk for symbol in frame.symbols)
    in_frames = Counter(symbol for frame in bulk for symbol in set(frame.symbols))
    return {
        "num_frames": len(frames),
        "num_free_atoms": len(frames) - len(bulk),
        "files": dict(Counter(frame.file for frame in frames)),
        "periodic": dict(Counter("".join("FT"[int(p)] for p in f.pbc) for f in bulk)),
        "labels": {label: sum(getattr(f, label) is not None for f in frames) for label in LABELS},
        "atoms_per_frame": _range([len(f.atomic_numbers) for f in bulk]),
        "elements": {e: {"atoms": atoms[e], "frames": in_frames[e]} for e in sorted(atoms)},
        "groups": dict(sorted(Counter(frame.group for frame in frames).items())),
        "energy_per_atom_ev": _range(
            [f.energy / len(f.atomic_numbers) for f in bulk if f.energy is not None]
        ),
        "forces_ev_per_a": _forces(bulk),
        "net_force_mev_per_a": _range(1e3 * data_checks.net_forces(bulk)),
        "stress_ev_per_a3": _range([f.stress.ravel() for f in bulk if f.stress is not None]),
        "shortest_distance_a": dict(sorted(shortest.items())),
        "neighbors_within_cutoff": _range([item.num_neighbors for item in near]),
        "density_g_per_cm3": _range([_density(f) for f in bulk if f.pbc.all()]),
    }


def _range(values: Sequence[Any] | FloatArray) -> dict[str, float] | None:
    numbers = np.asarray(values, dtype=np.float64)
    if not numbers.size:
        return None
    names = ("min", "mean", "max", "std")
    return {name: float(getattr(numbers, name)()) for name in names}


def _forces(frames: Sequence[Frame]) -> dict[str, float] | None:
    forces = [f.forces.ravel() for f in frames if f.forces is not None]
    if not forces:
        return None
    values = np.concatenate(forces)
    return {"rms": float(np.sqrt(np.square(values).mean())), "max": float(np.abs(values).max())}


def _density(frame: Frame) -> float:
    """Return the density [g/cm^3]."""
    mass = float(atomic_masses[frame.atomic_numbers].sum())
    return mass / (frame.volume or np.inf) * GRAMS_PER_CM3


def table(summary: dict[str, Any], cutoff: float) -> str:
    """Return the numbers as lines for people."""
    lone = summary["num_free_atoms"]
    extra = f", {lone} of them free atoms (left out below)" if lone else ""
    rows = [("frames", f"{summary['num_frames']}{extra}")]
    rows += [("", f"{number} in {file}") for file, number in summary["files"].items()]
    labels = ", ".join(f"{label} {number}" for label, number in summary["labels"].items())
    periodic = ", ".join(f"{key} {number}" for key, number in summary["periodic"].items())
    rows += [("with labels", labels), ("pbc", periodic)]
    rows.append(("atoms per frame", _span(summary["atoms_per_frame"], "", ".4g")))
    for element, counts in summary["elements"].items():
        rows.append((f"  {element}", f"{counts['atoms']} atoms in {counts['frames']} frames"))
    groups = list(summary["groups"].items())
    if len(groups) > 1 or (groups and groups[0][0]):
        rows.append(("groups", str(len(groups))))
        rows += [(f"  {name or '(none)'}", f"{n} frames") for name, n in groups[:SHOWN_GROUPS]]
        if len(groups) > SHOWN_GROUPS:
            rows.append(("", f"and {len(groups) - SHOWN_GROUPS} more"))
    rows.append(("energy", _span(summary["energy_per_atom_ev"], "eV/atom", ".4f")))
    forces = summary["forces_ev_per_a"]
    text = f"rms {forces['rms']:.4f}, largest component {forces['max']:.3f} eV/A" if forces else "-"
    rows.append(("forces", text))
    rows.append(("net force", _span(summary["net_force_mev_per_a"], "meV/A", ".3g")))
    rows += _stress_rows(summary["stress_ev_per_a3"])
    rows.append(("density", _span(summary["density_g_per_cm3"], "g/cm^3", ".3f")))
    for pair, length in summary["shortest_distance_a"].items():
        rows.append((f"shortest {pair}", f"{length:.3f} A"))
    rows.append(
        (f"within {cutoff:g} A", _span(summary["neighbors_within_cutoff"], "neighbors", ".1f"))
    )
    return "\n".join(f"{name:<18}{text}".rstrip() for name, text in rows)


def _stress_rows(stress: dict[str, float] | None) -> list[tuple[str, str]]:
    if stress is None:
        return [("stress", "-")]
    low, high = stress["min"], stress["max"]
    in_gpa = f"{low / units.GPa:.2f} to {high / units.GPa:.2f} GPa"
    return [("stress", f"components {low:.4f} to {high:.4f} eV/A^3 ({in_gpa}), tension positive")]


def _span(values: dict[str, float] | None, unit: str, form: str) -> str:
    if values is None:
        return "-"
    low, mean, high = (format(values[name], form) for name in ("min", "mean", "max"))
    spread = f", std {values['std']:{form}}" if values["std"] > 0 else ""
    return f"{low} to {high}, mean {mean}{spread} {unit}".rstrip()


def check_all(
    frames: Sequence[Frame], loose: Sequence[LooseVirial] = ()
) -> tuple[list[Check], list[Finding]]:
    """Return the tests of labels against labels, and everything that looks wrong.

    Args:
        frames: labelled structures; free atoms are passed over.
        loose: virials of frames without pbc.
    """
    frames = [frame for frame in frames if not is_free_atom(frame)]
    findings = data_checks.find_copies(frames)
    for find in (
        data_checks.find_energy_outliers,
        data_checks.find_force_outliers,
        data_checks.find_close_atoms,
        data_checks.find_net_forces,
        find_populations,
    ):
        findings += find(frames)
    findings += label_checks.check_loose_virials(loose)
    findings += label_checks.check_magnitudes(frames)
    by_file: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        by_file[frame.file].append(frame)
    checks: list[Check] = []
    for file, own in by_file.items():
        own_loose = [item for item in loose if item.frame.file == file]
        for new_checks, new_findings in (
            label_checks.check_forces(file, own),
            label_checks.check_stress(file, own, own_loose),
        ):
            checks += new_checks
            findings += new_findings
    return checks, findings


def report_checks(checks: Sequence[Check], findings: Sequence[Finding]) -> str:
    """Return tests and warnings as lines for people, at most five warnings of a kind."""
    lines = [f"{check.name}, {check.file}: {check.text}" for check in checks]
    kinds = Counter(finding.kind for finding in findings)
    for kind, number in kinds.items():
        own = [finding for finding in findings if finding.kind == kind]
        lines += ["", *(f"warning, {kind}: {finding}" for finding in own[:SHOWN_FINDINGS])]
        if number > SHOWN_FINDINGS:
            rest = number - SHOWN_FINDINGS
            lines.append(f"warning, {kind}: and {rest} more (--json FILE lists all)")
    total = f"{len(findings)} warning{'' if len(findings) == 1 else 's'}"
    return "\n".join([*lines, *([""] if lines else []), total])


@dataclass(frozen=True)
class Overview:
    """A data set, looked at."""

    frames: list[Frame]
    nearest: list[FloatArray]  # by frame, distance of the nearest neighbor of its atoms [A]
    summary: dict[str, Any]
    checks: list[Check]
    findings: list[Finding]


def look_at(paths: Sequence[str], config: DataConfig, cutoff: float) -> Overview:
    """Read files and return what they hold and what looks wrong.

    Args:
        paths: of labelled structures.
        config: names and units of their fields.
        cutoff: of neighbors [A].

    Raises:
        UserError: as `read_frames`.
    """
    frames, loose = read_with_loose_virials(paths, config)
    whole = [_without_partial_forces(frame) for frame in frames]
    contacts_of = [contacts(frame, cutoff) for frame in whole]
    checks, findings = check_all(whole, loose)
    findings += [Finding("labels", *found) for found in missing_labels(frames, config)]
    nearest = [item.nearest for item in contacts_of]
    return Overview(whole, nearest, summarise(whole, contacts_of), checks, findings)


def _without_partial_forces(frame: Frame) -> Frame:
    """Return the frame without forces where an atom has none (NaN)."""
    if frame.forces is None or np.isfinite(frame.forces).all():
        return frame
    return replace(frame, forces=None)
