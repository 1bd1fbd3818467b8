# SPDX-License-Identifier: MIT
"""Batched evaluation, tools of ASE beyond molecular dynamics, and copies of a calculator."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.mixing import SumCalculator
from ase.db import connect
from ase.eos import EquationOfState
from ase.filters import FrechetCellFilter
from ase.mep import NEB
from ase.optimize import BFGS
from ase.units import _amu, _e, _hbar
from ase.vibrations import Vibrations
from data_toys import LonePotential, ToyPotential, structures
from model_toys import make_model
from pyictp import ICTPCalculator, evaluate_batch
from pyictp.errors import UserError
from pyictp.potential.checkpoint import save_checkpoint
from pyictp.potential.export import export_model
from pyictp.potential.exported import load_exported

ELEMENTS = ("H", "C", "O", "Cu")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A checkpoint of a random model, and its exported file, both float64."""
    folder = tmp_path_factory.mktemp("models")
    model = make_model(elements=ELEMENTS, l_max_edge=2, correlation=2)
    save_checkpoint(folder / "best.pt", model)
    export_model(model, folder / "model.pt", "float64")
    return folder


class Counting(ToyPotential):
    """Writes down the edges of every call, and whether a gradient was wanted."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, species, edge_index, edge_vectors, num_local):
        self.calls.append((edge_index.shape[1], edge_vectors.requires_grad))
        return super().forward(species, edge_index, edge_vectors, num_local)


def check_against_calculator(results, calculator, many, tolerance=1e-12):
    assert len(results) == len(many)
    for atoms, result in zip(many, results, strict=True):
        calculator.calculate(atoms)
        expected = calculator.results
        np.testing.assert_allclose(result.energy, expected["energy"], rtol=0, atol=tolerance)
        np.testing.assert_allclose(result.energies, expected["energies"], rtol=0, atol=tolerance)
        np.testing.assert_allclose(result.forces, expected["forces"], rtol=0, atol=tolerance)
        assert result.forces.shape == (len(atoms), 3)
        assert (result.stress is None) == ("stress" not in expected)
        if result.stress is not None:
            found = result.stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
            np.testing.assert_allclose(found, expected["stress"], rtol=0, atol=tolerance)


@pytest.mark.parametrize("batch_edges", [1, 300, 1_000_000])
@pytest.mark.parametrize("file", ["best.pt", "model.pt"])
def test_a_batch_is_one_by_one(files, file, batch_edges):
    many = [*structures().values()]
    many += [many[0], Atoms("O"), *many[::-1]]  # order matters, and repetition does not
    assert any(atoms.pbc.all() for atoms in many)
    assert any(not atoms.pbc.any() for atoms in many)
    results = evaluate_batch(files / file, many, batch_edges=batch_edges)
    calculator = ICTPCalculator(files / file, skin=0.0)
    # numbers of order 10 eV, eV/A: sums of a batch round differently in the last digit
    check_against_calculator(results, calculator, many)


def test_any_kind_of_potential():
    many = [*structures().values()]
    check_against_calculator(
        evaluate_batch(ToyPotential(), iter(many)), ICTPCalculator(ToyPotential()), many
    )
    assert [r.energy for r in evaluate_batch(LonePotential(), many)] == [2.0 * len(a) for a in many]


def test_batches_are_bounded_by_edges():
    many = [atoms for atoms in structures().values() for _ in range(3) if len(atoms) > 1]
    many += [structures()["one_atom_cell"]]
    single = Counting()
    evaluate_batch(single, many, batch_edges=1)
    edges = [number for number, _ in single.calls]
    assert len(edges) == len(many)
    packed = Counting()
    evaluate_batch(packed, many, batch_edges=400)
    assert 1 < len(packed.calls) < len(many)
    assert sum(number for number, _ in packed.calls) == sum(edges)
    assert all(number <= max(400, *edges) for number, _ in packed.calls)


def test_only_what_is_asked_for():
    many, potential = [*structures().values()], Counting()
    full = evaluate_batch(potential, many)
    energies = evaluate_batch(potential, many, forces=False, stress=False)
    assert [wanted for _, wanted in potential.calls] == [True, False]
    for one, other in zip(full, energies, strict=True):
        assert one.energy == other.energy
        assert other.forces is None
        assert other.stress is None
    only = evaluate_batch(potential, many, stress=False)
    assert all(r.stress is None for r in only)
    np.testing.assert_array_equal(only[0].forces, full[0].forces)
    assert evaluate_batch(potential, []) == []


def test_dtype_is_that_of_the_calculator(files):
    many = [*structures().values()]
    results = evaluate_batch(files, many, dtype="float32")
    exact = evaluate_batch(files, many)
    calculator = ICTPCalculator(files, dtype="float32")
    check_against_calculator(results, calculator, many, 1e-4)
    assert any(one.energy != other.energy for one, other in zip(results, exact, strict=True))


def test_a_batch_refuses_with_the_number_of_the_structure():
    good = structures()["molecule"]
    with pytest.raises(UserError, match="got a single one: give"):
        evaluate_batch(ToyPotential(), good)
    with pytest.raises(UserError, match="structure 1: field 'numbers': atom 0 is He"):
        evaluate_batch(ToyPotential(), [good, Atoms("He")])
    with pytest.raises(UserError, match="structure 1: atoms 0 and 1 are on one spot"):
        evaluate_batch(ToyPotential(), [good, Atoms("H2")])
    with pytest.raises(UserError, match=r"structure 0: expected ase\.Atoms, got str"):
        evaluate_batch(ToyPotential(), ["water.xyz"])
    with pytest.raises(UserError, match="batch_edges: expected 1 or more, got 0"):
        evaluate_batch(ToyPotential(), [good], batch_edges=0)


def test_importing_the_package_is_light():
    code = (
        "import sys, pyictp; assert not {'torch', 'ase', 'numpy'} & {*sys.modules};"
        "assert 'evaluate_batch' in dir(pyictp); from pyictp import evaluate_batch, ICTPCalculator;"
        "assert 'torch' in sys.modules; import pyictp.potential.batch; "
        "assert pyictp.potential.batch.evaluate_batch is evaluate_batch; pyictp.nothing"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last == "AttributeError: module 'pyictp' has no attribute 'nothing'"


KINDS = ("memory", "checkpoint", "exported", "native")


def make_calculator(kind: str, folder: Path) -> ICTPCalculator:
    if kind == "memory":
        return ICTPCalculator(make_model(elements=ELEMENTS))
    if kind == "checkpoint":
        return ICTPCalculator(folder, dtype="float32")
    return ICTPCalculator(folder / "model.pt", native=kind == "native")


def pickled(calculator: ICTPCalculator) -> ICTPCalculator:
    return pickle.loads(pickle.dumps(calculator))


def energy_of(calculator: ICTPCalculator) -> float:
    return calculator.get_potential_energy(structures()["crystal"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
def test_copies_of_a_calculator(files, kind, duplicate, monkeypatch, tmp_path):
    monkeypatch.chdir(files)
    calculator = make_calculator(kind, Path())
    expected = energy_of(calculator)
    monkeypatch.chdir(tmp_path)  # a relative path still means the same file
    twin = duplicate(calculator)
    assert twin.results["energy"] == expected
    twin.reset()
    assert energy_of(twin) == expected
    other = structures()["molecule"]
    twin.calculate(other)
    assert calculator.results["energy"] == expected
    assert energy_of(calculator) == expected


def test_calculators_go_to_a_new_process(files):
    calculators = [make_calculator(kind, files) for kind in KINDS]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.map(energy_of, calculators)
    assert found == [energy_of(calculator) for calculator in calculators]


def test_a_copy_of_what_has_no_file_is_refused(files):
    calculator = ICTPCalculator(load_exported(files / "model.pt"))
    with pytest.raises(UserError, match="make it with the file's path"):
        pickle.dumps(calculator)


def test_reset_forgets_results():
    atoms = structures()["crystal"]
    atoms.calc = ICTPCalculator(ToyPotential())
    energy = atoms.get_potential_energy()
    atoms.calc.reset()
    assert atoms.calc.results == {}
    assert atoms.get_potential_energy() == energy


def test_stress_as_a_matrix():
    atoms = structures()["sheared"]
    atoms.calc = ICTPCalculator(ToyPotential())
    matrix = atoms.get_stress(voigt=False)
    np.testing.assert_array_equal(matrix, matrix.T)
    (result,) = evaluate_batch(ToyPotential(), [atoms])
    np.testing.assert_allclose(matrix, result.stress, rtol=0, atol=1e-13)


def crystal(a: float = 3.0) -> Atoms:
    atoms = bulk("Cu", "fcc", a=a)
    atoms.calc = ICTPCalculator(ToyPotential())
    return atoms


def test_relaxed_cell_is_the_minimum_of_the_equation_of_state():
    atoms = crystal()
    BFGS(FrechetCellFilter(atoms, hydrostatic_strain=True), logfile=None).run(fmax=1e-5, steps=60)
    np.testing.assert_allclose(np.trace(atoms.get_stress(voigt=False)), 0, atol=1e-5)
    a = atoms.cell.lengths()[0] * 2**0.5
    scanned = [crystal(a * factor) for factor in np.linspace(0.99, 1.01, 7)]
    volumes = [s.get_volume() for s in scanned]
    state = EquationOfState(volumes, [s.get_potential_energy() for s in scanned])
    volume, _, modulus = state.fit()
    assert volume == pytest.approx(atoms.get_volume(), rel=1e-3)
    pressure = [-np.trace(s.get_stress(voigt=False)) / 3 for s in scanned]
    slope = -volume * np.gradient(pressure, volumes)[3]
    assert modulus == pytest.approx(slope, rel=0.05)


def test_vibration_of_a_dimer(tmp_path):
    atoms = Atoms("CO", [[0, 0, 0], [0, 0, 1.5]])
    atoms.calc = ICTPCalculator(ToyPotential())
    BFGS(atoms, logfile=None).run(fmax=1e-6, steps=200)
    vibrations = Vibrations(atoms, name=str(tmp_path / "vib"), delta=0.005)
    vibrations.run()
    step, energies = 0.005, []
    for shift in (-step, 0, step):
        moved = atoms.copy()
        moved.positions[1] += shift * np.array([0, 0, 1])
        moved.calc = atoms.calc
        energies.append(moved.get_potential_energy())
    curvature = (energies[0] - 2 * energies[1] + energies[2]) / step**2  # eV/A^2
    mass = np.prod(atoms.get_masses()) / atoms.get_masses().sum()
    expected = _hbar * (curvature * _e * 1e20 / (mass * _amu)) ** 0.5 / _e
    assert vibrations.get_energies()[-1].real == pytest.approx(expected, rel=1e-3)


def band(shared: bool) -> list[Atoms]:
    """Return a hydrogen on its way from one side of a carbon monoxide to the other."""
    start = Atoms("COH", [[0, 0, 0], [0, 0, 1.4], [1.2, 0, 0.5]])
    end = start.copy()
    end.positions[2, 0] *= -1
    images = [start] + [start.copy() for _ in range(3)] + [end]
    calculator = ICTPCalculator(ToyPotential(), skin=0.2)
    for image in images:
        image.calc = calculator if shared else copy.deepcopy(calculator)
    images[2].positions[2] = [0, 1.2, 0.5]  # round the molecule, not through it
    return images


def test_nudged_elastic_band():
    energies = []
    for shared in (True, False):
        images = band(shared)
        path = NEB(images, method="improvedtangent", allow_shared_calculator=shared)
        for number in (1, 3):
            images[number].positions[2] = 0.5 * (
                images[number - 1].positions[2] + images[number + 1].positions[2]
            )
        BFGS(path, logfile=None).run(fmax=0.05, steps=8)
        energies.append([image.get_potential_energy() for image in images])
    np.testing.assert_allclose(energies[0], energies[1], rtol=0, atol=1e-9)
    assert energies[0][1] == pytest.approx(energies[0][3], abs=1e-6)  # the mirror image
    assert energies[0][0] == pytest.approx(energies[0][4], abs=1e-12)


def test_sums_of_calculators_and_databases(tmp_path):
    atoms = structures()["crystal"]
    parts = [ICTPCalculator(ToyPotential()), ICTPCalculator(LonePotential())]
    atoms.calc = SumCalculator(parts)
    assert atoms.get_potential_energy() == pytest.approx(
        parts[0].get_potential_energy(atoms) + 2.0 * len(atoms), rel=1e-13
    )
    atoms.calc = parts[0]
    forces = atoms.get_forces()
    with connect(tmp_path / "some.db") as database:
        database.write(atoms)
    row = connect(tmp_path / "some.db").get(1)
    assert row.energy == atoms.get_potential_energy()
    np.testing.assert_array_equal(row.forces, forces)
