# SPDX-License-Identifier: MIT
"""Molecules from SMILES, as RDKit places their atoms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from pyictp.errors import UserError
from pyictp.pretrain.settings import LISTS


def read_smiles(words: tuple[str, ...]) -> list[str]:
    """Return the SMILES of a list whose words are some, or files with one at each line's start.

    Raises:
        UserError: a file holds none.
    """
    found = []
    for word in words:
        if not word.endswith(LISTS):
            found.append(word)
            continue
        lines = Path(word).read_text(errors="replace").splitlines()
        listed = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
        if not listed:
            raise UserError(f"pretrain.smiles: file '{word}' holds no SMILES")
        found += listed
    return found


def embed(smiles: str, number: int, seed: int) -> list[Atoms]:
    """Return conformers of a molecule, relaxed by RDKit's MMFF94 where that knows its atoms.

    ETKDG of Riniker and Landrum places the atoms. Charge and unpaired electrons stand in `info`
    under `charge` and `unpaired`.

    Args:
        smiles: one molecule.
        number: of conformers, at most; none come back where RDKit finds no place for the atoms.
        seed: of the random places to begin with.

    Raises:
        UserError: RDKit is not installed, or does not read the SMILES.

    Source:
        J. Chem. Inf. Model. 55, 2562 (2015).
    """
    chem, place, log = _rdkit()
    with log.BlockLogs():  # what is wrong is said below
        molecule = chem.MolFromSmiles(smiles)
        if molecule is None:
            raise UserError(f"pretrain.smiles: RDKit does not read '{smiles}': mend it")
        molecule = chem.AddHs(molecule)
        parameters = place.ETKDGv3()
        parameters.randomSeed = seed
        numbers = list(place.EmbedMultipleConfs(molecule, number, parameters))
        if numbers and place.MMFFHasAllMoleculeParams(molecule):
            place.MMFFOptimizeMoleculeConfs(molecule, maxIters=1000)
    symbols = [atom.GetSymbol() for atom in molecule.GetAtoms()]
    info = {
        "charge": chem.GetFormalCharge(molecule),
        "unpaired": sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms()),
    }
    places = [np.array(molecule.GetConformer(n).GetPositions()) for n in numbers]
    return [Atoms(symbols, positions, info=info) for positions in places]


def _rdkit() -> tuple[Any, Any, Any]:
    try:
        from rdkit import Chem, rdBase
        from rdkit.Chem import AllChem
    except ImportError as error:
        raise UserError(
            "pretrain.smiles: Python package 'rdkit' not found: pip install rdkit (or "
            "pair_ictp[smiles]), or give files in pretrain.structures"
        ) from error
    return Chem, AllChem, rdBase
