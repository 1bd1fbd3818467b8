# SPDX-License-Identifier: MIT
"""Numbers of labels against predictions: over all, by element, group, composition and force."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase.units import GPa

from pyictp.common.arrays import FloatArray, IntArray
from pyictp.reports.calibration import calibration
from pyictp.reports.comparison import Parity
from pyictp.reports.parity import NINE

METRICS = (  # JSON key, what it is called on the screen, unit
    ("energy_mae_mev", "energy MAE", "meV"),
    ("energy_rmse_mev", "energy RMSE", "meV"),
    ("energy_mae_mev_per_atom", "energy MAE", "meV/atom"),
    ("energy_rmse_mev_per_atom", "energy RMSE", "meV/atom"),
    ("force_mae_mev_per_a", "force MAE", "meV/A"),
    ("force_rmse_mev_per_a", "force RMSE", "meV/A"),
    ("force_rmse_percent", "force RMSE", "% of the RMS force"),
    ("force_cosine", "force cosine", ""),
    ("stress_mae_mev_per_a3", "stress MAE", "meV/A^3"),
    ("stress_rmse_mev_per_a3", "stress RMSE", "meV/A^3"),
    ("stress_mae_gpa", "stress MAE", "GPa"),
    ("stress_rmse_gpa", "stress RMSE", "GPa"),
)
NO_GROUP = "(no group)"
NUM_WORST = 10
NO_FORCE = 1e-8  # eV/A: a label below has no direction
# Bins of |force| hold equal numbers of atoms; the hundredth with the largest forces has its own.
BIN_PERCENTILES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99, 100)
MIN_BIN_ATOMS = 10
MEV_PER_A3_IN_GPA = 1e-3 / GPa


def metrics(parity: Parity) -> dict[str, Any]:
    """Return all numbers of `parity`, plain values; None where there is no label.

    Stress errors count all nine components, so that they do not depend on the notation.
    """
    errors = 1e3 * (parity.energies[:, 1] - parity.energies[:, 0])  # meV
    per_atom = errors / parity.num_atoms
    force_errors = 1e3 * (parity.forces[..., 1] - parity.forces[..., 0])  # (M, 3)
    stress_errors = 1e3 * (parity.stresses[:, NINE, 1] - parity.stresses[:, NINE, 0])  # (L, 9)
    cosines = force_cosines(parity.forces)
    sums = _SumsPerStructure(parity)
    return {
        "energy_mae_mev": _mae(errors),
        "energy_rmse_mev": _rmse(errors),
        "energy_mae_mev_per_atom": _mae(per_atom),
        "energy_rmse_mev_per_atom": _rmse(per_atom),
        "energy_bias_mev_per_atom": float(per_atom.mean()) if per_atom.size else None,
        **_force_numbers(force_errors, 1e3 * parity.forces[..., 0]),
        "force_cosine": float(np.nanmean(cosines)) if np.isfinite(cosines).any() else None,
        "stress_mae_mev_per_a3": _mae(stress_errors),
        "stress_rmse_mev_per_a3": _rmse(stress_errors),
        "stress_mae_gpa": _mae(MEV_PER_A3_IN_GPA * stress_errors),
        "stress_rmse_gpa": _rmse(MEV_PER_A3_IN_GPA * stress_errors),
        "num_structures": parity.num_structures,
        "num_atoms": sum(structure.num_atoms for structure in parity.structures),
        "per_element": _per_element(parity, force_errors),
        "per_group": _per_group(parity, sums),
        "per_composition": sums.by([s.composition for s in parity.structures]),
        "by_force_magnitude": by_force_magnitude(parity.forces),
        "worst_frames": worst_frames(parity, sums),
        "uncertainty": calibration(parity),
    }


def _mae(errors: FloatArray) -> float | None:
    return float(np.abs(errors).mean()) if errors.size else None


def _rmse(errors: FloatArray) -> float | None:
    return float(np.sqrt(np.square(errors).mean())) if errors.size else None


def _percent(part: float | None, whole: float | None) -> float | None:
    return 100 * part / whole if part is not None and whole else None


def _force_numbers(errors: FloatArray, labels: FloatArray) -> dict[str, float | None]:
    """Return the numbers of force errors and labels (M, 3) [meV/A]."""
    rmse, rms = _rmse(errors), _rmse(labels)
    return {
        "force_mae_mev_per_a": _mae(errors),
        "force_rmse_mev_per_a": rmse,
        "force_rms_mev_per_a": rms,  # of the labels
        "force_rmse_percent": _percent(rmse, rms),
    }


def _per_element(parity: Parity, errors: FloatArray) -> dict[str, dict[str, Any]]:
    result = {}
    for element in sorted(set(parity.force_elements.tolist())):
        chosen = parity.force_elements == element
        numbers = _force_numbers(errors[chosen], 1e3 * parity.forces[chosen, :, 0])
        result[element] = {**numbers, "num_atoms": int(chosen.sum())}
    return result


def _per_group(parity: Parity, sums: _SumsPerStructure) -> dict[str, dict[str, Any]]:
    """Return the numbers of every group; none where no structure names one."""
    groups = [structure.group for structure in parity.structures]
    return sums.by([group or NO_GROUP for group in groups]) if any(groups) else {}


class _SumsPerStructure:
    """Sums of errors of every structure: groups of structures only add them up."""

    def __init__(self, parity: Parity) -> None:
        """Sum energies per atom [meV/atom], forces [meV/A] and stresses [meV/A^3]."""
        self.num_atoms = np.array([s.num_atoms for s in parity.structures], dtype=np.int64)
        total, labels = parity.num_structures, 1e3 * parity.forces[..., 0]
        energy = 1e3 * (parity.energies[:, 1] - parity.energies[:, 0]) / parity.num_atoms
        forces = 1e3 * (parity.forces[..., 1] - parity.forces[..., 0])  # (M, 3)
        stress = 1e3 * (parity.stresses[:, NINE, 1] - parity.stresses[:, NINE, 0])  # (L, 9)
        self.energy = _Sums.of(parity.energy_structures, energy[:, None], total)
        self.forces = _Sums.of(parity.force_structures, forces, total)
        self.labels = _Sums.of(parity.force_structures, labels, total)
        self.stress = _Sums.of(parity.stress_structures, stress, total)

    def by(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the numbers of the structures of each name, in order of the names."""
        unique, index = np.unique(np.array(names, dtype=np.str_), return_inverse=True)
        counts = np.bincount(index, minlength=len(unique))
        atoms = np.bincount(index, weights=self.num_atoms, minlength=len(unique))
        energy, forces = self.energy.grouped(index), self.forces.grouped(index)
        labels, stress = self.labels.grouped(index), self.stress.grouped(index)
        return {
            str(name): {
                "num_structures": int(counts[i]),
                "num_atoms": int(atoms[i]),
                "energy_mae_mev_per_atom": energy.mae(i),
                "energy_rmse_mev_per_atom": energy.rmse(i),
                "force_mae_mev_per_a": forces.mae(i),
                "force_rmse_mev_per_a": forces.rmse(i),
                "force_rms_mev_per_a": labels.rmse(i),
                "force_rmse_percent": _percent(forces.rmse(i), labels.rmse(i)),
                "stress_rmse_mev_per_a3": stress.rmse(i),
            }
            for i, name in enumerate(unique)
        }


def _grouped(index: IntArray, values: FloatArray, total: int = 0) -> FloatArray:
    return np.bincount(index, weights=values, minlength=total).astype(np.float64)


class _Sums:
    """Number of values, sums of magnitudes and of squares, one of each per group (n,)."""

    def __init__(self, number: FloatArray, magnitude: FloatArray, square: FloatArray) -> None:
        self.number, self.magnitude, self.square = number, magnitude, square

    @classmethod
    def of(cls, index: IntArray, values: FloatArray, total: int) -> _Sums:
        """Return the sums of the rows of values (m, c) that belong to each of `total` groups."""
        rows = (np.full(len(values), values.shape[1]), np.abs(values).sum(1), (values**2).sum(1))
        return cls(*(_grouped(index, row, total) for row in rows))

    def grouped(self, index: IntArray) -> _Sums:
        """Return the sums over coarser groups; `index` (n,) says which."""
        return _Sums(*(_grouped(index, x) for x in (self.number, self.magnitude, self.square)))

    def mae(self, i: int) -> float | None:
        return float(self.magnitude[i] / self.number[i]) if self.number[i] else None

    def rmse(self, i: int) -> float | None:
        return float(np.sqrt(self.square[i] / self.number[i])) if self.number[i] else None


def force_cosines(forces: FloatArray) -> FloatArray:
    """Return the cosine of the angle between labelled and predicted force of each atom.

    Args:
        forces: (M, 3, 2) label, prediction [eV/A].

    Returns:
        (M,); NaN where the label is zero, 0 where only the prediction is.
    """
    label, prediction = np.linalg.norm(forces, axis=1).T  # (M,) each
    product = forces.prod(axis=2).sum(axis=1)
    cosine = product / (np.maximum(label, NO_FORCE) * np.maximum(prediction, NO_FORCE))
    return np.where(label > NO_FORCE, np.clip(cosine, -1, 1), np.nan)


def by_force_magnitude(forces: FloatArray) -> list[dict[str, Any]]:
    """Return errors of the force vectors in bins of the labelled magnitude, smallest first.

    A bin holds magnitudes from `force_low` to below `force_high`; the last one both ends.

    Args:
        forces: (M, 3, 2) label, prediction [eV/A].
    """
    if len(forces) < MIN_BIN_ATOMS:
        return []
    magnitude = 1e3 * np.linalg.norm(forces[..., 0], axis=1)  # meV/A
    error = 1e3 * np.linalg.norm(forces[..., 1] - forces[..., 0], axis=1)
    angle = np.degrees(np.arccos(force_cosines(forces)))
    inner = len(forces) // MIN_BIN_ATOMS
    percentiles = BIN_PERCENTILES if inner >= 100 else np.linspace(0, 100, min(inner, 10) + 1)
    edges = np.unique(np.percentile(magnitude, percentiles))
    bins = np.clip(np.searchsorted(edges, magnitude, side="right") - 1, 0, max(len(edges) - 2, 0))
    rows = []
    for index in np.unique(bins):
        chosen = bins == index
        angles = angle[chosen & np.isfinite(angle)]
        rows.append(
            {
                "force_low_mev_per_a": float(edges[index]),
                "force_high_mev_per_a": float(edges[min(index + 1, len(edges) - 1)]),
                "force_median_mev_per_a": float(np.median(magnitude[chosen])),
                "num_atoms": int(chosen.sum()),
                "error_median_mev_per_a": float(np.median(error[chosen])),
                "error_90_mev_per_a": float(np.percentile(error[chosen], 90)),
                "angle_median_deg": float(np.median(angles)) if angles.size else None,
                "angle_90_deg": float(np.percentile(angles, 90)) if angles.size else None,
            }
        )
    return rows


def worst_frames(parity: Parity, sums: _SumsPerStructure) -> dict[str, list[dict[str, Any]]]:
    """Return the structures with the largest force RMSE and energy error per atom, worst first."""
    energy_error = np.full(parity.num_structures, np.nan)  # meV
    energy_error[parity.energy_structures] = 1e3 * (parity.energies[:, 1] - parity.energies[:, 0])
    with np.errstate(invalid="ignore"):
        force_rmse = np.sqrt(sums.forces.square / sums.forces.number)
    rankings = {"by_forces": force_rmse, "by_energy": np.abs(energy_error) / sums.num_atoms}
    result = {}
    for name, badness in rankings.items():
        order = np.argsort(-badness, kind="stable")  # NaN last
        chosen = [int(i) for i in order[:NUM_WORST] if np.isfinite(badness[i])]
        result[name] = [_describe(parity, i, float(energy_error[i]), sums) for i in chosen]
    return result


def _describe(
    parity: Parity, index: int, energy_error: float, sums: _SumsPerStructure
) -> dict[str, Any]:
    structure = parity.structures[index]
    known = np.isfinite(energy_error)
    rows = np.flatnonzero(parity.force_structures == index)
    error = 1e3 * np.linalg.norm(parity.forces[rows, :, 1] - parity.forces[rows, :, 0], axis=1)
    row = rows[np.argmax(error)] if len(rows) else None
    return {
        "frame": structure.name,
        "group": structure.group,
        "formula": structure.formula,
        "num_atoms": structure.num_atoms,
        "energy_error_mev": energy_error if known else None,
        "energy_error_mev_per_atom": energy_error / structure.num_atoms if known else None,
        "force_rmse_mev_per_a": sums.forces.rmse(index),
        "max_force_error_mev_per_a": None if row is None else float(error.max()),
        "max_force_error_atom": None if row is None else int(parity.force_atoms[row]),  # from 0
        "max_force_error_element": None if row is None else str(parity.force_elements[row]),
    }
