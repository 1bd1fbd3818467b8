# SPDX-License-Identifier: MIT
"""A record evaluated again: whole cell, ASE's signs, nothing of LAMMPS but the positions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase.geometry import find_mic
from pyictp.graph.derivatives import evaluate_graph
from pyictp.graph.graph import build_graph
from pyictp.model.ictp import ICTPModel

TOLERANCES = {"energy": 1e-9, "forces": 1e-8, "virial": 1e-8}  # energy, virial: relative; eV/A
BOND = (2.0, 2.2)  # K [eV/A^2], r0 [A] of every bond
LENNARD_JONES = (0.01, 2.5, 5.0)  # epsilon [eV], sigma [A], cutoff [A]


@dataclass(frozen=True)
class Record:
    """One evaluation of the pair style: all atoms sorted by ID, eV and Angstrom."""

    ids: np.ndarray
    types: np.ndarray
    positions: np.ndarray
    forces: np.ndarray  # with those of bonds
    masks: np.ndarray
    charges: np.ndarray | None
    cell: np.ndarray
    pbc: np.ndarray
    energy: float | None  # of pair styles; None: LAMMPS did not ask for it
    virial: np.ndarray | None  # (6,) xx yy zz xy xz yz; None: LAMMPS did not ask for it
    is_trial: bool  # of a Monte Carlo fix, or of a search: LAMMPS wants the energy alone
    groups: list[str]
    bonds: np.ndarray  # (B, 3) type, ID, ID


def merge(parts: Sequence[dict[str, Any]], virial: np.ndarray | None, is_trial: bool) -> Record:
    """Return one record of those of all processes, with the virial [eV] of LAMMPS' log."""
    filled = [part for part in parts if len(part["ids"])]
    order = np.argsort(np.concatenate([part["ids"] for part in filled] or [[]]))

    def gather(name: str, shape: tuple[int, ...] = (0,)) -> np.ndarray:
        arrays = [part[name] for part in filled]
        return np.concatenate(arrays)[order] if arrays else np.zeros(shape)

    first = parts[0]
    pbc = np.array(first["periodic"])
    if first["dimension"] == 2:
        pbc[2] = False  # LAMMPS makes no images along z
    has_charges = bool(filled) and "charges" in filled[0]
    return Record(
        ids=gather("ids"),
        types=gather("types").astype(int),
        positions=gather("positions", (0, 3)),
        forces=gather("forces", (0, 3)),
        masks=gather("masks").astype(int),
        charges=gather("charges") if has_charges else None,
        cell=first["cell"],
        pbc=pbc,
        energy=first["energy"],
        virial=virial,
        is_trial=is_trial,
        groups=first["groups"],
        bonds=first["bonds"],
    )


@dataclass(frozen=True)
class Rule:
    """What the model is to see of the atoms, and what else acts between them."""

    elements: Sequence[str]  # per type; NULL
    without: str = ""  # group
    scale: float = 1.0
    lennard_jones: Sequence[tuple[int, int]] = ()  # pairs of types
    has_bonds: bool = True  # harmonic ones


def evaluate(record: Record, rule: Rule, model: ICTPModel) -> Record:
    """Return the record with the energy, forces and virial that it should have."""
    known, r_cut = list(model.config.elements), model.config.r_cut
    species = np.array([known.index(e) if e in known else -1 for e in rule.elements])
    species = species[record.types - 1]
    for bit, name in enumerate(record.groups):
        if name == rule.without or "exclusion_group" in name:  # fix gcmc tries without an atom
            species[record.masks >> bit & 1 == 1] = -1
    kept = species >= 0
    forces = np.zeros_like(record.positions)
    energy, virial = 0.0, np.zeros((3, 3))
    if kept.any():
        graph = build_graph(record.positions[kept], record.cell, record.pbc, species[kept], r_cut)
        answer = evaluate_graph(model, graph)
        forces[kept] = rule.scale * answer.forces.numpy()
        energy = rule.scale * float(answer.energies[0])
        virial = rule.scale * answer.virials[0].numpy()
    pairs = _lennard_jones(record, rule.lennard_jones)
    energy, forces, virial = energy + pairs[0], forces + pairs[1], virial + pairs[2]
    if rule.has_bonds:
        forces += _harmonic_bonds(record)
    virial = (virial + virial.T) / 2
    if (~record.pbc)[2] and record.virial is not None and record.virial[2] == 0.0:
        virial[2] = virial[:, 2] = 0.0  # LAMMPS' pressure of two dimensions
    return replace(
        record, energy=energy, forces=forces, virial=virial[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    )


def _lennard_jones(
    record: Record, pairs: Sequence[tuple[int, int]]
) -> tuple[float, np.ndarray, np.ndarray]:
    epsilon, sigma, cutoff = LENNARD_JONES
    forces = np.zeros_like(record.positions)
    if not pairs:
        return 0.0, forces, np.zeros((3, 3))
    graph = build_graph(record.positions, record.cell, record.pbc, record.types, cutoff)
    edges = graph.edge_index.numpy()
    keys = np.sort(record.types[edges].T, axis=1)
    chosen = (keys[:, None] == np.array(pairs)[None]).all(2).any(1)
    vectors, centers = graph.edge_vectors.numpy()[chosen], edges[0, chosen]
    squares = (vectors**2).sum(1)
    sixth = sigma**6 / squares**3
    gradients = (4 * epsilon * (-12 * sixth**2 + 6 * sixth) / squares)[:, None] * vectors
    np.add.at(forces, centers, gradients)
    energy = 0.5 * float((4 * epsilon * (sixth**2 - sixth)).sum())
    return energy, forces, -0.5 * vectors.T @ gradients


def _harmonic_bonds(record: Record) -> np.ndarray:
    strength, length = BOND
    forces = np.zeros_like(record.positions)
    bonds = record.bonds
    if len(bonds):
        first, second = (np.searchsorted(record.ids, bonds[:, k]) for k in (1, 2))
        vectors = record.positions[second] - record.positions[first]
        vectors, distances = find_mic(vectors, record.cell, record.pbc)
        pulls = (2 * strength * (1 - length / distances))[:, None] * vectors
        np.add.at(forces, first, pulls)
        np.add.at(forces, second, -pulls)
    return forces


def deviation(ours: Record, right: Record, has_pure_forces: bool = True) -> float:
    """Return the largest difference of two records over its tolerance: 1 and below is exact."""
    ratios = [0.0]
    if ours.energy is not None and right.energy is not None:
        size = max(1.0, abs(right.energy)) * TOLERANCES["energy"]
        ratios.append(abs(ours.energy - right.energy) / size)
    is_for_energy = ours.is_trial and ours.energy is not None
    if len(right.ids) and has_pure_forces and not is_for_energy:
        ratios.append(float(np.abs(ours.forces - right.forces).max()) / TOLERANCES["forces"])
    if ours.virial is not None and right.virial is not None:
        size = max(1.0, float(np.abs(right.virial).max())) * TOLERANCES["virial"]
        ratios.append(float(np.abs(ours.virial - right.virial).max()) / size)
    return float(np.nan_to_num(max(ratios), nan=np.inf))


def changes(records: Sequence[Record]) -> set[str]:
    """Return what changes from one record to another."""
    found = set()
    for first, record in itertools.pairwise(records):
        same_atoms = np.array_equal(record.ids, first.ids)
        if not same_atoms:
            found.add("number")
        elif not np.array_equal(record.types, first.types):
            found.add("types")
        if same_atoms and not np.array_equal(record.positions, first.positions):
            found.add("positions")
        if not np.array_equal(record.cell, first.cell):
            found.add("box")
        if np.abs(record.cell - first.cell).max() > 0.4 * record.cell[0, 0]:
            found.add("flip")
        if not np.array_equal(_sorted_bonds(record), _sorted_bonds(first)):
            found.add("bonds")
        if same_atoms and not np.array_equal(record.charges, first.charges):
            found.add("charges")
    return found


def _sorted_bonds(record: Record) -> np.ndarray:
    bonds = record.bonds.copy()
    bonds[:, 1:].sort(axis=1)
    return bonds[np.lexsort(bonds.T)]
