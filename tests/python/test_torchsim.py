# SPDX-License-Identifier: MIT
"""TorchSim's own validator, its optimizers and integrators beside those of ASE."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.filters import FrechetCellFilter
from ase.geometry import find_mic
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from data_toys import ToyPotential, structures
from model_toys import make_model
from pyictp import ICTPCalculator
from pyictp.errors import UserError
from pyictp.potential.checkpoint import save_checkpoint
from pyictp.potential.export import export_model

ts = pytest.importorskip("torch_sim", reason="needs TorchSim: pip install torch-sim-atomistic")
from pyictp import TorchSimModel  # noqa: E402
from torch_sim.models.interface import validate_model_outputs  # noqa: E402

# the names of today, and those of the last version for Python 3.11
NEW = hasattr(ts, "Optimizer")
RELAX_CELL = (
    {"optimizer": ts.Optimizer.fire, "init_kwargs": {"cell_filter": ts.CellFilter.frechet}}
    if NEW
    else {"optimizer": ts.frechet_cell_fire}
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a training `run` and its exported `model.pt`, of the validator's elements."""
    model = make_model(elements=("H", "C", "Mg", "Si", "Fe"), r_cut=4.0)
    folder = tmp_path_factory.mktemp("files")
    (folder / "run").mkdir()
    save_checkpoint(folder / "run/best.pt", model)
    export_model(model, folder / "model.pt", "float32")
    return folder


@pytest.mark.parametrize("file", ["run", "model.pt"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_its_validator_passes(files, file, dtype):
    model = TorchSimModel(files / file, dtype=dtype)
    validate_model_outputs(model, torch.device("cpu"), dtype)


def state_of(model: TorchSimModel, atoms: list[Atoms]):
    return ts.io.atoms_to_state(atoms, model.device, model.dtype)


def crystals() -> list[Atoms]:
    return [structures()["crystal"], structures()["sheared"], structures()["one_atom_cell"]]


def test_results_are_those_of_the_ase_calculator():
    model = TorchSimModel(ToyPotential())
    # smaller and larger systems in the same places: lists are found anew
    for many in (crystals(), crystals()[::-1], crystals()[1:], crystals() * 2):
        found = model(state_of(model, many))
        calculator = ICTPCalculator(ToyPotential(), skin=0.0)
        forces = np.concatenate([calculator.get_forces(atoms) for atoms in many])
        np.testing.assert_allclose(found["forces"], forces, rtol=0, atol=1e-12)
        for k, atoms in enumerate(many):
            assert float(found["energy"][k]) == pytest.approx(
                calculator.get_potential_energy(atoms), abs=1e-11
            )
            atoms.calc = calculator
            stress = atoms.get_stress(voigt=False)
            np.testing.assert_allclose(found["stress"][k], stress, rtol=0, atol=1e-12)


def test_molecules_have_no_stress(files):
    model = TorchSimModel(files / "run")
    many = [molecule("C6H6"), molecule("CH4")]
    found = model(state_of(model, many))
    assert torch.isnan(found["stress"]).all()
    expected = [ICTPCalculator(files / "run").get_potential_energy(atoms) for atoms in many]
    np.testing.assert_allclose(found["energy"], expected, rtol=0, atol=1e-10)


def test_relaxed_cells_are_those_of_ase():
    starts = [bulk("Cu", "fcc", a=a) for a in (2.9, 3.0)] + [bulk("Cu", "sc", a=2.3)]
    model = TorchSimModel(ToyPotential())
    final = ts.optimize(
        system=starts,
        model=model,
        **RELAX_CELL,
        convergence_fn=ts.generate_force_convergence_fn(force_tol=1e-4, include_cell_forces=True),
        max_steps=1000,
    )
    for k, (atoms, relaxed) in enumerate(zip(starts, final.to_atoms(), strict=True)):
        atoms.calc = ICTPCalculator(ToyPotential())
        start = atoms.get_potential_energy()
        BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-5, steps=200)
        assert float(final.energy[k]) == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
        assert relaxed.get_volume() == pytest.approx(atoms.get_volume(), rel=1e-3)
        assert atoms.get_potential_energy() < start - 1e-3


def test_dynamics_are_those_of_ase():
    rng = np.random.default_rng(5)
    starts = [structures()["crystal"], structures()["sheared"]]
    for atoms in starts:
        atoms.set_momenta(atoms.get_masses()[:, None] * rng.normal(0, 0.03, (len(atoms), 3)))
    model = TorchSimModel(ToyPotential())
    state = state_of(model, starts)
    time_step = torch.tensor(units.fs, dtype=torch.float64)
    if NEW:
        state, step = ts.nve_init(state, model, kT=0.0), partial(ts.nve_step, model=model)
    else:
        start, step = ts.nve(model, dt=time_step, kT=torch.tensor(0.0))
        state = start(state)
    state.momenta = torch.from_numpy(np.concatenate([atoms.get_momenta() for atoms in starts]))
    for _ in range(50):
        state = step(state, dt=time_step)
    for k, atoms in enumerate(starts):
        first = atoms.positions.copy()
        atoms.calc = ICTPCalculator(ToyPotential())
        VelocityVerlet(atoms, timestep=units.fs).run(50)
        assert np.abs(atoms.positions - first).max() > 0.1
        own = state.system_idx == k
        apart, _ = find_mic(state.positions[own].numpy() - atoms.positions, atoms.cell)  # it wraps
        np.testing.assert_allclose(apart, 0, atol=1e-9)
        np.testing.assert_allclose(state.momenta[own], atoms.get_momenta(), rtol=0, atol=1e-9)
    assert 1 <= model.places.lists[0].num_builds < 20


def test_what_it_refuses(files):
    model = TorchSimModel(files / "run")
    with pytest.raises(UserError, match="atom 0 is Cu, but the model's elements are H C Mg Si Fe"):
        model(state_of(model, [bulk("Cu", cubic=True)]))
    with pytest.raises(UserError, match="device 'gpu': expected auto"):
        TorchSimModel(files / "run", device="gpu")
    with pytest.raises(UserError, match="dtype 'half': expected float32 or float64"):
        TorchSimModel(files / "run", dtype="half")
