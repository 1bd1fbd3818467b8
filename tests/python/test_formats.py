# SPDX-License-Identifier: MIT
"""Outputs of other codes: read, converted, refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import output_toys as toys
import pytest
from ase.io import read
from numpy.testing import assert_allclose
from pyictp.cli.main import main
from pyictp.config.data_files import DataFile
from pyictp.config.load import load_config
from pyictp.data.frames import read_frames
from pyictp.errors import UserError

# what writes it, and its rounding: digits of the layout, constants of the reader (energies)
CODES: dict[str, tuple[Callable[[Path], None], float]] = {
    "OUTCAR": (toys.write_outcar, 1e-8),
    "vasprun.xml": (toys.write_vasprun, 1e-8),
    "pw.out": (toys.write_espresso, 3e-6),
    "cp2k.out": (toys.write_cp2k, 1e-7),
    "orca.out": (toys.write_orca, 1e-6),
    "set": (toys.write_deepmd, 1e-12),
}


@pytest.mark.parametrize("name", CODES)
def test_what_a_code_wrote_comes_back(name: str, tmp_path: Path) -> None:
    write, rounding = CODES[name]
    write(tmp_path / name)
    frame = read_frames([tmp_path / name])[0]
    assert tuple(frame.symbols) == toys.SYMBOLS
    assert_allclose(frame.positions, toys.POSITIONS, atol=rounding)
    assert_allclose(frame.energy, toys.ENERGY, atol=rounding)
    assert_allclose(frame.forces, toys.FORCES, atol=rounding)
    if name == "orca.out":
        assert frame.stress is None
        assert not frame.pbc.any()
    else:
        assert_allclose(frame.cell, toys.CELL, atol=rounding)
        assert_allclose(frame.stress, toys.STRESS, atol=rounding)
        assert frame.pbc.all()


def test_convert_writes_what_was_read_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, (write, _) in CODES.items():
        write(Path(name))
    assert main(["convert", *CODES, "-o", "all.xyz"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "'OUTCAR': 1 frames, energy (the free energy, of the forces), forces, stress",
        "'vasprun.xml': 1 frames, energy (the free energy, of the forces), forces, stress",
        "'pw.out': 1 frames, energy, forces, stress",
        "'cp2k.out': 1 frames, energy, forces, stress",
        "'orca.out': 1 frames, energy, forces",
        "'set': 2 frames, energy, forces, stress",
        "wrote 'all.xyz': 7 frames, in eV and Angstrom",
    ]
    assert "up to 0.125 eV apart: the free energy is taken" in printed.err
    for one, other in zip(read_frames(["all.xyz"]), read_frames(list(CODES)), strict=True):
        assert_allclose(one.forces, other.forces, atol=1e-8)
        assert_allclose(one.energy, other.energy, atol=1e-9)
        assert (one.stress is None) == (other.stress is None)
        if one.stress is not None:
            assert_allclose(one.stress, other.stress, atol=1e-12)
    assert [len(atoms) for atoms in read("all.xyz", ":")] == [3] * 7
    assert main(["convert", "set", "-o", "all.xyz"]) == 1
    assert "'all.xyz' is there already" in capsys.readouterr().err
    assert main(["convert", "all.xyz", "-o", "all.xyz", "--overwrite"]) == 1
    assert "'all.xyz' is read and would be replaced" in capsys.readouterr().err
    assert main(["convert", "set", "-o", "all.cfg"]) == 1
    assert "expected a name that ends in .xyz or .extxyz" in capsys.readouterr().err


def test_the_other_energy_of_vasp(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toys.write_outcar(tmp_path / "OUTCAR")
    output = tmp_path / "frames.xyz"
    words = ["convert", str(tmp_path / "OUTCAR"), "-o", str(output)]
    assert main([*words, "--energy-key", "energy_sigma_0"]) == 0
    assert "free energy" not in capsys.readouterr().err
    assert read(output).info["energy_sigma_0"] == pytest.approx(toys.EXTRAPOLATED)


def test_a_format_that_is_named(tmp_path: Path) -> None:
    toys.write_outcar(tmp_path / "a.unknown")
    with pytest.raises(UserError, match=r"got something else: name its format$"):
        read_frames([tmp_path / "a.unknown"])
    toys.write_cp2k(tmp_path / "b.unknown")
    for name, kind in (("a", "vasp-out"), ("b", "cp2k/output")):  # ase.io's and dpdata's
        (frame,) = read_frames([DataFile(str(tmp_path / f"{name}.unknown"), format=kind)])
        assert_allclose(frame.forces, toys.FORCES, atol=1e-7)
    with pytest.raises(UserError, match=r"format 'nosuch': expected a name of ase.io or dpdata$"):
        read_frames([DataFile(str(tmp_path / "a.unknown"), format="nosuch")])


def test_configurations_of_moment_tensor_potentials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    toys.write_mtp(Path("train.cfg"), num_frames=2)
    assert main(["convert", "train.cfg", "--elements", "O", "H", "-o", "frames.xyz"]) == 0
    assert "'train.cfg': 2 frames, energy, forces, stress" in capsys.readouterr().out
    named = DataFile("train.cfg", elements=("O", "H"))
    for frame in (read_frames([named])[0], read_frames(["frames.xyz"])[0]):
        assert tuple(frame.symbols) == toys.SYMBOLS
        assert_allclose(frame.positions, toys.POSITIONS, atol=1e-8)
        assert_allclose(frame.cell, toys.CELL, atol=1e-8)
        assert_allclose(frame.energy, toys.ENERGY, atol=1e-12)
        assert_allclose(frame.forces, toys.FORCES, atol=1e-8)
        assert_allclose(frame.stress, toys.STRESS, atol=1e-12)
    text = Path("train.cfg").read_text()
    fractional = toys.POSITIONS @ np.linalg.inv(toys.CELL)
    for old, new in zip(toys.rows(toys.POSITIONS), toys.rows(fractional), strict=True):
        text = text.replace(old, new)
    Path("direct.cfg").write_text(text.replace("cartes_", "direct_"))
    (frame, _) = read_frames([DataFile("direct.cfg", elements=("O", "H"))])
    assert_allclose(frame.positions, toys.POSITIONS, atol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (" Size\n     3", " Size\n     4", "expected 4 atoms, as Size says, got 3"),
        ("PlusStress", "Stress", "its field 'Stress:' is not known"),
        ("    1      0.75", "    7      0.75", "it has type 7, elements are given to 1"),
        ("END_CFG", "", "the file ends before END_CFG"),
        ("-14.5", "-14.5 3", "field 'Energy': expected rows of 1 numbers"),
        ("fx          fy", "fx", "field 'AtomData:': expected rows of 7 numbers"),
        ("cartes_z", "place_z", "nothing is called 'cartes_z'"),
    ],
)
def test_what_is_no_configuration_is_refused(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    toys.write_mtp(tmp_path / "a.cfg")
    text = (tmp_path / "a.cfg").read_text()
    assert text.count(old) == 1
    (tmp_path / "a.cfg").write_text(text.replace(old, new))
    with pytest.raises(UserError, match=rf"^cannot read '.*a.cfg' frame 0: {re.escape(message)}$"):
        read_frames([DataFile(str(tmp_path / "a.cfg"), elements=("O", "H"))])


def test_elements_of_numbered_types(tmp_path: Path) -> None:
    toys.write_mtp(tmp_path / "a.cfg")
    with pytest.raises(UserError, match=r"'ictp convert FILE --elements Ni Al -o frames.xyz'"):
        read_frames([tmp_path / "a.cfg"])
    with pytest.raises(UserError, match=r"nothing is called 'Qq'"):
        read_frames([DataFile(str(tmp_path / "a.cfg"), elements=("O", "Qq"))])
    (tmp_path / "b.xyz").write_text("1\n\nH 0 0 0\n")
    with pytest.raises(UserError, match=r"names its elements: leave 'elements' out"):
        read_frames([DataFile(str(tmp_path / "b.xyz"), elements=("H",))])
    toys.write_deepmd(tmp_path / "set")
    (tmp_path / "set" / "type_map.raw").unlink()
    frame = read_frames([DataFile(str(tmp_path / "set"), elements=("O", "H"))])[0]
    assert tuple(frame.symbols) == toys.SYMBOLS


def test_folders_that_are_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toys.write_vasprun(tmp_path / "vasprun.xml")
    with pytest.raises(UserError, match=r"is a folder: .*: give '.*vasprun.xml'$"):
        read_frames([tmp_path])
    toys.write_deepmd(tmp_path / "set")
    (tmp_path / "set" / "type_map.raw").unlink()
    with pytest.raises(UserError, match=r"'Type_0', which is no element: name them"):
        read_frames([tmp_path / "set"])
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"is deepmd/npy: dpdata, which reads it, is not installed"):
        read_frames([tmp_path / "set"])


def test_patterns_in_a_configuration(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        (tmp_path / f"run_{number}").mkdir()
        toys.write_outcar(tmp_path / f"run_{number}" / "OUTCAR")
    (tmp_path / "a[1].xyz").write_text("1\n\nH 0 0 0\n")
    text = "data: {train: ['run_*/OUTCAR', {file: 'run_?/OUTCAR', weight: 2}, 'a[1].xyz', 'no*']}"
    (tmp_path / "config.yaml").write_text(text)
    train = load_config(tmp_path / "config.yaml").data.train
    names = [f"run_{number}/OUTCAR" for number in (1, 10, 2)]
    assert list(train[:3]) == [str(tmp_path / name) for name in names]
    assert [entry.file for entry in train[3:5]] == [str(tmp_path / n) for n in names[::2]]
    assert {entry.weight for entry in train[3:5]} == {2.0}
    assert train[5] == str(tmp_path / "a[1].xyz")  # a file that is there means itself
    with pytest.raises(UserError, match=r"^no data file matches '.*no\*'$"):
        read_frames(train[6:])
    (tmp_path / "run_1" / "again").mkdir()
    toys.write_outcar(tmp_path / "run_1" / "again" / "OUTCAR")
    deep = load_config(tmp_path / "config.yaml", ["data.train='**/OUTCAR'"]).data.train
    found = [str(Path(name).relative_to(tmp_path)) for name in deep]
    assert found == ["run_1/OUTCAR", "run_1/again/OUTCAR", *names[1:]]
