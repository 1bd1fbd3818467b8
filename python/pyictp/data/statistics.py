# SPDX-License-Identifier: MIT
"""What a model takes from its training data before training: spec section 6."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers

from pyictp.common.arrays import FloatArray
from pyictp.config.load import DataConfig
from pyictp.data.frames import Frame, read_frames
from pyictp.data.samples import Sample
from pyictp.errors import UserError
from pyictp.graph.derivatives import NodeEnergies, evaluate_graph

logger = logging.getLogger("pyictp")

RIDGE = 1.0  # lambda of the regression
ROUNDING = 1e-6  # eV/atom, energies closer than that to the shifts say nothing of their spread
SAME_E0 = 1e-3  # eV, of two energies of one isolated atom
NO_STRESS: dict[str, Any] = {"stress_key": None, "virial_key": None}


@dataclass(frozen=True)
class Statistics:
    """Constants of a model, per species in the order of the elements."""

    e0: FloatArray  # (S,) isolated-atom energies [eV], 0 where none are given
    shift: FloatArray  # (S,) [eV], e0 included
    scale: FloatArray  # (S,) [eV]
    avg_num_neighbors: float


def compute_statistics(samples: Sequence[Sample], e0: FloatArray) -> Statistics:
    """Return shift, scale and mean number of neighbors of training samples.

    Args:
        samples: training structures.
        e0: (S,) isolated-atom energies in eV.
    """
    shift = _shift(samples, e0)
    return Statistics(
        e0=e0,
        shift=shift,
        scale=np.full(len(e0), _scale(samples, shift)),
        avg_num_neighbors=_avg_num_neighbors(samples),
    )


def subtract(sample: Sample, potential: NodeEnergies) -> Sample:
    """Return a sample with what a potential leaves of its energy and forces."""
    found = evaluate_graph(potential, sample.graph)
    return replace(
        sample,
        energy=None if sample.energy is None else sample.energy - found.energies.item(),
        forces=None if sample.forces is None else sample.forces - found.forces,
    )


def _shift(samples: Sequence[Sample], e0: FloatArray) -> FloatArray:
    """Return the energy per species, (S,) [eV].

    With counts X (K, S) and t = E - X e0, m = sum(t) / sum(X), the shift is
    (X^T X + lambda)^-1 X^T (t - m N) + m + e0, where N are atoms per structure.
    """
    counts, energies = _counts_and_energies(samples, e0)
    if not len(energies):
        return e0.copy()
    num_atoms = counts.sum(axis=1)
    mean = energies.sum() / num_atoms.sum()
    normal = counts.T @ counts + RIDGE * np.eye(len(e0))
    ridge = np.linalg.solve(normal, counts.T @ (energies - mean * num_atoms))
    return ridge + mean + e0


def _counts_and_energies(
    samples: Sequence[Sample], shift: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return atoms of each species (K, S) and energy less shifts (K,) [eV] of K labelled ones."""
    labelled = [sample for sample in samples if sample.energy is not None]
    counts = [np.bincount(s.graph.species.numpy(), minlength=len(shift)) for s in labelled]
    matrix = np.array(counts, dtype=np.float64).reshape(-1, len(shift))
    return matrix, np.array([s.energy for s in labelled]) - matrix @ shift


def _scale(samples: Sequence[Sample], shift: FloatArray) -> float:
    """Return the root mean square of all labelled force components.

    Without any: of the energies per atom that the shifts leave. 1 where those are zeros only.
    """
    forces = [sample.forces for sample in samples if sample.forces is not None]
    if forces:
        labels = torch.cat(forces)
        mean_square = labels[~labels.isnan()].square().mean().item()
        return float(np.sqrt(mean_square)) if mean_square > 0 else 1.0
    counts, energies = _counts_and_energies(samples, shift)
    if not len(energies):
        return 1.0
    scale = float(np.sqrt(np.square(energies / counts.sum(axis=1)).mean()))
    return scale if scale > ROUNDING else 1.0


def _avg_num_neighbors(samples: Sequence[Sample]) -> float:
    """Return the mean over atoms that have a neighbor; 1 where none has."""
    edges = sum(sample.graph.num_edges for sample in samples)
    atoms = sum(len(torch.unique(sample.graph.edge_index[0])) for sample in samples)
    return edges / atoms if atoms else 1.0


def isolated_energies(
    source: str | Mapping[str, float] | None,
    elements: Sequence[str],
    config: DataConfig | None = None,
    lone_frames: Sequence[Frame] = (),
) -> FloatArray:
    """Return the isolated-atom energies e0 (S,) [eV] in the order of the elements.

    Args:
        source: a file with frames of one atom, {element: eV}, or None for `lone_frames`.
        elements: species order.
        config: names and units of the fields of the file.
        lone_frames: frames of the training files that are marked as isolated atoms.

    Raises:
        UserError: an element has no energy, a name is no element, the file has no lone atom.
    """
    energies, origin = given_energies(source, config, lone_frames)
    if source is None and not energies:
        return np.zeros(len(elements))
    missing = [element for element in elements if element not in energies]
    if missing:
        raise UserError(
            f"isolated atoms: {origin} give {' '.join(energies) or 'none'}, but "
            f"{' '.join(missing)} is missing: add it there or set data.isolated_atoms"
        )
    return np.array([energies[element] for element in elements], dtype=np.float64)


def given_energies(
    source: str | Mapping[str, float] | None,
    config: DataConfig | None,
    lone_frames: Sequence[Frame],
) -> tuple[dict[str, float], str]:
    """Return the isolated-atom energies [eV] that are given, and by what; as above."""
    if isinstance(source, Mapping):
        energies = _checked(source)
        origin = "data.isolated_atoms"
    elif source is not None:
        energy_only = replace(config or DataConfig(), forces_key="forces", **NO_STRESS)
        frames = [frame for frame in read_frames([source], energy_only) if len(frame.symbols) == 1]
        energies, origin = _energies_of(frames), f"'{source}'"
    else:
        energies, origin = _energies_of(lone_frames), "frames with config_type isolated_atom"
    _compare(energies, origin, lone_frames if source is not None else ())
    return energies, origin


def _compare(energies: Mapping[str, float], origin: str, lone_frames: Sequence[Frame]) -> None:
    """Warn of isolated atoms among the training frames that say something else."""
    for symbol, energy in _energies_of([f for f in lone_frames if f.energy is not None]).items():
        if abs(energies.get(symbol, energy) - energy) > SAME_E0:
            logger.warning(
                "isolated atoms: %s says %.6g eV for %s, a training frame with config_type "
                "isolated_atom %.6g: the former is taken",
                *(origin, energies[symbol], symbol, energy),
            )


def _checked(source: Mapping[str, float]) -> dict[str, float]:
    for element, energy in source.items():
        if element not in atomic_numbers:
            raise UserError(f"data.isolated_atoms: '{element}' is no chemical symbol")
        if isinstance(energy, bool) or not isinstance(energy, (int, float)):
            raise UserError(f"data.isolated_atoms.{element}: expected eV, got {energy!r}")
        if not np.isfinite(energy):
            raise UserError(f"data.isolated_atoms.{element}: {energy} is NaN or infinite")
    return {element: float(energy) for element, energy in source.items()}


def _energies_of(frames: Sequence[Frame]) -> dict[str, float]:
    energies: dict[str, Frame] = {}
    for frame in frames:
        if frame.energy is None:
            raise UserError(f"{frame.where} field 'energy': missing, but this is an isolated atom")
        symbol = frame.symbols[0]
        known = energies.setdefault(symbol, frame)
        assert known.energy is not None
        if abs(known.energy - frame.energy) > SAME_E0:
            raise UserError(
                f"isolated atoms: {known.where} says {known.energy:.6g} eV for {symbol}, "
                f"{frame.where} says {frame.energy:.6g}: keep the right one"
            )
    return {symbol: float(frame.energy or 0.0) for symbol, frame in energies.items()}
