# SPDX-License-Identifier: MIT
"""An exported file in the C++ code that LAMMPS runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyictp.errors import UserError
from pyictp.graph.derivatives import Prediction, assemble
from pyictp.graph.graph import Graph
from pyictp.native import load_operators
from pyictp.potential.distances import KEY
from pyictp.potential.exported import read_metadata


class NativePotential:
    """The mean of an exported file's models, without uncertainties."""

    num_models = 1  # C++ tells deviations and grades to LAMMPS only
    has_grade = False

    def __init__(self, path: str | Path, device: torch.device) -> None:
        """Load an exported file.

        Raises:
            UserError: it cannot be loaded.
        """
        load_operators()
        from pyictp import _native

        try:
            self._model = _native.Model(str(path), str(device))
        except (RuntimeError, ValueError) as error:
            raise UserError(" ".join(str(error).split())) from error
        self.elements: tuple[str, ...] = tuple(self._model.elements)
        self.r_cut: float = self._model.r_cut
        self.device = device
        self.metadata = read_metadata(path)
        self.dtype: torch.dtype = getattr(torch, self.metadata["dtype"])
        size = len(self.elements)
        self.shortest_distances = np.array(self.metadata[KEY]).reshape(size, size)

    def energies(self, graph: Graph) -> Tensor:
        """Return node energies (N,) [eV], float64."""
        return self.evaluate(graph).node_energies

    def evaluate(self, graph: Graph) -> Prediction:
        """Return energies, forces and virials, on the CPU."""
        cpu = graph.to("cpu")
        node_energies, edge_gradients = self._model.evaluate(
            cpu.species.numpy(), cpu.edge_index.numpy(), cpu.edge_vectors.numpy(), cpu.num_local
        )
        return assemble(cpu, _real(node_energies), _real(edge_gradients))

    def evaluate_members(self, graph: Graph) -> tuple[list[Prediction], Tensor | None]:
        """Return the mean alone."""
        return [self.evaluate(graph)], None

    def grades(self, graph: Graph) -> Tensor:
        """Refuse.

        Raises:
            UserError: always.
        """
        del graph
        raise UserError("native=True: expected to be asked for the mean alone, not for grades")


def _real(values: Any) -> Tensor:
    return torch.as_tensor(values).to(device="cpu", dtype=torch.float64)
