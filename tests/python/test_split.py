# SPDX-License-Identifier: MIT
"""`ictp split`: every frame once, labels and fields unchanged, the methods as promised."""

from __future__ import annotations

import errno
import json
from itertools import chain
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from pyictp.cli.main import main
from pyictp.config.load import load_config
from pyictp.curation.descriptors import farthest_points, structure_vectors
from pyictp.curation.parts import split_groups
from pyictp.data.frames import from_atoms, read_frames

KCAL = 0.0433641153  # eV


def crystals(number: int = 12) -> list[Atoms]:
    """Rattled copper cells with EMT labels under names of their own, in four groups."""
    structures = []
    for index in range(number):
        atoms = bulk("Cu", cubic=True) * (1, 1, 2)
        atoms.rattle(0.02 * (index + 1), seed=index)
        atoms.calc = EMT()
        virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
        extra = {"REF_energy": atoms.get_potential_energy(), "REF_virial": virial}
        forces = atoms.get_forces()
        atoms.calc = None
        atoms.info = {**extra, "config_type": f"group{index % 4}", "run": index}
        atoms.arrays |= {"REF_forces": forces, "site": np.arange(len(atoms)) + 10 * index}
        structures.append(atoms)
    return structures


KEYS = ["--energy-key=REF_energy", "--forces-key=REF_forces", "--virial-key=REF_virial"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a file of twelve crystals and a free atom."""
    free = Atoms("Cu", info={"config_type": "isolated_atom", "REF_energy": -1.5})
    ase.io.write(tmp_path / "data.xyz", [*crystals(), free], format="extxyz")
    return tmp_path / "data.xyz"


def runs(path: Path) -> list[int]:
    return [atoms.info["run"] for atoms in ase.io.read(path, ":") if len(atoms) > 1]


@pytest.mark.usefixtures("data")
def test_a_random_split_keeps_every_label_and_field(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["split", "data.xyz", "-o", "out", "--valid", "3", "--test", "0.25", *KEYS]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "train       7 frames  out/train.extxyz, 1 of them free atoms" in text
    parts = {part: runs(tmp_path / f"out/{part}.extxyz") for part in ("train", "valid", "test")}
    assert [len(parts[part]) for part in ("train", "valid", "test")] == [6, 3, 3]
    assert sorted(chain(*parts.values())) == list(range(12))
    originals = crystals()
    for part in parts:
        for atoms in ase.io.read(f"out/{part}.extxyz", ":"):
            if len(atoms) == 1:
                assert part == "train"
                assert atoms.info["config_type"] == "isolated_atom"
                continue
            old = originals[atoms.info["run"]]
            assert atoms.info["config_type"] == old.info["config_type"]
            np.testing.assert_array_equal(atoms.arrays["site"], old.arrays["site"])
            np.testing.assert_allclose(atoms.positions, old.positions, atol=1e-8)
            np.testing.assert_allclose(
                atoms.arrays["REF_forces"], old.arrays["REF_forces"], atol=1e-8
            )
            assert atoms.info["REF_energy"] == old.info["REF_energy"]


@pytest.mark.usefixtures("data")
def test_the_numbers_in_json_are_those_of_the_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["split", "data.xyz", "-o", "out", "--train", "5", "--valid", "3", "--seed", "7"]
    assert main([*command, "--json", "new/split.json", *KEYS]) == 0
    result = json.loads((tmp_path / "new" / "split.json").read_text())
    assert result["files"] == {part: f"out/{part}.extxyz" for part in ("train", "valid")}
    groups: dict[str, dict[str, int]] = {}
    for part, file in result["files"].items():
        frames = ase.io.read(file, ":")
        assert result["frames"][part] == len(frames)
        for atoms in frames:
            count = groups.setdefault(atoms.info["config_type"], {})
            count[part] = count.get(part, 0) + 1
    for counts in result["groups"].values():
        counts.pop("unused", None)
    assert {name: counts for name, counts in result["groups"].items() if counts} == groups
    assert (result["frames"]["test"], result["unused"]) == (0, 4)
    assert (result["data"], result["method"], result["seed"]) == (["data.xyz"], "random", 7)


@pytest.mark.usefixtures("data")
def test_a_folder_as_json_is_refused_before_a_part_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["split", "data.xyz", "-o", "out", "--valid", "3", "--json", ".", *KEYS]) == 1
    expected = "error: cannot write '.': expected the name of a file, but that is a folder: "
    assert capsys.readouterr().err == f"{expected}name a file in it\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("data")
def test_a_full_disk_leaves_the_older_json_whole(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_text("older")
    write = Path.write_text

    def half(path, text, *_):
        write(path, text[: len(text) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    assert main(["split", "data.xyz", "-o", "out", "--valid", "3", "--json", "a.json", *KEYS]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: cannot write 'a.json': No space left on device: make room")
    assert (tmp_path / "a.json").read_text() == "older"


@pytest.mark.usefixtures("data")
def test_the_printed_lines_train_on_the_same_labels(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["split", "data.xyz", "-o", "out", "--valid", "4", *KEYS]) == 0
    lines = capsys.readouterr().out.partition("for the configuration of ictp train:\n")[2]
    (tmp_path / "c.yaml").write_text(lines)
    config = load_config(tmp_path / "c.yaml").data
    frames = read_frames([*config.train, *config.valid], config)
    structures = [atoms for atoms in crystals()]
    for atoms in structures:
        atoms.info["energy"], atoms.info["virial"] = (
            atoms.info["REF_energy"],
            atoms.info["REF_virial"],
        )
        atoms.arrays["forces"] = atoms.arrays["REF_forces"]
    expected = {frame.energy: frame for frame in from_atoms(structures)}
    assert len([f for f in frames if len(f.symbols) > 1]) == len(expected) == 12
    for frame in frames:
        if len(frame.symbols) > 1:
            old = expected[frame.energy]
            np.testing.assert_allclose(frame.forces, old.forces, atol=1e-8)
            np.testing.assert_allclose(frame.stress, old.stress, rtol=1e-12)


def test_npz_in_kcal_becomes_ev(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "nuclear_charges": np.array([8, 1, 1]),
        "coords": rng.normal(size=(5, 3, 3)),
        "energies": rng.normal(size=5) - 47_000,
        "forces": 30 * rng.normal(size=(5, 3, 3)),
        "old_indices": np.arange(5) + 100,
    }
    np.savez(tmp_path / "w.npz", **arrays)
    assert main(["split", str(tmp_path / "w.npz"), "-o", str(tmp_path), "--valid", "1"]) == 0
    structures = [a for p in ("train", "valid") for a in ase.io.read(tmp_path / f"{p}.extxyz", ":")]
    assert len(structures) == 5
    for atoms in structures:
        index = atoms.info["old_indices"] - 100
        assert atoms.get_potential_energy() == pytest.approx(
            arrays["energies"][index] * KCAL, rel=1e-14
        )
        np.testing.assert_allclose(atoms.get_forces(), arrays["forces"][index] * KCAL, atol=1e-8)
        assert "energies" not in atoms.info


def test_seeds_give_the_same_and_other_splits(data, tmp_path):
    splits = []
    for folder, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        command = ["split", str(data), "-o", str(tmp_path / folder), "--valid", "4", "--seed", seed]
        assert main([*command, *KEYS]) == 0
        splits.append(runs(tmp_path / folder / "valid.extxyz"))
    assert splits[0] == splits[1] != splits[2]


def test_no_group_is_in_two_parts(data, tmp_path, capsys):
    command = ["split", str(data), "-o", str(tmp_path / "out"), "--method", "group", *KEYS]
    assert main([*command, "--train", "6", "--valid", "3", "--test", "3"]) == 0
    groups = [
        {run % 4 for run in runs(tmp_path / f"out/{part}.extxyz")}
        for part in ("train", "valid", "test")
    ]
    assert [len(own) for own in groups] == [2, 1, 1]
    assert set.union(*groups) == {0, 1, 2, 3}
    part = ("train", "valid", "test")[[0 in own for own in groups].index(True)]
    assert f"  group0         {part} 3\n" in capsys.readouterr().out
    other = [
        *command[:3],
        str(tmp_path / "run"),
        *command[4:],
        "--valid",
        "1",
        "--group-key",
        "run",
    ]
    assert main(other) == 0
    assert len(runs(tmp_path / "run/valid.extxyz")) == 1


@pytest.mark.parametrize("sizes", [[50, 30, 20], [10, 10, 10, 10], [97, 1, 1, 1], [5] * 20])
@pytest.mark.parametrize("seed", range(3))
def test_whole_groups_fill_every_part(sizes, seed):
    groups = [f"g{i}" for i, size in enumerate(sizes) for _ in range(size)]
    total = len(groups)
    wanted = {"train": total - 2 * (total // 10), "valid": total // 10, "test": total // 10}
    parts = split_groups(groups, wanted, seed)
    assert all(parts.values())
    assert sorted(chain(*parts.values())) == list(range(total))
    for group in set(groups):
        assert sum(group in {groups[i] for i in indices} for indices in parts.values()) == 1


def test_farthest_points_as_by_brute_force():
    vectors = np.random.default_rng(1).normal(size=(40, 5)) ** 3
    chosen = farthest_points(vectors, 12)
    start = np.linalg.norm(vectors - vectors.mean(axis=0), axis=1).argmin()
    expected = [int(start)]
    while len(expected) < 12:
        gaps = [min(np.linalg.norm(v - vectors[j]) for j in expected) for v in vectors]
        expected.append(int(np.argmax(gaps)))
    assert chosen == expected
    assert sorted(farthest_points(np.zeros((4, 2)), 4)) == [0, 1, 2, 3]


def test_farthest_training_frames_cover_the_space(tmp_path):
    """One odd structure among many alike: always a training frame."""
    odd = bulk("Cu", cubic=True, a=4.2) * (1, 1, 2)
    odd.info = {"run": 99, "REF_energy": 1.0}
    ase.io.write(tmp_path / "d.xyz", [*crystals(), odd], format="extxyz")
    command = [
        "split",
        str(tmp_path / "d.xyz"),
        "-o",
        str(tmp_path),
        "--train",
        "2",
        "--valid",
        "9",
    ]
    assert main([*command, "--method", "farthest", *KEYS]) == 0
    assert 99 in runs(tmp_path / "train.extxyz")
    assert len(runs(tmp_path / "valid.extxyz")) == 9


def test_structure_vectors_by_a_double_loop_and_their_invariance():
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=3)
    elements, r_cut = ("H", "C", "O"), 3.0
    vector = structure_vectors(from_atoms([atoms]), elements, r_cut)[0]
    radii = np.linspace(0.5, r_cut, 16)
    width = radii[1] - radii[0]
    rows = np.zeros((len(atoms), 3, 16))
    for i in range(len(atoms)):
        for j in range(len(atoms)):
            r = atoms.get_distance(i, j)
            if i != j and r < r_cut:
                smooth = 0.5 * (1 + np.cos(np.pi * r / r_cut))
                gauss = np.exp(-((r - radii) ** 2) / (2 * width**2))
                rows[i, elements.index(atoms[j].symbol)] += smooth * gauss
    symbols = np.array(atoms.get_chemical_symbols())
    own = [rows[symbols == e].reshape(-1, 48) for e in elements]
    fractions = [len(part) / len(atoms) for part in own]
    parts = [*[part.mean(axis=0) for part in own], *[part.std(axis=0) for part in own]]
    np.testing.assert_allclose(vector, np.concatenate([fractions, *parts]), atol=1e-12)
    turned = atoms[np.random.default_rng(0).permutation(len(atoms))]
    turned.rotate(50, (1, 2, 3))
    turned.positions += 4.0
    np.testing.assert_allclose(
        structure_vectors(from_atoms([turned]), elements, r_cut)[0], vector, atol=1e-10
    )


@pytest.mark.usefixtures("data")
def test_nothing_is_replaced_unless_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["split", "data.xyz", "-o", "out", "--valid", "2", *KEYS]
    assert main([*command, "--test", "2"]) == 0
    before = (tmp_path / "out/train.extxyz").read_bytes()
    capsys.readouterr()
    assert main([*command, "--seed", "5"]) == 1
    message = (
        "error: 'out/train.extxyz' is there already: choose another folder or add --overwrite\n"
    )
    assert capsys.readouterr().err == message
    assert (tmp_path / "out/train.extxyz").read_bytes() == before
    assert main([*command, "--seed", "5", "--overwrite"]) == 0
    assert not (tmp_path / "out/test.extxyz").exists()  # its frames are in other parts now
    assert len(runs(tmp_path / "out/train.extxyz")) == 10
    assert (
        main(["split", "out/train.extxyz", "-o", "out", "--valid", "2", "--overwrite", *KEYS[:2]])
        == 1
    )
    assert "'out/train.extxyz' is read and would be replaced" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--valid", "12"], "12 frames cannot give 0 for train, 12 for valid: change --train"),
        (["--train", "10", "--valid", "3"], "12 frames cannot give 10 for train, 3 for valid"),
        (["--valid", "0"], "12 frames cannot give 12 for train, 0 for valid"),
        (["--valid", "1.5"], "--valid: expected a number of frames or a fraction above 0 and up"),
        (
            ["--valid", "few"],
            "expected a number of frames or a fraction above 0 and up to 1, got 'f",
        ),
        (["--valid", "2", "--seed", "-1"], "--seed: expected 0 or more, got -1"),
        (
            ["--valid", "2", "--method", "group", "--group-key", "tag"],
            "no 'tag' to group by (keys there: REF_energy, ",
        ),
        (
            ["--valid", "2", "--method", "group", "--group-key", "file"],
            "cannot fill 2 parts: choose another --group-key or another --method",
        ),
    ],
)
def test_impossible_wishes_are_one_line(data, tmp_path, capsys, options, message):
    assert main(["split", str(data), "-o", str(tmp_path / "out"), *KEYS, *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_free_atoms_without_a_mark_get_one(tmp_path):
    frames = [Atoms("Cu", info={"energy": -1.5}), *crystals(4)]
    for atoms in frames[1:]:
        atoms.info = {"energy": atoms.info["REF_energy"]}
    ase.io.write(tmp_path / "d.xyz", frames, format="extxyz")
    assert main(["split", str(tmp_path / "d.xyz"), "-o", str(tmp_path), "--valid", "3"]) == 0
    frames = read_frames([tmp_path / "train.extxyz"])
    assert [frame.is_isolated_atom for frame in frames] == [True, False]


def test_real_data_come_back(shared_dir, tmp_path):
    source = shared_dir / "data/monbtaw/monbtaw_valid.extxyz"
    assert main(["split", str(source), "-o", str(tmp_path), "--valid", "100"]) == 0
    new = read_frames([tmp_path / "train.extxyz", tmp_path / "valid.extxyz"])
    old = {(f.energy, f.positions.tobytes()): f for f in read_frames([source])}
    assert len(new) == len(old) == 400
    for frame in new:
        same = old[frame.energy, frame.positions.tobytes()]
        assert frame.group == same.group
        np.testing.assert_array_equal(frame.cell, same.cell)
        np.testing.assert_array_equal(frame.forces, same.forces)
        np.testing.assert_array_equal(frame.stress, same.stress)
