# SPDX-License-Identifier: MIT
"""Charge and spin that a MACE model sees are fixed when it is imported."""

from __future__ import annotations

from pathlib import Path

import pytest
import sevennet_files
import torch
from ase.data import atomic_numbers
from mace_files import references, unpack
from pyictp.cli.main import main
from pyictp.errors import UserError
from pyictp.foreign import importer
from pyictp.foreign.importer import import_model
from pyictp.foreign.pickles import Record, read_records
from pyictp.graph.derivatives import evaluate_graph
from pyictp.model.ictp import ICTPModel
from pyictp.potential.checkpoint import load_checkpoint


def forces(model: ICTPModel) -> torch.Tensor:
    """Return the forces of a molecule [eV/A]."""
    numbers = [atomic_numbers[element] for element in model.config.elements]
    *_, reference = references("charge_spin", numbers, model.r_cut)
    return evaluate_graph(model, reference.graph).forces


def test_a_neutral_singlet_unless_something_else_is_said(tmp_path: Path) -> None:
    path = unpack("charge_spin", tmp_path)
    usual = import_model(path)
    assert (usual.provenance["charge"], usual.provenance["spin"]) == (0, 1)
    assert torch.equal(forces(usual.model), forces(import_model(path, charge=0, spin=1).model))
    for state in ({"charge": -1}, {"spin": 2}):
        other = import_model(path, **state).model
        assert (forces(other) - forces(usual.model)).abs().max() > 1e-3
        assert (other.shift - usual.model.shift).abs().min() > 1e-3  # the readout of the embedding
        assert torch.equal(other.e0, usual.model.e0)


def test_charge_and_spin_are_printed_and_kept(tmp_path: Path, capsys) -> None:
    path, run = unpack("charge_spin", tmp_path), tmp_path / "run"
    assert main(["import", str(path), "-o", str(run), "--charge", "-1", "--spin", "2"]) == 0
    assert "\nfixed: every structure has charge -1 and spin 2, " in capsys.readouterr().out
    provenance = load_checkpoint(run / "best.pt")["provenance"]
    assert (provenance["charge"], provenance["spin"]) == (-1, 2)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("charge_spin", {"charge": 6}, "--charge 6: the model knows -5 to 5"),
        ("charge_spin", {"charge": -6}, "--charge -6: the model knows -5 to 5"),
        ("charge_spin", {"spin": 11}, "--spin 11: the model knows 0 to 10"),
        ("one_layer", {"charge": 0}, "--charge: it has no embedding of it"),
        ("one_layer", {"spin": 1}, "--spin: it has no embedding of it"),
    ],
)
def test_what_the_model_does_not_know(name, options, message, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        import_model(unpack(name, tmp_path), **options)


def test_models_of_other_programs(tmp_path: Path) -> None:
    for path in (sevennet_files.unpack("manual", tmp_path), tmp_path):
        with pytest.raises(UserError, match="--charge and --spin are for models of MACE"):
            import_model(path, charge=1)


def as_plain(file: Record) -> None:
    """Let a model be one without scale."""
    file.origin = "mace.modules.models.MACE"


def per_atom(file: Record) -> None:
    """Let the charge be one of atoms."""
    file.state["_modules"]["joint_embedding"].state["specs"]["total_charge"]["per"] = "atom"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (as_plain, "several heads in a model without scale"),
        (per_atom, "an embedding of total_charge that is continuous and per atom is not supported"),
    ],
)
def test_other_embeddings_are_refused(change, message, tmp_path: Path, monkeypatch) -> None:
    def read(path: Path) -> Record:
        file = read_records(path)
        change(file)
        return file

    monkeypatch.setattr(importer, "read_records", read)
    with pytest.raises(UserError, match=message):
        import_model(unpack("charge_heads", tmp_path), "cc")
