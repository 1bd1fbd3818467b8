# SPDX-License-Identifier: MIT
"""Imported MACE models give mace-torch's values; what cannot is refused by name."""

from __future__ import annotations

import copy
import os
import subprocess
from collections.abc import Callable
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.data import atomic_numbers
from mace_files import CASES, HEADS, STATES, references, unpack
from pyictp.cli.main import main
from pyictp.config.load import load_config
from pyictp.config.mace import MaceConfig
from pyictp.errors import UserError
from pyictp.foreign import importer
from pyictp.foreign.importer import Imported, import_model
from pyictp.foreign.licences import licence_notice
from pyictp.foreign.pickles import Record, read_records
from pyictp.foreign.records import get, parts
from pyictp.graph.derivatives import evaluate_graph, stress_from_virial
from pyictp.graph.graph import build_graph
from pyictp.model import pair_tables
from pyictp.model.pair_radial import PairEmbedding
from pyictp.model.pair_tables import tabulate_pairs
from pyictp.model.radial import RadialEmbedding
from pyictp.potential.checkpoint import build_model, load_checkpoint, save_checkpoint
from pyictp.potential.export import export_model, reference_graph
from pyictp.potential.exported import load_exported
from pyictp.training.finetune import extend_model

MACE = "ICTP_TEST_MACE"
ALLOY = ["V", "Nb", "Ta"]
# float32: the file's tensors are rounded, mace-torch computed with the rounded ones in float64
TOLERANCES = dict.fromkeys(CASES, 1e-12) | {
    "float32": 1e-7,
    "float32_density": 1e-6,
}
DIFFERENCES = {"chebyshev_agnesi": 1e-10}  # forces and stresses are differences of energies


def imported(name: str, folder: Path, **options: object) -> Imported:
    usual = {"head": HEADS.get(name), **STATES.get(name, {})}
    return import_model(unpack(name, folder), **(usual | options))


def assert_agrees(
    found: Imported, name: str, number: int, tolerance: float, **source: Path
) -> None:
    """Compare with the structures of a case that have the model's elements: so many."""
    config = found.model.config
    numbers = [atomic_numbers[element] for element in config.elements]
    of_forces = DIFFERENCES.get(name, tolerance)
    count = 0
    for reference in references(name, numbers, config.r_cut, **source):
        ours = evaluate_graph(found.model, reference.graph)
        size = len(reference.numbers)
        assert abs(ours.energies.item() - reference.energy) < size * tolerance
        assert np.abs(ours.node_energies.numpy() - reference.node_energies).max() < tolerance
        assert np.abs(ours.forces.numpy() - reference.forces).max() < of_forces
        assert np.abs(reference.forces).max() > 1e-3  # there is something to compare
        if reference.stress is not None:
            stress = stress_from_virial(ours.virials, torch.tensor([reference.volume]))[0]
            assert np.abs(stress.numpy() - reference.stress).max() < of_forces
        count += 1
    assert count == number


@pytest.mark.parametrize("name", CASES)
def test_values_of_mace_torch(name: str, tmp_path: Path) -> None:
    assert_agrees(imported(name, tmp_path), name, 2, TOLERANCES[name])


@pytest.mark.parametrize("name", ["rank1_ell3", "rank2_layers3"])
def test_elements_can_be_left_out(name: str, tmp_path: Path) -> None:
    found = imported(name, tmp_path, elements=["Ta", "V", "Nb"])
    assert found.model.config.elements == ("V", "Nb", "Ta")  # the order of the file
    assert "left out: elements H C O" in found.notes
    assert_agrees(found, name, 1, 1e-12)


def test_heads_differ(tmp_path: Path) -> None:
    path = unpack("plain_heads", tmp_path)
    energies = [import_model(path, head).model.e0 for head in ("pbe", "r2scan", "cc")]
    assert (energies[0] - energies[1]).abs().min() > 1e-3
    assert (energies[1] - energies[2]).abs().min() > 1e-3


def test_a_training_folder_with_provenance(tmp_path: Path, capsys) -> None:
    path, run = unpack("rank1_ell3", tmp_path), tmp_path / "run"
    command = ["import", str(path), "-o", str(run), "--head", "cc", "--elements", *ALLOY]
    assert main(command) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("read: ScaleShiftMACE in float64, 2 layers, 2 channels, ")
    assert printed[0].endswith("r_cut 4.5 A; head cc of pbe, r2scan, cc")
    assert printed[1].startswith("changed: spherical into Cartesian tensors")
    assert printed[2] == "left out: elements H C O"
    assert printed[3].startswith(f"wrote '{run}': V Nb Ta, ")
    assert load_config(run / "config.yaml").training.dtype == "float64"
    provenance = load_checkpoint(run / "best.pt")["provenance"]
    assert provenance["imported_from"] == "rank1_ell3.model"
    assert provenance["imported_class"] == "mace.modules.models.ScaleShiftMACE"
    assert provenance["notes"] == "; ".join(printed[:3])
    assert (provenance["head"], provenance["heads"]) == ("cc", ["pbe", "r2scan", "cc"])
    assert len(provenance["sha256"]) == 64
    assert main(["info", str(run)]) == 0
    assert ["imported_from", "rank1_ell3.model"] in [
        line.split() for line in capsys.readouterr().out.splitlines()
    ]
    assert main(command) == 1
    assert "already holds a training" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


EXPORTED = (
    "rank1_ell3",
    "agnostic_zbl",
    "density_agnesi",
    "density_soft",
    "nonlinear_heads",
    "no_cutoff",
    "bias_heads",
    "gaussian_agnesi",
    "chebyshev_agnesi",
    "mixed_first",
    "charge_spin",
)


@pytest.mark.parametrize(
    ("dtype", "radial", "tolerance"),
    [
        ("float64", "network", 1e-11),
        pytest.param("float64", "table", 1e-8, marks=pytest.mark.long),
        ("float32", "table", 1e-5),
    ],
)
@pytest.mark.parametrize("name", EXPORTED)
def test_exported(name: str, dtype: str, radial: str, tolerance: float, tmp_path: Path) -> None:
    found = imported(
        name, tmp_path, elements=ALLOY if (dtype, radial) == ("float64", "table") else None
    )
    path = tmp_path / "model.pt"
    export_model(found.model, path, dtype, provenance=found.provenance, radial=radial)
    exported = load_exported(tmp_path / "model.pt")
    numbers = [atomic_numbers[element] for element in found.model.config.elements]
    for reference in references(name, numbers, found.model.config.r_cut):
        ours = evaluate_graph(exported, reference.graph)
        size = 1.0 + np.abs(reference.forces).max()
        assert np.abs(ours.node_energies.numpy() - reference.node_energies).max() < tolerance
        assert np.abs(ours.forces.numpy() - reference.forces).max() < tolerance * size


@pytest.mark.parametrize(
    "options",
    [
        {},
        *(
            pytest.param(o, marks=pytest.mark.long)
            for o in ({"portable": True}, {"radial": "network"})
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "name",
    [
        *("rank1_ell3", "density_agnesi", "density_soft", "nonlinear_heads", "no_cutoff"),
        *("gaussian_agnesi", "chebyshev_agnesi", "mixed_first"),
    ],
)
def test_short_distances(name: str, options: dict, tmp_path: Path) -> None:
    """Files in float32 hold from 0.5 A on, for pairs of all elements."""
    found = imported(name, tmp_path)
    export_model(found.model, tmp_path / "model.pt", provenance=found.provenance, **options)
    exported = load_exported(tmp_path / "model.pt")
    r_cut = found.model.config.r_cut
    for species in combinations_with_replacement(range(len(found.model.config.elements)), 2):
        for length in np.linspace(0.5, r_cut, 15):
            positions = np.array([[0.0, 0.0, 0.0], [0.6, 0.64, 0.48]]) * length
            graph = build_graph(positions, np.zeros((3, 3)), False, list(species), r_cut)
            ours, theirs = (evaluate_graph(model, graph) for model in (exported, found.model))
            size = 1.0 + theirs.forces.abs().max()
            assert (ours.node_energies - theirs.node_energies).abs().max() < 1e-5 * size
            assert (ours.forces - theirs.forces).abs().max() < 1e-4 * size


@pytest.mark.parametrize(
    "name", ["density_agnesi", "nonlinear_heads", "bias_heads", "mixed_first", "charge_spin"]
)
def test_operators_and_plain_pytorch(name: str, tmp_path: Path) -> None:
    model = imported(name, tmp_path).model
    numbers = [atomic_numbers[element] for element in model.config.elements]
    for reference in references(name, numbers, model.config.r_cut):
        fused, plain = (
            evaluate_graph(model.use_operators(fused), reference.graph) for fused in (True, False)
        )
        torch.testing.assert_close(fused.forces, plain.forces, atol=1e-12, rtol=0)


def test_radial_functions_of_pairs_have_tables_of_their_own(tmp_path: Path) -> None:
    """Of three elements six or nine tables, and one where radial functions are of distances."""
    counts = {"density_agnesi": 6, "nonlinear_gate": 9, "mixed_last": 9, "agnostic_zbl": 1}
    for name, count in (counts | {"gaussian_plain": 1, "chebyshev_agnesi": 6}).items():
        found = imported(name, tmp_path, elements=ALLOY)
        exact = found.model
        model = copy.deepcopy(exact)
        tabulate_pairs(model, exact, 0.5)
        shapes = [layer.interaction.radial.knots.shape for layer in model.layers]
        assert {shape[0] if len(shape) == 5 else 1 for shape in shapes} == {count}


def test_tables_of_too_many_pairs_are_refused(tmp_path: Path, monkeypatch) -> None:
    found = imported("density_agnesi", tmp_path)
    monkeypatch.setattr(pair_tables, "LARGEST", 1e5)
    with pytest.raises(UserError, match=r"21 pairs of elements .* with --elements"):
        export_model(found.model, tmp_path / "model.pt")


def test_a_checkpoint_of_each_kind(tmp_path: Path) -> None:
    """What a training folder keeps is the model, with all that MACE has beside."""
    for name in EXPORTED:
        found = imported(name, tmp_path)
        save_checkpoint(tmp_path / "best.pt", found.model, provenance=found.provenance)
        again = build_model(load_checkpoint(tmp_path / "best.pt"))
        assert type(again) is type(found.model)
        assert again.config == found.model.config
        graph = reference_graph(again)
        ours, theirs = (evaluate_graph(model, graph) for model in (again, found.model))
        assert torch.equal(ours.forces, theirs.forces)


@pytest.mark.parametrize(
    "name", ["density_agnesi", "nonlinear_heads", "mixed_last", "bias_heads", "charge_spin"]
)
def test_finetuning_with_a_new_element(name: str, tmp_path: Path) -> None:
    """An old element's copy of a model with densities, maps and pairs is that model."""
    model = imported(name, tmp_path).model
    larger = extend_model(model, [*model.config.elements, "W"])
    assert larger.config.mace.radii[-1] == pytest.approx(1.62)
    graph = reference_graph(model)
    ours, theirs = (evaluate_graph(each, graph) for each in (larger, model))
    torch.testing.assert_close(ours.forces, theirs.forces, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    "name",
    [
        *("density_agnesi", "nonlinear_heads", "no_cutoff"),
        *("bias_heads", "gaussian_agnesi", "chebyshev_agnesi", "mixed_last", "charge_spin"),
    ],
)
def test_gradients_of_forces_with_respect_to_weights(name: str, tmp_path: Path) -> None:
    """What training needs, all parameters at once: beside finite differences."""
    model = imported(name, tmp_path).model
    numbers = [atomic_numbers[element] for element in model.config.elements]
    graph = next(references(name, numbers, model.config.r_cut)).graph
    parameters = list(model.parameters())
    torch.manual_seed(0)
    ways = [torch.randn_like(p) for p in parameters]

    def loss(graphed: bool = False) -> torch.Tensor:
        vectors = graph.edge_vectors.clone().requires_grad_(True)
        energies = model(graph.species, graph.edge_index, vectors, len(graph.species))
        (gradients,) = torch.autograd.grad(energies.sum(), vectors, create_graph=graphed)
        return gradients.square().sum()

    def moved(step: float) -> torch.Tensor:
        with torch.no_grad():
            for parameter, way in zip(parameters, ways, strict=True):
                parameter += step * way
        return loss().detach()

    found = torch.autograd.grad(loss(graphed=True), parameters, allow_unused=True)
    slope = sum((g * w).sum() for g, w in zip(found, ways, strict=True) if g is not None)
    step = 1e-5
    difference = (moved(step) - moved(-2.0 * step)) / (2.0 * step)
    torch.testing.assert_close(slope, difference, atol=0, rtol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        *("density_agnesi", "nonlinear_heads", "no_cutoff"),
        *("gaussian_agnesi", "chebyshev_agnesi", "mixed_last"),
    ],
)
def test_training_interpolates_radial_functions_of_pairs(name: str, tmp_path: Path) -> None:
    """Between knots of every pair: finer ones are nearer the networks, and sums stay forces."""
    model = imported(name, tmp_path, elements=["V", "Nb"]).model
    exact = copy.deepcopy(model)
    generator = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(*3 * [np.arange(5)], indexing="ij"), -1).reshape(-1, 3)
    positions = 2.4 * grid + generator.uniform(-0.2, 0.2, (125, 3))
    graph = build_graph(
        positions, np.zeros((3, 3)), False, generator.integers(0, 2, 125), model.r_cut
    )
    expected = evaluate_graph(exact, graph).forces
    errors = []
    for num_intervals in (64, 256):
        model.interpolate_radial(1.5, num_intervals)
        found = evaluate_graph(model.train(), graph).forces
        errors.append(((found - expected).abs().max() / expected.abs().max()).item())
        torch.testing.assert_close(found.sum(0), torch.zeros(3).double(), atol=1e-9, rtol=0)
    assert 0.0 < errors[1] < 0.15 * errors[0]
    assert errors[1] < 1e-4
    assert torch.equal(evaluate_graph(model.eval(), graph).forces, expected)
    assert model.state_dict().keys() == exact.state_dict().keys()


def test_radial_functions_that_do_not_end_are_told(tmp_path: Path) -> None:
    for name, is_told in (("nonlinear_gate", True), ("nonlinear_heads", False)):
        notes = imported(name, tmp_path).notes
        assert any("energies jump where an atom comes within r_cut" in n for n in notes) == is_told


def test_wrong_forces_of_mace_torch_are_told(tmp_path: Path) -> None:
    """Its forces of Chebyshev functions are no derivatives of its energies: so it was trained."""
    for name, is_told in (("chebyshev_agnesi", True), ("gaussian_agnesi", False)):
        found = imported(name, tmp_path)
        assert any("trained this model on wrong forces" in n for n in found.notes) == is_told
        assert ("trained this model on wrong forces" in found.provenance["notes"]) == is_told


def test_chebyshev_functions_beyond_1() -> None:
    """Of distances in A, without a transform: beside PyTorch's."""
    mace = MaceConfig(basis="chebyshev", radii=(1.0,))
    embedding = PairEmbedding(RadialEmbedding(5.0, 10, 5), mace)
    u = torch.linspace(-1.0, 5.0, 37).double().unsqueeze(1)
    theirs = torch.special.chebyshev_polynomial_t(u, torch.arange(1, 11).double())
    torch.testing.assert_close(embedding.functions(u), theirs, atol=1e-14, rtol=1e-13)


REFUSED = {
    "edge_ranks": r"interaction 2 has features 2x0e\+2x1o on edges \(edge_irreps\): not supported, "
    "only ranks as on atoms, 2x0e",
    "temperature": "an embedding of elec_temp is not supported, only of total_charge, total_spin",
    "pseudo": r"first interaction has pseudo tensors \(2x0o\): not supported",
    "correlations": r"correlation differs between layers \(2, 1\): not supported",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_covered_is_named(name: str, tmp_path: Path) -> None:
    path = unpack(name, tmp_path)
    with pytest.raises(UserError, match=REFUSED[name]) as caught:
        import_model(path)
    assert str(caught.value).startswith(f"'{path}': ")
    assert "\n" not in str(caught.value)


def block_with(change: str) -> Callable[[Record], None]:
    """Return what changes a part of the second nonlinear interaction."""

    def changed(file: Record) -> None:
        block = parts(get(file, "interactions"))[1]
        gate, network = get(block, "equivariant_nonlin"), get(block, "conv_tp_weights")
        layers = get(get(network, "net"), "_modules")
        if change == "layout":
            gate.state["_layout_is_ir_mul"] = True
        elif change == "activation":
            gate.state["_act_gate"] = gate.state["_act_scalar"]
        elif change == "eps":
            layers["1"].state["eps"] = 1e-3
        else:
            layers["2"].origin = "torch.nn.modules.activation.Tanh"

    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("layout", "the layout of cuEquivariance is not supported"),
        ("activation", "gate of a nonlinear interaction: activation silu is not supported"),
        ("eps", "network of a nonlinear interaction: eps 0.001 is not supported"),
        ("tanh", "Linear, LayerNorm, Tanh, Linear, LayerNorm, SiLU, Linear are not supported"),
    ],
)
def test_nonlinear_interactions_of_other_parts(change, message, tmp_path, monkeypatch) -> None:
    def read(path: Path) -> Record:
        file = read_records(path)
        block_with(change)(file)
        return file

    monkeypatch.setattr(importer, "read_records", read)
    with pytest.raises(UserError, match=message):
        imported("nonlinear_heads", tmp_path)


def basis_with(**changes: object) -> Callable[[Record], None]:
    """Return what changes attributes of the radial functions."""

    def changed(file: Record) -> None:
        basis = get(get(file, "radial_embedding"), "bessel_fn")
        for name, value in changes.items():
            place = basis.state["_buffers"] if name in basis.state["_buffers"] else basis.state
            place[name] = value

    return changed


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "gaussian_plain",
            basis_with(coeff=-1.0),
            "Gaussian functions that are not as wide as far apart",
        ),
        (
            "gaussian_plain",
            basis_with(gaussian_weights=torch.linspace(0.0, 4.4, 8)),
            "Gaussian functions that are not as wide as far apart",
        ),
        (
            "chebyshev_agnesi",
            basis_with(n=torch.arange(8.0).unsqueeze(0)),
            "Chebyshev functions of other orders than 1, 2, ...: not supported",
        ),
    ],
)
def test_radial_functions_of_other_constants(name, change, message, tmp_path, monkeypatch) -> None:
    def read(path: Path) -> Record:
        file = read_records(path)
        change(file)
        return file

    monkeypatch.setattr(importer, "read_records", read)
    with pytest.raises(UserError, match=message):
        imported(name, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "several heads: choose one with --head: pbe, r2scan, cc"),
        ({"head": "pbe0"}, "no head 'pbe0': expected one of pbe, r2scan, cc"),
        ({"head": "cc", "elements": ["Ta", "W"]}, "--elements W: it knows only H C O V Nb Ta"),
    ],
)
def test_heads_and_elements_that_are_not_there(options, message, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        import_model(unpack("plain_heads", tmp_path), **options)


def test_options_that_a_checkpoint_folder_has_not(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--head and --elements are for files of MACE"):
        import_model(tmp_path, head="cc")
    with pytest.raises(UserError, match=r"not found: expected a \.model file"):
        import_model(tmp_path / "none.model")


@pytest.mark.parametrize(
    ("name", "num_elements", "words"),
    [
        ("2023-12-03-mace-128-L1_epoch-199.model", 89, "MACE-MP-0a medium is under the MIT"),
        ("20231203mace128L1_epoch199model", 89, "MACE-MP-0a medium is under the MIT"),
        ("MACE-OFF23_small.model", 10, "MACE-OFF is under the Academic Software License"),
        ("mace-omat-0-medium.model", 89, "no commercial use"),
        ("renamed.model", 89, "with 89 elements this looks like a foundation model"),
    ],
)
def test_licences(name: str, num_elements: int, words: str) -> None:
    assert words in licence_notice(name, num_elements)
    assert licence_notice("mine.model", 4) is None


@pytest.mark.long
def test_beside_mace_torch(root: Path, tmp_path: Path) -> None:
    """Models of other weights than those stored, made and evaluated by mace-torch now."""
    python = os.environ.get(MACE)
    if not python:
        pytest.skip(f"{MACE} names no python of an environment with mace-torch")
    subprocess.run(
        [python, root / "tests/data/mace/make.py", *CASES, "--folder", tmp_path, "--seed", "11"],
        env=os.environ | {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"},
        check=True,
    )
    for name in CASES:
        path = unpack(name, tmp_path, source=tmp_path)
        found = import_model(path, HEADS.get(name), **STATES.get(name, {}))
        assert_agrees(found, name, 2, TOLERANCES[name], source=tmp_path)
