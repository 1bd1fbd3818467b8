# SPDX-License-Identifier: MIT
"""compute heat/flux: the formula of the code, the formula of the paper, and what it stands for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from deck import pair_lines
from session import lammps_session, set_up, state_of
from structures import STRUCTURES, graph
from toys import MessageToy, PairToy, evaluate

pytestmark = pytest.mark.lammps
MVV2E = 1.0364269e-4  # g/mol (A/ps)^2 in eV: LAMMPS' units metal
MASS = 50.0
FLUX = [
    "velocity all create 900 5 loop geom",
    "compute ke all ke/atom",
    "compute pe all pe/atom pair",
    "compute s all centroid/stress/atom NULL virial",
    "compute flux all heat/flux ke pe s",
    "fix 1 all nve",
    "thermo_style custom step pe c_flux[1] c_flux[2] c_flux[3]",
]


def atom_energies(pe: np.ndarray, velocities: np.ndarray) -> np.ndarray:
    """Return potential and kinetic energy of each atom [eV]."""
    return pe + 0.5 * MASS * MVV2E * (velocities**2).sum(1)


def by_id(lmp, name: str) -> np.ndarray:
    """Return a per-atom compute, atoms sorted by ID."""
    num = lmp.extract_global("nlocal")
    values = np.array(lmp.numpy.extract_compute(name, 1, 2 if name == "s" else 1))[:num]
    return values[np.argsort(np.array(lmp.numpy.extract_atom("id")[:num]))]


@pytest.mark.parametrize("name", ["triclinic", "cell below the cutoff", "droplet"])
@pytest.mark.parametrize("toy", [PairToy, MessageToy])
def test_flux_from_atoms_and_from_edges(toy, name, export, tmp_path):
    with lammps_session(tmp_path) as lmp:
        set_up(lmp, tmp_path, STRUCTURES[name], pair_lines(export(toy)))
        lmp.commands_list([*FLUX, "run 20"])
        flux = np.array(lmp.numpy.extract_compute("flux", 0, 1))
        state, stress, pe = state_of(lmp), by_id(lmp, "s"), by_id(lmp, "pe")
    velocities = state.velocities
    convection = atom_energies(pe, velocities) @ velocities
    # c_s is -virial in bar A^3: xx yy zz xy xz yz yx zx zy, the first letter is the row
    virials = -stress[:, [0, 3, 4, 6, 1, 5, 7, 8, 2]].reshape(-1, 3, 3) / 1.6021765e6
    np.testing.assert_allclose(flux[3:6], convection, atol=1e-9)
    from_atoms = convection + np.einsum("iab,ib->a", virials, velocities)
    np.testing.assert_allclose(flux[:3], from_atoms, atol=1e-8)

    # sum over edges, j center and i neighbor: r_ij (dE/dr_ji . v_i), r_ij = r_j - r_i
    species, edge_index, vectors = graph(state.structure, 3.0)
    *_, gradients = evaluate(toy(), *map(torch.as_tensor, (species, edge_index, vectors)))
    power = (gradients.numpy() * velocities[edge_index[1]]).sum(1)
    from_edges = convection - power @ vectors
    np.testing.assert_allclose(flux[:3], from_edges, atol=1e-8)
    assert np.abs(from_edges - convection).max() > 1e-3


@pytest.mark.parametrize("toy", [PairToy, lambda: MessageToy(num_layers=1)], ids=["pair", "layer"])
def test_flux_of_a_droplet_moves_its_energy(toy, export, tmp_path):
    # nothing crosses a boundary, so the flux is d/dt sum_i r_i E_i
    step = 2e-5  # ps
    model = export(PairToy) if toy is PairToy else export(MessageToy, num_layers=1)
    moments, fluxes = [], []
    with lammps_session(tmp_path) as lmp:
        set_up(lmp, tmp_path, STRUCTURES["droplet"], pair_lines(model))
        lmp.commands_list([*FLUX, "run 50", f"timestep {step}"])
        for _ in range(3):
            lmp.command("run 1")
            state, pe = state_of(lmp), by_id(lmp, "pe")
            fluxes.append(np.array(lmp.numpy.extract_compute("flux", 0, 1))[:3])
            energies = atom_energies(pe, state.velocities)
            moments.append(energies @ state.structure.positions)
    rate = (moments[2] - moments[0]) / (2 * step)
    np.testing.assert_allclose(fluxes[1], rate, atol=1e-5 * np.abs(rate).max())
    assert np.abs(rate).max() > 1.0
