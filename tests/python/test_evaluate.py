# SPDX-License-Identifier: MIT
"""Errors of a known potential on labels with known deviations."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import Bohr, Hartree
from data_toys import ToyPotential, structures
from pyictp.cli.main import build_parser, main
from pyictp.config.data_files import DataFile
from pyictp.config.load import DataConfig, to_dict
from pyictp.data.frames import Frame, from_atoms, read_frames
from pyictp.data.samples import make_sample
from pyictp.errors import UserError
from pyictp.potential.calculator import ICTPCalculator
from pyictp.potential.checkpoint import load_checkpoint
from pyictp.potential.exported import load_exported
from pyictp.potential.load import as_potential, resolve_device
from pyictp.potential.loaded_model import LoadedModel
from pyictp.reports import evaluate
from pyictp.train import train
from train_toys import changed, emt_frames, make_config, no_pictures

KEYS = {
    "energy_mae_mev",
    "energy_rmse_mev",
    "energy_rmse_mev_per_atom",
    "force_mae_mev_per_a",
    "force_rmse_mev_per_a",
    "stress_rmse_mev_per_a3",
    "num_structures",
}


def exact_atoms(name: str) -> Atoms:
    atoms = structures()[name]
    atoms.calc = ICTPCalculator(ToyPotential())
    atoms.get_potential_energy()
    wanted = ("energy", "forces", "stress")
    results = {key: atoms.calc.results[key] for key in wanted if key in atoms.calc.results}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def exact_frames() -> list[Frame]:
    return from_atoms(
        [exact_atoms(name) for name in ("crystal", "molecule", "sheared", "lone_atom")]
    )


def test_exact_labels_have_no_error():
    result = evaluate.evaluate_frames(as_potential(ToyPotential()), exact_frames(), batch_size=3)
    assert set(result) >= KEYS
    assert result["num_structures"] == 4
    for key in KEYS - {"num_structures"}:
        assert result[key] == pytest.approx(0, abs=1e-9)
    assert list(result["per_element"]) == ["C", "Cu", "H", "O"]


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_known_deviations(batch_size):
    rng = np.random.default_rng(4)
    frames, energy, forces, stress = [], [], [], []
    for frame in exact_frames():
        energy.append(rng.normal())
        forces.append(rng.normal(size=frame.forces.shape))
        frame = replace(frame, energy=frame.energy + energy[-1], forces=frame.forces + forces[-1])
        if frame.stress is not None:
            stress.append(rng.normal(size=(3, 3)) * 1e-2)
            stress[-1] = stress[-1] + stress[-1].T
            frame = replace(frame, stress=frame.stress + stress[-1])
        frames.append(frame)
    result = evaluate.evaluate_frames(as_potential(ToyPotential()), frames, batch_size)
    counts = np.array([len(frame.symbols) for frame in frames])
    components = np.concatenate(forces)
    expected = {
        "energy_mae_mev": np.mean(np.abs(energy)),
        "energy_rmse_mev": np.sqrt(np.mean(np.square(energy))),
        "energy_mae_mev_per_atom": np.mean(np.abs(energy / counts)),
        "energy_rmse_mev_per_atom": np.sqrt(np.mean(np.square(energy / counts))),
        "force_mae_mev_per_a": np.mean(np.abs(components)),
        "force_rmse_mev_per_a": np.sqrt(np.mean(np.square(components))),
        "stress_mae_mev_per_a3": np.mean(np.abs(stress)),
        "stress_rmse_mev_per_a3": np.sqrt(np.mean(np.square(stress))),
    }
    for key, value in expected.items():
        assert result[key] == pytest.approx(1e3 * value, rel=1e-9)
    symbols = np.concatenate([frame.symbols for frame in frames])
    for element, values in result["per_element"].items():
        chosen = components[symbols == element]
        assert values["num_atoms"] == len(chosen)
        assert values["force_rmse_mev_per_a"] == pytest.approx(1e3 * np.sqrt((chosen**2).mean()))
        assert values["force_mae_mev_per_a"] == pytest.approx(1e3 * np.abs(chosen).mean())


def test_a_missing_label_leaves_a_frame_out_for_that_quantity_only():
    frames = exact_frames()
    frames[0] = replace(frames[0], energy=None)
    frames[1] = replace(frames[1], forces=None, energy=frames[1].energy + 0.003)
    result = evaluate.evaluate_frames(as_potential(ToyPotential()), frames)
    assert result["energy_mae_mev"] == pytest.approx(1.0)
    assert result["energy_rmse_mev_per_atom"] == pytest.approx(3 / 4 / np.sqrt(3))
    assert list(result["per_element"]) == ["Cu", "O"]
    result = evaluate.evaluate_frames(
        as_potential(ToyPotential()),
        [replace(f, energy=None, forces=None, stress=None) for f in frames],
    )
    assert all(result[key] is None for key in KEYS - {"num_structures"})
    assert result["num_structures"] == 4


def test_unknown_elements_are_refused():
    with pytest.raises(UserError, match="'atoms' frame 1 field 'numbers': atom 0 is C, but the mo"):
        evaluate.evaluate_frames(as_potential(ToyPotential(("Cu", "O", "H"))), exact_frames())


def run_command(monkeypatch, *arguments: str) -> int:
    """Run `ictp evaluate` on the toy potential, whatever the model is called."""
    monkeypatch.setattr(
        "pyictp.potential.load.as_potential", lambda *_: LoadedModel(ToyPotential())
    )
    args = build_parser(["evaluate"]).parse_args(
        ["evaluate", "model.pt", "--device", "cpu", *arguments]
    )
    return args.run(args)


def test_command_writes_json_and_plot(tmp_path, monkeypatch, capsys):
    data, numbers = tmp_path / "test.xyz", tmp_path / "out" / "errors.json"
    names = ("crystal", "sheared", "molecule")
    ase.io.write(data, [exact_atoms(name) for name in names], format="extxyz")
    options = ["--json", str(numbers), "--plot", str(tmp_path / "plots"), "--batch-size", "2"]
    assert run_command(monkeypatch, str(data), *options) == 0
    result = json.loads(numbers.read_text())
    assert set(result) >= KEYS
    assert result["num_structures"] == 3
    assert result["force_rmse_mev_per_a"] < 1e-4
    assert (tmp_path / "plots" / "parity.png").stat().st_size > 10_000
    text = capsys.readouterr().out
    assert "force RMSE" in text
    assert "meV/atom" in text
    run_command(monkeypatch, str(data), "--plot", str(tmp_path / "a.pdf"))
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_isolated_atoms_are_left_out_as_in_training(tmp_path, monkeypatch, capsys):
    lone = Atoms("O", info={"config_type": "isolated_atom", "energy": -400.0})
    ase.io.write(tmp_path / "a.xyz", [exact_atoms("molecule"), lone], format="extxyz")
    run_command(monkeypatch, str(tmp_path / "a.xyz"), "--json", str(tmp_path / "a.json"))
    assert "left out 1 frames marked as isolated atoms" in capsys.readouterr().out
    result = json.loads((tmp_path / "a.json").read_text())
    assert result["num_structures"] == 1
    assert result["energy_mae_mev"] < 1e-3
    ase.io.write(tmp_path / "a.xyz", [lone], format="extxyz")
    with pytest.raises(UserError, match=r"^all frames are isolated atoms, none is left"):
        run_command(monkeypatch, str(tmp_path / "a.xyz"))


@pytest.mark.parametrize("name", ["p.tiff", "mol.xyz"])
def test_a_plot_of_another_kind_is_refused(tmp_path, monkeypatch, name):
    message = r"expected an image \(\.png \.pdf \.svg \.jpg\) or the name of a folder$"
    with pytest.raises(UserError, match=message):
        run_command(monkeypatch, "nothere.xyz", "--plot", str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("device", ["mps", "meta", "gpu"])
def test_only_cpu_and_cuda_are_devices(device):
    message = f"^device '{device}': expected auto, cpu, cuda or cuda:<number>$"
    with pytest.raises(UserError, match=message):
        resolve_device(device)


def test_command_takes_keys_and_units(tmp_path, monkeypatch):
    atoms = exact_atoms("molecule")
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = None
    atoms.info["E"], atoms.arrays["F"] = energy / 27.211386, forces / 27.211386
    ase.io.write(tmp_path / "a.xyz", atoms, format="extxyz")
    keys = ["--energy-key", "E", "--forces-key", "F", "--energy-unit", "Hartree"]
    run_command(monkeypatch, str(tmp_path / "a.xyz"), *keys, "--json", str(tmp_path / "a.json"))
    result = json.loads((tmp_path / "a.json").read_text())
    assert result["energy_mae_mev"] < 1e-2
    assert result["stress_rmse_mev_per_a3"] is None
    with pytest.raises(UserError, match="has an energy under 'energy' or forces under 'forces'"):
        run_command(monkeypatch, str(tmp_path / "a.xyz"))


@pytest.fixture(scope="module")
def run_in_hartree(tmp_path_factory):
    """A training on labels under other keys, in Hartree; returns its folder and the data."""
    folder = tmp_path_factory.mktemp("hartree")
    frames = emt_frames(6)
    for atoms in frames:
        results, atoms.calc = atoms.calc.results, None
        atoms.info["REF_energy"] = results["energy"] / Hartree
        atoms.arrays["REF_forces"] = results["forces"] / Hartree
    ase.io.write(folder / "ref.extxyz", frames)
    fields = {"energy_key": "REF_energy", "forces_key": "REF_forces", "energy_unit": "Hartree"}
    config = make_config(folder)
    data = DataConfig(train=(str(folder / "ref.extxyz"),), num_valid=2, **fields)
    config = changed(replace(config, data=data), stress_weight=0.0, max_epochs=1)
    with pytest.MonkeyPatch.context() as patch:
        no_pictures(patch)
        train(config)
    return folder / "run", folder / "ref.extxyz"


def evaluated(tmp_path, *arguments: object) -> dict[str, float]:
    """Return what `ictp evaluate` writes of a training."""
    words = [
        "evaluate",
        *map(str, arguments),
        "--device",
        "cpu",
        "--json",
        str(tmp_path / "e.json"),
    ]
    assert main(words) == 0
    return json.loads((tmp_path / "e.json").read_text())


def test_names_and_units_are_those_of_the_run(run_in_hartree, tmp_path, capsys):
    run, data = run_in_hartree
    result = evaluated(tmp_path, run, data)
    words = "energy_key REF_energy, forces_key REF_forces, energy_unit Hartree"
    line = f"fields as in the configuration of the run: {words}\n"
    assert line in capsys.readouterr().out
    given = ["--energy-key", "REF_energy", "--forces-key", "REF_forces", "--energy-unit", "Hartree"]
    assert evaluated(tmp_path, run, data, *given) == result
    assert "as in the configuration" not in capsys.readouterr().out
    other = evaluated(tmp_path, run, data, "--energy-unit", "eV")
    assert other["energy_mae_mev"] != pytest.approx(result["energy_mae_mev"])
    assert "run: energy_key REF_energy, forces_key REF_forces\n" in capsys.readouterr().out
    ase.io.write(tmp_path / "plain.extxyz", emt_frames(6))
    plain = [tmp_path / "plain.extxyz", "--energy-key", "energy", "--forces-key", "forces"]
    assert main(["export", str(run), "-o", str(tmp_path / "model.pt"), "--dtype", "float64"]) == 0
    exported = evaluated(tmp_path, tmp_path / "model.pt", data)  # which knows no path of the run
    assert line in capsys.readouterr().out
    assert exported["energy_mae_mev"] == pytest.approx(result["energy_mae_mev"], rel=1e-4)
    result.pop("worst_frames")
    found = evaluated(tmp_path, run, *plain, "--energy-unit", "eV")
    for key in ("energy_mae_mev", "force_rmse_mev_per_a"):
        assert found[key] == pytest.approx(result[key], rel=1e-4)


def test_a_file_of_the_run_has_the_fields_of_its_entry(run_in_hartree, tmp_path, capsys):
    """The same frames in eV under other names are what the run trained on, by their entry."""
    run, data = run_in_hartree
    expected = evaluated(tmp_path, run, data)
    mixed = Path(shutil.copytree(run, tmp_path / "mixed"))
    payload = dict(load_checkpoint(mixed / "best.pt"))
    own = tmp_path / "own.extxyz"
    frames = emt_frames(6)
    for atoms in frames:
        results, atoms.calc = atoms.calc.results, None
        atoms.info["E"], atoms.arrays["F"] = results["energy"], results["forces"]
    ase.io.write(own, frames)
    fields = {"energy_key": "E", "forces_key": "F", "energy_unit": "eV"}
    payload["config"]["data"]["valid"] = [to_dict(DataFile(str(own), **fields))]
    torch.save(payload, mixed / "best.pt")
    capsys.readouterr()
    found = evaluated(tmp_path, mixed / "best.pt", own)
    line = f"fields of '{own}' as in its entry of the run: energy_key E, forces_key F, energy_unit"
    assert line in capsys.readouterr().out
    for key in ("energy_mae_mev", "force_rmse_mev_per_a"):
        assert found[key] == pytest.approx(expected[key], rel=1e-4)
    in_hartree = evaluated(tmp_path, mixed / "best.pt", own, "--energy-unit", "Hartree")
    assert in_hartree["energy_mae_mev"] > 10 * found["energy_mae_mev"]
    shutil.copy(own, tmp_path / "copy.extxyz")  # another file: the section's fields
    words = ["evaluate", str(mixed / "best.pt"), str(tmp_path / "copy.extxyz"), "--device", "cpu"]
    assert main(words) == 1
    assert "no frame has the key 'REF_energy' asked for" in capsys.readouterr().err


def test_export_reads_training_data_as_the_run_did(run_in_hartree, tmp_path, capsys):
    """Grades and shortest distances of a file in Bohr are those of the same atoms in A."""
    run, _ = run_in_hartree
    payload = dict(load_checkpoint(run / "best.pt"))
    del payload["provenance"]["shortest_distances"]
    frames = emt_frames(6)
    found = []
    for name, unit in (("bohr", Bohr), ("angstrom", 1.0)):
        scaled = [atoms.copy() for atoms in frames]
        for atoms in scaled:
            atoms.set_cell(atoms.cell / unit, scale_atoms=True)
        file = tmp_path / f"{name}.extxyz"
        ase.io.write(file, scaled)
        section = to_dict(DataConfig(length_unit="Bohr" if name == "bohr" else None))
        payload["config"]["data"] = section
        torch.save(payload, tmp_path / f"{name}.ckpt")
        output = tmp_path / f"{name}.pt"
        words = ["export", str(tmp_path / f"{name}.ckpt"), "-o", str(output)]
        assert main([*words, "--training-data", str(file)]) == 0
        printed = capsys.readouterr().out
        assert (name == "bohr") == ("fields as in the configuration of the run: length" in printed)
        potential = load_exported(output)
        frame = from_atoms(frames[:1])[0]
        graph = make_sample(frame, potential.elements, potential.r_cut).graph
        found.append((potential.metadata["shortest_distances"], potential.grades(graph)))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-6)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-3)
    assert 0 < found[0][0][0] < frames[0].cell.lengths().max()


def test_labels_that_are_hard_to_believe_are_named(tmp_path, monkeypatch, caplog):
    atoms = exact_atoms("crystal")
    stress = atoms.get_stress()
    atoms.calc = None
    atoms.info["stress"] = stress - 1000.0
    atoms.info["energy"] = -20.0
    atoms.arrays["REF_forces"] = np.zeros((len(atoms), 3))
    ase.io.write(tmp_path / "a.xyz", atoms, format="extxyz")
    run_command(monkeypatch, str(tmp_path / "a.xyz"))
    assert "frame 0 field 'stress': a component of" in caplog.text
    assert "no frame has 'forces', but there is REF_forces" in caplog.text


def test_a_toy_on_real_data_has_plausible_errors(shared_dir):
    frames = read_frames([shared_dir / "data/mlearn/Cu_train.extxyz"])[:5]
    result = evaluate.evaluate_frames(as_potential(ToyPotential()), frames)
    label = np.concatenate([frame.forces for frame in frames])
    assert 0.1 < result["force_rmse_mev_per_a"] / (1e3 * np.sqrt((label**2).mean())) < 10
