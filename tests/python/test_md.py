# SPDX-License-Identifier: MIT
"""`ictp md` without LAMMPS: numbers against closed forms, structures, decks, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.cell import Cell
from ase.constraints import FixAtoms, FixCartesian
from ase.io import read, write
from model_toys import make_model
from pyictp.cli.main import main
from pyictp.common import progress
from pyictp.errors import UserError
from pyictp.md import analysis, lammps
from pyictp.md.averages import Average, energy_drift, time_average
from pyictp.md.deck import render
from pyictp.md.series import plan, run_series, table
from pyictp.md.settings import Request, resolve, with_samples
from pyictp.md.structure import fixed_atoms, place, read_structure
from pyictp.potential.export import export_model

HOSTILE = (
    "a\nshell touch payload\n#.xyz",
    'a""" b.xyz',
    "a$(1/0)${HOME}&",
    "a\r\n\u2028shell touch payload",
    "a # b ' c \" d",
    "x" * 300,
)


def settings(atoms: Atoms, **choices: object):
    return resolve(Request(**choices), atoms)


class TestDistributions:
    @pytest.mark.parametrize("primitive", [False, True], ids=["cubic", "triclinic"])
    def test_shells_of_fcc(self, primitive):
        a = 3.6
        crystal = bulk("Cu", "fcc", a=a, cubic=not primitive).repeat(6 if primitive else 4)
        crystal.rattle(1e-4, seed=1)  # off the edges of bins
        r, g = analysis.radial_distributions([crystal])
        width = r[1] - r[0]
        count = (
            g["Cu-Cu"] * 4 / a**3 * 4 / 3 * np.pi * ((r + width / 2) ** 3 - (r - width / 2) ** 3)
        )
        for shell, expected in ((a / 2**0.5, 12), (a, 6), (a * 1.5**0.5, 24), (a * 2**0.5, 12)):
            near = np.abs(r - shell) < 2 * width
            assert count[near].sum() == pytest.approx(expected, rel=1e-6)
        assert g["Cu-Cu"][r < 2.4].max() == 0
        assert r[-1] + width / 2 == pytest.approx(analysis.widths(crystal.cell.array).min() / 2)

    @pytest.mark.parametrize(("r_max", "num_bins"), [(None, None), (6.0, 77)])
    def test_pairs_of_a_changing_cell_as_counted_by_ase(self, r_max, num_bins):
        crystal = bulk("NaCl", "rocksalt", a=5.6).repeat(4)
        crystal.rattle(0.2, seed=1)
        larger = crystal.copy()
        larger.set_cell(1.05 * crystal.cell, scale_atoms=True)
        r, g = analysis.radial_distributions([crystal, larger], r_max, num_bins)
        width = r[1] - r[0]
        if num_bins is not None:
            assert (len(r), r[0] + r[-1]) == (num_bins, pytest.approx(r_max))
        sodium = crystal.numbers == 11
        groups = {
            "Na-Na": (sodium, sodium),
            "Cl-Na": (sodium, ~sodium),
            "Cl-Cl": (~sodium, ~sodium),
        }
        assert sorted(g) == sorted(groups)
        for pair, (centers, others) in groups.items():
            expected = 0.0
            for frame in (crystal, larger):
                distances = frame.get_all_distances(mic=True)[centers][:, others]
                counts, edges = np.histogram(
                    distances[distances > 0], np.append(r - width / 2, r[-1] + width / 2)
                )
                density = others.sum() / frame.get_volume()
                shells = 4 / 3 * np.pi * np.diff(edges**3)
                expected = expected + counts / centers.sum() / density / shells / 2
            np.testing.assert_allclose(g[pair], expected, atol=1e-10)

    def test_an_ideal_gas_is_one(self):
        random = np.random.default_rng(0)
        cell = Cell.fromcellpar([18, 20, 22, 70, 80, 100])
        symbols = ["Ar"] * 300 + ["Ne"] * 500
        frames = [
            Atoms(symbols, scaled_positions=random.random((800, 3)), cell=cell, pbc=True)
            for _ in range(4)
        ]
        r, g = analysis.radial_distributions(frames)
        volume, shells = cell.volume, 4 * np.pi * r**2 * (r[1] - r[0])
        for (pair, values), (first, second) in zip(
            g.items(), ((300, 299), (300, 500), (500, 499)), strict=True
        ):
            pairs = 4 * first * second * shells / volume / (1 if pair == "Ar-Ne" else 2)
            expected = 1.0 if pair == "Ar-Ne" else second / first
            enough = pairs > 20
            deviations = (values - expected)[enough] * np.sqrt(pairs[enough])
            assert abs(deviations.mean()) < 4 / np.sqrt(enough.sum()), pair
            assert 0.8 < deviations.std() < 1.2, pair


class TestAverages:
    def test_energy_drift_of_a_line_with_oscillation(self):
        times = np.linspace(0, 10, 1001)
        energies = -500 + 0.002 * times + 0.001 * np.cos(2 * np.pi * 5 * times)
        assert energy_drift(times, energies, num_atoms=4) == pytest.approx(0.5, rel=1e-3)

    def test_average_of_independent_samples(self):
        values = np.random.default_rng(0).normal(3.0, 0.5, 10000)
        average = time_average(values)
        assert average.mean == pytest.approx(3.0, abs=0.02)
        assert average.error == pytest.approx(0.5 / 100, rel=0.1)

    def test_errors_of_samples_that_resemble_those_before(self):
        """An autoregressive process: the spread of the means of many runs is known."""
        random, phi, number = np.random.default_rng(1), 0.95, 2000
        noise = random.normal(size=(200, number + 500))
        runs = np.zeros_like(noise)
        for step in range(1, noise.shape[1]):
            runs[:, step] = phi * runs[:, step - 1] + noise[:, step]
        averages = [time_average(run) for run in runs[:, 500:]]
        spread = np.std([average.mean for average in averages])
        told = np.sqrt(np.mean([average.error**2 for average in averages]))
        assert told == pytest.approx(spread, rel=0.15)
        expected = number * (1 - phi) / (1 + phi)
        assert np.median([a.independent for a in averages]) == pytest.approx(expected, rel=0.25)

    def test_a_slow_drift_is_few_independent_samples(self):
        average = time_average(np.linspace(0.0, 1.0, 500))
        assert average.independent < 3
        assert average.error > 0.1
        assert time_average(np.full(50, 3.7)) == Average(pytest.approx(3.7), 0.0)


class TestDisplacements:
    def test_ballistic_motion(self):
        random = np.random.default_rng(1)
        times = np.arange(41) * 0.25
        velocities = random.normal(size=(30, 3))
        masses = np.array([1.0] * 20 + [16.0] * 10)
        velocities -= masses @ velocities / masses.sum()
        positions = 5 + velocities * times[:, None, None] + 2.0 * times[:, None, None]  # and drift
        symbols = ["H"] * 20 + ["O"] * 10
        lags, msd = analysis.mean_square_displacements(times, positions, symbols, masses)
        assert lags[[0, -1]] == pytest.approx([0, 5.0])
        for element, chosen in (("H", slice(20)), ("O", slice(20, 30))):
            expected = (velocities[chosen] ** 2).sum(1).mean() * lags**2
            np.testing.assert_allclose(msd[element], expected, rtol=1e-10)
            found = analysis.diffusion(lags, msd[element])
            assert found.coefficient is None
            assert found.why == "displacements grow as t^2.00, not as t"

    def test_a_random_walk_diffuses(self):
        random = np.random.default_rng(2)
        coefficient, step = 0.5, 0.1  # A^2/ps, ps
        hops = random.normal(scale=np.sqrt(2 * coefficient * step), size=(400, 400, 3))
        positions = np.cumsum(hops, axis=0)
        times = np.arange(400) * step
        lags, msd = analysis.mean_square_displacements(times, positions, ["Li"] * 400, np.ones(400))
        found = analysis.diffusion(lags, msd["Li"])
        assert found.coefficient == pytest.approx(coefficient * 1e-4, rel=0.08)  # cm^2/s

    def test_vibrations_and_short_runs_do_not(self):
        lags = np.linspace(0, 10, 101)
        assert analysis.diffusion(lags, 0.1 * np.ones(101)).why == "atoms moved by less than 1 A"
        assert "t^0.10" in analysis.diffusion(lags, 4 * lags**0.1).why
        short = analysis.diffusion(lags[:11], 6 * lags[:11])
        assert short.why == "time differences of 2 ps need a run of 5 ps"


class TestStructure:
    @pytest.mark.parametrize(
        "atoms",
        [
            bulk("Cu").repeat((2, 1, 3)),
            Atoms(
                "CuAu2",
                [[0, 0, 0], [1.5, 1, 0.2], [0.3, 2, 1.4]],
                cell=[[0, 4, 0.5], [5, 0, 0], [9.5, 1, 6]],  # left-handed, with much tilt
                pbc=True,
            ),
            fcc111("Cu", (2, 2, 3), vacuum=6.0),
            Atoms(
                "Cu2", [[0, 0, 0], [1, 2, 0]], cell=[[1, 0, 3], [0, 0, 0], [3, 0, 1]], pbc=(1, 0, 1)
            ),
            molecule("CH3CH2OH"),
        ],
        ids=["primitive", "left_handed", "slab", "sheet", "molecule"],
    )
    def test_distances_and_the_way_back(self, atoms, tmp_path):
        placed = place(atoms, "x")
        elements = sorted(set(atoms.get_chemical_symbols()))
        placed.write_data(tmp_path / "structure.data", elements)
        there = read(tmp_path / "structure.data", format="lammps-data", atom_style="atomic")
        there.pbc = placed.atoms.pbc
        assert there.get_chemical_symbols() == atoms.get_chemical_symbols()
        np.testing.assert_allclose(
            there.get_all_distances(mic=True), atoms.get_all_distances(mic=True), atol=1e-8
        )
        x, y, z = there.cell.array
        assert x[1] == x[2] == y[2] == 0
        assert max(abs(y[0] / x[0]), abs(z[0] / x[0]), abs(z[1] / y[1])) <= 0.5 + 1e-9
        inside = there.positions[:, ~atoms.pbc]
        high = there.cell.lengths()[~atoms.pbc]
        assert (inside > 4.9).all()
        assert (inside < high - 4.9).all()
        there.set_velocities(np.ones((len(there), 3)))
        back = placed.back(there, (1, 1, 1))
        moved = back.positions - atoms.positions
        if atoms.pbc.all():  # by vectors of the lattice, to another cell of the same lattice
            inverse = np.linalg.inv(atoms.cell.array)
            for vectors in (moved @ inverse, back.cell.array @ inverse):
                np.testing.assert_allclose(vectors, np.round(vectors), atol=1e-8)
            assert back.get_volume() == pytest.approx(atoms.get_volume())
        else:
            np.testing.assert_allclose(moved, 0, atol=1e-8)
            np.testing.assert_array_equal(back.cell, atoms.cell)

    def test_frames_of_a_file(self, tmp_path):
        path = tmp_path / "two.xyz"
        write(path, [molecule("H2"), molecule("H2O")])
        assert len(read_structure(str(path))) == 3
        assert len(read_structure(f"{path}@0")) == 2
        with pytest.raises(UserError, match=r"expected one frame, got 2: give file@0"):
            read_structure(f"{path}@:")

    def test_frames_that_a_file_lacks(self, tmp_path):
        for name, count in (("two.xyz", 2), ("two.traj", 2), ("one.cif", 1), ("one.vasp", 1)):
            frames = [bulk("Cu", cubic=True)] * count
            write(tmp_path / name, frames if count > 1 else frames[0])
            last = "0 to 1" if count > 1 else "0"
            for index in (5, -count - 1):
                file = f"{tmp_path / name}@{index}"
                with pytest.raises(UserError) as error:
                    read_structure(file)
                assert str(error.value) == (
                    f"structure '{file}': expected frame {last}, as the file has {count}"
                )
            assert len(read_structure(f"{tmp_path / name}@{-count}")) == 4

    @pytest.mark.parametrize("occupancy", [{"Cu": 0.5}, {"Cu": 0.6, "Au": 0.4}, {"Cu": 1.0}])
    def test_sites_occupied_in_part_are_refused(self, occupancy, tmp_path):
        write(tmp_path / "x.cif", bulk("Cu", cubic=True))
        text = (tmp_path / "x.cif").read_text()
        (row,) = (line for line in text.splitlines() if "Cu4 " in line)
        rows = [row.replace("Cu ", f"{e} ").replace("1.0000", f"{o}") for e, o in occupancy.items()]
        (tmp_path / "x.cif").write_text(text.replace(row, "\n".join(rows)))
        if occupancy == {"Cu": 1.0}:
            assert len(read_structure(str(tmp_path / "x.cif"))) == 4
            return
        with pytest.raises(UserError, match="has sites that are occupied in part or by several"):
            read_structure(str(tmp_path / "x.cif"))

    def test_constraints(self, tmp_path):
        slab = fcc111("Cu", (1, 2, 3), vacuum=5.0)
        slab.info.clear()
        slab.set_constraint([FixAtoms([0, 1]), FixCartesian(4, (True, False, False))])
        for name in ("x.traj", "x.extxyz"):  # which keeps three flags per atom
            write(tmp_path / name, slab)
            fixed, others = fixed_atoms(read(tmp_path / name))
            assert np.flatnonzero(fixed).tolist() == [0, 1]
            assert others == ["FixCartesian"]
        placed = place(slab, "x")
        assert placed.fixed.sum() == 2
        back = placed.back(slab.repeat((2, 1, 1)), (2, 1, 1))
        assert back.constraints[0].index.tolist() == [0, 1, 6, 7]

    def test_masses_of_ones_own_are_refused(self, tmp_path):
        water = molecule("H2O")
        water.set_masses([15.999, 2.014, 2.014])
        write(tmp_path / "heavy.traj", water)
        with pytest.raises(UserError, match=r"brings masses of its own"):
            read_structure(str(tmp_path / "heavy.traj"))


class TestSettings:
    def test_defaults(self):
        copper, water = bulk("Cu", cubic=True), molecule("H2O")
        assert (settings(copper).timestep, settings(water).timestep) == (0.001, 0.0005)
        assert settings(water).steps == 2000
        assert settings(water, time=10.0, timestep=0.25).steps == 40000
        assert settings(copper, ensemble="npt").pressure == 0.0
        assert settings(copper).pressure is None
        assert settings(copper, ensemble="minimize").steps == 1000
        run = settings(copper, steps=100_000, repeat=(20, 20, 20))  # 32000 atoms
        assert (run.thermo, run.every) == (200, 642)
        assert settings(copper, steps=7).every == 1

    @pytest.mark.parametrize(
        ("choices", "message"),
        [
            ({"ensemble": "anneal"}, "--ensemble anneal: say where the temperature ends"),
            ({"to_temperature": 5.0}, "--to-temperature is for --ensemble anneal, not nvt"),
            ({"pressure": 1.0}, "--pressure is for --ensemble npt or anneal, not nvt"),
            ({"coupling": "tri"}, "--coupling is for runs with a pressure"),
            ({"ensemble": "minimize", "time": 1.0}, "--time with --ensemble minimize"),
        ],
    )
    def test_contradictions(self, choices, message):
        with pytest.raises(UserError) as error:
            settings(bulk("Cu"), **choices)
        assert str(error.value).startswith(message)

    def test_constant_pressure_needs_a_crystal(self):
        for atoms in (molecule("H2O"), fcc111("Cu", (1, 1, 2), vacuum=5)):
            with pytest.raises(UserError, match="constant pressure needs a structure that is peri"):
                settings(atoms, ensemble="npt")
        with pytest.raises(UserError, match="--repeat: expected 1 along directions in which"):
            settings(fcc111("Cu", (1, 1, 2), vacuum=5), repeat=(2, 2, 2))

    def test_what_cannot_move(self):
        choices = {"repeat": (1, 1, 2)}
        assert settings(bulk("Cu"), **choices).repeat == (1, 1, 2)
        assert settings(bulk("Cu"), ensemble="minimize").minimizes
        for atoms, hint in (
            (bulk("Cu"), "copy the cell with --repeat 3 3 3"),
            (fcc111("Cu", (1, 1, 1), vacuum=5), "copy the cell with --repeat 3 3 1"),
            (Atoms("Cu"), "add atoms"),
        ):
            with pytest.raises(UserError) as error:
                settings(atoms)
            assert str(error.value) == (
                f"dynamics need at least two atoms that move, there is one: {hint}"
            )
        crystal = bulk("Cu", cubic=True)
        crystal.set_constraint(FixAtoms([0]))
        with pytest.raises(UserError, match=r"^1 atoms are fixed \(FixAtoms\), which a cell that"):
            settings(crystal, ensemble="npt")
        crystal.set_constraint(FixAtoms(range(4)))
        with pytest.raises(UserError, match=r"^all atoms are fixed"):
            settings(crystal)

    def test_the_log_has_every_sample(self):
        def sampled(known=("grade",), **choices):
            request = Request(**choices)
            return with_samples(resolve(request, molecule("H2O")), request, known, "m.pt")

        for choices, expected in (
            ({"steps": 1000}, (2, 100)),
            ({"steps": 100_000}, (200, 200)),
            ({"steps": 100_000, "uncertainty": 10}, (10, 10)),
            ({"steps": 100_000, "uncertainty": 300}, (150, 300)),
            ({"steps": 1000, "thermo": 7}, (7, 105)),
            ({"steps": 1000, "uncertainty": 0}, (2, 0)),
            ({"ensemble": "minimize"}, (1, 1)),
            ({"steps": 1000, "known": ()}, (2, 0)),
        ):
            run = sampled(**choices)
            assert (run.thermo, run.uncertainty) == expected, choices
            assert run.columns.endswith("c_models[4]") == (expected[1] > 0)
        with pytest.raises(UserError, match="expected a multiple of --thermo"):
            sampled(thermo=7, uncertainty=10)
        with pytest.raises(UserError, match=r"'m\.pt' is one model without grade"):
            sampled(known=(), uncertainty=10)

    def test_words_of_the_deck(self):
        run = settings(
            bulk("Cu", cubic=True), ensemble="anneal", to_temperature=900.0, pressure=50.0
        )
        text = render(run, ["Cu"], "p p p", "cu.cif")
        assert "fix             move all npt temp ${temperature} ${final} $(100*dt) iso" in text
        assert "variable        final index 900 " in text
        assert "variable        pressure index 50 " in text
        assert "%" not in text.replace("%.", "")
        assert "{" not in text.replace("${", "")
        assert "fixed" not in text
        assert "uncertainty" not in text

    def test_what_to_do_about_close_atoms(self):
        crystal = bulk("Cu", cubic=True)
        assert "\npair_style      ictp\n" in render(settings(crystal), ["Cu"], "p p p", "x")
        text = render(settings(crystal, closest="error"), ["Cu"], "p p p", "x")
        assert "\npair_style      ictp closest error\n" in text

    @pytest.mark.parametrize("name", HOSTILE)
    def test_names_of_users_are_one_plain_line(self, name):
        plain, hostile = (
            render(settings(bulk("Cu", cubic=True)), ["Cu"], "p p p", text).splitlines()
            for text in ("x", name)
        )
        assert len(plain) == len(hostile)
        changed = [line for line, other in zip(hostile, plain, strict=True) if line != other]
        assert len(changed) == 1
        assert changed[0].startswith("# --- atoms: ")
        assert not set(changed[0].removeprefix("#")) & set("\"'$&#{}\r\n\v\f")

    def test_ids_of_fixed_atoms(self):
        crystal = bulk("Cu", cubic=True).repeat(3)
        text = render(settings(crystal), ["Cu"], "p p p", "x", [0, 1, 2, 4, *range(10, 50, 2)])
        assert "group           fixed id 1:3 5 11 13 15 17 19 21 23 25\n" in text
        assert text.count("group           fixed id ") == 3


def test_a_dump_cut_short_keeps_its_whole_frames(tmp_path):
    frame = "\n".join(
        [
            "ITEM: TIMESTEP\n{}\nITEM: NUMBER OF ATOMS\n2",
            "ITEM: BOX BOUNDS pp pp ff\n0 4\n0 5\n-1 6",
            "ITEM: ATOMS id type element xu yu zu\n1 1 O 0.5 9 1\n2 2 H {} 0 0\n",
        ]
    )
    text = frame.format(0, 1.5) + frame.format(10, 2.5)
    path = tmp_path / "dump"
    for cut, expected in ((0, [0, 10]), (1, [0]), (40, [0]), (len(text) - 5, [])):
        path.write_text(text[: len(text) - cut])
        steps, frames = lammps.read_frames(path)
        assert steps.tolist() == expected
        assert [atoms.positions[1, 0] for atoms in frames] == [1.5, 2.5][: len(expected)]
        for atoms in frames:
            assert atoms.get_chemical_symbols() == ["O", "H"]
            assert atoms.cell.lengths().tolist() == [4, 5, 7]
            assert atoms.positions[0, 1] == 9  # unwrapped


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("kill -9 $$", "ended by signal 9 (Killed)"),
        ("sh -c 'kill -9 $$'; exit $?", "ended by signal 9 (Killed)"),  # as a shell says it
        ("exit 245", "ended by signal 11 (Segmentation fault)"),  # as Python's lmp says it
        ("exit 255", "ended with status 255: LAMMPS (1 Jan 2000) Total wall time"),
        ("exit 3", "ended with status 3: LAMMPS (1 Jan 2000) Total wall time"),
        ("echo 'ERROR: Lost atoms'; kill -9 $$", "ERROR: Lost atoms"),
    ],
)
def test_a_program_that_ends_early_says_why(tmp_path, end, told):
    script = f"echo 'LAMMPS (1 Jan 2000)'; echo 'Total wall time'; {end}"
    with pytest.raises(UserError) as caught:
        lammps.watch(["sh", "-c", script], tmp_path, "a run", 2)
    assert str(caught.value).startswith(f"a run failed: {told} (deck and log in ")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("md") / "model.pt"
    export_model(make_model(), path)
    return path


class TestCommand:
    @pytest.fixture(autouse=True)
    def here(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

    def test_a_folder_to_take_elsewhere(self, model, tmp_path, capsys):
        write("x.xyz", Atoms("OH", [[0, 0, 0], [1, 0, 0]]))
        words = ["md", "x.xyz", str(model), "--no-run", "-o", "new/run"]
        assert main(words) == 0
        assert "boundary m m m" in capsys.readouterr().out
        found = sorted(path.name for path in (tmp_path / "new" / "run").iterdir())
        assert found == [".lock", "in.lammps", "model.pt", "structure.data"]
        text = (tmp_path / "new" / "run" / "in.lammps").read_text()
        assert "pair_coeff      * * ${model} H O\n" in text
        assert str(tmp_path) not in text
        assert main(words) == 1
        assert capsys.readouterr().err == (
            "error: 'new/run/in.lammps' exists already: "
            "choose another folder with -o, or --overwrite\n"
        )
        (tmp_path / "new" / "run" / "summary.json").write_text(json.dumps({}))
        assert main([*words, "--overwrite"]) == 0
        assert not (tmp_path / "new" / "run" / "summary.json").exists()

    @pytest.mark.parametrize(
        ("atoms", "options", "message"),
        [
            (None, [], "structure 'x.traj' not found"),
            ("nonsense", [], "structure 'x.traj': ASE cannot read it: "),
            (Atoms("Xe2"), [], "; the structure also has Xe: train a model with all elements"),
            (Atoms(), [], "structure 'x.traj' has no atoms"),
            (
                Atoms("H2", pbc=True),
                [],
                "structure 'x.traj': pbc is on along a but the cell vector there is zero",
            ),
            (
                Atoms("H2", cell=[[1, 0, 0], [0, 1, 0], [1, 1, 0]], pbc=True),
                [],
                "structure 'x.traj': cell vectors lie in one plane",
            ),
            (Atoms("H"), ["--ensemble", "npt"], "constant pressure needs a structure"),
            (Atoms("H2"), ["--lmp", "no-lmp"], "program 'no-lmp' not found"),
        ],
    )
    def test_refusals_are_one_line_and_leave_nothing(
        self, atoms, options, message, model, tmp_path, capsys
    ):
        if isinstance(atoms, Atoms):
            write("x.traj", atoms)
        elif atoms:
            (tmp_path / "x.traj").write_text(atoms)
        assert main(["md", "x.traj", str(model), *options]) == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert error.startswith("error: ")
        assert not (tmp_path / "md").exists()

    def test_files_that_are_none(self, model, tmp_path, capsys):
        (tmp_path / "c.yaml").write_text("model: {}\n")
        whole = model.read_bytes()
        (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
        write("x.xyz", Atoms("H2", [[0, 0, 0], [0, 0, 1]]))
        for words, message in (
            (["md", ".", str(model)], "structure '.' is a folder: expected a file that ASE reads"),
            (["md", "c.yaml", str(model)], "structure 'c.yaml': expected a format that ASE knows"),
            (["md", "x.xyz", "cut.pt"], "or is truncated: expected a whole one, or an exported"),
            (["info", "cut.pt"], "or is truncated: expected a whole one, or an exported file: co"),
            (["evaluate", "cut.pt", "x.xyz"], "or is truncated: expected a whole one, or an expo"),
            (["stats", "."], "data file '.' is a folder: expected a file of structures"),
            (["stats", "c.yaml"], "data file 'c.yaml': expected extended XYZ, an ASE database"),
        ):
            assert main(words) == 1
            error = capsys.readouterr().err
            assert message in error
            assert error.count("\n") == 1

    @pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
    def test_options_are_finite(self, value, capsys):
        with pytest.raises(SystemExit):
            main(["md", "x.xyz", "m.pt", "--ensemble", "npt", f"--pressure={value}"])
        assert f"--pressure: expected a finite number, got {value}" in capsys.readouterr().err


def test_lines_without_a_terminal_have_the_time_left(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    counter = progress.Counter(1000, "steps")
    training = progress.Progress(10, 4, in_seconds=False)
    training.show("epoch 4")
    for clock[0], done in ((1.0, 10), (11.0, 110), (12.0, 120), (1e4, 500), (1e4 + 11, 600)):
        counter.advance(done - counter._done)
    training.move_to(6)
    training.show("epoch 6")
    for clock[0], step in ((2e4, 1), (2e4 + 1, 2), (2e4 + 500, 3)):
        training.move_to(6, f"epoch 7: {step} of 9 steps")
    assert capsys.readouterr().out.splitlines() == [
        "epoch 4",
        "       11 % of 1000 steps, 01:29 left",
        "       50 % of 1000 steps, 2:46:40 left",
        "epoch 6, 5:33:42 left",
        "epoch 7: 1 of 9 steps, 11:06:40 left",
        "epoch 7: 3 of 9 steps, 11:23:20 left",
    ]


# -- series ---------------------------------------------------------------------------------------


def test_names_of_a_series_say_what_differs():
    assert [run.name for run in plan(["a.cif"], [300.0, 350.5])] == ["300K", "350.5K"]
    assert [run.name for run in plan(["a.cif", "x/b/"], [300.0])] == ["a", "b"]
    both = plan(["x/POSCAR", "y/POSCAR"], [1.0, 2.0])
    assert [run.name for run in both] == [
        *("0_POSCAR_1K", "0_POSCAR_2K", "1_POSCAR_1K", "1_POSCAR_2K")
    ]
    assert [run.structure for run in both] == ["x/POSCAR", "x/POSCAR", "y/POSCAR", "y/POSCAR"]
    with pytest.raises(UserError, match=r"^--temperature 300.0 is given twice: leave one out$"):
        plan(["a.cif"], [300.0, 300.0])
    with pytest.raises(UserError, match=r"^structure a.cif is given twice"):
        plan(["a.cif", "a.cif"], [300.0])


def test_minimizations_have_no_temperatures(tmp_path):
    runs = plan(["a.cif"], [300.0, 400.0])
    with pytest.raises(UserError, match=r"several with --ensemble minimize, which has none"):
        run_series(runs, Request(ensemble="minimize"), tmp_path, lambda *_: 0, print)


def test_an_interrupt_ends_a_series(tmp_path):
    begun = []

    def run_one(structure, request, output):
        begun.append((structure, request.temperature, output.name))
        return 130

    runs = plan(["a.cif"], [300.0, 400.0])
    assert run_series(runs, Request(), tmp_path, run_one, lambda _: None) == 130
    assert begun == [("a.cif", 300.0, "300K")]


def test_the_table_of_a_series():
    known = {"mean": 1.23456, "error": 0.01}
    rows = [
        {"name": "a", "temperature_K": known, "energy_eV_per_atom": known},
        {"name": "longer", "energy_eV_per_atom": {"mean": -2.0, "error": None}},
    ]
    assert table(rows) == [
        "run     T [K]       energy [eV/atom]",
        "a       1.2 +- 0.0  1.2346 +- 0.0100",
        "longer  -           -2.0000",
    ]
