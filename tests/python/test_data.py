# SPDX-License-Identifier: MIT
"""Reading of labelled structures, their units and the messages on bad input; statistics."""

from __future__ import annotations

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from data_toys import structures
from pyictp.common.units import unit_factor
from pyictp.config.load import Config, DataConfig, ModelConfig, TrainConfig
from pyictp.data.frames import Frame, from_atoms, read_frames, split_frames
from pyictp.data.samples import GraphDataset, elements_of, species_of
from pyictp.data.statistics import compute_statistics, isolated_energies
from pyictp.errors import UserError
from pyictp.training.prepare import prepare_data

STRESS = np.array([[1.0, 0.6, 0.5], [0.6, 2.0, 0.4], [0.5, 0.4, 3.0]]) * 1e-2
FORCES = np.arange(12.0).reshape(4, 3) - 5.0
HARTREE, BOHR, KCAL = 27.211386, 0.52917721, 0.0433641153


def labelled(**results) -> Atoms:
    atoms = Atoms("CuOCu2", [[0, 0, 0], [0, 1, 0], [0, 0, 2], [2, 2, 0]], cell=[4, 5, 6], pbc=True)
    results = {"energy": -3.25, "forces": FORCES, "stress": STRESS, **results}
    if results["stress"] is not None and np.shape(results["stress"]) == (3, 3):
        results["stress"] = full_3x3_to_voigt_6_stress(results["stress"])
    results = {key: value for key, value in results.items() if value is not None}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def bare() -> Atoms:
    atoms = labelled()
    atoms.calc = None
    return atoms


def check_labels(frame: Frame, unit: float = 1.0) -> None:
    assert frame.energy == pytest.approx(-3.25 * unit)
    np.testing.assert_allclose(frame.forces, FORCES * unit, rtol=1e-7)
    np.testing.assert_allclose(frame.stress, STRESS * unit, rtol=1e-7)


@pytest.mark.parametrize("suffix", ["extxyz", "xyz", "db", "traj"])
def test_formats_hold_the_same(tmp_path, suffix):
    path = tmp_path / f"data.{suffix}"
    images = [labelled(), labelled(energy=-1.0)]
    if suffix == "db":
        with ase.db.connect(path) as database:
            for atoms in images:
                database.write(atoms)
    else:
        ase.io.write(path, images, format="traj" if suffix == "traj" else "extxyz")
    frames = read_frames([path], required=("energy", "forces", "stress"))
    assert [frame.name for frame in frames] == [f"{path}:0", f"{path}:1"]
    check_labels(frames[0])
    assert frames[1].energy == -1.0
    assert frames[0].symbols == ["Cu", "O", "Cu", "Cu"]
    assert frames[0].volume == pytest.approx(120)


def test_custom_keys_in_xyz_and_database(tmp_path):
    atoms = bare()
    atoms.info["REF_energy"] = -3.25
    atoms.arrays["REF_forces"] = FORCES
    atoms.info["REF_stress"] = STRESS.ravel()
    ase.io.write(tmp_path / "a.xyz", atoms, format="extxyz")
    with ase.db.connect(tmp_path / "a.db") as database:
        data = {"REF_forces": FORCES, "REF_stress": STRESS}
        database.write(bare(), key_value_pairs={"REF_energy": -3.25}, data=data)
    config = DataConfig(energy_key="REF_energy", forces_key="REF_forces", stress_key="REF_stress")
    for frame in read_frames([tmp_path / "a.xyz", tmp_path / "a.db"], config):
        check_labels(frame)


def test_labels_in_info_and_arrays_are_found():
    atoms = bare()
    atoms.info.update(energy=-3.25, stress=STRESS)
    atoms.arrays["forces"] = FORCES
    check_labels(from_atoms([atoms])[0])


@pytest.mark.parametrize(
    "values", [STRESS, STRESS.ravel(), full_3x3_to_voigt_6_stress(STRESS)], ids=["33", "9", "6"]
)
@pytest.mark.parametrize("key", ["stress", "virial"])
def test_stress_and_virial_in_every_shape(values, key):
    atoms = labelled(stress=None)
    factor = -atoms.get_volume() if key == "virial" else 1.0
    atoms.info[key] = values * factor
    check_labels(from_atoms([atoms])[0])


def test_virial_of_an_xyz_file(tmp_path):
    atoms = labelled(stress=None)
    atoms.info["virial"] = -STRESS * atoms.get_volume()
    ase.io.write(tmp_path / "a.xyz", atoms, format="extxyz")
    check_labels(read_frames([tmp_path / "a.xyz"], required=("stress",))[0])


@pytest.mark.parametrize("number", [6, 9])
@pytest.mark.parametrize("key", ["stress", "virial"])
def test_stress_as_text(tmp_path, number, key):
    values = STRESS * (-120 if key == "virial" else 1)
    values = values.ravel() if number == 9 else full_3x3_to_voigt_6_stress(values)
    text = " ".join(map(repr, values.tolist()))
    comment = f'{key}="{text}" Lattice="4 0 0 0 5 0 0 0 6" energy=1.0 pbc="T T T"'
    (tmp_path / "a.xyz").write_text(f"1\n{comment} Properties=species:S:1:pos:R:3\nH 0 0 0\n")
    frame = read_frames([tmp_path / "a.xyz"])[0]
    np.testing.assert_allclose(frame.stress, STRESS, rtol=1e-12)
    assert frame.energy == 1.0


def test_units():
    config = DataConfig(energy_unit="Hartree", length_unit="Bohr")
    frame = from_atoms([labelled()], config)[0]
    assert frame.energy == pytest.approx(-3.25 * HARTREE)
    np.testing.assert_allclose(frame.positions[1], [0, BOHR, 0])
    np.testing.assert_allclose(frame.forces, FORCES * HARTREE / BOHR)
    np.testing.assert_allclose(frame.stress, STRESS * HARTREE / BOHR**3)
    config = DataConfig(energy_unit="kcal/mol", forces_unit="Hartree/Bohr", stress_unit="GPa")
    frame = from_atoms([labelled()], config)[0]
    assert frame.energy == pytest.approx(-3.25 * KCAL)
    np.testing.assert_allclose(frame.positions[1], [0, 1, 0])
    np.testing.assert_allclose(frame.forces, FORCES * HARTREE / BOHR)
    np.testing.assert_allclose(frame.stress, STRESS / 160.2176634)


def test_virial_units():
    atoms = labelled(stress=None)
    atoms.info["virial"] = -STRESS * atoms.get_volume()
    frame = from_atoms([atoms], DataConfig(energy_unit="kcal/mol", length_unit="Bohr"))[0]
    np.testing.assert_allclose(frame.stress, STRESS * KCAL / BOHR**3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("eV", 1.0),
        ("meV", 1e-3),
        ("kcal/mol", KCAL),
        ("kJ/mol", 0.01036427),
        ("eV/Angstrom**3", 1.0),
        ("Hartree/Bohr^3", HARTREE / BOHR**3),
        ("kcal/mol/Angstrom", KCAL),
        ("kbar", units.GPa / 10),
    ],
)
def test_unit_names(text, value):
    assert unit_factor(text) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("text", ["ev", "", "kcal/", "eV**x", "__name__"])
def test_unknown_units_are_refused(text):
    with pytest.raises(UserError, match=r"unknown unit .*: expected names of ase.units"):
        unit_factor(text)


def write_npz(path, **changes) -> None:
    arrays = {
        "nuclear_charges": np.array([8, 1, 1], dtype=np.uint8),
        "coords": np.random.default_rng(0).normal(size=(2, 3, 3)),
        "energies": np.array([-100.0, -101.0]),
        "forces": np.ones((2, 3, 3)),
        "old_indices": np.array([7, 9]),
        "old_energies": np.zeros(2),
        **changes,
    }
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})


def test_rmd17_layout_is_kcal(tmp_path):
    write_npz(tmp_path / "a.npz")
    frames = read_frames([tmp_path / "a.npz"], required=("energy", "forces"))
    assert frames[1].energy == pytest.approx(-101 * KCAL)
    np.testing.assert_allclose(frames[0].forces, KCAL)
    assert frames[0].symbols == ["O", "H", "H"]
    assert not frames[0].pbc.any()
    assert frames[0].volume is None
    frames = read_frames([tmp_path / "a.npz"], DataConfig(energy_unit="eV"))
    assert frames[1].energy == -101


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coords": None}, r"no array 'coords' for positions \(arrays there: nuclear_charges, "),
        ({"coords": np.ones((2, 9))}, r"coords: expected shape \(K, N, 3\), got \(2, 9\)"),
        ({"nuclear_charges": np.ones(4)}, r"nuclear_charges: expected shape \(3,\), got \(4,\)"),
        ({"forces": np.ones((2, 2, 3))}, r"frame 0 field 'forces': expected shape \(3, 3\)"),
        ({"energies": np.array([1.0, np.nan])}, "frame 1 field 'energy': value is NaN"),
        ({"energies": np.ones(3)}, r"energies: expected 2 frames as in coords, got shape \(3,\)"),
        ({"coords": np.ones((2, 3, 3), bool)}, "coords: expected numbers, got type bool"),
        ({"coords": np.ones((2, 3, 3), complex)}, "coords: expected numbers, got type complex128"),
        ({"energies": None}, r"frame 0: no energy under 'energy' \(keys there: forces, old_en"),
    ],
)
def test_bad_npz(tmp_path, changes, message):
    write_npz(tmp_path / "a.npz", **changes)
    with pytest.raises(UserError, match=message):
        read_frames([tmp_path / "a.npz"], required=("energy",))


def test_missing_labels_are_none_unless_required(tmp_path):
    ase.io.write(tmp_path / "a.xyz", [labelled(), labelled(forces=None, stress=None)])
    frames = read_frames([tmp_path / "a.xyz"])
    assert frames[1].forces is None
    assert frames[1].stress is None
    message = (
        r"a.xyz' frame 1: no forces under 'forces' \(keys there: energy\): set data.forces_key"
    )
    with pytest.raises(UserError, match=message):
        read_frames([tmp_path / "a.xyz"], required=("energy", "forces"))
    with pytest.raises(UserError, match="frame 1: no stress under 'stress' or 'virial'"):
        read_frames([tmp_path / "a.xyz"], required=("stress",))
    with pytest.raises(UserError, match=r"frame 0: no energy under 'energy' \(keys there: none\)"):
        from_atoms([bare()], required=("energy",))


def test_stress_is_not_required_of_molecules():
    atoms = labelled(stress=None)
    atoms.pbc = False
    atoms.cell[:] = 0
    assert from_atoms([atoms], required=("stress",))[0].stress is None
    atoms.info["stress"] = np.zeros(6)
    assert from_atoms([atoms])[0].stress is None


def test_a_key_asked_for_must_be_there(tmp_path):
    ase.io.write(tmp_path / "a.xyz", [labelled()])
    message = (
        r"a.xyz': no frame has the key 'dft_energy' asked for by data.energy_key "
        r"\(keys in frame 0: energy, forces, stress\)"
    )
    with pytest.raises(UserError, match=message):
        read_frames([tmp_path / "a.xyz"], DataConfig(energy_key="dft_energy"))


def test_a_key_may_be_in_one_of_several_files_only(tmp_path):
    paths = [tmp_path / name for name in ("a.xyz", "b.xyz", "lone.xyz")]
    for path, atoms in zip(paths, (bare(), labelled(), lone("Cu", -1.0)), strict=True):
        ase.io.write(path, atoms, format="extxyz")
    atoms = bare()
    atoms.arrays["F"], atoms.info["S"] = atoms.positions, [1.0] * 6
    ase.io.write(paths[0], atoms, format="extxyz")
    config = DataConfig(forces_key="F", stress_key="S")
    first, second = read_frames(paths[:2], config)
    assert (first.forces is not None, second.forces, second.stress) == (True, None, None)
    assert isolated_energies(str(paths[2]), ("Cu",), config).tolist() == [-1.0]
    with pytest.raises(UserError, match=r"a.xyz', '.*b.xyz': no frame has the key 'V' asked for"):
        read_frames(paths[:2], DataConfig(virial_key="V"))


def changed(**values) -> Atoms:
    atoms = labelled()
    for name, value in values.items():
        if name in ("energy", "forces", "stress"):
            atoms.calc = None
            atoms.info[name] = value
        elif name == "cell":
            atoms.set_cell(value)
        else:
            setattr(atoms, name, value)
    return atoms


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (changed(energy=np.inf), "frame 1 field 'energy': value is NaN or infinite"),
        (changed(energy="low"), "frame 1 field 'energy': expected numbers, got 'low'"),
        (changed(energy=[1.0, 2.0]), r"frame 1 field 'energy': expected shape \(\), got \(2,\)"),
        (changed(forces=np.ones(12)), r"field 'forces': expected shape \(4, 3\), got \(12,\)"),
        (changed(forces=np.full((4, 3), np.nan)), r"field 'forces': value \[0, 0\] is NaN"),
        (changed(stress=np.ones(5)), r"field 'stress': expected shape \(6,\) or \(9,\) or \(3, 3"),
        (changed(positions=np.full((4, 3), np.nan)), r"frame 1 field 'positions': value \[0, 0\]"),
        (changed(positions=np.full((4, 3), 1e30)), r"field 'positions': an atom is 1e\+30 A away"),
        (changed(cell=[4, 5, 1e250]), r"field 'cell': a vector is 1e\+250 A long, expected below"),
        (changed(numbers=[0, 1, 1, 1]), "field 'numbers': atom 0 has atomic number 0, which is no"),
        (changed(cell=[4, 5, 0]), "frame 1 field 'cell': pbc is on along c but there is no cell"),
        (changed(cell=[[4, 0, 0], [0, 4, 0], [4, 4, 0]]), "frame 1 field 'cell': .* has no volume"),
        (changed(pbc=False), "frame 1 field 'stress': a stress needs a cell and pbc, but pbc is F"),
        (Atoms(), "frame 1: holds no atom"),
    ],
)
def test_bad_frames_name_frame_and_field(atoms, message):
    with pytest.raises(UserError, match=message):
        from_atoms([labelled(stress=None), atoms])


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("garbage\n", "frame 1: expected a line with the number of atoms, got 'garbage'"),
        ("3\n\nH 0 0 0\n", "frame 1: expected 3 atoms, the file ends after 1"),
        ("1\n\nH 0 zero 0\n", "frame 1: could not convert string to float: 'zero'"),
        ("1\n\nQq 0 0 0\n", "frame 1: nothing is called 'Qq'"),
        ("1\nstress=low\nH 0 0 0\n", "frame 1: field 'stress': expected numbers, got 'low'"),
        ("1\nenergy=low\nH 0 0 0\n", "frame 1.*low"),
        ("1\nstress='1 2'\nH 0 0 0\n", r"frame 1 field 'stress': expected shape \(6,\) or"),
    ],
)
def test_broken_frames_are_named(tmp_path, second, message):
    (tmp_path / "a.xyz").write_text("1\n\nH 0 0 0\n\n" + second)
    with pytest.raises(UserError, match=message):
        read_frames([tmp_path / "a.xyz"])


def test_a_file_that_ends_within_a_line_is_warned_of(tmp_path, caplog):
    (tmp_path / "a.xyz").write_text("1\n\nH 0 0 0\n1\n\nH 0 0 -1.2345")
    assert len(read_frames([tmp_path / "a.xyz"])) == 2
    (record,) = caplog.records
    assert "a.xyz' frame 1: the file ends within a line" in record.getMessage()
    (tmp_path / "a.xyz").write_text("1\n\nH 0 0 0\n1\n\nH 0 0 -1.2345\n")
    assert len(read_frames([tmp_path / "a.xyz"])) == 2
    assert len(caplog.records) == 1


def test_bad_files(tmp_path):
    empty, broken, fake = tmp_path / "empty.xyz", tmp_path / "broken.xyz", tmp_path / "fake.npz"
    with pytest.raises(UserError, match=r"data file '.*empty.xyz' not found"):
        read_frames([empty])
    empty.write_text("")
    with pytest.raises(UserError, match=r"data file '.*empty.xyz' is empty"):
        read_frames([empty])
    broken.write_text("2\n\nH 0 0 0\nH 0 0 zero\n")
    with pytest.raises(UserError, match=r"cannot read '.*broken.xyz' frame 0: "):
        read_frames([broken])
    fake.write_text("no archive")
    with pytest.raises(UserError, match=r"cannot read '.*fake.npz': expected an npz archive"):
        read_frames([fake])
    (tmp_path / "fake.db").write_text("no database")
    with pytest.raises(UserError, match=r"cannot read '.*fake.db' frame 0: "):
        read_frames([tmp_path / "fake.db"])


def test_lost_pbc_is_mentioned(caplog, tmp_path):
    atoms = labelled(stress=None)
    atoms.pbc = False
    ase.io.write(tmp_path / "a.xyz", [atoms, labelled()])
    frames = read_frames([tmp_path / "a.xyz"])
    assert "1 frames have a cell but pbc F F F: read as not periodic" in caplog.text
    assert frames[0].volume is None


def test_dataset_names_frame_and_field():
    frames = from_atoms([labelled(), labelled()])
    with pytest.raises(
        UserError, match="'atoms' frame 0 field 'numbers': atom 0 is Cu, but the mo"
    ):
        GraphDataset(frames, ("H", "O"), 4.0)
    frames[1].positions[2] = frames[1].positions[0]
    with pytest.raises(UserError, match="frame 1 field 'positions': atoms 0 and 2 are on one spot"):
        GraphDataset(frames, ("O", "Cu"), 4.0)
    with pytest.raises(UserError, match=r"model.elements: 'Xx' is no chemical symbol"):
        GraphDataset(frames, ("Cu", "Xx"), 4.0)


def test_dataset_holds_what_the_frames_hold():
    frames = from_atoms([labelled(), structures()["molecule"]])
    dataset = GraphDataset(frames, ("Cu", "O", "H", "C"), 4.0, progress=False)
    sample = dataset[0]
    assert len(dataset) == 2
    assert sample.graph.species.tolist() == [0, 1, 0, 0]
    np.testing.assert_allclose(sample.forces, FORCES)
    np.testing.assert_allclose(sample.stress, STRESS)
    assert sample.volume == pytest.approx(120)
    assert (dataset[1].energy, dataset[1].forces, dataset[1].volume) == (None, None, None)


def test_elements_and_species():
    frames = from_atoms([structures()["slab"], structures()["molecule"]])
    assert elements_of(frames) == ("H", "C", "O", "Cu")
    assert species_of([29, 1], ("Cu", "H")).tolist() == [0, 1]


def test_split_is_by_seed():
    frames = from_atoms([labelled(energy=float(i)) for i in range(20)])

    def energies(**options) -> tuple[list[float], list[float]]:
        parts = split_frames(frames, DataConfig(**options))
        return tuple([frame.energy for frame in part] for part in parts)

    train, valid = energies(valid_fraction=0.2)
    assert (len(train), len(valid)) == (16, 4)
    assert sorted(train + valid) == list(range(20))
    assert energies(valid_fraction=0.2) == (train, valid)
    assert energies(valid_fraction=0.2, split_seed=1) != (train, valid)
    train, valid = energies(num_train=5, num_valid=3)
    assert (len(train), len(valid)) == (5, 3)
    assert not set(train) & set(valid)
    assert energies(valid_fraction=0.0)[1] == []
    with pytest.raises(UserError, match="20 frames cannot give 18 for training and 3 for valid"):
        energies(num_train=18, num_valid=3)
    with pytest.raises(UserError, match=r"data.valid_fraction: expected 0 to below 1"):
        energies(valid_fraction=1.0)


def alloy_frames(number: int = 12) -> list[Frame]:
    rng = np.random.default_rng(5)
    images = []
    for index in range(number):
        symbols = "".join(rng.choice(["H", "O"], 2 + index % 4))
        symbols = [*symbols, "O"]
        atoms = Atoms(symbols, rng.uniform(0, 4, (len(symbols), 3)))
        atoms.info["energy"] = -5.0 * symbols.count("H") - 11.0 * symbols.count("O") + rng.normal()
        atoms.arrays["forces"] = rng.normal(size=(len(symbols), 3))
        images.append(atoms)
    return from_atoms(images)


def test_shift_minimises_the_ridge_loss():
    frames = alloy_frames()
    elements, e0 = ("H", "O"), np.array([-2.0, -3.0])
    shift = compute_statistics(GraphDataset(frames, elements, 3.0), e0).shift
    counts = np.array([[f.symbols.count(e) for e in elements] for f in frames], dtype=float)
    rest = np.array([f.energy for f in frames]) - counts @ e0
    mean = rest.sum() / counts.sum()

    def loss(values: np.ndarray) -> float:
        theta = values - mean - e0
        errors = rest - mean * counts.sum(1) - counts @ theta
        return float(errors @ errors + 1.0 * theta @ theta)

    for direction in np.eye(2):
        slope = (loss(shift + 1e-4 * direction) - loss(shift - 1e-4 * direction)) / 2e-4
        assert slope == pytest.approx(0, abs=1e-7)


def test_scale_and_neighbors():
    frames = alloy_frames()
    statistics = compute_statistics(GraphDataset(frames, ("H", "O"), 1.5), np.zeros(2))
    forces = np.concatenate([frame.forces for frame in frames])
    np.testing.assert_allclose(statistics.scale, np.sqrt((forces**2).mean()))
    counts = []
    for frame in frames:
        distances = np.linalg.norm(frame.positions[:, None] - frame.positions, axis=-1)
        counts += [n for n in ((distances < 1.5).sum(1) - 1).tolist() if n > 0]
    assert statistics.avg_num_neighbors == pytest.approx(np.mean(counts))


def test_statistics_without_labels_or_neighbors():
    frames = from_atoms([structures()["lone_atom"]])
    statistics = compute_statistics(GraphDataset(frames, ("O",), 3.0), np.array([-7.0]))
    assert statistics.shift.tolist() == [-7.0]
    assert statistics.scale.tolist() == [1.0]
    assert statistics.avg_num_neighbors == 1.0


def lone(symbol: str, energy: float) -> Atoms:
    atoms = Atoms(symbol)
    atoms.info.update(config_type="isolated_atom", energy=energy)
    return atoms


def test_isolated_atoms(tmp_path):
    path = tmp_path / "lone.xyz"
    ase.io.write(path, [lone("O", -432.0), lone("H", -13.6)], format="extxyz")
    expected = [-13.6, -432.0]
    assert isolated_energies(str(path), ("H", "O")).tolist() == expected
    assert isolated_energies({"O": -432, "H": -13.6}, ("H", "O")).tolist() == expected
    assert isolated_energies(None, ("H", "O"), None, read_frames([path])).tolist() == expected
    assert isolated_energies(None, ("H", "O")).tolist() == [0, 0]
    with pytest.raises(UserError, match=r"lone.xyz' give O H, but C is missing: add it there"):
        isolated_energies(str(path), ("H", "C"))
    with pytest.raises(UserError, match=r"data.isolated_atoms give H, but O is missing"):
        isolated_energies({"H": -1.0}, ("H", "O"))
    with pytest.raises(UserError, match=r"data.isolated_atoms: 'Q' is no chemical symbol"):
        isolated_energies({"Q": -1.0}, ("H",))
    with pytest.raises(UserError, match=r"data.isolated_atoms.H: nan is NaN or infinite"):
        isolated_energies({"H": float("nan")}, ("H",))


def test_prepare_data(tmp_path):
    path = tmp_path / "train.xyz"
    images = [labelled(energy=float(i)) for i in range(10)]
    ase.io.write(path, [lone("Cu", -1.0), *images, lone("O", -2.0)], format="extxyz")
    config = Config(model=ModelConfig(r_cut=3.0), data=DataConfig(train=(str(path),)))
    prepared = prepare_data(config, progress=False)
    assert prepared.elements == ("O", "Cu")
    assert (len(prepared.train), len(prepared.valid)) == (9, 1)
    assert prepared.statistics.e0.tolist() == [-2.0, -1.0]
    both = DataConfig(train=(str(path),), valid=(str(path),), num_train=4)
    prepared = prepare_data(Config(config.model, both), progress=False)
    assert (len(prepared.train), len(prepared.valid)) == (4, 10)
    with pytest.raises(UserError, match=r"data.train: expected at least one file"):
        prepare_data(Config())
    with pytest.raises(UserError, match="atom 1 is O, but the model's elements are Cu"):
        prepare_data(Config(ModelConfig(elements=("Cu",)), config.data), progress=False)


def test_prepare_data_demands_trained_labels(tmp_path):
    path = tmp_path / "train.xyz"
    ase.io.write(path, [labelled(stress=None), labelled(stress=None)], format="extxyz")
    data = DataConfig(train=(str(path),))
    assert len(prepare_data(Config(data=data), progress=False).train) == 1
    with pytest.raises(UserError, match=r"frame 0: no stress under .* training.stress_weight to 0"):
        prepare_data(Config(data=data, training=TrainConfig(stress_weight=1.0)))
    gaps = DataConfig(train=data.train, allow_missing=True)
    prepared = prepare_data(Config(data=gaps, training=TrainConfig(stress_weight=1.0)))
    assert prepared.train[0].stress is None
    molecules = [labelled(stress=None) for _ in range(2)]
    for atoms in molecules:
        atoms.pbc = False
        atoms.cell[:] = 0
    ase.io.write(path, molecules, format="extxyz")
    with pytest.raises(UserError, match="no training frame has pbc and a stress"):
        prepare_data(Config(data=data, training=TrainConfig(stress_weight=1.0)))


@pytest.mark.parametrize(("part", "key"), [("training", "train"), ("validation", "valid")])
def test_prepare_data_refuses_a_set_without_any_label(tmp_path, part, key):
    for name, images in (("full", [labelled()] * 2), ("empty", [bare()])):
        ase.io.write(tmp_path / f"{name}.xyz", images, format="extxyz")
    files = {name: (str(tmp_path / "full.xyz"),) for name in ("train", "valid")}
    data = DataConfig(**(files | {key: (str(tmp_path / "empty.xyz"),)}), allow_missing=True)
    message = (
        rf"^no {part} frame has a label with a weight \(energy, forces\): "
        r"set data.energy_key, data.forces_key$"
    )
    with pytest.raises(UserError, match=message):
        prepare_data(Config(data=data), progress=False)


@pytest.mark.parametrize(
    ("file", "number", "labels"),
    [
        ("acac/train_300K.xyz", 500, ("energy", "forces")),
        ("3bpa/train_300K.xyz", 500, ("energy", "forces")),
        ("rmd17/rmd17_ethanol_train_01.npz", 1000, ("energy", "forces")),
        ("monbtaw/monbtaw_valid.extxyz", 400, ("energy", "forces", "stress")),
        ("mlearn/Si_train.extxyz", 214, ("energy", "forces")),
        ("water/data_0.extxyz", 80, ("energy", "forces")),
    ],
)
def test_real_sets_are_read(shared_dir, file, number, labels):
    frames = read_frames([shared_dir / "data" / file], required=labels)
    assert len(frames) == number
    assert (frames[0].stress is not None) == ("stress" in labels)
    dataset = GraphDataset(frames[:20], elements_of(frames), 5.0, progress=False)
    assert all(sample.graph.num_edges > 0 for sample in dataset)
    for frame in frames[:20]:
        # total forces vanish up to what the codes leave
        assert np.abs(frame.forces.sum(axis=0)).max() < 0.1 * np.abs(frame.forces).max() + 0.01


def test_real_isolated_atoms(shared_dir):
    folder = shared_dir / "data"
    e0 = isolated_energies(str(folder / "3bpa/iso_atoms.xyz"), ("H", "C", "N", "O"))
    assert e0[1] == pytest.approx(-1029.4889999855063)
    frames = read_frames([folder / "acac/isolated_atoms.xyz"])
    assert all(frame.is_isolated_atom for frame in frames)
    frames = read_frames([folder / "3bpa/train_300K.xyz"])
    dataset = GraphDataset(frames[:50], ("H", "C", "N", "O"), 5.0, progress=False)
    shift = compute_statistics(dataset, e0).shift
    # the atoms are bound: a few eV below their isolated energies
    assert ((shift - e0 < 0) & (shift - e0 > -12)).all()
