# SPDX-License-Identifier: MIT
"""What the ASE calculator says of single atoms, of itself, and in forked processes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.lj import LennardJones
from data_toys import ToyPotential, structures
from model_toys import make_model
from pyictp.errors import UserError
from pyictp.potential.calculator import ICTPCalculator
from pyictp.potential.checkpoint import save_checkpoint
from pyictp.potential.export import export_model
from pyictp.potential.load import load_model
from torch import Tensor, nn


class PairModel(nn.Module):
    """The Lennard-Jones potential of ASE, epsilon 0.4 eV and sigma 2.3 A, cut without a shift."""

    elements = ("Cu",)
    r_cut = 5.0

    def forward(
        self, _species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> Tensor:
        sixth = (2.3**2 / edge_vectors.square().sum(1)) ** 3
        pairs = 0.8 * (sixth**2 - sixth)
        energies = torch.zeros(num_local, dtype=torch.float64)
        return energies.index_add(0, edge_index[0], pairs)


@pytest.mark.parametrize("name", ["crystal", "sheared"])
def test_stresses_are_those_of_ase_for_pairs(name):
    atoms, reference = structures()[name], structures()[name]
    atoms.calc = ICTPCalculator(PairModel())
    reference.calc = LennardJones(epsilon=0.4, sigma=2.3, rc=5.0)
    expected = reference.get_stresses()
    np.testing.assert_allclose(atoms.get_stresses(), expected, rtol=0, atol=1e-12)
    assert np.abs(expected).max() > 1e-2
    assert np.ptp(expected, axis=0).min() > 1e-4  # atoms differ


def test_stresses_of_many_bodies_add_up_and_are_asked_for():
    for name in ("crystal", "sheared", "one_atom_cell"):
        atoms = structures()[name]
        atoms.calc = ICTPCalculator(ToyPotential())
        stress = atoms.get_stress()
        assert "stresses" not in atoms.calc.results
        assert atoms.get_stresses().shape == (len(atoms), 6)
        np.testing.assert_allclose(atoms.get_stresses().sum(axis=0), stress, rtol=0, atol=1e-13)
    molecule = structures()["molecule"]
    molecule.calc = ICTPCalculator(ToyPotential())
    with pytest.raises(PropertyNotImplementedError):
        molecule.get_stresses()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a training `run` and its exported `model.pt`, copper in float64."""
    model = make_model(elements=("Cu",), r_cut=4.0)
    folder = tmp_path_factory.mktemp("files")
    (folder / "run").mkdir()
    save_checkpoint(folder / "run/best.pt", model)
    export_model(model, folder / "model.pt", "float64")
    return folder


def test_descriptors_give_the_energy_and_do_not_turn(files):
    atoms = structures()["crystal"]
    calculator = ICTPCalculator(files / "run")
    found = calculator.get_descriptors(atoms)
    assert found.shape == (len(atoms), 4)
    assert found.dtype == np.float64
    # the last readout is a function of them: without it the energies fall by just that
    model = load_model(files / "run").model
    with torch.no_grad():
        last = model.layers[-1].readout(torch.from_numpy(found).unsqueeze(1)).flatten().numpy()
        expected = calculator.get_property("energies", atoms) - model.scale.numpy() * last
        model.layers[-1].readout.layers[-1].weight.zero_()
    rest = ICTPCalculator(model).get_property("energies", atoms)
    np.testing.assert_allclose(rest, expected, rtol=0, atol=1e-10)
    turned = atoms.copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    np.testing.assert_allclose(calculator.get_descriptors(turned), found, rtol=0, atol=1e-10)
    assert np.abs(found - found[0]).max() > 1e-3
    # that of the last calculation, which is still there
    np.testing.assert_array_equal(calculator.get_descriptors(), found)
    assert calculator.atoms == atoms


def test_descriptors_that_nobody_can_tell(files):
    atoms = structures()["crystal"]
    with pytest.raises(UserError, match=r"^descriptors: expected a structure, get_descriptors"):
        ICTPCalculator(files / "run").get_descriptors()
    with pytest.raises(UserError, match=r"^descriptors: expected a training folder .* exported"):
        ICTPCalculator(files / "model.pt").get_descriptors(atoms)
    with pytest.raises(UserError, match=r"^descriptors: expected an ICTPModel, got PairModel"):
        ICTPCalculator(PairModel()).get_descriptors(atoms)


def test_what_a_calculator_calls_itself(files, monkeypatch):
    monkeypatch.chdir(files)
    assert repr(ICTPCalculator("run", dtype="float32")) == (
        f"ICTPCalculator('{files}/run', Cu, r_cut 4.0 A, float32, cpu)"
    )
    native = ICTPCalculator("model.pt", native=True)
    assert repr(native) == (
        f"ICTPCalculator('{files}/model.pt', Cu, r_cut 4.0 A, float64, cpu, native)"
    )
    toy = ICTPCalculator(ToyPotential())
    assert repr(toy) == "ICTPCalculator(ToyPotential, H C O Cu, r_cut 4.0 A, float64, cpu)"
    models = [make_model(elements=("Cu",), r_cut=4.0, seed=seed) for seed in range(2)]
    export_model(models, "both.pt", "float32", radial="network")
    assert "both.pt', 2 models, Cu, r_cut 4.0 A, float32," in repr(ICTPCalculator("both.pt"))


FORKED = """
import multiprocessing
import sys
import numpy as np
import torch
from ase.build import bulk
from pyictp import ICTPCalculator

torch.set_num_threads(2)
calculator = ICTPCalculator(sys.argv[1], native=len(sys.argv) == 3)

def forces(seed):
    atoms = bulk("Cu", cubic=True).repeat(3)
    atoms.rattle(0.1, seed=seed)
    atoms.calc = calculator
    return atoms.get_forces()

here = [forces(seed) for seed in range(3)]
with multiprocessing.get_context("fork").Pool(2) as pool:
    there = pool.map(forces, range(3))
assert np.abs(here[0]).max() > 1e-3
assert all(np.abs(a - b).max() < 1e-12 for a, b in zip(here, there))
print("the same")
"""


@pytest.mark.parametrize("model", [["run"], ["model.pt"], ["model.pt", "native"]], ids=" ".join)
def test_a_pool_that_forks_after_an_evaluation(files, model):
    """A child without its parent's threads must not wait for them."""
    command = [sys.executable, "-P", "-c", FORKED, *model]
    done = subprocess.run(
        command, cwd=files, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "the same\n", done.stderr
