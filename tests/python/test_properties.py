# SPDX-License-Identifier: MIT
"""Properties against closed forms, ASE's own codes, and the same by another way."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import CalculationFailed
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.morse import MorsePotential
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.optimize import BFGS
from ase.phonons import Phonons as AsePhonons
from ase.units import GPa, _amu, _c, _e, _hplanck, kB
from blocks import blocks_run_by
from model_toys import make_model
from pyictp.cli.main import main
from pyictp.potential.export import export_model

pytest.importorskip("phonopy", reason="phonopy is not installed: pip install '.[properties]'")
from pyictp.errors import UserError
from pyictp.properties import (
    crystals,
    defects,
    expansion,
    labels,
    lattice_dynamics,
    measure,
    melting,
    molecules,
    results,
    rows,
    stability,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")


@pytest.fixture(scope="module")
def copper() -> Atoms:
    """Return copper by the effective medium theory, relaxed."""
    return crystals.relaxed(bulk("Cu", a=3.7), EMT())


@pytest.fixture(scope="module")
def layers() -> Atoms:
    """Return layers of copper and nickel: tetragonal, and the atoms move under strain."""
    atoms = bulk("Cu", cubic=True)
    atoms.symbols[[0, 1]] = "Ni"
    return crystals.relaxed(atoms, EMT())


def test_the_cell_is_the_conventional_one_at_rest(copper: Atoms) -> None:
    assert len(copper) == 4
    assert copper.cell.angles() == pytest.approx([90, 90, 90])
    assert np.abs(copper.get_stress()).max() < 1e-5
    assert crystals.space_group(copper) == "Fm-3m (225)"
    nearby = [bulk("Cu", a=copper.cell[0, 0] * factor) for factor in (0.999, 1.001)]
    for atoms in nearby:
        atoms.calc = EMT()
        assert atoms.get_potential_energy() > copper.get_potential_energy() / 4


def test_bulk_moduli_of_energies_and_of_stresses_agree(copper: Atoms) -> None:
    state = crystals.equation_of_state(copper)
    averages = crystals.moduli(crystals.elastic_constants(copper))
    assert state.volume == pytest.approx(copper.get_volume() / 4, rel=1e-3)
    assert state.bulk_modulus == pytest.approx(averages.bulk, rel=0.01)
    pressures = []
    for factor in (0.99, 1.01):
        atoms = copper.copy()
        atoms.set_cell(copper.cell * factor, scale_atoms=True)
        atoms.calc = EMT()
        pressures.append(-atoms.get_stress()[:3].mean() / GPa)
    slope = (pressures[0] - pressures[1]) / np.log(1.01**3 / 0.99**3)
    assert averages.bulk == pytest.approx(slope, rel=0.01)


def test_labels_have_an_equation_of_state(copper: Atoms, tmp_path: Path) -> None:
    """Of supercells, in any order, with another zero of energies."""
    frames = []
    for factor in (1.03, 0.95, 0.97, 1.0, 1.05, 0.98):
        cell = crystals.scaled(copper, factor).repeat((1, 1, 2))
        cell.calc = EMT()
        energy = cell.get_potential_energy() - 50.0 * len(cell)
        cell.calc = SinglePointCalculator(cell, energy=energy)
        frames.append(cell)
    write(tmp_path / "labels.xyz", frames)
    found = labels.labelled(str(tmp_path / "labels.xyz"), copper)
    ours = crystals.equation_of_state(copper)
    values = {row.title: row.value for row in found.rows}
    assert values["volume at zero pressure"] == pytest.approx(ours.volume, rel=1e-4)
    assert values["bulk modulus, of energies"] == pytest.approx(ours.bulk_modulus, rel=0.01)
    assert found.curves["eos"].energy == pytest.approx(ours.energy - 50.0, abs=1e-4)
    both = rows.Measured("EMT")
    rows.CRYSTALS["eos"](both, copper)
    lines = "\n".join(results.table([both, found]))
    assert re.search(r"^volume at zero pressure +A\^3/atom +11.56\d* +11.56\d*$", lines, re.M)
    assert "eos.png" in results.write([both, found], "cu.cif", tmp_path / "out")


def test_labels_that_are_no_equation_of_state_are_refused(copper: Atoms, tmp_path: Path) -> None:
    cells = [crystals.scaled(copper, factor) for factor in (0.98, 1.0, 1.0, 1.02)]
    for cell in cells:
        cell.calc = SinglePointCalculator(cell, energy=1.0)
    write(tmp_path / "few.xyz", cells)
    with pytest.raises(UserError, match=r"expected 5 volumes or more of Cu, with energies, got 3$"):
        labels.labelled(str(tmp_path / "few.xyz"), copper)
    frames = []
    for number, factor in enumerate(np.linspace(0.9, 1.1, 8)):  # as of two phases
        cell = crystals.scaled(copper, factor)
        cell.calc = EMT()
        energy = cell.get_potential_energy() + 0.1 * (number % 2) * len(cell)
        cell.calc = SinglePointCalculator(cell, energy=energy)
        frames.append(cell)
    write(tmp_path / "phases.xyz", frames)
    with pytest.raises(UserError, match=r"expected one crystal of Cu with its atoms at rest"):
        labels.labelled(str(tmp_path / "phases.xyz"), copper)
    with pytest.raises(UserError, match=r"--labels: expected a crystal"):
        labels.labelled(str(tmp_path / "few.xyz"), molecule("H2O"))


def test_elastic_constants_are_second_derivatives_of_the_energy(layers: Atoms) -> None:
    by_stress = crystals.elastic_constants(layers)
    step, unit = 2e-3, 2e-3 * np.eye(6)

    def energy(strain: np.ndarray) -> float:
        return crystals._strained(layers, strain).get_potential_energy()

    by_energy = np.empty((6, 6))
    for i, j in itertools.combinations_with_replacement(range(6), 2):
        signs = itertools.product((1, -1), repeat=2)
        mixed = sum(p * q * energy(p * unit[i] + q * unit[j]) for p, q in signs)
        by_energy[i, j] = by_energy[j, i] = mixed / (4 * step**2) / layers.get_volume() / GPa
    np.testing.assert_allclose(by_stress, by_energy, rtol=0, atol=0.5)
    assert np.ptp(np.sort(np.diag(by_stress)[:3])) > 2  # no longer cubic


def test_moduli_of_an_isotropic_solid_are_lame_s() -> None:
    first, second = 60.0, 40.0  # Lame's parameters [GPa]
    constants = np.zeros((6, 6))
    constants[:3, :3] = first
    constants[np.diag_indices(6)] += [2 * second] * 3 + [second] * 3
    found = crystals.moduli(constants)
    assert found.bulk == pytest.approx(first + 2 / 3 * second)
    assert found.shear == pytest.approx(second)
    assert found.young == pytest.approx(second * (3 * first + 2 * second) / (first + second))
    assert found.poisson == pytest.approx(first / (2 * (first + second)))
    assert found.stable
    constants[3, 3] = -1.0
    assert not crystals.moduli(constants).stable


def test_phonons_are_those_of_another_code(copper: Atoms, tmp_path: Path) -> None:
    found = lattice_dynamics.phonons(copper)
    assert found.supercell == (4, 4, 4)
    primitive = bulk("Cu", a=copper.cell[0, 0])
    theirs = AsePhonons(primitive, EMT(), (8, 8, 8), delta=0.01, name=str(tmp_path / "phonons"))
    theirs.run()
    theirs.read(acoustic=True)
    for name, point in primitive.cell.bandpath(npoints=0).special_points.items():
        if name in "XL":  # that both supercells hold
            frequencies = theirs.band_structure([point], verbose=False)[0] * _e / _hplanck * 1e-12
            np.testing.assert_allclose(np.sort(found.points[name]), np.sort(frequencies), atol=0.01)
    assert abs(found.lowest) < 0.01
    # half a quantum for each state of the density
    half = 0.5e12 * _hplanck / _e
    zero_point = np.trapezoid(found.density * found.density_frequencies, found.density_frequencies)
    assert found.zero_point == pytest.approx(half * zero_point, rel=0.02)
    assert found.heat_capacity == pytest.approx(2.81, abs=0.02)


@pytest.mark.long
def test_thermal_expansion_is_that_of_another_code(copper: Atoms, tmp_path: Path) -> None:
    """Free energies of ASE's phonons at other volumes, and their minimum by a polynomial."""
    found = expansion.thermal_expansion(copper, length=8.0)
    lengths = copper.cell[0, 0] * np.array([0.995, 1.0, 1.005, 1.01, 1.015])
    energies, quanta = [], []
    for number, length in enumerate(lengths):
        primitive = bulk("Cu", a=length)
        primitive.calc = EMT()
        theirs = AsePhonons(primitive, EMT(), (5, 5, 5), name=str(tmp_path / str(number)))
        theirs.run()
        theirs.read(acoustic=True)
        points = (np.indices((12, 12, 12)).reshape(3, -1).T + 0.5) / 12
        quanta.append(theirs.band_structure(points, verbose=False).real)  # eV
        energies.append(primitive.get_potential_energy())

    def length_at(temperature: float) -> float:
        kt = kB * temperature
        per_mode = [kt * np.log(2 * np.sinh(q / (2 * kt))) for q in quanta]
        free = np.array(energies) + [modes.sum() / len(modes) for modes in per_mode]
        fit = np.polynomial.Polynomial.fit(lengths, free, 3)
        return min((r.real for r in fit.deriv().roots()), key=lambda r: abs(r - lengths[2]))

    linear = (length_at(320) - length_at(280)) / 40 / length_at(300)
    volume, ours, _ = found.at(300)
    assert volume == pytest.approx(length_at(300) ** 3 / 4, rel=1e-3)
    assert ours == pytest.approx(linear, rel=0.05)
    assert ours == pytest.approx(2e-5, rel=0.15)
    assert found.left_out == 0
    assert np.isnan(found.at(5000)[0])
    slope = np.gradient(np.log(found.volumes), found.temperatures) / 3
    np.testing.assert_allclose(found.linear[5:-5], slope[5:-5], rtol=0.02)


def test_the_guess_of_a_melting_point_is_lindemann_s(copper: Atoms) -> None:
    """Displacements of classical oscillators, by the density of states: 3 k T / m <1 / omega^2>."""
    guess = melting.lindemann(copper, length=11.0)
    found = lattice_dynamics.phonons(copper)
    some = found.density_frequencies > 0.5  # THz: below there are few states, and noise
    omega = 2e12 * np.pi * found.density_frequencies[some]
    weights = found.density[some] / found.density[some].sum()
    squares = 3 * kB * _e * guess / (copper.get_masses()[0] * _amu) * (weights / omega**2).sum()
    ratio = 1e10 * np.sqrt(squares) / (copper.cell[0, 0] / np.sqrt(2))
    assert ratio == pytest.approx(melting.LINDEMANN, rel=0.03)
    assert 700 < guess < 2500


@pytest.mark.parametrize(
    ("crystal", "first", "second", "neighbors"),
    [
        (bulk("Cu", a=3.6), 3.6 / 2**0.5, 3.6, 12),
        (bulk("Fe", a=2.9, cubic=True), 2.9 * 0.75**0.5, 2.9 * 2**0.5, 14),
        (bulk("Si", a=5.4), 5.4 * 3**0.5 / 4, 5.4 * 11**0.5 / 4, 16),
        (bulk("NaCl", "rocksalt", a=5.6), 2.8, 2.8 * 3**0.5, 18),
    ],
    ids=["fcc", "bcc", "diamond", "rocksalt"],
)
def test_neighbors_of_whole_shells(
    crystal: Atoms, first: float, second: float, neighbors: int
) -> None:
    shortest, cutoff, number = melting.shells(crystal)
    assert shortest == pytest.approx(first)
    assert number == neighbors
    inside = {"Cu": first, "Fe": 2.9, "Si": 5.4 / 2**0.5}.get(crystal.symbols[0], 2.8 * 2**0.5)
    assert cutoff == pytest.approx((inside + second) / 2)


def test_how_a_run_broke_is_judged() -> None:
    heat, energies, still = np.full(5, 300.0), np.zeros(5), np.zeros(5)
    assert stability.judge(heat, energies, still, "") == (4, "")
    assert stability.judge(heat, energies, still, "lost atoms") == (4, "lost atoms")
    wild = np.where(np.arange(5) > 2, 1e5, heat)
    assert stability.judge(wild, energies, None, "x") == (3, "hotter than 10000 K")
    drifts = np.array([0, 0.05, -0.2, 0, 0])
    assert stability.judge(wild, energies, drifts, "") == (2, "0.1 eV/atom came from nowhere")
    broken = np.array([0, np.nan, 0, 0, 0])
    assert stability.judge(wild, broken, drifts, "") == (1, "energies are no numbers")


def test_a_crystal_that_is_no_minimum_is_said_to_be_none() -> None:
    square = rows.Measured("toy")
    atoms = crystals.relaxed(bulk("Cu", "sc", a=2.3), EMT())
    rows.CRYSTALS["phonons"](square, atoms)
    (row,) = [row for row in square.rows if row.title == "lowest frequency"]
    assert row.value is not None
    assert row.value < 0
    assert "imaginary" in row.text


def test_vacancy_and_surface_are_those_made_by_hand(copper: Atoms) -> None:
    a, per_atom = copper.cell[0, 0], copper.get_potential_energy() / 4
    whole = bulk("Cu", a=a, cubic=True).repeat(3)
    del whole[17]
    whole.calc = EMT()
    BFGS(whole, logfile=None).run(fmax=1e-3)
    expected = whole.get_potential_energy() - len(whole) * per_atom
    assert defects.vacancy_energy(copper) == pytest.approx(expected, abs=2e-3)

    slab = fcc111("Cu", (1, 1, 8), a=a, vacuum=10)
    slab.calc = EMT()
    BFGS(slab, logfile=None).run(fmax=1e-3)
    area = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
    expected = 16.02176634 * (slab.get_potential_energy() - 8 * per_atom) / (2 * area)
    energies = defects.surface_energies(copper)
    assert energies["(111)"] == pytest.approx(expected, rel=5e-3)
    assert energies["(111)"] < energies["(100)"] < energies["(110)"]


def test_a_vibration_is_that_of_the_curvature() -> None:
    depth, steepness, length = 4.0, 2.0, 1.1  # D (1 - exp(-(a/r0) (r - r0)))^2
    pair = Atoms("N2", [[0, 0, 0], [1.2, 0, 0]])
    calculator = MorsePotential(epsilon=depth, r0=length, rho0=steepness, rcut1=8, rcut2=9)
    rest = molecules.relaxed_molecule(pair, calculator)
    assert rest.get_distance(0, 1) == pytest.approx(length, abs=1e-4)
    curvature = 2 * depth * (steepness / length) ** 2 * _e * 1e20  # J/m^2
    mass = pair.get_masses()[0] / 2 * _amu
    expected = np.sqrt(curvature / mass) / (2 * np.pi * _c) / 100
    assert molecules.vibrations(rest)[-1] == pytest.approx(expected, rel=1e-3)


def test_curves_of_two_atoms_are_judged() -> None:
    (curve,) = molecules.diatomics(["Ar"], LennardJones(sigma=2.5, epsilon=0.3, rc=12), 6.0)
    assert curve.length == pytest.approx(2 ** (1 / 6) * 2.5, abs=0.03)
    assert curve.depth == pytest.approx(0.3, rel=0.01)
    assert curve.hole is None

    r = np.linspace(0.3, 6, 400)
    buckingham = 2000 * np.exp(-3 * r) - 60 / r**6  # falls below its maximum at the atoms
    top = float(r[np.argmax(np.where(r < 2, buckingham, -np.inf))])
    length, depth, hole = molecules.judge(r, buckingham, wall=1.6)
    assert hole == pytest.approx(top, abs=0.03)
    assert length is None or depth > 0
    broken = np.where(r < 0.7, np.nan, 1 / r)
    length, _, hole = molecules.judge(r, broken, wall=1.0)
    assert length is None
    assert hole == pytest.approx(0.7, abs=0.02)


def test_what_a_structure_has_not_is_refused() -> None:
    slab = fcc111("Cu", (1, 1, 2), vacuum=5)
    with pytest.raises(UserError, match="expected one of them, got pbc T T F"):
        measure.choose(slab, ())
    with pytest.raises(UserError, match=r"--of melting: a molecule has .*diatomics, stability$"):
        measure.choose(molecule("H2O"), ("melting",))
    assert "melting" not in measure.choose(bulk("Cu"), ())
    with pytest.raises(UserError, match="--of vibrations: a crystal has cell, eos, elastic"):
        measure.choose(bulk("Cu"), ("vibrations",))
    assert measure.choose(molecule("H2O"), ("diatomics", "geometry")) == ("geometry", "diatomics")


def test_compounds_have_no_vacancy_without_a_reservoir() -> None:
    found = rows.Measured("toy")
    layered = bulk("NaCl", "rocksalt", a=5.6)
    rows.CRYSTALS["vacancy"](found, layered)
    rows.CRYSTALS["surfaces"](found, layered)
    assert [row.value for row in found.rows] == [None, None]
    assert all(row.text.startswith("none: ") for row in found.rows)


def test_command_beside_another_potential(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    write("water.xyz", molecule("H2O"))
    model = make_model(zbl=True)
    export_model(model, tmp_path / "model.pt", "float64")
    words = ["water.xyz", "--beside", "GFN2-xTB", "--of", "geometry", "diatomics", "-o", "out"]
    assert main(["-q", "properties", "model.pt", *words]) == 0
    text = capsys.readouterr().out
    lengths = [float(word) for word in re.findall(r"bond O0-H1 +A +(\S+) +(\S+)", text)[0]]
    assert lengths[1] == pytest.approx(0.959, abs=2e-3)  # of GFN2-xTB
    stored = json.loads((tmp_path / "out" / "properties.json").read_text())
    assert [one["name"] for one in stored["potentials"]] == ["model.pt", "GFN2-xTB"]
    assert stored["potentials"][0]["values"]["bond O0-H1"]["value"] == pytest.approx(
        lengths[0], rel=1e-4
    )
    assert (tmp_path / "out" / "diatomics.png").read_bytes()[:4] == b"\x89PNG"


def test_a_model_without_float64_is_refused(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    write("water.xyz", molecule("H2O"))
    export_model(make_model(), tmp_path / "model.pt", "float32")
    assert main(["properties", "model.pt", "water.xyz"]) == 1
    error = capsys.readouterr().err.splitlines()
    assert len([line for line in error if line.startswith("error:")]) == 1
    assert "float64" in error[-1]


def test_a_calculator_that_fails_is_one_line(monkeypatch) -> None:
    class Failing(EMT):
        def calculate(self, *_: object) -> None:
            raise CalculationFailed("SCF not converged\n in 250 cycles")

    monkeypatch.setattr(measure, "calculator", lambda *_: Failing())
    with pytest.raises(UserError, match="xtb has no energy of a structure on the way: SCF not con"):
        measure.measure(bulk("Cu"), "xtb", ("cell",))


def test_names_in_tables_are_short_where_they_differ() -> None:
    assert results.short_names(["models/cu", "a/b/model.pt"]) == ["cu", "model.pt"]
    assert results.short_names(["a/model.pt", "b/model.pt"]) == ["a/model.pt", "b/model.pt"]
    assert results.short_names(["ase.calculators.emt.EMT", "run/"]) == ["EMT", "run"]


def test_numbers_of_the_page_are_those_of_today(tmp_path: Path, root: Path, monkeypatch) -> None:
    (block,) = blocks_run_by("tests/python/test_properties.py", "console")
    commands = [line[2:].split() for line in block.splitlines() if line.startswith("$ ")]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(root / "models")
    subprocess.run([Path(sys.executable).with_name("ase"), *commands[0][1:]], check=True)
    lines = []
    monkeypatch.setattr("builtins.print", lambda *words, **_: lines.append(" ".join(words)))
    assert main(["-q", *commands[-1][1:]]) == 0
    now = dict(re.findall(r"^(\S.{29}) .{11} +(-?[\d.]+)", "\n".join(lines), re.MULTILINE))
    told = dict(re.findall(r"^(\S.{29}) .{11} +(-?[\d.]+)", block, re.MULTILINE))
    assert len(told) > 20
    for title, number in told.items():
        assert float(now[title]) == pytest.approx(float(number), rel=0.01, abs=0.02), title
