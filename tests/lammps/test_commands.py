# SPDX-License-Identifier: MIT
"""LAMMPS' commands that touch a pair style; after each the state is compared with Python."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch
from deck import Structure, pair_lines
from session import assert_as_python, lammps_session, set_up, state_of
from structures import STRUCTURES, graph, sheared
from toys import E0, BoundToy, MessageToy, PairToy, evaluate

pytestmark = pytest.mark.lammps
BULK = STRUCTURES["bulk"]
HOT = ["velocity all create 3000 5 loop geom", "fix nve all nve"]


@pytest.fixture
def lmp(tmp_path):
    with lammps_session(tmp_path) as session:
        yield session


@pytest.fixture
def bulk(lmp, export, tmp_path):
    """Return a LAMMPS with a crystal and a model of three layers."""
    set_up(lmp, tmp_path, BULK, pair_lines(export(MessageToy)))
    return lmp


def python_energies(structure: Structure, toy: torch.nn.Module) -> np.ndarray:
    return evaluate(toy, *map(torch.as_tensor, graph(structure, toy.r_cut)))[0].numpy()


def test_fix_pair_and_extract(bulk):
    bulk.commands_list(HOT)
    bulk.commands_list(["fix e all pair 1 ictp energy 0", "fix f all pair 5 ictp energy 1"])
    assert bulk.extract_pair("r_cut") == 3.0
    for steps in (0, 10, 10):
        bulk.command(f"run {steps}")
        energies = python_energies(assert_as_python(bulk, MessageToy()).structure, MessageToy())
        order = np.argsort(bulk.numpy.extract_atom("id")[:54])
        for name in ("e", "f"):
            kept = np.array(bulk.numpy.extract_fix(name, 1, 1))[:54][order]
            np.testing.assert_allclose(kept, energies, atol=1e-10)


@pytest.mark.parametrize(
    ("flag", "text"), [(0, "cannot extract property banana"), (1, "cannot extract banana_flag")]
)
def test_fix_pair_of_an_unknown_name(flag, text, bulk):
    with pytest.raises(Exception, match=text):
        bulk.commands_list([f"fix e all pair 1 ictp banana {flag}", "run 0"])


@pytest.mark.parametrize("setting", ["shift yes", "mix geometric", "neigh/trim no", "table 0"])
def test_pair_modify_changes_nothing(setting, bulk):
    bulk.commands_list([f"pair_modify {setting}", "run 0"])
    assert_as_python(bulk, MessageToy())


def test_pair_modify_compute_no(bulk):
    bulk.commands_list(["pair_modify compute no", "run 0"])
    assert bulk.get_thermo("pe") == 0.0
    bulk.commands_list(["pair_modify compute yes", "run 0"])
    assert_as_python(bulk, MessageToy())


def test_excluded_pairs_are_no_edges(lmp, export, tmp_path):
    set_up(lmp, tmp_path, BULK, pair_lines(export(PairToy)))
    lmp.commands_list(["neigh_modify exclude type 1 2", "group some id 1:20"])
    lmp.commands_list(["neigh_modify exclude group some some", "run 0"])
    state = state_of(lmp)
    species, edge_index, vectors = graph(state.structure, 3.0)
    types, some = species[edge_index] + 1, (state.ids <= 20)[edge_index]
    kept = ~((types.min(0) == 1) & (types.max(0) == 2)) & ~some.all(0)
    assert 0 < kept.sum() < len(kept)
    arrays = (species, edge_index[:, kept], vectors[kept])
    energies, forces, _, _ = evaluate(PairToy(), *map(torch.as_tensor, arrays))
    np.testing.assert_allclose(state.energy, energies.sum(), atol=1e-9)
    np.testing.assert_allclose(state.forces, forces, atol=1e-10)


@pytest.mark.parametrize("pair", ["group gone all", "group all gone"])
def test_atoms_excluded_from_every_pair_are_not_there(pair, bulk):
    bulk.commands_list(["group gone id 3 17 40", "compute pe all pe/atom"])
    bulk.command(f"neigh_modify exclude {pair}")
    bulk.commands_list(["compute sum all reduce sum c_pe", "thermo_style custom step pe c_sum"])
    bulk.command("run 0")
    state = state_of(bulk)
    kept = ~np.isin(state.ids, [3, 17, 40])
    rest = dataclasses.replace(
        state.structure,
        positions=state.structure.positions[kept],
        types=state.structure.types[kept],
    )
    tensors = map(torch.as_tensor, graph(rest, 3.0))
    energies, forces, _, _ = evaluate(MessageToy(), *tensors)
    np.testing.assert_allclose(state.energy, energies.sum(), atol=1e-9)
    np.testing.assert_allclose(bulk.extract_compute("sum", 0, 0), energies.sum(), atol=1e-9)
    np.testing.assert_allclose(state.forces[kept], forces, atol=1e-10)
    assert not state.forces[~kept].any()
    bulk.commands_list(["neigh_modify exclude none", "run 0"])
    assert_as_python(bulk, MessageToy())


def test_delete_overlapping_atoms(bulk):
    bulk.commands_list(["run 0", "delete_atoms overlap 2.3 all all", "reset_atoms id", "run 0"])
    state = assert_as_python(bulk, MessageToy())
    assert 20 < len(state.ids) < 54


def test_deposit_and_evaporate(lmp, export, tmp_path):
    set_up(lmp, tmp_path, STRUCTURES["slab"], pair_lines(export(MessageToy)))
    lmp.commands_list([*HOT, "region above block EDGE EDGE EDGE EDGE 15 25"])
    lmp.commands_list(["fix in all deposit 12 2 4 823 region above near 1.0 vz -40 -30"])
    lmp.command("run 40")
    assert len(assert_as_python(lmp, MessageToy()).ids) > 40
    lmp.commands_list(["unfix in", "region all block EDGE EDGE EDGE EDGE EDGE EDGE"])
    lmp.commands_list(["fix out all evaporate 3 2 all 99", "run 20"])
    state = assert_as_python(lmp, MessageToy())
    assert len(state.ids) < 36
    assert lmp.extract_fix("out", 0, 0) > 5


def test_gcmc_of_an_ideal_gas(lmp, export, tmp_path):
    """<N> = V exp((mu - e0) / kT) / Lambda^3 when atoms do not interact."""
    boltzmann, temperature = 8.617343e-5, 5000.0
    empty = Structure(np.zeros((0, 3)), np.zeros(0, int), np.eye(3) * 40.0)
    model = export(PairToy, r_cut=0.5)
    set_up(lmp, tmp_path, empty, pair_lines(model))
    wavelength = 4.1356673e-3 / np.sqrt(2 * np.pi * 50.0 * 1.0364269e-4 * boltzmann * temperature)
    number = 8.0
    mu = E0[0] + boltzmann * temperature * np.log(number * wavelength**3 / 40.0**3)
    lmp.command(f"fix mc all gcmc 1 40 0 1 4711 {temperature} {mu} 0.5")
    lmp.commands_list(["variable n equal count(all)", "run 20"])
    lmp.commands_list(["fix mean all ave/time 1 1 1 v_n ave running", "run 300"])
    assert lmp.extract_fix("mean", 0, 0) == pytest.approx(number, rel=0.1)
    assert_as_python(lmp, PairToy(r_cut=0.5))


def test_gcmc_of_interacting_atoms(lmp, export, tmp_path):
    set_up(lmp, tmp_path, STRUCTURES["droplet"], pair_lines(export(MessageToy)))
    lmp.commands_list([*HOT, "fix mc all gcmc 2 10 5 2 4711 5000 0.0 0.5"])
    lmp.command("run 20")
    state = assert_as_python(lmp, MessageToy())
    insertions, deletions = (lmp.extract_fix("mc", 0, 1, k) for k in (3, 5))
    assert insertions + deletions > 0
    assert len(state.ids) == len(STRUCTURES["droplet"].types) + insertions - deletions


def test_atom_swap(bulk):
    bulk.commands_list([*HOT, "fix swap all atom/swap 2 10 33 20000 types 1 2 ke no"])
    bulk.command("run 20")
    state = assert_as_python(bulk, MessageToy())
    assert bulk.extract_fix("swap", 0, 1, 1) > 10
    assert (state.structure.types != BULK.types).sum() >= 2


def test_sorting_changes_nothing(export, tmp_path):
    ends = []
    for name, line in (("sorted", "atom_modify sort 3 2.0"), ("unsorted", "atom_modify sort 0 0")):
        folder = tmp_path / name
        folder.mkdir()
        with lammps_session(folder) as lmp:
            set_up(lmp, folder, BULK, pair_lines(export(MessageToy)), [line])
            lmp.commands_list([*HOT, "run 60"])
            ends.append(assert_as_python(lmp, MessageToy()))
    np.testing.assert_allclose(ends[0].structure.positions, ends[1].structure.positions, atol=1e-9)


def test_rerun_gives_the_energies_again(bulk, tmp_path):
    dump = tmp_path / "run.dump"
    bulk.commands_list([*HOT, f"dump 1 all custom 5 {dump} id type x y z", "thermo 5"])
    bulk.commands_list(["dump_modify 1 format float %.17g sort id", "run 20", "undump 1"])
    bulk.commands_list(["unfix nve", f"rerun {dump} dump x y z"])
    tables = (tmp_path / "log.lammps").read_text().split("Step ")[1:]
    energies = [re.findall(r"^ *(\d+) .*?$", table, re.MULTILINE) for table in tables]
    assert energies[0] == energies[1] == ["0", "5", "10", "15", "20"]
    columns = [re.findall(r"^ *\d+ +\S+ +(-?\d\S+)", table, re.MULTILINE) for table in tables]
    assert len(set(columns[0])) == 5
    assert columns[0] == columns[1]
    assert_as_python(bulk, MessageToy())


@pytest.mark.parametrize("style", ["cg", "fire", "quickmin"])
def test_minimize(style, lmp, export, tmp_path):
    set_up(lmp, tmp_path, STRUCTURES["triclinic"], pair_lines(export(BoundToy)))
    lmp.command("run 0")
    before = lmp.get_thermo("pe")
    if style != "cg":
        lmp.command("timestep 0.002")
    lmp.commands_list([f"min_style {style}", "minimize 0 1e-6 2000 20000"])
    state = assert_as_python(lmp, BoundToy())
    assert state.energy < before - 0.1
    assert np.linalg.norm(state.forces) < 1e-4


def test_box_relax_finds_the_minimum_of_ase(lmp, export, tmp_path):
    from ase import Atoms
    from ase.build import bulk as bulk_crystal
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    rng = np.random.default_rng(1)
    crystal = bulk_crystal("Cu", "fcc", a=3.72, cubic=True) * (2, 2, 2)  # its minimum is near 3.8
    positions = crystal.positions + rng.normal(scale=0.03, size=(32, 3))
    structure = sheared(Structure(positions, rng.integers(1, 4, 32), crystal.cell[:]), 0.1)
    set_up(lmp, tmp_path, structure, pair_lines(export(BoundToy)))
    lmp.commands_list(["fix relax all box/relax tri 0.0 vmax 0.005", "min_modify line quadratic"])
    lmp.commands_list(["minimize 0 1e-7 1000 10000"] * 4)
    state = state_of(lmp)

    atoms = Atoms("Ta" * len(structure.types), structure.positions, cell=structure.cell, pbc=True)
    atoms.set_atomic_numbers(np.array([73, 23, 74])[structure.types - 1])
    atoms.calc = ToyCalculator(BoundToy())
    assert BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-5, steps=500)
    assert state.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-5)
    volume = np.linalg.det(state.structure.cell)
    assert volume == pytest.approx(atoms.get_volume(), rel=1e-4)
    assert abs(volume / np.linalg.det(structure.cell) - 1) > 0.01


def ToyCalculator(toy: torch.nn.Module):
    """Return an ASE calculator of a toy: forces and stress from one gradient."""
    from ase.calculators.calculator import Calculator, all_changes

    class Toy(Calculator):
        implemented_properties = ("energy", "forces", "stress")

        def calculate(self, atoms=None, properties=(), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            types = np.array([{73: 1, 23: 2, 74: 3}[z] for z in atoms.numbers])
            arrays = graph(Structure(atoms.positions, types, atoms.cell[:]), toy.r_cut)
            energies, forces, virial, _ = evaluate(toy, *map(torch.as_tensor, arrays))
            stress = -virial.numpy() / atoms.get_volume()
            self.results = {
                "energy": float(energies.sum()),
                "forces": forces.numpy(),
                "stress": (stress + stress.T)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] / 2,
            }

    return Toy()


def test_respa_on_the_inner_level(export, tmp_path):
    respa = ["timestep 0.002", "run_style respa 2 2 bond 1 pair 1", "run 20"]
    verlet = ["timestep 0.001", "run 40"]
    ends = []
    for name, lines in (("respa", respa), ("verlet", verlet)):
        folder = tmp_path / name
        folder.mkdir()
        with lammps_session(folder) as lmp:
            set_up(lmp, folder, BULK, pair_lines(export(MessageToy)))
            lmp.commands_list([*HOT, *lines])
            ends.append(assert_as_python(lmp, MessageToy()))
    np.testing.assert_allclose(ends[0].structure.positions, ends[1].structure.positions, atol=1e-9)


def test_respa_splits_no_forces(bulk):
    bulk.command("run_style respa 2 2 inner 1 4.0 5.0 outer 2")
    with pytest.raises(Exception, match="Pair style does not support rRESPA inner/middle/outer"):
        bulk.commands_list([*HOT, "run 1"])


def test_special_bonds_of_atom_style_full(lmp, export):
    lmp.commands_list(["units metal", "atom_style full", "region b block 0 12 0 12 0 12"])
    lmp.command("create_box 3 b bond/types 1 extra/bond/per/atom 2 extra/special/per/atom 6")
    places = ["1 single 5 5 5", "2 single 6 5.2 5", "3 single 6.4 6.5 5.1", "1 single 8 6 5"]
    lmp.commands_list(["mass * 50", *(f"create_atoms {place}" for place in places)])
    lmp.commands_list(["set type 1 charge 0.5", "bond_style zero", "bond_coeff *"])
    lmp.commands_list([f"create_bonds single/bond 1 {i} {i + 1}" for i in (1, 2, 3)])
    lmp.commands_list([*pair_lines(export(MessageToy)), "special_bonds lj/coul 1e-50 0.5 1"])
    lmp.command("run 0")
    assert_as_python(lmp, MessageToy())


def test_restart(export, tmp_path):
    pair = pair_lines(export(MessageToy))
    with lammps_session(tmp_path) as lmp:
        set_up(lmp, tmp_path, BULK, pair)
        lmp.commands_list([*HOT, "run 20", f"write_restart {tmp_path / 'at.20'}"])
        lmp.command(f"write_data {tmp_path / 'at20.data'}")
        lmp.command("run 20")
        straight = assert_as_python(lmp, MessageToy())
        lmp.commands_list(["clear", f"read_restart {tmp_path / 'at.20'}", *pair, "fix nve all nve"])
        lmp.commands_list(["neigh_modify delay 0 every 1 check yes", "neighbor 0.5 bin", "run 20"])
        restarted = assert_as_python(lmp, MessageToy())
        lmp.commands_list(["clear", "units metal", f"read_data {tmp_path / 'at20.data'}", *pair])
        lmp.commands_list(["fix nve all nve", "run 20"])
        from_data = assert_as_python(lmp, MessageToy())
    positions = straight.structure.positions
    np.testing.assert_allclose(restarted.structure.positions, positions, atol=1e-9)
    assert np.abs(from_data.structure.positions - positions).max() < 1e-5  # data files are rounded
    assert "pair style ictp stores no restart info" in (tmp_path / "log.lammps").read_text()


def test_restart_without_its_pair_style(export, tmp_path):
    with lammps_session(tmp_path) as lmp:
        set_up(lmp, tmp_path, BULK, pair_lines(export(MessageToy)))
        lmp.commands_list(["run 0", f"write_restart {tmp_path / 'at.0'}", "clear"])
        lmp.command(f"read_restart {tmp_path / 'at.0'}")
        lmp.command("pair_style ictp")
        with pytest.raises(Exception, match="All pair coeffs are not set"):
            lmp.command("run 0")


def test_another_model_needs_a_setup(bulk, export):
    bulk.commands_list(["run 0", pair_lines(export(PairToy, r_cut=3.5))[1]])
    with pytest.raises(Exception, match="model was read after the last setup, use run pre yes"):
        bulk.command("run 1 pre no")
    bulk.command("run 0")
    assert_as_python(bulk, PairToy(r_cut=3.5))


def test_several_runs_with_changes_between(bulk):
    bulk.commands_list([*HOT, "run 5", "run 5 pre no post no", "set atom 1*9 type 3", "run 5"])
    bulk.commands_list(
        ["change_box all x scale 1.02 remap", "run 5", "displace_atoms all random 0.1 0.1 0.1 7"]
    )
    bulk.commands_list(["run 0", "replicate 2 1 1", "run 5"])
    assert len(assert_as_python(bulk, MessageToy()).ids) == 108


def test_two_lammps_at_once(export, tmp_path):
    with lammps_session(tmp_path) as first, lammps_session(tmp_path) as second:
        set_up(first, tmp_path, BULK, pair_lines(export(MessageToy)))
        set_up(second, tmp_path, STRUCTURES["triclinic"], pair_lines(export(PairToy)))
        for lmp in (first, second):
            lmp.commands_list([*HOT, "run 3"])
        first.command("run 3")
        assert_as_python(first, MessageToy())
        assert_as_python(second, PairToy())
