# SPDX-License-Identifier: MIT
"""Structures to start from: files, SMILES, and which of them a teacher cannot describe."""

import importlib.util
import re
import sys

import numpy as np
import pytest
import yaml
from ase.build import molecule
from ase.io import read, write
from blocks import ROOT, blocks_of
from pretrain_toys import write_pretraining
from pyictp.cli.main import main
from pyictp.common.extxyz import save_structures
from pyictp.config.load import load_config
from pyictp.config.reader import from_dict
from pyictp.errors import UserError
from pyictp.labelling.settings import LabellerConfig
from pyictp.pretrain.settings import PretrainingConfig, load_settings
from pyictp.pretrain.structures import read_starts

XTB = LabellerConfig(xtb="GFN2-xTB")
EMT = LabellerConfig(calculator="ase.calculators.emt.EMT")

needs_rdkit = pytest.mark.skipif(
    importlib.util.find_spec("rdkit") is None, reason="rdkit is not installed"
)


def test_frames_by_index_and_slice(tmp_path):
    names = ("H2O", "CH4", "NH3")
    write(tmp_path / "three.extxyz", [molecule(name) for name in names])
    for index, expected in (("", names), ("@1", names[1:2]), ("@:2", names[:2]), ("@-1", ("NH3",))):
        starts = read_starts(
            PretrainingConfig(structures=(f"{tmp_path}/three.extxyz{index}",)), EMT
        )
        found = [atoms.get_chemical_formula() for atoms in starts.structures]
        assert found == [molecule(name).get_chemical_formula() for name in expected]
    with pytest.raises(UserError, match="names none of 3 frames"):
        read_starts(PretrainingConfig(structures=(f"{tmp_path}/three.extxyz@7",)), EMT)


def test_what_a_teacher_cannot_describe_is_left_out_and_counted(tmp_path):
    ion, doublet, fine, lone = (molecule(name) for name in ("H2O", "CH3", "CH4", "H"))
    ion.info["charge"] = 1
    triplet = molecule("O2")
    triplet.info["multiplicity"] = 3
    write(tmp_path / "all.extxyz", [ion, doublet, fine, lone, triplet])
    settings = PretrainingConfig(structures=(str(tmp_path / "all.extxyz"),))
    found = read_starts(settings, XTB)
    assert [atoms.get_chemical_formula() for atoms in found.structures] == ["CH4"]
    assert found.left_out == {
        "with another charge than the teacher's": 1,
        "with unpaired electrons that the teacher does not have": 2,
        "lone atoms": 1,
    }
    # a potential does not count electrons
    assert len(read_starts(settings, EMT).structures) == 2
    cation = LabellerConfig(xtb="GFN2-xTB", arguments={"charge": 1, "multiplicity": 2})
    found = read_starts(settings, cation)
    assert [atoms.get_chemical_formula() for atoms in found.structures] == ["H2O"]
    write(tmp_path / "all.extxyz", [fine, lone])
    message = "no structure is left to sample: 1 with another charge than the teacher's; 1 lone"
    with pytest.raises(UserError, match=message):
        read_starts(settings, cation)


@needs_rdkit
def test_smiles(tmp_path):
    (tmp_path / "list.smi").write_text(
        "# a comment\nCC(=O)C=C(C)O enol\n\nC/C=C\\C\n[NH4+]\n[CH3]\n"
    )
    words = ("CCO", str(tmp_path / "list.smi"))
    found = read_starts(PretrainingConfig(smiles=words, conformers=2, seed=3), XTB)
    formulas = [atoms.get_chemical_formula() for atoms in found.structures]
    assert formulas == ["C2H6O"] * 2 + ["C5H8O2"] * 2 + ["C4H8"] * 2
    assert sum(found.left_out.values()) == 4
    again = read_starts(PretrainingConfig(smiles=words, conformers=2, seed=3), XTB)
    for one, other in zip(found.structures, again.structures, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
    lengths = found.structures[0].get_distance(0, 1)
    assert lengths == pytest.approx(1.52, abs=0.03)  # C-C of ethanol, A
    with pytest.raises(UserError, match=re.escape("RDKit does not read 'C1CC'")):
        read_starts(PretrainingConfig(smiles=("C1CC",)), XTB)
    save_structures(tmp_path / "kept.extxyz", found.structures)
    assert read(tmp_path / "kept.extxyz", ":")[4].info["source"] == "C/C=C\\C"


@needs_rdkit
@pytest.mark.skipif(importlib.util.find_spec("tblite") is None, reason="tblite is not installed")
def test_a_molecule_from_smiles_by_xtb(tmp_path):
    from tblite.ase import TBLite

    path = write_pretraining(
        tmp_path,
        pretrain={"structures": [], "smiles": ["CO"]},
        sampling={"temperatures": [300], "dynamics": 2, "torsions": 2, "normal_modes": 2},
        labeller={"calculator": None, "xtb": "GFN2-xTB"},
    )
    assert main(["pretrain", str(path), "--frames-only"]) == 0
    frames = read(tmp_path / "out" / "frames.extxyz", ":")
    kinds = [atoms.info["config_type"].partition("_")[0] for atoms in frames]
    assert kinds == ["dynamics"] * 2 + ["torsions"] * 2 + ["normal"] * 2
    for atoms in frames:
        again = atoms.copy()
        again.calc = TBLite(method="GFN2-xTB", verbosity=0)
        assert atoms.get_potential_energy() == pytest.approx(again.get_potential_energy(), abs=1e-4)
        np.testing.assert_allclose(atoms.get_forces(), again.get_forces(), atol=1e-3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["labeller.calculator=null"], "labeller: expected one of lammps, calculator, xtb"),
        (["labeller.slurm=job.sh"], "labeller.slurm: a teacher is asked at every step, a job"),
        (["pretrain.structures=[]"], "pretrain.structures, pretrain.smiles: expected a structure"),
        (["data.train=cells.extxyz"], "data.train, data.valid: the frames are sampled here"),
        (["training.output=x"], "training.output: the folder is in pretrain.output"),
        (["sampling.dynamics=0", "sampling.normal_modes=0"], "nothing to sample"),
        (["sampling.temperatures=[0]"], "sampling.temperatures: expected above 0, got 0.0"),
        (["sampling.temperatures=[9, 9]"], "one is named twice: raise sampling.walks"),
        (["sampling.every=0"], "sampling.every: expected 1 or more, got 0"),
        (["pretrain.smiles=[a.smi]"], "pretrain.smiles: file 'a.smi' not found"),
        (["sampling.steps=4"], "unknown config key 'sampling.steps'"),
    ],
)
def test_settings_that_contradict(tmp_path, words, message):
    path = write_pretraining(tmp_path)
    with pytest.raises(UserError, match=re.escape(message)):
        load_settings(path, words)


def test_smiles_without_rdkit(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(UserError, match=r"Python package 'rdkit' not found: pip install rdkit"):
        read_starts(PretrainingConfig(smiles=("CCO",)), XTB)


def test_the_configurations_that_are_shipped(tmp_path):
    """Of the page and of configs/: all keys exist, files need not be there."""
    page = [b for b in blocks_of(ROOT / "docs" / "pretraining.md") if b.language == "yaml"]
    whole = next(block.text for block in page if block.text.startswith("# pretrain.yaml"))
    (tmp_path / "pretrain.yaml").write_text(whole)
    assert load_settings(tmp_path / "pretrain.yaml").pretrain.smiles == ("CC(=O)C=C(C)O",)
    lines = next(block.text for block in page if block.text.startswith("labeller:")).splitlines()
    labellers = [from_dict(LabellerConfig, yaml.safe_load(x)["labeller"], "") for x in lines]
    assert [each.method for each in labellers] == ["xtb", "lammps", "calculator", "function"]
    config = load_settings(ROOT / "configs" / "pretrain_acac.yaml")
    assert config.model == load_config(ROOT / "configs" / "acac.yaml").model
    assert config.pretrain.structures[0].endswith("train_300K.xyz@0")
    tuned = load_config(ROOT / "configs" / "acac_pretrained.yaml")
    assert tuned.data.num_valid == load_config(ROOT / "configs" / "acac.yaml").data.num_valid
