# SPDX-License-Identifier: MIT
"""A trained model as a model of TorchSim: many systems in one call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pyictp.data.samples import species_of
from pyictp.errors import UserError
from pyictp.graph.derivatives import stress_from_virial
from pyictp.potential.interface import Potential
from pyictp.potential.load import as_potential, resolve_device, resolve_dtype
from pyictp.potential.places import Places, System

try:
    from torch_sim.models.interface import ModelInterface
except ImportError as error:
    raise UserError(
        f"TorchSimModel needs TorchSim ({error}): pip install torch-sim-atomistic"
    ) from error
if TYPE_CHECKING:
    from torch_sim import SimState


class TorchSimModel(ModelInterface):
    """Energies, forces and stresses of all systems of a state in one evaluation.

    Units and signs are TorchSim's, which are ASE's. Neighbors are searched on the CPU, system by
    system, the model is evaluated on the device for all together.
    """

    def __init__(
        self,
        model: str | Path | nn.Module | Potential,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | str = torch.float64,
        skin: float = 0.5,
        closest: str = "warn",
    ) -> None:
        """Load a model.

        Args:
            model: training folder, checkpoint, exported file, or a model in memory.
            device: cpu, cuda, cuda:1 or auto; that of the states.
            dtype: float32 or float64, that of the states; the model keeps its own inside.
            skin: margin of the neighbor lists in A; atoms may move skin/2 before they are built
                anew.
            closest: what to do when atoms are closer than in the training data: `warn` (once),
                raise an `error`, or `ignore`.

        Raises:
            UserError: the model cannot be loaded, or an argument is none of those named.
        """
        super().__init__()
        self._device = resolve_device(device)
        self._dtype = resolve_dtype(dtype) or torch.float64
        self._compute_forces = self._compute_stress = True
        self.potential = as_potential(model, self._device)
        self.places = Places(self.potential, skin, closest)

    def forward(self, state: SimState, **_: Any) -> dict[str, Tensor]:
        """Return `energy` (B,) [eV], `forces` (N, 3) [eV/A] and `stress` (B, 3, 3) [eV/A^3].

        The stress is NaN where it is not defined: without any repetition or volume.

        Args:
            state: B systems.

        Raises:
            UserError: an element is not in the model, two atoms are on one spot, pbc without cell,
                or, with `closest` error, two are closer than in the training data.
        """
        graph = self.places.graph(self._systems(state)).to(self._device)
        found = self.potential.evaluate(graph)
        volumes = torch.linalg.det(state.cell.detach().to(torch.float64)).abs()  # (B,)
        periodic = torch.as_tensor(state.pbc, device=volumes.device).any()
        volumes = torch.where(periodic & (volumes > 0), volumes, torch.nan)
        results = {
            "energy": found.energies,
            "forces": found.forces,
            "stress": stress_from_virial(found.virials, volumes.to(found.virials.device)),
        }
        return {name: value.to(self._device, self._dtype) for name, value in results.items()}

    def _systems(self, state: SimState) -> Iterator[System]:
        """Yield each system as arrays on the CPU."""
        species = species_of(state.atomic_numbers.cpu().numpy(), self.potential.elements)
        positions = state.positions.detach().to("cpu", torch.float64).numpy()
        cells = state.row_vector_cell.detach().to("cpu", torch.float64).numpy()
        pbc = np.broadcast_to(torch.as_tensor(state.pbc).cpu().numpy(), 3)
        ends = np.cumsum(np.bincount(state.system_idx.cpu().numpy(), minlength=len(cells)))
        for cell, start, stop in zip(cells, [0, *ends[:-1]], ends, strict=True):
            yield positions[start:stop], cell, pbc, species[start:stop]
