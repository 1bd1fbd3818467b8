# SPDX-License-Identifier: MIT
"""`ictp stats`: right numbers, silence on good labels, and the name of every planted mistake."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from pyictp.cli.main import main
from pyictp.config.load import DataConfig
from pyictp.curation.checks import match_atoms
from pyictp.curation.pairs import make_pair, pairs_of_one_cell
from pyictp.curation.parts import is_free_atom
from pyictp.curation.populations import find_populations
from pyictp.curation.stats import check_all, contacts, summarise
from pyictp.data.frames import Frame, from_atoms, read_frames

KCAL = 0.0433641153  # eV
SUFFIXES = (".xyz", ".extxyz", ".npz")


def labelled(atoms: Atoms) -> Atoms:
    """Return a copy with labels of a pair potential that is smooth at its cutoff."""
    atoms = atoms.copy()
    atoms.calc = LennardJones(epsilon=0.2, sigma=2.3, rc=5.5, ro=4.0, smooth=True)
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    if atoms.pbc.all():
        results["stress"] = atoms.get_stress()
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def trajectory(number: int = 32) -> list[Atoms]:
    """Vibrating cells of an alloy, each a small step from the one before."""
    crystal = bulk("Cu", cubic=True) * (2, 2, 1)
    crystal.symbols[[1, 5, 6]] = "Au"
    rng = np.random.default_rng(5)
    moves = 0.05 * rng.normal(size=(len(crystal), 3))
    structures = []
    for _ in range(number):
        moves = 0.9 * moves + 0.02 * rng.normal(size=moves.shape)
        atoms = crystal.copy()
        atoms.positions += moves
        structures.append(labelled(atoms))
    return structures


def strained(number: int = 12) -> list[Atoms]:
    """Cells with the same scaled positions and different strains."""
    rng = np.random.default_rng(6)
    structures = []
    for _ in range(number):
        atoms = bulk("Cu", cubic=True) * (2, 1, 1)
        strain = 0.004 * rng.normal(size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain + strain.T), scale_atoms=True)
        structures.append(labelled(atoms))
    return structures


def clusters(number: int = 6) -> list[Atoms]:
    """Free clusters in a periodic box, cut by its boundary."""
    structures = []
    for seed in range(number):
        atoms = bulk("Cu", cubic=True) * (2, 1, 1)
        atoms.set_cell(np.diag([22.0, 20.0, 21.0]))
        atoms.rattle(0.1, seed=seed)
        atoms.positions -= 2.5
        atoms.wrap()
        structures.append(labelled(atoms))
    return structures


@pytest.fixture(scope="module")
def good() -> list[Frame]:
    """Return frames with right labels."""
    return from_atoms([*trajectory(), *strained(), *clusters()])


def scaled(energy: float = 1.0, forces: float = 1.0, stress: float = 1.0) -> Callable:
    """Return what labels become by wrong units or signs."""

    def change(frame: Frame) -> Frame:
        assert frame.energy is not None
        return replace(
            frame,
            energy=frame.energy * energy,
            forces=frame.forces * forces,
            stress=frame.stress * stress,
        )

    return change


def test_right_labels_give_no_warning_and_slopes_of_one(good):
    checks, findings = check_all(good)
    assert findings == []
    slopes = {check.name: check.slope for check in checks}
    assert slopes["energy and forces"] == pytest.approx(1, abs=0.03)
    assert slopes["energy and stress"] == pytest.approx(1, abs=0.03)
    assert slopes["virial and forces"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (scaled(forces=-1), "units", "energies and forces do not match: .*the sign is reversed"),
        (scaled(forces=1 / KCAL), "units", "as for forces in kcal/mol/A"),
        (scaled(energy=1 / KCAL), "units", "as for energies in kcal/mol$"),
        (scaled(forces=units.Bohr / units.Hartree), "units", "as for forces in Hartree/Bohr$"),
        (scaled(energy=-1 / units.Hartree), "units", "energies in Hartree.* the sign is reversed"),
        (scaled(energy=1 / units.Hartree, forces=units.Bohr / units.Hartree), "units", "per Bohr"),
        (scaled(forces=1000), "units", "as for forces in meV/A"),
        (scaled(stress=-1), "stress", "energy and stress do not match: .*, the sign is reversed"),
        (scaled(stress=1 / units.GPa), "stress", "as for stress in GPa$"),
        (scaled(stress=units.GPa), "stress", "labels in eV and A that were read as stress in GPa$"),
        (scaled(stress=-10 / units.GPa), "stress", "as for stress in kbar, and the sign is rev"),
    ],
)
def test_a_wrong_unit_or_sign_is_named(good, change, kind, words):
    _, findings = check_all([change(frame) for frame in good])
    named = [finding for finding in findings if finding.kind == kind]
    assert any(re.search(words, finding.text) for finding in named), findings
    if kind == "stress":  # by strained cells, and by clusters
        slopes = [finding for finding in findings if "do not match" in finding.text]
        assert len(slopes) == 2
        assert slopes[1].text.startswith("virial and forces do not match")


def in_two_files(frames: list[Frame], change: Callable, every_second: bool) -> list[Frame]:
    """Return the frames, half of them changed: those of a second file, or every second one."""
    if every_second:
        return [change(f) if i % 2 else f for i, f in enumerate(frames)]
    half = len(frames) // 2
    return frames[:half] + [
        replace(change(f), file="b", index=i) for i, f in enumerate(frames[half:])
    ]


def inconsistent(frames: list[Frame]) -> list[str]:
    return [f.text for f in check_all(frames)[1] if f.kind == "inconsistent"]


@pytest.mark.parametrize("every_second", [False, True], ids=["two files", "mixed"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (scaled(1 / KCAL, 1 / KCAL), "as between eV and kcal/mol"),
        (scaled(1 / units.Hartree, units.Bohr / units.Hartree), "as between eV and Hartree"),
        (lambda f: replace(f, energy=f.energy + 16e3), "another unit, method or reference energy"),
    ],
)
def test_half_of_the_frames_in_another_unit_are_named(good, change, words, every_second):
    """Within a file the slope is 1, and half of the frames are no outliers."""
    frames = [replace(f, energy=f.energy - 800.0) for f in good[:32]]  # of all electrons
    assert inconsistent(frames) == []
    found = inconsistent(in_two_files(frames, change, every_second))
    assert len(found) >= 1
    assert found[0].startswith("energies of ")
    assert found[0].endswith(words)
    assert ("frames: 16, b)" in found[0]) == (not every_second)


def test_forces_alone_in_another_unit_are_named(good):
    sizes = np.random.default_rng(4).uniform(0.5, 1.0, 32)  # eV/A, no wider than at one temperature
    vivid = [
        replace(f, forces=s * f.forces / f.forces.std()) for f, s in zip(good, sizes, strict=False)
    ]
    found = inconsistent(in_two_files(vivid, scaled(forces=1 / KCAL), every_second=False))
    assert len(found) == 1
    assert re.search(r"^forces of .* 2[234]\S*, as between eV/A and kcal/mol/A", found[0])
    assert inconsistent(in_two_files(vivid, scaled(forces=1 / 23.06), True)) == []  # relaxed, maybe


def test_a_few_outliers_or_phases_are_not_two_populations(good):
    frames = good[:32]
    assert (
        inconsistent([replace(f, energy=f.energy + 40.0 * (i < 2)) for i, f in enumerate(frames)])
        == []
    )
    phases = [replace(f, energy=f.energy + 8.0 * (i % 2)) for i, f in enumerate(frames)]
    assert inconsistent(phases) == []  # 0.5 eV/atom


def test_kcal_throughout_is_known_by_its_size():
    frame = from_atoms([molecule("CH3CH2OH")])[0]
    total = -4210.0  # eV, all electrons of ethanol
    forces = np.random.default_rng(0).normal(size=frame.positions.shape)
    forces -= forces.mean(axis=0)
    right = replace(frame, energy=total, forces=forces)
    assert check_all([right])[1] == []
    wrong = replace(frame, energy=total / KCAL, forces=forces / KCAL)
    words = [finding.text for finding in check_all([wrong])[1]]
    assert len(words) == 2
    assert any("in kcal/mol/A that would be" in text for text in words)
    assert any("is below that of all electrons" in text for text in words)


def test_without_near_pairs_it_says_so(good):
    checks, _ = check_all(good[:1])
    assert [check.slope for check in checks] == [None, None, None]
    assert all(check.text.startswith("not tested: this needs ") for check in checks)
    checks, _ = check_all([replace(frame, forces=None, stress=None) for frame in good])
    assert [check.text for check in checks] == ["not tested: no frame has both"]


def test_no_pair_is_made_of_other_atoms_or_cells(good):
    other = replace(good[1], cell=good[1].cell * 1.001)
    swapped = replace(good[1], atomic_numbers=good[1].atomic_numbers[::-1].copy())
    assert pairs_of_one_cell([good[0], other, swapped]) == []
    assert len(pairs_of_one_cell([good[0], good[1], other])) == 1


def test_the_work_does_not_depend_on_how_a_molecule_lies():
    rng = np.random.default_rng(1)
    first = molecule("CH3CH2OH")
    first.rattle(0.05, seed=1)
    second = first.copy()
    second.rattle(0.05, seed=2)
    frames = from_atoms([labelled(first), labelled(second)])
    pair = make_pair(*frames)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    turned = replace(
        frames[1],
        positions=frames[1].positions @ rotation + 3,
        forces=frames[1].forces @ rotation,
    )
    assert make_pair(frames[0], turned).force_work == pytest.approx(pair.force_work, abs=1e-9)
    assert make_pair(frames[0], turned).move == pytest.approx(pair.move, abs=1e-9)


def kinds_of(frames: list[Frame]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for finding in check_all(frames)[1]:
        found.setdefault(finding.kind, set()).add(int(finding.where.rpartition(":")[2]))
    return found


def test_a_shifted_energy_is_found(good):
    frames = list(good)
    frames[7] = replace(frames[7], energy=frames[7].energy + 6.0)
    found = kinds_of(frames)
    assert found["energy outlier"] == {7}
    assert found.get("contradiction", set()) <= {6, 7, 8}  # its neighbors on the trajectory
    assert set(found) <= {"energy outlier", "contradiction"}


def test_a_near_copy_with_another_energy_is_found(good):
    positions = good[5].positions + 0.004 * np.random.default_rng(2).normal(size=(16, 3))
    right = from_atoms([labelled(Atoms(good[5].symbols, positions, cell=good[5].cell, pbc=True))])
    right = replace(right[0], index=99)
    assert kinds_of([*good, right]) == {}
    wrong = replace(right, energy=right.energy + 0.08)  # 5 meV/atom
    assert kinds_of([*good, wrong]) == {"contradiction": {99}}


def test_energies_of_other_frames_contradict_the_forces(good):
    """Labels in another order than the structures: no slope, so it must not pass in silence."""
    energies = np.random.default_rng(3).permutation([frame.energy for frame in good[:32]])
    mixed = [replace(f, energy=float(e)) for f, e in zip(good[:32], energies, strict=True)]
    checks, findings = check_all(mixed)
    assert checks[0].slope is None
    assert checks[0].text.startswith("not decided: slope ")
    assert sum(finding.kind == "contradiction" for finding in findings) > 5


def test_a_wrong_force_is_found(good):
    frames = list(good)
    forces = frames[4].forces.copy()
    forces[2, 1] += 60.0
    frames[4] = replace(frames[4], forces=forces)
    found = kinds_of(frames)
    assert found["force outlier"] == {4}
    assert found["net force"] == {4}
    held = forces.copy()
    held[0] = 0.0  # an atom that is held: its force is missing in the sum
    frames[4] = replace(frames[4], forces=held)
    assert "net force" not in kinds_of(frames)


def test_atoms_too_close_are_found(good):
    positions = good[3].positions.copy()
    positions[1] = positions[0] + [0.9, 0, 0]
    frames = [*good[:3], replace(good[3], positions=positions), *good[4:]]
    assert kinds_of(frames)["close atoms"] == {3}
    text = next(f.text for f in check_all(frames)[1] if f.kind == "close atoms")
    assert text.startswith("Cu (atom 0) and Au (atom 1) are 0.90 A apart")


def copied(frame: Frame, seed: int = 0) -> tuple[Frame, np.ndarray]:
    """Return the same structure in another order, moved and wrapped; and the order."""
    order = np.random.default_rng(seed).permutation(len(frame.atomic_numbers))
    positions = frame.positions[order] + [1.3, 0.4, -7.7]
    positions += np.round(np.linspace(-2, 2, len(order)))[:, None] * frame.cell[0]
    numbers, forces = frame.atomic_numbers[order], frame.forces[order]
    new = replace(frame, atomic_numbers=numbers, positions=positions, forces=forces, index=99)
    return new, order


@pytest.mark.parametrize("index", [2, 35, 48])
def test_copies_are_found_in_any_order(good, index):
    copy, order = copied(good[index])
    partners = match_atoms(good[index], copy)
    symmetric = index == 35  # a perfect crystal has many equivalent orders
    assert symmetric or np.array_equal(order[partners], np.arange(len(order)))
    assert kinds_of([*good, copy]) == {"duplicate": {99}}
    wrong = replace(copy, energy=copy.energy + 0.003 * len(order))
    assert kinds_of([*good, wrong])["contradiction"] == {99}
    moved = copy.positions.copy()
    moved[0, 2] += 0.02
    assert match_atoms(good[index], replace(copy, positions=moved)) is None


def test_a_turned_arrangement_with_the_same_distances_is_no_copy():
    """Two orderings of a cubic lattice that only a rotation maps onto one another."""
    first = bulk("Cu", "sc", a=3.0) * (4, 4, 4)
    second = first.copy()
    scaled_positions = np.round(first.get_scaled_positions() * 4)
    first.symbols[(scaled_positions[:, 0] == 0) & (scaled_positions[:, 1] < 2)] = "Au"
    second.symbols[(scaled_positions[:, 1] == 0) & (scaled_positions[:, 2] < 2)] = "Au"
    frames = from_atoms([first, second])
    assert match_atoms(*frames) is None
    assert match_atoms(frames[0], frames[0]) is not None


def test_numbers_of_a_known_crystal():
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    forces = np.array([[3.0, 4.0, 0.0]] * 4 + [[-3.0, -4.0, 0.0]] * 4)
    stress = np.array([0.01, 0.0, 0.0, 0.0, 0.0, -0.02])
    atoms.calc = SinglePointCalculator(atoms, energy=-24.0, forces=forces, stress=stress)
    free = Atoms("Na", info={"energy": -1.0, "config_type": "isolated_atom"})
    frames = from_atoms([atoms, free])
    result = summarise(frames, [contacts(frame, 4.0) for frame in frames])
    assert result["num_frames"] == 2
    assert result["num_free_atoms"] == 1
    assert result["labels"] == {"energy": 2, "forces": 1, "stress": 1}
    assert result["elements"]["Cl"] == {"atoms": 4, "frames": 1}
    assert result["energy_per_atom_ev"]["mean"] == -3.0
    assert result["forces_ev_per_a"] == {"rms": pytest.approx(np.sqrt(25 / 3)), "max": 4.0}
    assert result["net_force_mev_per_a"]["max"] == 0.0
    assert (result["stress_ev_per_a3"]["min"], result["stress_ev_per_a3"]["max"]) == (-0.02, 0.01)
    assert result["shortest_distance_a"] == pytest.approx(
        {"Cl-Cl": 5.6 / np.sqrt(2), "Cl-Na": 2.8, "Na-Na": 5.6 / np.sqrt(2)}
    )
    assert result["neighbors_within_cutoff"]["mean"] == 6 + 12
    grams = 4 * (22.98976928 + 35.45) / 6.02214076e23
    assert result["density_g_per_cm3"]["mean"] == pytest.approx(grams / 5.6e-8**3, rel=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
def test_virials_without_pbc_are_tested_and_named(tmp_path, capsys, sign):
    structures = []
    for atoms in clusters():
        free = Atoms(atoms.symbols, atoms.positions + 0.0)
        free.positions = (atoms.positions + 5.0) % atoms.cell.lengths()
        free.info |= {"virial": sign * free.positions.T @ atoms.get_forces()}
        free.info["energy"] = atoms.get_potential_energy()
        free.arrays["forces"] = atoms.get_forces()
        structures.append(free)
    ase.io.write(tmp_path / "c.xyz", structures, format="extxyz")
    assert main(["stats", str(tmp_path / "c.xyz")]) == 0
    text = capsys.readouterr().out
    assert f"virial and forces, {tmp_path / 'c.xyz'}: slope {sign} over " in text
    assert "c.xyz:0: has 'virial' but no pbc: training refuses it" in text
    assert ("virial and forces do not match: slope -1 instead of 1, the sign is" in text) == (
        sign < 0
    )


def test_the_command_writes_numbers_warnings_and_a_picture(tmp_path, capsys):
    structures = trajectory()
    ase.io.write(tmp_path / "good.xyz", structures, format="extxyz")
    path, numbers = str(tmp_path / "good.xyz"), tmp_path / "out/a.json"
    options = ["--json", str(numbers), "--plot", str(tmp_path / "plots"), "--strict"]
    assert main(["stats", path, *options]) == 0
    assert capsys.readouterr().out.rstrip().splitlines()[-2] == "0 warnings"
    result = json.loads(numbers.read_text())
    assert result["warnings"] == []
    assert result["checks"][0]["slope"] == pytest.approx(1, abs=0.05)
    assert result["num_frames"] == 32
    assert (tmp_path / "plots/data.png").stat().st_size > 10_000
    for atoms in structures:
        atoms.calc.results["forces"] = -atoms.calc.results["forces"]
    ase.io.write(path, structures, format="extxyz")
    assert main(["stats", path, "--json", str(numbers)]) == 0
    text = capsys.readouterr().out
    assert f"warning, units: {path}:" in text
    assert text.endswith("\n1 warning\n")
    assert len(json.loads(numbers.read_text())["warnings"]) == 1
    assert main(["stats", path, "--strict"]) == 1
    capsys.readouterr()
    assert main(["stats", path, "--cutoff", "-1"]) == 1
    assert capsys.readouterr().err == "error: --cutoff: expected a length above 0 A, got -1.0\n"


def test_json_that_cannot_be_written_is_refused_before_the_work(tmp_path, capsys):
    ase.io.write(tmp_path / "a.xyz", trajectory(2), format="extxyz")
    (tmp_path / "folder").mkdir()
    for name, reason in {"folder": "that is a folder", "a.xyz/a.json": "Not a directory"}.items():
        assert main(["stats", str(tmp_path / "a.xyz"), "--json", str(tmp_path / name)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"error: cannot write '{tmp_path / name}': ")
        assert reason in err
        assert err.count("\n") == 1


def test_a_full_disk_leaves_the_older_json_whole(tmp_path, capsys, monkeypatch):
    ase.io.write(tmp_path / "a.xyz", trajectory(2), format="extxyz")
    numbers = tmp_path / "a.json"
    numbers.write_text("older")
    write = Path.write_text

    def half(path, text, *_):
        write(path, text[: len(text) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    assert main(["stats", str(tmp_path / "a.xyz"), "--json", str(numbers)]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: cannot write '{numbers}': No space left on device: make room")
    assert numbers.read_text() == "older"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_json_goes_to_standard_output_as_well(tmp_path):
    """A pipe is no file that another one may replace."""
    ase.io.write(tmp_path / "a.xyz", trajectory(2), format="extxyz")
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor() as pool:
        text = pool.submit((tmp_path / "pipe").read_text)
        assert main(["stats", str(tmp_path / "a.xyz"), "--json", str(tmp_path / "pipe")]) == 0
        assert json.loads(text.result())["num_frames"] == 2
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.slow
def test_published_data_have_no_two_populations(shared_dir):
    """All sets at once, with forces down to zero and structures far from one another."""
    paths = [p for p in sorted((shared_dir / "data").glob("*/*")) if p.suffix in SUFFIXES]
    frames = read_frames(paths, DataConfig(allow_missing=True))
    assert len(frames) > 8000
    assert find_populations([frame for frame in frames if not is_free_atom(frame)]) == []


@pytest.mark.parametrize(
    "name", ["acac/train_300K.xyz", "water/data_1.extxyz", "mlearn/Si_train.extxyz"]
)
def test_published_data_give_no_warning(shared_dir, name):
    checks, findings = check_all(read_frames([shared_dir / "data" / name]))
    assert findings == []
    assert checks[0].slope == pytest.approx(1, abs=0.15)


def test_published_stresses_have_the_right_sign(shared_dir):
    frames = read_frames([shared_dir / "data/monbtaw/monbtaw_valid.extxyz"])
    checks, findings = check_all(frames)
    assert findings == []
    assert checks[1].slope == pytest.approx(1, abs=0.1)
