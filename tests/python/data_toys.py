# SPDX-License-Identifier: MIT
"""Closed-form potentials with the signature of a model, and structures to try them on."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from torch import Tensor, nn


class ToyPotential(nn.Module):
    """E_i = shift_si + rho_i^2 - sqrt(1 + rho_i); rho_i = sum_j a_si a_sj exp(-r) (1 - r/r_cut)^3.

    Many-body and smooth at the cutoff; nothing of it is shared with the package.
    """

    def __init__(self, elements: tuple[str, ...] = ("H", "C", "O", "Cu"), r_cut: float = 4.0):
        super().__init__()
        self.elements = elements
        self.r_cut = r_cut
        amplitude = 1.0 + 0.3 * torch.arange(len(elements), dtype=torch.float64)
        self.amplitude = nn.Parameter(amplitude)
        self.register_buffer("shift", -1.0 - torch.arange(len(elements), dtype=torch.float64))

    def forward(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> Tensor:
        center, neighbor = edge_index[0], edge_index[1]
        r = edge_vectors.square().sum(1).sqrt()
        a = self.amplitude[species]
        pair = a[center] * a[neighbor] * torch.exp(-r) * (1 - r / self.r_cut) ** 3
        rho = torch.zeros(num_local, dtype=torch.float64).index_add(0, center, pair)
        return self.shift[species[:num_local]] + rho**2 - torch.sqrt(1 + rho)


class LonePotential(nn.Module):
    """E_i = 2: knows no edge and has nothing to differentiate."""

    elements = ("H", "C", "O", "Cu")
    r_cut = 4.0

    def forward(
        self, _species: Tensor, _edge_index: Tensor, _edge_vectors: Tensor, num_local: int
    ) -> Tensor:
        return torch.full((num_local,), 2.0, dtype=torch.float64)


def brute_force_energy(potential: ToyPotential, atoms: Atoms) -> float:
    """Energy of the same formula by a double loop over atoms and images, without the package."""
    amplitude = dict(zip(potential.elements, potential.amplitude.tolist(), strict=True))
    shift = dict(zip(potential.elements, potential.shift.tolist(), strict=True))
    energy = 0.0
    images = image_offsets(atoms.cell.array, atoms.pbc, potential.r_cut, atoms.positions)
    for i, position in enumerate(atoms.positions):
        rho = 0.0
        for j, other in enumerate(atoms.positions):
            r = np.linalg.norm(other + images - position, axis=1)
            r = r[(r < potential.r_cut) & (r > 1e-9)]
            factor = amplitude[atoms[i].symbol] * amplitude[atoms[j].symbol]
            rho += factor * float((np.exp(-r) * (1 - r / potential.r_cut) ** 3).sum())
        energy += shift[atoms[i].symbol] + rho**2 - np.sqrt(1 + rho)
    return float(energy)


def image_offsets(
    cell: np.ndarray, pbc: np.ndarray, r_cut: float, positions: np.ndarray
) -> np.ndarray:
    """All cell translations that can bring two atoms within r_cut, generously."""
    reach = r_cut + np.ptp(positions, axis=0).max() * 2
    used = np.where(np.asarray(pbc)[:, None], cell, 0.0)
    inverse = np.linalg.pinv(used)  # (3, 3): |n_a| <= reach * |column a|
    counts = np.ceil(reach * np.linalg.norm(inverse, axis=0)).astype(int)
    counts[~np.asarray(pbc)] = 0
    grids = np.meshgrid(*[np.arange(-n, n + 1) for n in counts], indexing="ij")
    return np.stack([grid.ravel() for grid in grids], axis=1) @ used


def structures() -> dict[str, Atoms]:
    """Molecule, lone atom, crystals, a one-atom cell far below the cutoff, slab, wire."""
    rng = np.random.default_rng(7)
    molecule = Atoms("COH2", [[0, 0, 0], [1.2, 0.1, 0], [-0.6, 0.9, 0.1], [-0.5, -0.9, 0.3]])
    crystal = bulk("Cu", "fcc", a=3.6, cubic=True) * (2, 2, 1)
    crystal.rattle(0.1, seed=1)
    sheared = bulk("Cu", "fcc", a=3.6).repeat((2, 1, 2))
    sheared.set_cell(sheared.cell.array @ (np.eye(3) + 0.3 * np.triu(rng.random((3, 3)))), True)
    sheared.rattle(0.1, seed=2)
    sheared.positions += 3 * sheared.cell.array[0] - 2 * sheared.cell.array[2]  # not wrapped
    slab = Atoms(
        "CuOCu", [[0, 0, 0], [1, 1.2, 1.5], [0.2, 1.8, 3.1]], cell=[2.6, 2.7, 0], pbc=(1, 1, 0)
    )
    wire = Atoms("CO", [[0, 0, 0], [1.1, 0.3, 0.8]], cell=[[0, 0, 0], [0, 2.2, 0.4], [0, 0, 0]])
    wire.pbc = (False, True, False)
    return {
        "molecule": molecule,
        "lone_atom": Atoms("O", [[1, 2, 3]]),
        "crystal": crystal,
        "one_atom_cell": bulk("Cu", "sc", a=1.5),
        "sheared": sheared,
        "slab": slab,
        "wire": wire,
    }
