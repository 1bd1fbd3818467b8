# SPDX-License-Identifier: MIT
"""A trained model as an ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from torch import nn

from pyictp.common.arrays import FloatArray
from pyictp.data.samples import species_of
from pyictp.errors import UserError
from pyictp.graph.derivatives import Prediction, stress_from_virial, virials_of_nodes
from pyictp.graph.graph import Graph, build_graph
from pyictp.graph.neighbors import SkinList
from pyictp.model.kernels import operators_available
from pyictp.potential.batch import structure_stress
from pyictp.potential.distances import Watch
from pyictp.potential.interface import Potential
from pyictp.potential.load import as_potential, resolve_device
from pyictp.potential.loaded_model import LoadedModel
from pyictp.potential.uncertainty import evaluate_uncertain

UNCERTAINTIES = {"force_deviation": "force_deviations", "grade": "grades"}  # property, field


class ICTPCalculator(Calculator):
    """Energy, energies per atom, forces and, for cells with pbc, stress of a model.

    Units and signs are ASE's: eV, eV/A, eV/A^3, tension positive. Computed when asked for, as in
    `calculator.get_property("grade", atoms)`: `stresses` (N, 6), whose sum is `stress` (half of
    what an edge gives to each end, as LAMMPS' `stress/atom`); with an exported file of
    several models `force_deviation` (N,) [eV/A]; with a training that ended, or a file with a
    grade, `grade` (N,). The last two not with `native`, which has the mean alone.
    """

    implemented_properties: list[str] = [  # noqa: RUF012 (ASE's; an instance may have more)
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
        "stresses",
    ]

    def __init__(
        self,
        model: str | Path | nn.Module | Potential,
        device: str = "cpu",
        dtype: torch.dtype | str | None = None,
        skin: float = 0.5,
        native: bool = False,
        closest: str = "warn",
        **kwargs: Any,
    ) -> None:
        """Load a model.

        Args:
            model: training folder, checkpoint, exported file, or a model in memory.
            device: cpu, cuda, cuda:1 or auto.
            dtype: float32 or float64; None keeps the model's own.
            skin: margin of the neighbor list in A; atoms may move skin/2 before it is built anew.
            native: run an exported file through the C++ code that LAMMPS runs, without
                uncertainties.
            closest: what to do when atoms are closer than in the training data: `warn` (once),
                raise an `error`, or `ignore`.
            kwargs: passed on to ASE's Calculator.

        Raises:
            UserError: the model cannot be loaded, `native` is asked for something else than an
                exported file, or `closest` is something else.
        """
        super().__init__(**kwargs)
        self._file = Path(model).absolute() if isinstance(model, (str, Path)) else None
        self._dtype, self._native = dtype, native
        self._wanted_device = resolve_device(device)
        self.potential = self._load(model)
        self.device = self.potential.device
        self.elements, self.r_cut = self.potential.elements, self.potential.r_cut
        self.implemented_properties = [
            *ICTPCalculator.implemented_properties,
            *(["force_deviation"] if self.potential.num_models > 1 else []),
            *(["grade"] if self.potential.has_grade else []),
        ]
        self.neighbors = SkinList(self.r_cut, skin)
        known = self.potential.shortest_distances
        self.watch = Watch(known, self.elements, self.r_cut, closest)
        self._numbers = np.zeros(0, dtype=np.int64)
        self._species = np.zeros(0, dtype=np.int64)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill `results`, with uncertainties and `stresses` if they are asked for.

        Raises:
            UserError: an element is not in the model, two atoms are on one spot, pbc without cell,
                or, with `closest` error, two are closer than in the training data.
        """
        super().calculate(atoms, list(properties), list(system_changes))
        assert self.atoms is not None
        graph = self._graph(self.atoms)
        self.watch.tell(self.watch.find(graph))
        graph = graph.to(self.device)
        if {*properties} & {*UNCERTAINTIES} & {*self.implemented_properties}:
            prediction: Prediction = evaluate_uncertain(self.potential, graph)
        else:
            prediction = self.potential.evaluate(graph)
        energy = prediction.energies[0].item()
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": prediction.node_energies.cpu().numpy(),
            "forces": prediction.forces.cpu().numpy(),
        }
        stress = structure_stress(prediction.virials.cpu(), self.atoms)
        if stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)
            if "stresses" in properties:
                virials = virials_of_nodes(graph, prediction.edge_gradients.to(self.device))
                volume = virials.new_tensor([self.atoms.get_volume()])
                stresses = stress_from_virial(virials, volume).cpu().numpy()
                self.results["stresses"] = full_3x3_to_voigt_6_stress(stresses)
        for name, field in UNCERTAINTIES.items():
            values = getattr(prediction, field, None)
            if values is not None:
                self.results[name] = values.cpu().numpy()

    def get_descriptors(self, atoms: Atoms | None = None) -> FloatArray:
        """Return what the last readout sees of each atom, (N, num_channels), float64.

        Scalars: they do not change when the structure is turned or moved. Those of one model are
        comparable with each other only.

        Args:
            atoms: a structure; None takes that of the last calculation.

        Raises:
            UserError: there is no structure, or the model is an exported file, which keeps none.
        """
        structure = self.atoms if atoms is None else atoms
        if structure is None:
            raise UserError("descriptors: expected a structure, get_descriptors(atoms)")
        if not isinstance(self.potential, LoadedModel):
            raise UserError(
                "descriptors: expected a training folder or a checkpoint, got an exported file, "
                "which does not tell them: make the calculator of the training folder"
            )
        graph = self._graph(structure).to(self.device)
        return self.potential.features(graph).to(torch.float64).cpu().numpy()

    def __repr__(self) -> str:
        """Return the model, what it is for and how it computes."""
        inside = getattr(self.potential, "model", self.potential)
        source = type(inside).__name__ if self._file is None else f"'{self._file}'"
        number, dtype = self.potential.num_models, str(self.potential.dtype)
        parts = [
            source,
            *([f"{number} models"] if number > 1 else []),
            " ".join(self.elements),
            f"r_cut {self.r_cut} A",
            dtype.removeprefix("torch."),
            str(self.device),
            *(["native"] if self._native else []),
        ]
        return f"{type(self).__name__}({', '.join(parts)})"

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle holds: a compiled model is left out, its file named.

        Raises:
            UserError: a compiled model came without its file.
        """
        state = self.__dict__.copy()
        if not isinstance(self.potential, LoadedModel):
            if self._file is None:
                raise UserError(
                    "a calculator of a loaded exported file cannot be copied or pickled: "
                    "make it with the file's path, ICTPCalculator('model.pt')"
                )
            state["potential"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what `__getstate__` gave, perhaps in another process; read a compiled model again.

        Raises:
            UserError: the file is gone.
        """
        self.__dict__.update(state)
        operators_available()  # a model in memory calls them, in a new process they are not loaded
        if self.potential is None:
            self.potential = self._load(self._file)

    def _load(self, model: str | Path | nn.Module | Potential) -> Potential:
        return as_potential(model, self._wanted_device, self._dtype, self._native)

    def _graph(self, atoms: Atoms) -> Graph:
        return build_graph(
            atoms.positions,
            np.array(atoms.cell),
            atoms.pbc,
            self._species_of(atoms.numbers),
            self.r_cut,
            self.neighbors,
        )

    def _species_of(self, numbers: np.ndarray) -> np.ndarray:
        if not np.array_equal(numbers, self._numbers):
            self._species = species_of(numbers, self.elements)
            self._numbers = numbers.copy()
        return self._species
