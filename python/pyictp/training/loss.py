# SPDX-License-Identifier: MIT
"""The training loss, and the sums of errors that MAE and RMSE follow from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pyictp.graph.derivatives import Prediction
from pyictp.training.batches import Batch

QUANTITIES = ("energy", "forces", "stress")


@dataclass(frozen=True)
class LossWeights:
    """Relative weights of the three squared errors."""

    energy: float
    forces: float
    stress: float

    @property
    def as_tensor(self) -> Tensor:
        """Return the weights in the order of QUANTITIES: (3,) float64."""
        return torch.tensor([self.energy, self.forces, self.stress], dtype=torch.float64)


def virial_errors(prediction: Prediction, batch: Batch) -> Tensor:
    """Return predicted minus labelled virials (B, 3, 3) [eV]; the label is -stress * volume."""
    return prediction.virials + batch.stresses * batch.volumes[:, None, None]


def squared_errors(prediction: Prediction, batch: Batch) -> Tensor:
    """Return the three sums of squared errors of a batch, energy, forces, stress.

    E: sum_s (dE_s)^2 / N_s;  F: sum_i sum_a (dF_ia)^2;  S: sum_s sum_ab (dW_s,ab)^2 / N_s
    with dE, dF, dW prediction minus label (W = -stress * volume, the virial, all nine components)
    and N_s the number of atoms of structure s: the errors of the extensive quantities are divided
    by sqrt(N_s). Structures without a label, and atoms without one, contribute nothing to its sum;
    each structure's terms are multiplied by its own weights (1 in a validation set).

    Returns:
        (3,) float64 [eV^2, eV^2/A^2, eV^2]; the loss is w_E E + w_F F + w_S S.

    Source:
        arXiv:2405.14253, appendix on training (spec section 7); the virial like the energy.
    """
    per_atom = 1.0 / batch.num_atoms
    energy = (prediction.energies - batch.energies).square() * per_atom * batch.has_energy
    forces = (prediction.forces - batch.forces).square().sum(1) * batch.has_forces
    virial = virial_errors(prediction, batch).square().sum((1, 2)) * per_atom * batch.has_stress
    weights = batch.weights.t()  # (3, B)
    of_atoms = weights[1].index_select(0, batch.graph.structure_index)  # (N,)
    terms = (energy * weights[0], forces * of_atoms, virial * weights[2])
    return torch.stack([term.sum() for term in terms])


class ErrorSums:
    """Sums over a validation set, kept on the device; MAE, RMSE and mean loss follow from them."""

    def __init__(self, device: torch.device) -> None:
        self.squared_loss = torch.zeros(3, dtype=torch.float64, device=device)
        self.sums = torch.zeros(3, 3, dtype=torch.float64, device=device)  # count, |error|, error^2
        self.num_structures = 0

    def add(self, prediction: Prediction, batch: Batch) -> None:
        """Add one batch; energies count per atom [eV/atom], stresses per component [eV/A^3]."""
        stresses = virial_errors(prediction, batch) / batch.volumes[:, None, None]
        pairs = (
            ((prediction.energies - batch.energies) / batch.num_atoms, batch.has_energy),
            (prediction.forces - batch.forces, batch.has_forces[:, None]),
            (stresses, batch.has_stress[:, None, None]),
        )
        for row, (error, mask) in zip(self.sums, pairs, strict=True):
            row[0] += mask.expand_as(error).sum()
            row[1] += (error.abs() * mask).sum()
            row[2] += (error.square() * mask).sum()
        self.squared_loss += squared_errors(prediction, batch)
        self.num_structures += len(batch.energies)

    def result(self, weights: LossWeights) -> dict[str, float]:
        """Return the loss per structure, MAE and RMSE of each quantity (nan without a label)."""
        values = {"loss": float(weights.as_tensor @ self.squared_loss.cpu()) / self.num_structures}
        for name, (count, absolute, square) in zip(QUANTITIES, self.sums.tolist(), strict=True):
            values[f"{name}_mae"] = absolute / count if count else math.nan
            values[f"{name}_rmse"] = math.sqrt(square / count) if count else math.nan
        return values


def describe_errors(values: Mapping[str, float]) -> str:
    """Return the validation RMSEs for a line on the screen, in meV/atom, meV/A and meV/A^3."""
    units = {"energy": "meV/atom", "forces": "meV/A", "stress": "meV/A^3"}
    parts = [
        f"{name[0].upper()} {1000 * values[f'{name}_rmse']:.2f} {unit}"
        for name, unit in units.items()
        if not math.isnan(values[f"{name}_rmse"])
    ]
    return "RMSE " + ", ".join(parts)
