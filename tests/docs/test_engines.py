# SPDX-License-Identifier: MIT
"""The blocks of docs/engines.md with the real programs, and what comes out beside ASE."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.io import read
from blocks import BLOCKS as PAGE
from blocks import ROOT, blocks_run_by
from data_toys import ToyPotential, structures
from pyictp import ICTPCalculator

BLOCKS = {
    language: blocks_run_by("tests/docs/test_engines.py", language)
    for language in ("bash", "lammps", "python", "xml")
}
MODEL = ROOT / "models" / "water"
BIN = Path(sys.executable).parent


TEXTS = [block.text for block in PAGE if block.page == "docs/engines.md"]


def block(language: str, words: str) -> str:
    """Return the block of the page that contains some words."""
    (text,) = (text for text in BLOCKS[language] if words in text)
    return text


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a training `run`, its `model.pt` and one molecule of water, `start.xyz`."""
    monkeypatch.chdir(tmp_path)
    Path("run").symlink_to(MODEL)
    shutil.copy(MODEL / "model.pt", "model.pt")
    water = molecule("H2O", cell=[12, 12, 12], pbc=True)
    water.center()
    water.write("start.xyz")
    return tmp_path


def run_shell(script: str) -> None:
    """Run lines as a user's shell would; nothing that they started outlives them."""
    settings = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=250)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, output[-3000:]


@pytest.mark.usefixtures("folder")
def test_torchsim():
    ts = pytest.importorskip("torch_sim", reason="needs torch-sim-atomistic")
    text = block("python", "TorchSimModel")
    if not hasattr(ts, "Optimizer"):  # as the page says of Python 3.11
        lines = [line for line in text.splitlines() if "init_kwargs" not in line]
        text = "\n".join(lines).replace("ts.Optimizer.fire", "ts.frechet_cell_fire")
    shutil.copytree(ROOT / "models" / "cu", "copper")
    starts = [bulk("Cu", "fcc", a=3.5), bulk("Cu", "bcc", a=2.95)]
    names = {"structures": starts}
    exec(compile(text.replace('"run"', '"copper"'), "block", "exec"), names)
    ends = names["relaxed"].to_atoms()
    calculator = ICTPCalculator("copper")
    for k, (before, after) in enumerate(zip(starts, ends, strict=True)):
        expected = calculator.get_potential_energy(after)
        assert float(names["relaxed"].energy[k]) == pytest.approx(expected, abs=1e-5)
        assert expected < calculator.get_potential_energy(before) - 1e-3
        after.calc = calculator
        assert np.abs(after.get_stress()).max() < 1e-3


def check_path_integral(name: str) -> None:
    """Compare the files of 8 beads with the calculator, and what is conserved with what is not."""
    calculator = ICTPCalculator("model.pt")
    table = np.loadtxt(f"{name}.out")
    assert len(table) == 21
    potentials = np.zeros(3)
    for bead in range(8):
        positions = read(f"{name}.positions_{bead}.extxyz", ":")
        forces = read(f"{name}.forces_{bead}.extxyz", ":")
        assert len(positions) == len(forces) == 3
        for k, (atoms, other) in enumerate(zip(positions, forces, strict=True)):
            atoms.pbc = True
            atoms.calc = calculator
            potentials[k] += atoms.get_potential_energy() / 8
            np.testing.assert_allclose(other.get_forces(), atoms.get_forces(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(table[::10, 3], potentials, rtol=0, atol=2e-5)
    assert np.ptp(table[:, 3]) > 0.05  # eV
    assert np.ptp(table[:, 2]) < 0.01 * np.ptp(table[:, 3])


@pytest.mark.usefixtures("folder")
def test_ipi():
    pytest.importorskip("ipi", reason="needs i-PI: pip install ipi")
    Path("water.xml").write_text(block("xml", "ffdirect"))
    run_shell(block("bash", "i-pi water.xml"))
    check_path_integral("water")


@pytest.mark.usefixtures("folder")
def test_ipi_through_a_socket():
    pytest.importorskip("ipi", reason="needs i-PI: pip install ipi")
    text = block("xml", "ffdirect")
    start, end = text.index("  <ffdirect"), text.index("  <system>")
    # as the page says; the address is this test's alone
    name = f"ictp{os.getpid()}"
    socket = f'  <ffsocket name="ictp" mode="unix"> <address> {name} </address> </ffsocket>\n'
    page = (ROOT / "docs" / "engines.md").read_text()
    assert socket.strip().replace(name, "ictp") in page
    Path("socket.xml").write_text(text[:start] + socket + text[end:])
    run_shell(
        block("bash", "i-pi socket.xml")
        .replace("-a ictp ", f"-a {name} ")
        .replace("ipi_ictp", f"ipi_{name}")
    )
    check_path_integral("water")


def test_the_driver_of_ipi_is_its_own_ase_driver_in_batches(tmp_path):
    pytest.importorskip("ipi", reason="needs i-PI: pip install ipi")
    from ipi.pes._ase import ASEDriver
    from pyictp.errors import UserError
    from pyictp.potential.ipi_driver import ICTPDriver

    sheared = structures()["sheared"]
    sheared.write(tmp_path / "start.xyz")
    reference = ASEDriver(str(tmp_path / "start.xyz"))
    reference.ase_calculator = ICTPCalculator(ToyPotential(), skin=0.0)
    driver = ICTPDriver(str(tmp_path / "start.xyz"), ToyPotential())
    rng = np.random.default_rng(3)
    cells, positions = [], []
    for _ in range(3):
        shape = np.eye(3) + rng.normal(0, 0.02, (3, 3))
        cells.append((sheared.cell.array @ shape).T / units.Bohr)
        moved = sheared.positions @ shape + rng.normal(0, 0.05, sheared.positions.shape)
        positions.append(moved / units.Bohr)
    together = driver.compute(list(cells), list(positions))
    assert len(driver.places.lists) == len(together) == 3
    for found, cell, position in zip(together, cells, positions, strict=True):
        alone = driver.compute(cell, position)
        expected = reference.compute(cell, position)
        for one, other, third in zip(found[:3], alone[:3], expected[:3], strict=True):
            np.testing.assert_allclose(np.ravel(one), np.ravel(third), rtol=0, atol=1e-12)
            np.testing.assert_allclose(np.ravel(other), np.ravel(third), rtol=0, atol=1e-12)
        assert np.abs(expected[2]).max() > 1e-3
    Atoms("He").write(tmp_path / "other.xyz")
    with pytest.raises(UserError, match="atom 0 is He, but the model's elements are H C O Cu"):
        ICTPDriver(str(tmp_path / "other.xyz"), ToyPotential())


@pytest.mark.usefixtures("folder")
def test_openmm():
    pytest.importorskip("openmmml", reason="needs OpenMM-ML: pip install openmm openmmml")
    from openmm import unit

    names: dict = {}
    exec(compile(block("python", "openmmml"), "block", "exec"), names)
    found = names["simulation"].context.getState(energy=True, forces=True, positions=True)
    moved = names["atoms"].copy()
    moved.positions = found.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    assert np.abs(moved.positions - read("start.xyz").positions).max() > 0.02
    moved.calc = ICTPCalculator("model.pt")
    scale = units.kJ / units.mol
    energy = found.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * scale
    assert energy == pytest.approx(moved.get_potential_energy(), abs=1e-5)
    per_length = unit.kilojoule_per_mole / unit.angstrom
    forces = found.getForces(asNumpy=True).value_in_unit(per_length) * scale
    np.testing.assert_allclose(forces, moved.get_forces(), rtol=0, atol=1e-4)
    table = np.loadtxt("openmm.csv", delimiter=",", skiprows=1)
    assert len(table) == 10
    assert np.ptp(table[:, 2]) < 0.05 * np.ptp(table[:, 1])


def pull(atoms: Atoms) -> np.ndarray:
    """Return the forces (3, 3) [eV/A] of a spring of 20 eV/A^2 from 1.1 A on between O and H."""
    bond = atoms.positions[1] - atoms.positions[0]
    length = np.linalg.norm(bond)
    force = 20.0 * (length - 1.1) * bond / length
    return np.array([force, -force, [0, 0, 0]])


@pytest.mark.lammps
@pytest.mark.usefixtures("folder")
def test_colvars():
    (bias,) = (text for text in TEXTS if text.startswith("# bias.colvars"))
    Path("bias.colvars").write_text(bias)
    start = read("start.xyz")
    start.write("water.data", format="lammps-data", specorder=["O", "H"], masses=True)
    dump = "dump 1 all custom 200 last.dump id x y z fx fy fz\ndump_modify 1 sort id\n"
    text = block("lammps", "fix           bias all colvars").replace("run  ", f"{dump}run  ")
    Path("water.in").write_text(text)
    run_shell("lmp -in water.in")
    _, first, last = Path("last.dump").read_text().split("ITEM: TIMESTEP\n")
    rows = np.array([line.split() for line in first.splitlines()[-3:]], float)
    free = ICTPCalculator("model.pt").get_forces(start)
    np.testing.assert_allclose(rows[:, 4:], free + pull(start), rtol=0, atol=1e-4)
    rows = np.array([line.split() for line in last.splitlines()[-3:]], float)
    assert np.abs(pull(start)).max() > 1
    lengths = np.loadtxt("bias.colvars.traj")[:, 1]
    assert lengths[0] == pytest.approx(start.get_distance(0, 1), abs=1e-6)
    assert lengths[-1] > lengths[0] + 0.005  # it follows
    assert np.linalg.norm(rows[1, 1:4] - rows[0, 1:4]) == pytest.approx(lengths[-1], abs=1e-4)
    assert len(re.findall(r"^\s*hill \{", Path("bias.colvars.state").read_text(), re.M)) == 10


@pytest.mark.usefixtures("folder")
def test_plumed_from_ase():
    pytest.importorskip("plumed", reason="needs PLUMED: pip install plumed, and its library")
    if "PLUMED_KERNEL" not in os.environ:
        pytest.skip("needs PLUMED's library: PLUMED_KERNEL=<libplumedKernel.so>")
    start = read("start.xyz")
    names: dict = {}
    exec(compile(block("python", "ase.calculators.plumed"), "block", "exec"), names)
    atoms = names["atoms"]
    forces = atoms.get_forces()
    free = ICTPCalculator("model.pt").get_forces(atoms)
    np.testing.assert_allclose(forces - free, pull(atoms), rtol=0, atol=1e-5)
    assert np.abs(pull(start)).max() > 1
    assert len(np.loadtxt("COLVAR")) >= 10
