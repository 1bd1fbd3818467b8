# SPDX-License-Identifier: MIT
"""Imported models of SevenNet give sevenn's values; what cannot is refused by name."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.data import atomic_numbers
from ase.io import write
from mace_files import references
from pyictp import ICTPCalculator
from pyictp.cli.main import main
from pyictp.config.load import load_config
from pyictp.config.mace import MaceConfig
from pyictp.errors import UserError
from pyictp.foreign import installed
from pyictp.foreign.importer import Imported, import_model
from pyictp.foreign.pickles import read_records
from pyictp.foreign.sevennet import read_settings
from pyictp.graph.derivatives import evaluate_graph, stress_from_virial
from pyictp.graph.graph import build_graph
from pyictp.model.nequip import NequipModel
from pyictp.model.nequip_radial import xplor_cutoff
from pyictp.potential.checkpoint import build_model, load_checkpoint, save_checkpoint
from pyictp.potential.export import export_model, reference_graph
from pyictp.potential.exported import load_exported, read_metadata
from sevennet_files import (
    CASES,
    FOLDER,
    HEADS,
    RELEASED,
    matter,
    python_with_sevenn,
    released_file,
    unpack,
)

ALLOY = ["V", "Nb", "Ta"]


def imported(name: str, folder: Path, **options: object) -> Imported:
    return import_model(unpack(name, folder), **({"head": HEADS.get(name)} | options))


def assert_agrees(
    found: Imported, name: str, number: int, tolerance: float, **source: Path
) -> None:
    """Compare with the structures of a case that have the model's elements: so many."""
    config = found.model.config
    numbers = [atomic_numbers[element] for element in config.elements]
    count = 0
    for reference in references(name, numbers, config.r_cut, **{"source": FOLDER} | source):
        ours = evaluate_graph(found.model, reference.graph)
        assert np.abs(ours.node_energies.numpy() - reference.node_energies).max() < tolerance
        assert abs(ours.energies.item() - reference.energy) < tolerance * len(reference.numbers)
        assert np.abs(ours.forces.numpy() - reference.forces).max() < tolerance
        assert np.abs(reference.forces).max() > 1e-3  # there is something to compare
        if reference.stress is not None:
            stress = stress_from_virial(ours.virials, torch.tensor([reference.volume]))[0]
            assert np.abs(stress.numpy() - reference.stress).max() < tolerance
        count += 1
    assert count == number


@pytest.mark.parametrize("name", CASES)
def test_values_of_sevenn(name: str, tmp_path: Path) -> None:
    """With its layers in float64, within 1e-12 eV and eV/A."""
    assert_agrees(imported(name, tmp_path), name, 2, 1e-12)


@pytest.mark.parametrize("name", CASES)
def test_elements_can_be_left_out(name: str, tmp_path: Path) -> None:
    found = imported(name, tmp_path, elements=ALLOY)
    assert found.model.config.elements == ("Nb", "Ta", "V")  # the order of the file
    assert "left out: elements C H O" in found.notes
    assert_agrees(found, name, 1, 1e-12)


def test_methods_differ(tmp_path: Path) -> None:
    path = unpack("methods", tmp_path)
    shifts = [import_model(path, head).model.shift for head in ("pbe", "r2scan", "cc")]
    assert (shifts[0] - shifts[1]).abs().min() > 1e-3
    assert (shifts[1] - shifts[2]).abs().min() > 1e-3


def test_a_training_folder_with_provenance(tmp_path: Path, capsys) -> None:
    path, run = unpack("manual", tmp_path), tmp_path / "run"
    path = path.rename(tmp_path / "checkpoint_sevennet_0.pth")
    command = ["import", str(path), "-o", str(run), "--elements", *ALLOY]
    assert main(command) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == (
        "read: a checkpoint of SevenNet 0.13.0, 3 layers, channels 6 of rank 0 + 4 of rank 1 + 2 "
        "of rank 2 (edges 2), r_cut 4.5 A"
    )
    assert printed[2] == "with: an XPLOR cutoff from 3.6 A"
    assert printed[3] == "left out: elements C H O"
    assert printed[4].startswith("licence: SevenNet-0 is under the MIT licence")
    assert "Materials Project" in printed[4]
    config = load_config(run / "config.yaml")
    assert config.training.dtype == "float64"
    assert config.model.nequip.channels == ((6, 4, 2), (6, 3, 2), (4,))
    provenance = load_checkpoint(run / "best.pt")["provenance"]
    assert provenance["imported_from"] == "checkpoint_sevennet_0.pth"
    assert provenance["licence"] in printed[4]
    assert provenance["shortest_edge"] == 0.5
    assert main(["info", str(run)]) == 0
    assert main(["export", str(run), "-o", str(tmp_path / "model.pt")]) == 0
    assert read_metadata(tmp_path / "model.pt")["num_layers"] == 3


@pytest.mark.parametrize(
    ("dtype", "options", "of_energies", "of_forces"),
    [
        ("float64", {"radial": "network"}, 1e-12, 1e-11),
        ("float64", {}, 1e-9, 1e-8),  # of slopes, see `ACCURACY`
        ("float32", {}, 1e-6, 1e-4),
        *(
            pytest.param("float32", options, 1e-6, of_forces, marks=pytest.mark.long)
            for options, of_forces in (({"portable": True}, 1e-4), ({"radial": "network"}, 1e-5))
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", CASES)
def test_exported(name, dtype, options, of_energies, of_forces, tmp_path: Path) -> None:
    """Forces relative to the largest one: slopes of tables are within 1e-4 of the largest."""
    found = imported(name, tmp_path)
    path = tmp_path / "model.pt"
    export_model(found.model, path, dtype, provenance=found.provenance, **options)
    exported = load_exported(path)
    numbers = [atomic_numbers[element] for element in found.model.config.elements]
    for reference in references(name, numbers, found.model.config.r_cut, FOLDER):
        ours = evaluate_graph(exported, reference.graph)
        np.testing.assert_allclose(
            ours.node_energies, reference.node_energies, atol=of_energies, rtol=of_energies
        )
        deviation = np.abs(ours.forces.numpy() - reference.forces).max()
        assert deviation < of_forces * (0.1 + np.abs(reference.forces).max())


def test_a_knot_where_the_cutoff_begins(tmp_path: Path) -> None:
    """The second derivative jumps there, and between two knots would spoil the table."""
    found = imported("manual", tmp_path)
    export_model(found.model, tmp_path / "model.pt", provenance=found.provenance)
    tables = read_metadata(tmp_path / "model.pt")["radial_tables"]
    assert len(tables) == 1 + 3 + 3  # of layers and ranks
    for table in tables:
        assert table["intervals"] * 3.6 / 4.5 == pytest.approx(table["intervals"] * 4 // 5)
        assert table["intervals"] < 1000


def test_the_cutoff_of_xplor() -> None:
    r = torch.linspace(3.0, 5.5, 501, dtype=torch.float64, requires_grad=True)
    values = xplor_cutoff(r, 4.0, 5.0)
    (slopes,) = torch.autograd.grad(values.sum(), r)
    assert (values[r <= 4.0] == 1.0).all()
    assert (values[r >= 5.0] == 0.0).all()
    inside = (r > 4.0) & (r < 5.0)
    assert (slopes[inside] < 0.0).all()
    assert (slopes[~inside] == 0.0).all()
    # r^2 = 20.5: the middle between 16 and 25, where the cubic of r^2 is one half
    assert xplor_cutoff(torch.tensor(20.5**0.5).double(), 4.0, 5.0).item() == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["manual", "rank3", "old"])
def test_mirror_images_differ(name: str, tmp_path: Path) -> None:
    """Features have no parity, which scalars feel after three layers; turning changes nothing."""
    own, turned, mirrored = turned_and_mirrored(name, tmp_path)
    assert abs(own - turned) < 1e-11
    assert abs(own - mirrored) > 1e-6


@pytest.mark.parametrize("name", ["both_parities", "pseudo_scalars", "parity_manual"])
def test_with_parity_mirror_images_do_not(name: str, tmp_path: Path) -> None:
    own, turned, mirrored = turned_and_mirrored(name, tmp_path)
    assert abs(own - turned) < 1e-11
    assert abs(own - mirrored) < 1e-11


def turned_and_mirrored(name: str, folder: Path) -> list[float]:
    """Return energies [eV] of a cluster, turned, and mirrored; forces turn, too."""
    model = imported(name, folder).model
    rng = np.random.default_rng(4)
    positions = rng.uniform(0.0, 3.5, (6, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    graphs = [
        build_graph(p, np.zeros((3, 3)), False, range(6), model.config.r_cut)
        for p in (positions, positions @ turn.T, -positions)
    ]
    found = [evaluate_graph(model, graph) for graph in graphs]
    own, turned, _ = found
    torch.testing.assert_close(
        turned.forces, own.forces @ torch.from_numpy(turn.T), atol=1e-11, rtol=0
    )
    return [one.energies.item() for one in found]


def test_pseudo_tensors_that_no_energy_depends_on_are_left_out(tmp_path: Path) -> None:
    """No pseudo tensor reaches a scalar in the last layer, no pseudo scalar in the last three."""
    found = imported("pseudo_scalars", tmp_path)
    nequip = found.model.config.nequip
    assert nequip.channels == (*5 * ((3, 3),), (3,))
    assert nequip.pseudo_channels == ((), (0, 3), (3, 3), (0, 3), (), ())
    assert "with: true and pseudo tensors told apart; what no energy depends on left out" in (
        found.notes
    )


@pytest.mark.parametrize("name", ["manual", "both_parities", "pseudo_scalars"])
def test_operators_and_plain_pytorch(name: str, tmp_path: Path) -> None:
    model = imported(name, tmp_path).model
    graph = reference_graph(model)
    fused, plain = (evaluate_graph(model.use_operators(on), graph) for on in (True, False))
    torch.testing.assert_close(fused.forces, plain.forces, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    "name", ["by_species", "methods", "old", "pseudo_scalars", "parity_manual"]
)
def test_a_checkpoint_of_each_kind(name: str, tmp_path: Path) -> None:
    found = imported(name, tmp_path)
    save_checkpoint(tmp_path / "best.pt", found.model, provenance=found.provenance)
    again = build_model(load_checkpoint(tmp_path / "best.pt"))
    assert type(again) is NequipModel
    assert again.config == found.model.config
    graph = reference_graph(again)
    ours, theirs = (evaluate_graph(model, graph) for model in (again, found.model))
    assert torch.equal(ours.forces, theirs.forces)


# -- what is refused -------------------------------------------------------------------------------

REFUSED = {
    "pseudo_gate": "act_scalar of pseudo scalars abs is not supported, only tanh",
    "readout": "readout_as_fcn True is not supported, only False",
    "tanh": "act_radial tanh is not supported, only silu",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_covered_is_named(name: str, tmp_path: Path) -> None:
    path = unpack(name, tmp_path)
    with pytest.raises(UserError, match=f"^'{path}': {REFUSED[name]}$"):
        import_model(path)


def rewritten(folder: Path, change) -> Path:
    """Return a checkpoint with something changed."""
    path = unpack("manual", folder)
    file = torch.load(path, weights_only=False)
    change(file)
    torch.save(file, path)
    return path


def put(section: str, key: str, value: object):
    return lambda file: file[section].__setitem__(key, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("config", "interaction_type", "other"), "interaction_type other is not supported"),
        (put("config", "self_connection_type", ["linear", "none"]), "linear, none is not supp"),
        (put("config", "irreps_manual", ["6x0e", "4x1e", "4x0e"]), "do not begin and end|only ra"),
        (put("config", "irreps_manual", ["6x0e"] + 2 * ["6x0e+4x1o"] + ["4x0e"]), "only ranks 0,"),
        (put("config", "is_parity", 1), "is_parity is neither True nor False"),
        (
            lambda file: file["config"].update(
                is_parity=True, irreps_manual=["6x0e", "6x0e+4x0o", "6x0e+4x0o", "4x0e"]
            ),
            "features .* that no messages reach are not supported",
        ),
        (
            lambda file: file["config"].update(
                is_parity=True, irreps_manual=["6x0e", "6x0e+4x1o+2x1o", "6x0e", "4x0e"]
            ),
            "only ranks 0, 1, ..., once each",
        ),
        (put("config", "num_convolution_layer", 10**9), "1000000000 layers are not supported"),
        (
            lambda file: file["model_state_dict"]["1_convolution.denominator"].zero_(),
            "denominator of layer 2 is zero",
        ),
        (put("config", "lmax", 4), "ranks up to 4 are not supported, only up to 3"),
        (put("config", "irreps_manual", ["9999x0e"] * 4), "expected .* numbers, got .* damaged"),
        (put("config", "_type_map", {1: 0, 8: 5}), "its elements are none"),
        (put("config", "cuequivariance_config", {"use": True}), "cuEquivariance"),
        (
            lambda file: file["model_state_dict"].pop("1_convolution.denominator"),
            "lacks '1_convolution.denominator'",
        ),
        (
            lambda file: file["model_state_dict"]["2_self_interaction_1.linear.weight"].fill_(
                float("nan")
            ),
            "is NaN or infinite",
        ),
        (lambda file: file["config"].pop("cutoff"), "is damaged"),
    ],
)
def test_changed_files(change, message: str, tmp_path: Path) -> None:
    path = rewritten(tmp_path, change)
    with pytest.raises(UserError, match=message) as caught:
        import_model(path)
    assert "\n" not in str(caught.value)


def test_couplings_that_are_not_those_of_e3nn(tmp_path: Path) -> None:
    """Signs of a file are believed, other numbers are not."""
    key = "1_convolution.convolution._compiled_main_left_right._w3j_1_1_1"
    own = imported("manual", tmp_path).model
    flipped = rewritten(tmp_path, lambda file: file["model_state_dict"][key].neg_())
    settings = read_settings(read_records(flipped))
    assert settings.tensor(key)[0, 1, 2] < 0.0
    model = import_model(flipped).model
    graph = reference_graph(own)
    ours, theirs = (evaluate_graph(each, graph) for each in (model, own))
    assert (ours.forces - theirs.forces).abs().max() > 1e-7
    path = rewritten(tmp_path, lambda file: file["model_state_dict"][key].mul_(1.1))
    with pytest.raises(UserError, match="coupling coefficients of ranks 1, 1, 1 are not e3nn's"):
        import_model(path)


def test_methods_and_elements_that_are_not_there(tmp_path: Path) -> None:
    path = unpack("methods", tmp_path)
    with pytest.raises(UserError, match="several heads: choose one with --head: pbe, r2scan, cc"):
        import_model(path)
    with pytest.raises(UserError, match="--elements W: it knows only C H Nb O Ta V"):
        import_model(path, "cc", ["W"])


def test_a_configuration_that_does_not_go_together(tmp_path: Path) -> None:
    config = imported("manual", tmp_path).model.config
    with pytest.raises(UserError, match="a model is of one kind"):
        dataclasses.replace(config, mace=MaceConfig(3 * (True,), 3 * (False,), radii=6 * (1.0,)))
    for key, value, message in (
        ("channels", ((6,),), r"a row for each layer \(3\)"),
        ("channels", ((6,), (6, 6, 6, 6), (4,)), "1 to 3 ranks"),
        ("pseudo_channels", ((0, 2),), r"no row, or one for each layer \(3\)"),
        ("pseudo_channels", ((), (0, 0, 0, 2), ()), "at most 3 ranks"),
        ("frequencies", (1.0,), "none or 5"),
        ("cutoff_on", 4.5, "less than r_cut 4.5"),
    ):
        nequip = dataclasses.replace(config.nequip, **{key: value})
        with pytest.raises(UserError, match=message):
            dataclasses.replace(config, nequip=nequip)


def test_features_that_nothing_reaches(tmp_path: Path) -> None:
    """A pseudo scalar in the first layer, where there are scalars alone before."""
    config = imported("parity_manual", tmp_path).model.config
    nequip = dataclasses.replace(config.nequip, pseudo_channels=((2,), (), (), ()))
    with pytest.raises(UserError, match="nothing reaches some of the features of layer 1"):
        NequipModel(dataclasses.replace(config, nequip=nequip))


# -- by the name of a released model ---------------------------------------------------------------


def test_a_released_model_by_its_name(tmp_path: Path, monkeypatch, capsys) -> None:
    package = tmp_path / "sevenn"
    for _, file in installed.RELEASED.values():
        path = package / installed.FOLDER / file
        path.parent.mkdir(parents=True)
        unpack("manual", path.parent).rename(path)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path / "sevenn")
    assert main(["import", "sevennet-0", "-o", str(tmp_path / "run"), "--elements", *ALLOY]) == 0
    assert "SevenNet-0 is under the MIT" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "run" / "best.pt")["provenance"]["imported_from"] == (
        "checkpoint_sevennet_0.pth"
    )
    (package / installed.FOLDER / installed.RELEASED["sevennet-l3i5"][1]).unlink()
    with pytest.raises(UserError, match=r"the package sevenn has no pretrained_potentials/.*l3i5"):
        import_model("sevennet-l3i5")


def test_without_the_package(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"'SevenNet-0': .* is not installed: pip install sevenn"):
        import_model("SevenNet-0")
    with pytest.raises(UserError, match="or one of sevennet-0, "):
        import_model("sevennet-1")


# -- beside sevenn ---------------------------------------------------------------------------------


@pytest.mark.long
def test_beside_sevenn(root: Path, tmp_path: Path) -> None:
    """Models of other weights than those stored, made and evaluated by sevenn now."""
    command = [python_with_sevenn(), root / "tests/data/sevennet/make.py", *CASES]
    subprocess.run([*command, "--folder", tmp_path, "--seed", "11"], check=True)
    for name in CASES:
        found = import_model(unpack(name, tmp_path, source=tmp_path), HEADS.get(name))
        assert_agrees(found, name, 2, 1e-12, source=tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("name", RELEASED)
def test_released_models_beside_sevenn(name: str, root: Path, tmp_path: Path) -> None:
    """SevenNet-0 and others: sevenn's layers in float64, its calculator, and our float32."""
    file, head = released_file(name), RELEASED[name][1]
    found, frames = import_model(file, head), matter()
    assert len(found.model.config.elements) == 89
    export_model(found.model, tmp_path / "model.pt", provenance=found.provenance)
    write(tmp_path / "frames.traj", list(frames.values()))
    command = [python_with_sevenn(), root / "tests/data/sevennet/make.py", "--checkpoint", file]
    command += ["--frames", tmp_path / "frames.traj", "-o", tmp_path / "values.npz"]
    subprocess.run([*command, *(["--head", head] if head else [])], check=True)
    stored = np.load(tmp_path / "values.npz")
    exact, rounded = ICTPCalculator(found.model), ICTPCalculator(tmp_path / "model.pt")
    for k, atoms in enumerate(frames.values()):
        num_atoms = len(atoms)
        energy, forces = exact.get_property("energy", atoms), exact.get_property("forces", atoms)
        assert abs(energy - stored[f"energy_{k}"]) < 1e-10 * num_atoms
        assert np.abs(forces - stored[f"forces_{k}"]).max() < 1e-10
        assert abs(energy - stored[f"rounded_energy_{k}"]) < 1e-5 * num_atoms
        assert np.abs(forces - stored[f"rounded_forces_{k}"]).max() < 1e-4
        if f"stress_{k}" in stored:
            stress = exact.get_stress(atoms)[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
            assert np.abs(stress - stored[f"stress_{k}"]).max() < 1e-10
        assert abs(rounded.get_property("energy", atoms) - energy) < 1e-5 * num_atoms
        assert np.abs(rounded.get_property("forces", atoms) - forces).max() < 1e-4
