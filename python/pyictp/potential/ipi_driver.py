# SPDX-License-Identifier: MIT
"""A trained model as a driver of i-PI: all beads of a path integral in one evaluation.

i-pi-py_driver -m custom -P <this file> -o template=start.xyz,model=model.pt
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase.io import read

from pyictp.data.samples import species_of
from pyictp.errors import UserError
from pyictp.potential.load import as_potential, resolve_device
from pyictp.potential.places import Places

try:
    from ipi.pes.dummy import Dummy_driver
    from ipi.utils.units import unit_to_internal, unit_to_user
except ImportError as error:
    raise UserError(f"the driver needs i-PI ({error}): pip install ipi") from error

__DRIVER_NAME__ = "ictp"
__DRIVER_CLASS__ = "ICTPDriver"


class ICTPDriver(Dummy_driver):
    """Energies, forces and virials of one system or of several, as i-PI asks for them."""

    def __init__(
        self,
        template: str,
        model: str,
        device: str = "cpu",
        dtype: str | None = None,
        skin: float = 0.5,
        closest: str = "warn",
        **kwargs: Any,
    ) -> None:
        """Load a model; all are options after `-o`, or parameters in i-PI's input.

        Args:
            template: file with the atoms in the order of i-PI's, anything that ASE reads; elements
                and pbc are taken from there.
            model: training folder, checkpoint or exported file.
            device: cpu, cuda, cuda:1 or auto.
            dtype: float32 or float64; None keeps the model's own.
            skin: margin of the neighbor lists in A; atoms may move skin/2 before they are built
                anew.
            closest: what to do when atoms are closer than in the training data: `warn` (once),
                raise an `error`, or `ignore`.
            kwargs: i-PI's own (`verbose`).

        Raises:
            UserError: the model cannot be loaded or does not know an element.
        """
        super().__init__(**kwargs)
        atoms: Any = read(template, -1)  # one structure
        self.pbc = atoms.pbc
        self.potential = as_potential(model, resolve_device(device), dtype)
        self.species = species_of(atoms.numbers, self.potential.elements)
        self.places = Places(self.potential, float(skin), closest)

    def compute(
        self, cell: np.ndarray | Sequence[np.ndarray], pos: np.ndarray | Sequence[np.ndarray]
    ) -> Any:
        """Return energy, forces (N, 3), virial (3, 3) and extras of a system, in i-PI's units.

        Args:
            cell: (3, 3) with columns as vectors, or a list of them.
            pos: (N, 3), or a list of them; several systems give a list of results.

        Raises:
            UserError: another number of atoms than in the template; two are on one spot or, with
                `closest` error, too close.
        """
        several = isinstance(cell, list)
        cells, positions = (cell, pos) if several else ([cell], [pos])
        systems = [
            (unit_to_user("length", "angstrom", x), box.T, self.pbc, self.species)
            for box, x in zip(
                (unit_to_user("length", "angstrom", c) for c in cells), positions, strict=True
            )
        ]
        graph = self.places.graph(systems).to(self.potential.device)
        found = self.potential.evaluate(graph)
        energies = unit_to_internal("energy", "electronvolt", found.energies.cpu().numpy())
        forces = unit_to_internal("force", "ev/ang", found.forces.cpu().numpy())
        virials = found.virials + found.virials.transpose(1, 2)
        virials = unit_to_internal("energy", "electronvolt", 0.5 * virials.cpu().numpy())
        results = [
            (np.float64(energy), force, virial, "")
            for energy, force, virial in zip(
                energies, np.split(forces, len(systems)), virials, strict=True
            )
        ]
        return results if several else results[0]
