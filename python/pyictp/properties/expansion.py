# SPDX-License-Identifier: MIT
"""Thermal expansion of a crystal in the quasi-harmonic approximation, with phonopy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from phonopy import PhonopyQHA

from pyictp.common.arrays import FloatArray
from pyictp.errors import UserError
from pyictp.properties.crystals import relax, scaled
from pyictp.properties.lattice_dynamics import LENGTH, MESH, ZERO, force_constants

VOLUMES = np.linspace(0.97, 1.06, 7)  # of the relaxed one
TEMPERATURES = np.arange(0.0, 1011.0, 10.0)  # K; phonopy takes the last to differentiate
FEWEST = 5  # volumes without imaginary modes: a fit has four parameters


@dataclass(frozen=True)
class Expansion:
    """A crystal at zero pressure, by the minimum of the free energy of electrons and phonons."""

    temperatures: FloatArray  # (T,) [K], as far as the volumes reach
    volumes: FloatArray  # (T,) [A^3/atom]
    linear: FloatArray  # (T,) [1/K], a third of d(ln V)/dT
    bulk_moduli: FloatArray  # (T,) isothermal [GPa]
    left_out: int  # volumes with imaginary modes

    def at(self, temperature: float) -> tuple[float, float, float]:
        """Return volume [A^3/atom], linear expansion [1/K] and bulk modulus [GPa].

        NaN where the volumes do not reach so far.
        """
        volume, linear, modulus = (
            float(np.interp(temperature, self.temperatures, values, right=np.nan))
            for values in (self.volumes, self.linear, self.bulk_moduli)
        )
        return volume, linear, modulus


def thermal_expansion(atoms: Atoms, length: float = LENGTH) -> Expansion:
    """Return the expansion of a relaxed conventional cell; shape and atoms relax at each volume.

    Args:
        atoms: the cell.
        length: of the supercells of phonons at least [A].

    Raises:
        UserError: too few volumes without imaginary modes, or none has the least free energy.
    """
    tried = [_harmonic(atoms, float(factor), length) for factor in VOLUMES]
    rows = [row for row in tried if row is not None]
    if len(rows) < FEWEST:
        raise UserError(
            f"expansion: imaginary modes at {len(VOLUMES) - len(rows)} of {len(VOLUMES)} volumes: "
            "expected a crystal that is stable from 97 to 106 % of its volume"
        )
    volumes, energies, free, entropy, capacity, _ = (
        np.array(column) for column in zip(*rows, strict=True)
    )
    try:
        found = PhonopyQHA(
            volumes=volumes,
            electronic_energies=energies,
            temperatures=TEMPERATURES,
            free_energy=free.T,
            cv=capacity.T,
            entropy=entropy.T,
            t_max=TEMPERATURES[-2],
        )
    except (RuntimeError, ValueError, TypeError) as error:
        raise UserError(f"expansion: no minimum of the free energy: {error}") from error
    number = rows[0][-1]
    equilibrium = np.array(found.volume_temperature)
    inside = equilibrium < volumes.max()
    return Expansion(
        temperatures=TEMPERATURES[: len(equilibrium)][inside],
        volumes=equilibrium[inside] / number,
        linear=np.array(found.thermal_expansion)[inside] / 3,
        bulk_moduli=np.array(found.bulk_modulus_temperature)[: len(equilibrium)][inside],
        left_out=len(VOLUMES) - len(rows),
    )


def _harmonic(
    atoms: Atoms, factor: float, length: float
) -> tuple[float, float, FloatArray, FloatArray, FloatArray, int] | None:
    """Return volume, energy, free energy, entropy, heat capacity and atoms of the primitive cell.

    In A^3, eV, kJ/mol, J/(K mol) and J/(K mol), those of phonons (T,). None: imaginary modes.
    """
    strained = scaled(atoms, factor)
    relax(strained, "expansion", "shape")
    phonon = force_constants(strained, length)
    mesh = phonon.run_mesh(MESH)
    if np.array(mesh.frequencies).min() < -ZERO:
        return None
    thermal = phonon.run_thermal_properties(temperatures=TEMPERATURES, exclude_gamma_acoustic=True)
    share = len(phonon.primitive) / len(strained)
    return (
        strained.get_volume() * share,
        float(strained.get_potential_energy()) * share,
        np.array(thermal.free_energy),
        np.array(thermal.entropy),
        np.array(thermal.heat_capacity),
        len(phonon.primitive),
    )
