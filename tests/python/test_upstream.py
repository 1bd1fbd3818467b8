# SPDX-License-Identifier: MIT
"""Checkpoints of the reference implementation give its numbers."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ase.data import chemical_symbols
from pyictp.cli.main import main
from pyictp.config.load import load_config
from pyictp.errors import UserError
from pyictp.foreign.upstream import find_checkpoint, import_checkpoint
from pyictp.graph.derivatives import evaluate_graph, stress_from_virial
from pyictp.graph.graph import build_graph

SETTINGS = {
    "atomic_types": ["H"],
    "radial_MLP": [4],
    "readout_MLP": [4],
    "n_polynomial_cutoff": 5,
    "r_cutoff": 3.0,
    "n_interactions": 1,
    "n_hidden_feats": 1,
    "n_product_feats": 1,
    "l_max_edge_attrs": 1,
    "l_max_hidden_feats": 1,
    "correlation": 1,
    "symmetric_product": True,
    "coupled_product_feats": False,
    "n_basis": 1,
    "avg_n_neighbors": 1.0,
}
CASES = ["hea_full_l1", "hea_coupled", "organic_symmetric_l2", "organic_unsymmetric_c2"]


@pytest.mark.parametrize("case", CASES)
def test_reference_values_are_reproduced(case: str, shared_dir: Path) -> None:
    folder = shared_dir / "fixtures" / "upstream" / case
    model, reference = import_checkpoint(folder), np.load(folder / "reference.npz")
    count = 0
    while f"numbers_{count}" in reference:
        numbers, positions, cell, pbc = (
            reference[f"{key}_{count}"] for key in ("numbers", "positions", "cell", "pbc")
        )
        species = [model.config.elements.index(chemical_symbols[z]) for z in numbers]
        found = evaluate_graph(
            model, build_graph(positions, cell, pbc, species, model.config.r_cut)
        )
        assert found.energies.item() == pytest.approx(
            reference[f"energy_{count}"].item(), abs=1e-11, rel=0
        )
        assert (
            np.abs(found.node_energies.numpy() - reference[f"atomic_energies_{count}"]).max()
            < 1e-11
        )
        assert np.abs(found.forces.numpy() - reference[f"forces_{count}"]).max() < 1e-11
        if f"stress_{count}" in reference:
            stress = stress_from_virial(found.virials, torch.tensor([abs(np.linalg.det(cell))]))[0]
            assert np.abs(stress.numpy() - reference[f"stress_{count}"]).max() < 1e-13
        count += 1
    assert count >= 2


def test_import_makes_a_training_folder(shared_dir: Path, tmp_path: Path) -> None:
    source = shared_dir / "fixtures" / "upstream" / "organic_symmetric_l2"
    run = tmp_path / "run"
    assert main(["import", str(source), "-o", str(run)]) == 0
    assert load_config(run / "config.yaml").training.dtype == "float64"
    data = source / "reference.extxyz"
    result = tmp_path / "errors.json"
    keys = ["--energy-key", "ref_energy", "--forces-key", "ref_forces"]
    assert main(["evaluate", str(run), str(data), "--json", str(result), *keys]) == 0
    errors = yaml.safe_load(result.read_text())
    assert errors["energy_rmse_mev"] < 1e-4  # the text file holds 8 decimals
    assert errors["force_rmse_mev_per_a"] < 1e-4


def copy_checkpoint(shared_dir: Path, tmp_path: Path) -> Path:
    source = shared_dir / "fixtures" / "upstream" / "hea_full_l1" / "ckpt_1"
    target = tmp_path / "ckpt_1"
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    target.chmod(0o755)
    return target


def test_unsupported_physics_is_refused(shared_dir: Path, tmp_path: Path) -> None:
    folder = copy_checkpoint(shared_dir, tmp_path)
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings["electrostatics"]["method"] = "ewald"
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(
        UserError, match="electrostatics method 'ewald' is not supported, only null"
    ):
        import_checkpoint(folder)


class Malicious:
    def __reduce__(self) -> tuple:
        return (os.system, ("true",))


def test_a_pickle_that_runs_code_is_refused(shared_dir: Path, tmp_path: Path) -> None:
    folder = copy_checkpoint(shared_dir, tmp_path)
    (folder / "params.pkl").write_bytes(pickle.dumps({"a": Malicious()}))
    with pytest.raises(UserError, match=r"is no pickle of tensors only: it asks for posix\.system"):
        import_checkpoint(folder)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.yaml", None, r"config\.yaml' is missing or damaged: .*No such file"),
        ("config.yaml", b"hello", r"config\.yaml' is missing or damaged: "),
        ("config.yaml", b"a: [", r"config\.yaml' is missing or damaged: "),
        ("config.yaml", b"atomic_types: 5", r"config\.yaml' is missing or damaged: "),
        ("params.pkl", b"garbage\n", r"params\.pkl' is missing or damaged: "),
        ("params.pkl", b"", r"params\.pkl' is missing or damaged: Ran out of input"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, file: str, content: bytes, message: str) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(SETTINGS))
    (tmp_path / "params.pkl").write_bytes(pickle.dumps({}))
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError, match=message):
        import_checkpoint(tmp_path)


def test_the_latest_epoch_is_taken(tmp_path: Path) -> None:
    for name in ("ckpt_9", "ckpt_10", "ckpt_best"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "params.pkl").touch()
    assert find_checkpoint(tmp_path) == tmp_path / "ckpt_10"


def test_a_folder_without_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a reference checkpoint"):
        import_checkpoint(tmp_path)
