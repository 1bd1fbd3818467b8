# SPDX-License-Identifier: MIT
"""Labels that are hard to believe, of the wrong type, or beside their twin: each broken once."""

from __future__ import annotations

import re
import time

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import key_val_str_to_dict
from pyictp.cli.main import main
from pyictp.config.load import Config, DataConfig, TrainConfig
from pyictp.curation.stats import check_all
from pyictp.data.frames import Frame, from_atoms, read_frames
from pyictp.data.magnitudes import find_doubts
from pyictp.data.xyz import ENTRY
from pyictp.errors import UserError
from pyictp.training.prepare import prepare_data, read_split
from train_toys import MODEL, emt_frames

HEAD = 'Lattice="4 0 0 0 4 0 0 0 4" pbc="T T T"'


def labelled(**labels) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.02, seed=3)
    right = {
        "energy": -14.0,
        "forces": 0.1 * np.outer([1, -1, 1, -1], [1, 1, 1]),
        "stress": np.full(6, 0.01),
    }
    for key, value in (right | labels).items():
        target = atoms.arrays if key == "forces" else atoms.info
        if value is not None:
            target[key] = value
    return atoms


def doubtful(**labels) -> list[tuple[str, bool]]:
    found = find_doubts(from_atoms([*[labelled() for _ in range(40)], labelled(**labels)]))
    assert all(number == 1 for _, number in found)
    assert all(doubt.frame.index == 40 for doubt, _ in found)
    return [(f"{doubt.label}: {doubt.text}", doubt.impossible) for doubt, _ in found]


@pytest.mark.parametrize(
    ("labels", "words", "impossible"),
    [
        ({"energy": -45000.0 / 0.0433641153 * 4}, "below that of all electrons", True),
        ({"energy": 45000.0}, r"energy \+11250 eV/atom, expected below 100: its sign", False),
        ({"energy": 1e30}, r"\+2.5e\+29 eV/atom", True),
        ({"forces": 101.0 * np.eye(4, 3)}, "a component of 101 eV/A, expected below 100", False),
        ({"forces": np.full((4, 3), -1e30)}, r"a component of 1e\+30 eV/A", True),
        ({"stress": np.full(6, 1.3)}, r"208 GPa \(1.3 eV/A\^3\), expected below 200 GPa", False),
        ({"stress": np.full(6, -155.0)}, "24834 GPa .* it may be in GPa or kbar", True),
    ],
)
def test_magnitudes_are_believed_within_bounds(labels, words, impossible):
    (found,) = doubtful(**labels)
    assert found[0].startswith(next(iter(labels)))
    assert impossible == found[1]

    assert re.search(words, found[0]), found


def test_the_last_believed_values_are_not_named():
    stress = np.full(6, 199.0 * units.GPa)
    forces = np.zeros((4, 3))
    forces[0, 0], forces[1, 0] = 99.0, -99.0
    assert doubtful(energy=399.0, stress=stress) == []
    assert doubtful(forces=forces) == []
    ((text, impossible),) = [
        (d.text, d.impossible) for d, _ in find_doubts(from_atoms([labelled(forces=forces)]))
    ]
    assert "root mean square of 40.4 eV/A" in text
    assert not impossible


def trained(folder, *structures: Atoms, stress_weight: float = 1.0, **data) -> None:
    """Prepare a training on good frames and others, as `ictp train` does."""
    ase.io.write(folder / "a.extxyz", [*emt_frames(4), *structures])
    config = DataConfig(train=(str(folder / "a.extxyz"),), num_valid=1, **data)
    prepare_data(Config(MODEL, config, TrainConfig(stress_weight=stress_weight)), progress=False)


def test_training_refuses_what_no_matter_has(tmp_path, caplog):
    wrong = labelled(stress=np.full(6, -155.0))
    message = (
        r"a.extxyz' frame 4 field 'stress': a component of 24834 GPa \(155 eV/A\^3\), .*; if it "
        "is right set data.check_labels to false$"
    )
    with pytest.raises(UserError, match=message):
        trained(tmp_path, wrong, wrong)
    trained(tmp_path, wrong, wrong, check_labels=False)
    assert "(and 1 more frames of this file)" in caplog.text
    caplog.clear()
    trained(tmp_path, wrong, stress_weight=0.0)  # not trained on: a warning
    assert "frame 4 field 'stress': a component of 24834 GPa" in caplog.text
    caplog.clear()
    trained(tmp_path, wrong, stress_key=None, allow_missing=True, stress_weight=0.0)
    assert "component" not in caplog.text
    for label, value in (("energy", 1e30), ("forces", np.full((4, 3), 1e30))):
        with pytest.raises(UserError, match=f"frame 4 field '{label}': "):
            trained(tmp_path, labelled(**{label: value}))


def with_virial(factor: float) -> Atoms:
    atoms = labelled()
    atoms.info["virial"] = factor * np.full(6, 0.01) * atoms.get_volume()
    return atoms


@pytest.mark.parametrize("factor", [1.0, -1 / units.GPa, -10.0, -1.3])
def test_stress_and_virial_must_agree(tmp_path, factor, caplog):
    """Their signs are opposite; the sign, GPa, kbar-like factors and a third more are named."""
    wrong = with_virial(factor)
    trained(tmp_path, with_virial(-1.0), with_virial(-1.001))
    assert caplog.text == ""
    with pytest.raises(UserError, match=r"frame 4 field 'stress': component .* of the virial"):
        trained(tmp_path, wrong)
    findings = check_all(from_atoms([wrong]))[1]
    assert [finding.kind for finding in findings] == ["stress"]
    assert "of the virial beside it -virial/volume is" in findings[0].text


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("energy=T", "field 'energy': expected numbers, got logical values: True"),
        ("energy=1.0 virial='T F T F F F'", "field 'virial': expected numbers"),
        (
            "Properties=species:S:1:pos:R:3:forces:L:3",
            "Properties: expected type R or I of 'forces', got L",
        ),
        ("Properties=Z:R:1:pos:R:3:a:S:3", "Properties: expected type I of 'Z', got R"),
        ("Properties=species:S:1:pos:L:3:a:S:3", "expected type R or I of 'pos', got L"),
        ("Properties=species:S:1:pos:R:999999999", "are 1000000000 columns, .* line has 7$"),
        ("Properties=species:S:1:pos:R:3", "are 4 columns, the first atom's line has 7$"),
        ("Properties=species:S:1:pos:R:0", "Properties: expected name:type:number, ..., got"),
        ("Properties=species:S:1:pos:R:-3", "Properties: expected name:type:number, ..., got"),
        ("Properties=species:S:1:pos:R", "Properties: expected name:type:number, ..., got"),
    ],
)
def test_types_and_columns_of_a_file(tmp_path, comment, message):
    atom = "8.5 0 0 0 T F T" if "Z:R" in comment else "H 0 0 0 T F T"
    (tmp_path / "a.xyz").write_text(f"1\n{HEAD} {comment}\n{atom}\n")
    start = time.perf_counter()
    with pytest.raises(UserError, match=message):
        read_frames([tmp_path / "a.xyz"])
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"energy": 1.0 + 2.0j}, "field 'energy': expected numbers, got complex numbers"),
        ({"energy": np.True_}, "field 'energy': expected numbers, got logical values"),
        ({"forces": np.ones((4, 3), complex)}, "field 'forces': expected numbers, got complex"),
        ({"energy": "-1.5"}, "field 'energy': expected numbers, got '-1.5'"),
        ({"stress": [[1, 2], [3]]}, r"field 'stress': expected numbers, got \[\[1, 2\], \[3\]\]"),
        ({"config_weight": True}, "field 'config_weight': expected a number, got True"),
    ],
)
def test_types_of_labels(labels, message):
    with pytest.raises(UserError, match=message):
        from_atoms([labelled(**labels)])


SPECIES_AND_Z = "Properties=species:S:1:pos:R:3:Z:I:1"


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        (
            SPECIES_AND_Z,
            "frame 1: atom 1 is 'O' by its symbol and 7 by its atomic number: mend or leave out",
        ),
        ("Properties=species:S:1:pos:R:3:element:S:1", None),
        ("Properties=species:S:1:symbols:S:1:pos:R:3", "'species' and 'symbols' are the same"),
        ("energy=-1.0 a='b energy=3' energy=-2.0", "key 'energy' is there twice, as -1.0 and -2.0"),
        ("energy=-1.0 note={energy=3} energy=-1.00 q=1", None),
        ('stress="1 0 0 0 0 0" stress = "1 0 0 0 0 2"', "key 'stress' is there twice, as "),
        ('pbc="5 0 0"', r"pbc: expected three of T and F, or of 1 and 0, got \[5, 0, 0\]"),
        ('pbc="T T"', r"pbc: expected three of T and F, .* got \[True, True\]"),
        ('pbc="T N T"', "pbc: expected three of T and F, .* got T N T"),
        ('pbc="1 0 0" Lattice="4 0 0 0 4 0 0 0 4"', None),
    ],
)
def test_a_file_that_says_two_things_is_refused(tmp_path, comment, message):
    """The first frame is right; None: ASE's own reading is what the second says."""
    atoms = ["H 0 0 0 1", "O 0 0 1 7"] if comment == SPECIES_AND_Z else ["H 0 0 0 1", "O 0 0 1 8"]
    if "symbols" in comment or "element" in comment:
        atoms = ["H 0 0 0 H", "O 0 0 1 O"]
    kinds = "" if "Properties" in comment else f"{SPECIES_AND_Z} "
    right = f"2\n{SPECIES_AND_Z}\nH 0 0 0 1\no 0 0 1 8\n"
    (tmp_path / "a.xyz").write_text("\n".join([f"{right}2", kinds + comment, *atoms, ""]))
    if message is None:
        frames = read_frames([tmp_path / "a.xyz"])
        other = ase.io.read(tmp_path / "a.xyz", 1, format="extxyz")
        assert frames[1].symbols == list(other.symbols) == ["H", "O"]
        assert frames[1].energy == (other.calc.results["energy"] if other.calc else None)
        assert frames[1].pbc.tolist() == other.pbc.tolist()
    else:
        with pytest.raises(UserError, match=message):
            read_frames([tmp_path / "a.xyz"])


def test_comments_are_taken_apart_as_ase_does():
    """Each entry alone is what it is in the whole line; a long line without any takes no time."""
    lines = [
        'a=1 b = "x y=2" c={1 2 3} d=[4 5] e=\\"f g=\'h "i"\' word k=l=m n= o=p"q r"s',
        'a="never closed b=2 a=3',
        '""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""',
        "x" * 300_000,
    ]
    start = time.perf_counter()
    for line in lines:
        alone = {}
        for found in ENTRY.finditer(line):
            alone |= key_val_str_to_dict(found[0])
        whole = key_val_str_to_dict(line)
        assert alone.keys() == whole.keys()
        assert all(np.array_equal(alone[key], whole[key]) for key in whole)
    assert time.perf_counter() - start < 20


def test_nuclear_charges_are_whole(tmp_path):
    arrays = {"coords": np.zeros((1, 2, 3)), "energies": [1.0], "forces": np.zeros((1, 2, 3))}
    np.savez(tmp_path / "a.npz", nuclear_charges=np.array([8.0, 1.0]), **arrays)
    assert read_frames([tmp_path / "a.npz"])[0].symbols == ["O", "H"]
    np.savez(tmp_path / "a.npz", nuclear_charges=np.array([8.5, 1.0]), **arrays)
    with pytest.raises(UserError, match=r"nuclear_charges: expected whole numbers, got \[8.5 1"):
        read_frames([tmp_path / "a.npz"])


def test_isotopes_are_no_elements(tmp_path):
    (tmp_path / "a.xyz").write_text("1\n\nD 0 0 0\n")
    with pytest.raises(UserError, match="frame 0: 'D' is an isotope, no element: write H"):
        read_frames([tmp_path / "a.xyz"])


def test_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "a.xyz").write_bytes(b"\xef\xbb\xbf1\nenergy=-2.5\nH 0 0 0\n")
    assert read_frames([tmp_path / "a.xyz"])[0].energy == -2.5


@pytest.mark.parametrize("command", [["stats"], ["split", "-o", "parts", "--valid", "1"]])
def test_a_name_that_cannot_be_printed_is_refused(tmp_path, capsys, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    name = "caf\udce9.xyz"
    (tmp_path / name).write_text("1\n\nH 0 0 0\n")
    assert main([*command, name]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "its name cannot be printed: rename the file" in error


def smeared(energy: float, free_energy: float) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    results = {"energy": energy, "free_energy": free_energy, "forces": np.zeros((4, 3))}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.mark.parametrize("suffix", ["extxyz", "db", "traj"])
def test_the_energy_is_the_one_of_the_forces(tmp_path, caplog, suffix):
    """With smearing that is the free energy; the line says so, and how to take the other."""
    ase.io.write(tmp_path / f"a.{suffix}", [smeared(-7.1, -7.2), smeared(-7.0, -7.3)])
    frames = read_frames([tmp_path / f"a.{suffix}"])
    assert [frame.energy for frame in frames] == [-7.2, -7.3]
    (record,) = caplog.records
    assert "2 frames have a free energy" in record.getMessage()
    assert "up to 0.3 eV apart: the free energy is taken" in record.getMessage()
    assert "for the other set energy_key to energy_sigma_0" in record.getMessage()
    caplog.clear()
    for key, energy in (("energy_sigma_0", -7.1), ("free_energy", -7.2)):
        frame = read_frames([tmp_path / f"a.{suffix}"], DataConfig(energy_key=key))[0]
        assert frame.energy == energy
    ase.io.write(tmp_path / f"b.{suffix}", smeared(-7.1, -7.1))
    assert read_frames([tmp_path / f"b.{suffix}"])[0].energy == -7.1
    assert caplog.text == ""


def test_split_keeps_the_energy_of_the_forces(tmp_path, capsys):
    """In another unit the free energy of the file would be another energy beside the label."""
    ase.io.write(tmp_path / "a.extxyz", [smeared(-7.1, -7.2) for _ in range(3)])
    arguments = [str(tmp_path / "a.extxyz"), "-o", str(tmp_path / "p"), "--valid", "1"]
    assert main(["split", *arguments, "--energy-unit", "Hartree"]) == 0
    capsys.readouterr()
    for frame in read_frames([tmp_path / "p" / "train.extxyz"]):
        assert frame.energy == pytest.approx(-7.2 * units.Hartree)


def elements_in(folder, train: list[Atoms], valid: list[Atoms], **model) -> Config:
    from dataclasses import replace

    ase.io.write(folder / "train.extxyz", train)
    ase.io.write(folder / "valid.extxyz", valid)
    files = {part: (str(folder / f"{part}.extxyz"),) for part in ("train", "valid")}
    return Config(replace(MODEL, **model), DataConfig(**files), TrainConfig())


def test_elements_are_compared_in_both_directions(tmp_path, caplog):
    alloy = emt_frames(4)
    copper = [frame.copy() for frame in alloy]
    for frame, one in zip(copper, alloy, strict=True):
        frame.symbols[:] = "Cu"
        frame.calc = SinglePointCalculator(frame, **one.calc.results)
    message = r"^validation frames: '.*valid.extxyz' frame 0 has Ni, but no training frame has Ni: "
    for elements in ((), ("Ni", "Cu")):
        with pytest.raises(UserError, match=message):
            prepare_data(elements_in(tmp_path, copper, alloy, elements=elements), progress=False)
    config = elements_in(tmp_path, copper[:3], copper[3:], elements=("Ni", "Cu"))
    assert prepare_data(config, progress=False).elements == ("Ni", "Cu")
    assert "model.elements: no training frame has Ni: what the model says" in caplog.text
    caplog.clear()
    prepare_data(config, progress=False, known=("Ni", "Cu"))  # trained before
    assert "model.elements" not in caplog.text


def test_split_refuses_elements_of_one_part_only(tmp_path, capsys):
    ase.io.write(tmp_path / "a.extxyz", [*emt_frames(3), labelled(), labelled()])
    ase.io.write(tmp_path / "b.extxyz", [Atoms("Ni", info={"energy": -1.0})])
    arguments = [str(tmp_path / "a.extxyz"), str(tmp_path / "b.extxyz"), "-o", str(tmp_path / "p")]
    pick = ["--method", "group", "--group-key", "kind", "--valid", "3"]
    structures = ase.io.read(tmp_path / "a.extxyz", ":")
    for atoms in structures:
        atoms.info["kind"] = "alloy" if "Ni" in atoms.symbols else "copper"
    ase.io.write(tmp_path / "a.extxyz", structures)
    assert main(["split", *arguments, *pick]) == 1
    assert "--valid: " in (error := capsys.readouterr().err)
    assert "has Ni, but no training frame has Ni" in error
    assert not (tmp_path / "p").exists()


@pytest.fixture
def renamed(tmp_path):
    """Frames whose labels lie under other keys."""
    frames = emt_frames(6)
    for atoms in frames:
        results, atoms.calc = atoms.calc.results, None
        atoms.info["REF_energy"], atoms.arrays["dft_force"] = results["energy"], results["forces"]
        atoms.info["config_energy_weight"] = 1.0
    ase.io.write(tmp_path / "ref.extxyz", frames)
    return tmp_path / "ref.extxyz"


@pytest.mark.parametrize("command", [["stats", "--strict"], ["split", "--valid", "1", "-o", "p"]])
def test_labels_under_other_keys_are_named(renamed, tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    status = main([*command, str(renamed)])
    assert status == int(command[0] == "stats")
    text = "".join(capsys.readouterr())
    for label, key in (("energy", "REF_energy"), ("forces", "dft_force")):
        words = f"no frame has '{label}', but there is {key}: if that is the {label}, set {label}_k"
        assert words in text
    keys = ["--energy-key", "REF_energy", "--forces-key", "dft_force"]
    monkeypatch.chdir(renamed.parent)
    main([*command, str(renamed), *keys, *(["--overwrite"] if command[0] == "split" else [])])
    assert "but there is" not in "".join(capsys.readouterr())


def test_no_label_at_all_is_said(tmp_path, capsys):
    ase.io.write(tmp_path / "a.extxyz", [Atoms("H2", [[0, 0, 0], [0, 0, 0.8]], info={"tag": 3})])
    assert main(["stats", str(tmp_path / "a.extxyz"), "--strict"]) == 1
    words = "no frame has an energy under 'energy' or forces under 'forces' (keys there: tag)"
    assert words in capsys.readouterr().out


def frames_of(*energies: float) -> list[Frame]:
    mark = {"config_type": "isolated_atom"}
    return from_atoms([Atoms("Cu", info={"energy": energy, **mark}) for energy in energies])


def test_energies_of_isolated_atoms_are_compared(caplog):
    from pyictp.data.statistics import isolated_energies

    assert isolated_energies(None, ["Cu"], None, frames_of(-1.0, -1.0)).tolist() == [-1.0]
    message = "'atoms' frame 0 says -1 eV for Cu, 'atoms' frame 1 says -2: keep the right one"
    with pytest.raises(UserError, match=message):
        isolated_energies(None, ["Cu"], None, frames_of(-1.0, -2.0))
    assert isolated_energies({"Cu": -3.0}, ["Cu"], None, frames_of(-1.0)).tolist() == [-3.0]
    assert "data.isolated_atoms says -3 eV for Cu, a training frame with config_" in caplog.text


def test_real_data_are_believed(shared_dir):
    for name in ("mlearn/Cu_train.extxyz", "water/data_0.extxyz", "monbtaw/monbtaw_valid.extxyz"):
        config = DataConfig(train=(str(shared_dir / "data" / name),))
        train, valid, _ = read_split(Config(data=config, training=TrainConfig()))
        assert find_doubts([*train, *valid]) == []
