# SPDX-License-Identifier: MIT
"""The ASE calculator against a double loop, with and without skin, and ASE's own numerics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from ase.stress import full_3x3_to_voigt_6_stress
from data_toys import ToyPotential, brute_force_energy, structures
from pyictp.errors import UserError
from pyictp.potential.calculator import ICTPCalculator
from pyictp.potential.load import load_model
from torch import nn


@pytest.mark.parametrize("name", structures())
def test_results_of_every_kind_of_structure(name):
    atoms = structures()[name]
    atoms.calc = ICTPCalculator(ToyPotential())
    energy = atoms.get_potential_energy()
    assert energy == pytest.approx(brute_force_energy(ToyPotential(), atoms), rel=1e-12)
    assert atoms.get_potential_energy(force_consistent=True) == energy
    assert atoms.get_potential_energies().sum() == pytest.approx(energy, rel=1e-13)
    assert atoms.get_potential_energies().shape == (len(atoms),)
    assert atoms.get_forces().shape == (len(atoms), 3)


@pytest.mark.parametrize("name", ["crystal", "sheared", "one_atom_cell"])
def test_forces_and_stress_equal_ase_numerical_ones(name):
    atoms = structures()[name]
    atoms.calc = ICTPCalculator(ToyPotential(), skin=0.0)
    forces, stress = atoms.get_forces(), atoms.get_stress()
    assert stress.shape == (6,)
    numerical = calculate_numerical_forces(atoms, eps=1e-5, iatoms=range(min(2, len(atoms))))
    np.testing.assert_allclose(forces[:2], numerical, atol=1e-7)
    numerical = calculate_numerical_stress(atoms, eps=1e-5, voigt=True)
    np.testing.assert_allclose(stress, numerical, rtol=1e-6, atol=1e-7)


def test_no_stress_without_volume():
    for name in ("molecule", "wire", "slab"):
        atoms = structures()[name]
        atoms.calc = ICTPCalculator(ToyPotential())
        with pytest.raises(PropertyNotImplementedError):
            atoms.get_stress()
    slab = structures()["slab"]
    slab.cell[2, 2] = 20.0
    slab.calc = ICTPCalculator(ToyPotential())
    assert abs(slab.get_stress()[2]) < 1  # a volume makes it defined
    assert slab.get_stress().shape == (6,)


def test_skin_changes_nothing_in_a_run():
    atoms = bulk("Cu", "fcc", a=3.3, cubic=True) * (2, 2, 2)
    atoms.rattle(0.05, seed=1)
    atoms.set_velocities(np.random.default_rng(2).normal(scale=0.05, size=(len(atoms), 3)))
    calculator = ICTPCalculator(ToyPotential(), skin=0.8)
    reference = ICTPCalculator(ToyPotential(), skin=0.0)
    atoms.calc = calculator
    dynamics = VelocityVerlet(atoms, timestep=2 * units.fs)
    for step in range(60):
        dynamics.run(1)
        if step == 30:
            atoms.wrap()
        reference.calculate(atoms)
        for key in ("energy", "energies", "forces", "stress"):
            found, expected = calculator.get_property(key, atoms), reference.results[key]
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert 1 < calculator.neighbors.num_builds < 20
    assert reference.neighbors.num_builds == 60


def test_energy_is_conserved():
    atoms = structures()["molecule"]
    atoms.calc = ICTPCalculator(ToyPotential())
    BFGS(atoms, logfile=None).run(fmax=0.01, steps=20)
    atoms.set_velocities(np.random.default_rng(2).normal(scale=0.02, size=(len(atoms), 3)))
    start = atoms.get_total_energy()
    VelocityVerlet(atoms, timestep=0.2 * units.fs).run(200)
    assert atoms.get_total_energy() == pytest.approx(start, abs=1e-4)


def test_one_calculator_serves_many_structures():
    calculator = ICTPCalculator(ToyPotential(), skin=1.0)
    for _ in range(2):
        for atoms in structures().values():
            atoms.calc = calculator
            expected = brute_force_energy(ToyPotential(), atoms)
            assert atoms.get_potential_energy() == pytest.approx(expected, rel=1e-12)
    atoms = structures()["molecule"]
    atoms.calc = calculator
    for symbols in ("COH2", "HCO2", "OOOO"):
        atoms.symbols[:] = symbols
        expected = brute_force_energy(ToyPotential(), atoms)
        assert atoms.get_potential_energy() == pytest.approx(expected, rel=1e-12)


def test_bad_input_is_refused():
    atoms = structures()["molecule"]
    atoms.calc = ICTPCalculator(ToyPotential(("H", "O")))
    with pytest.raises(UserError, match="atom 0 is C, but the model's elements are H O"):
        atoms.get_potential_energy()
    with pytest.raises(UserError, match="device 'gpu': expected auto, cpu, cuda or cuda:<number>"):
        ICTPCalculator(ToyPotential(), device="gpu")
    with pytest.raises(UserError, match=r"device 'cuda:99': this torch sees \d+ GPUs"):
        ICTPCalculator(ToyPotential(), device="cuda:99")
    with pytest.raises(UserError, match="dtype 'half': expected float32 or float64"):
        ICTPCalculator(ToyPotential(), dtype="half")
    with pytest.raises(UserError, match="native=True: expected the path of an exported file"):
        ICTPCalculator(ToyPotential(), native=True)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A training folder with a small untrained model in float64, and the model."""
    from pyictp.config.load import ModelConfig
    from pyictp.model.ictp import ICTPModel
    from pyictp.potential.checkpoint import save_checkpoint

    torch.manual_seed(3)
    config = ModelConfig(
        elements=("H", "C", "O", "Cu"), r_cut=4.0, num_channels=4, l_max_edge=2, correlation=2
    )
    model = ICTPModel(config).to(torch.float64)
    model.shift[:] = torch.tensor([-13.0, -1000.0, -2000.0, -3.0])
    folder = tmp_path_factory.mktemp("run")
    save_checkpoint(folder / "best.pt", model)
    return folder, model


@pytest.fixture(scope="module")
def exported(run_folder):
    """The same model as an exported file."""
    from pyictp.potential.export import export_model

    folder, model = run_folder
    export_model(model, folder / "model.pt", "float64")
    return folder / "model.pt"


def check_same_results(calculator, reference, tolerance: float) -> None:
    for atoms in structures().values():
        calculator.calculate(atoms)
        reference.calculate(atoms)
        assert calculator.results.keys() == reference.results.keys()
        for key, expected in reference.results.items():
            np.testing.assert_allclose(calculator.results[key], expected, rtol=0, atol=tolerance)


def test_real_model_from_folder_checkpoint_and_memory(run_folder):
    folder, model = run_folder
    reference = ICTPCalculator(model, skin=0.0)
    check_same_results(ICTPCalculator(folder), reference, 1e-10)
    check_same_results(ICTPCalculator(str(folder / "best.pt")), reference, 1e-10)
    check_same_results(ICTPCalculator(folder, dtype="float32"), reference, 1e-3)
    assert next(model.parameters()).dtype == torch.float64


def test_real_model_has_consistent_derivatives(run_folder):
    atoms = structures()["crystal"]
    atoms.calc = ICTPCalculator(run_folder[0])
    numerical = calculate_numerical_forces(atoms, eps=1e-4, iatoms=[0])
    np.testing.assert_allclose(atoms.get_forces()[:1], numerical, rtol=1e-5, atol=1e-6)
    numerical = calculate_numerical_stress(atoms, eps=1e-5)
    np.testing.assert_allclose(atoms.get_stress(), numerical, rtol=1e-5, atol=1e-7)


def test_real_model_with_skin_in_a_run(run_folder):
    atoms = structures()["crystal"]
    atoms.set_velocities(np.random.default_rng(2).normal(scale=0.05, size=(len(atoms), 3)))
    atoms.calc = ICTPCalculator(run_folder[0], skin=0.8)
    reference = ICTPCalculator(run_folder[0], skin=0.0)
    dynamics = VelocityVerlet(atoms, timestep=3 * units.fs)
    for _ in range(15):
        dynamics.run(1)
        reference.calculate(atoms)
        for key in ("energies", "forces", "stress"):
            found, expected = atoms.calc.get_property(key, atoms), reference.results[key]
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert atoms.calc.neighbors.num_builds < 15


@pytest.mark.parametrize("native", [False, True])
def test_exported_file(run_folder, exported, native):
    reference = ICTPCalculator(run_folder[1], skin=0.0)
    check_same_results(ICTPCalculator(exported, native=native), reference, 1e-9)


def test_native_takes_exported_files_only(run_folder, exported):
    with pytest.raises(UserError, match=r"best\.pt"):
        ICTPCalculator(run_folder[0] / "best.pt", native=True)
    with pytest.raises(UserError, match="an exported file has its own dtype"):
        ICTPCalculator(exported, native=True, dtype="float64")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (7, "expected a training folder, .*, got int$"),
        (nn.Linear(2, 2), ".*, got Linear without elements and r_cut$"),
    ],
)
def test_what_is_no_model_is_refused(model, message):
    with pytest.raises(UserError, match=rf"^model: {message}"):
        ICTPCalculator(model)


def test_a_loaded_potential_keeps_its_dtype(exported, run_folder):
    for file in (exported, run_folder[0]):
        loaded = load_model(file)
        assert ICTPCalculator(loaded).potential is loaded
        with pytest.raises(UserError, match=r"^a loaded potential has its own dtype: leave dtype"):
            ICTPCalculator(loaded, dtype="float32")


def test_a_model_in_memory_is_not_changed():
    potential = ToyPotential()
    calculator = ICTPCalculator(potential, dtype="float32")
    assert potential.amplitude.dtype == torch.float64
    assert calculator.potential.model.amplitude.dtype == torch.float32


@pytest.mark.parametrize(
    "case", ["hea_full_l1", "organic_symmetric_l2", "organic_unsymmetric_c2", "hea_coupled"]
)
def test_reference_implementation_values(shared_dir, case):
    from pyictp.foreign.upstream import find_checkpoint, import_checkpoint

    folder = shared_dir / "fixtures/upstream" / case
    model = import_checkpoint(find_checkpoint(folder)).to(torch.float64)
    calculator = ICTPCalculator(model)
    with np.load(folder / "reference.npz") as reference:
        for k in range(sum(name.startswith("energy_") for name in reference.files)):
            atoms = Atoms(
                reference[f"numbers_{k}"],
                reference[f"positions_{k}"],
                cell=reference[f"cell_{k}"],
                pbc=reference[f"pbc_{k}"],
            )
            calculator.calculate(atoms)
            found = calculator.results
            assert found["energy"] == pytest.approx(float(reference[f"energy_{k}"]), abs=1e-10)
            for key, name in (("energies", "atomic_energies"), ("forces", "forces")):
                np.testing.assert_allclose(found[key], reference[f"{name}_{k}"], rtol=0, atol=1e-10)
            if f"stress_{k}" in reference.files:
                expected = full_3x3_to_voigt_6_stress(reference[f"stress_{k}"])
                np.testing.assert_allclose(found["stress"], expected, rtol=0, atol=1e-12)
