#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The molecules that models/organic learns from, of H C N O F S Cl, and clusters of them.

Cores carry up to three substituents each; the cores of HELD_OUT go with all that stands on them
into the list of the exam, so no molecule there shares a scaffold with the training. Clusters are
two to four molecules that touch, turned at random, as close as van der Waals radii let them.
Molecules of the fine-tunings (acetylacetone, 3BPA, aspirin) are in neither list.

    python benchmarks/organic_molecules.py configs
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from pyictp.pretrain.smiles import embed
from rdkit import Chem
from rdkit.Chem.Scaffolds import MurckoScaffold
from scipy.spatial.transform import Rotation

CORES = {  # {} takes a substituent or hydrogen
    "methane": "C{}",
    "ethane": "C{}C{}",
    "propane": "C{}C{}C{}",
    "isobutane": "CC{}(C){}",
    "butane": "C{}CCC{}",
    "pentane": "CC{}CC{}C",
    "ethene": "C{}=C{}",
    "butadiene": "C{}=CC=C{}",
    "propyne": "C{}C#C{}",
    "allene": "C{}=C=C{}",
    "cyclopropane": "C1{}CC1{}",
    "cyclobutane": "C1{}CCC1{}",
    "cyclopentane": "C1{}CC{}CC1",
    "cyclopentene": "C1{}C=CC{}C1",
    "cyclohexane": "C1{}CCC{}CC1",
    "cyclohexene": "C1{}C=CC{}CC1",
    "epoxide": "C1{}OC1{}",
    "oxetane": "C1{}OCC1{}",
    "tetrahydrofuran": "C1{}OCCC1{}",
    "dioxane": "C1{}OCCOC1{}",
    "pyran": "C1{}OCCC{}C1",
    "aziridine": "C1{}NC1{}",
    "pyrrolidine": "C1{}NCCC1{}",
    "piperidine": "C1{}NCCC{}C1",
    "morpholine": "C1{}NCCOC1{}",
    "piperazine": "C1{}NCCNC1{}",
    "benzene": "c1{}c{}cccc1{}",
    "para": "c1{}ccc{}cc1",
    "meta": "c1{}cc{}ccc1",
    "benzyl": "c1ccccc1C{}{}",
    "phenoxy": "c1ccccc1OC{}{}",
    "aniline": "c1ccccc1NC{}",
    "styrene": "c1ccccc1C=C{}",
    "pyridine": "c1{}nc{}ccc1{}",
    "pyridine4": "c1{}cnccc1{}",
    "pyrimidine": "c1{}nc{}ncc1",
    "pyrazine": "c1{}nccnc1{}",
    "pyridazine": "c1{}nnccc1{}",
    "pyrrole": "c1{}[nH]ccc1{}",
    "furan": "c1{}occc1{}",
    "imidazole": "c1{}[nH]cnc1{}",
    "pyrazole": "c1{}[nH]ncc1{}",
    "oxazole": "c1{}ocnc1{}",
    "isoxazole": "c1{}oncc1{}",
    "triazole": "c1{}[nH]nnc1{}",
    "tetrazole": "c1{}[nH]nnn1",
    "indole": "c1{}ccc2[nH]ccc2c1{}",
    "benzimidazole": "c1{}ccc2[nH]cnc2c1",
    "benzofuran": "c1{}ccc2occc2c1{}",
    "naphthalene": "c1{}ccc2ccccc2c1{}",
    "quinoline": "c1{}ccc2ncccc2c1",
    "purine": "c1{}nc2[nH]cnc2c{}n1",
    "uracil": "C1{}=CNC(=O)NC1=O",
    "biphenyl": "c1{}ccccc1-c1ccccc1",
    "diphenylmethane": "c1ccccc1C{}c1ccccc1",
    "pyridone": "C1{}=CC=CNC1=O",
    "quinone": "O=C1C=CC(=O)C=C1{}",
    "lactone": "O=C1OCCC1{}",
    "lactam": "O=C1NCCC1{}",
    "succinimide": "O=C1NC(=O)CC1{}",
    "hydantoin": "O=C1NC(=O)NC1{}",
    "norbornane": "C1{}C2CCC(C2)C1{}",
    "ketone": "CC(=O)C{}",
    "enol": "OC=CC(=O){}",
    "ester": "COC(=O)C{}",
    "acetate": "CC(=O)OC{}",
    "benzoate": "COC(=O)c1ccccc1{}",
    "phenylacetate": "CC(=O)Oc1ccccc1{}",
    "amide": "CNC(=O)C{}",
    "urea": "CNC(=O)NC{}",
    "carbamate": "CNC(=O)OC{}",
    "carbonate": "COC(=O)OC{}",
    "imine": "CC=NC{}",
    "oxime": "CC(=NO)C{}",
    "amidine": "CC(=N)NC{}",
    "guanidine": "CNC(=N)NC{}",
    "hydrazine": "CNNC{}",
    "hydrazone": "CC=NNC{}",
    "azo": "CN=NC{}",
    "peroxide": "COOC{}",
    "hydroxylamine": "CNOC{}",
    "acetal": "COC{}OC",
    "anhydride": "CC(=O)OC(=O)C{}",
    "dipeptide": "CC(=O)NC{}C(=O)NC",
    "sugar": "OCC{}OC(O)C=O",
    "phenol": "c1{}c{}cccc1O",
    "fluorobenzene": "c1{}c{}ccc(F)c1",
    "chlorobenzene": "c1{}c{}ccc(Cl)c1",
    "thiophenol": "c1{}cccc(S{})c1",
    "fluoroethane": "FC{}C{}",
    "chloroethane": "ClC{}C{}",
    "difluoromethane": "FC{}F",
    "dichloromethane": "ClC{}Cl",
    "haloethene": "C{}=C{}Cl",
    "fluoroethene": "C{}=C{}F",
    "acid chloride": "ClC(=O)C{}",
    "thiol": "SC{}C{}",
    "thioether": "CSC{}",
    "disulfide": "CSSC{}",
    "sulfoxide": "CS(=O)C{}",
    "sulfone": "CS(=O)(=O)C{}",
    "sulfonamide": "CS(=O)(=O)NC{}",
    "benzenesulfonamide": "c1{}cccc(S(N)(=O)=O)c1",
    "sulfonate": "CS(=O)(=O)OC{}",
    "thioamide": "CNC(=S)C{}",
    "thiourea": "CNC(=S)NC{}",
    "thioester": "CC(=O)SC{}",
    "isothiocyanate": "S=C=NC{}",
    "thiirane": "C1{}SC1{}",
    "tetrahydrothiophene": "C1{}SCCC1{}",
    "thiomorpholine": "C1{}NCCSC1{}",
    "thiophene": "c1{}sccc1{}",
    "thiazole": "c1{}scnc1{}",
    "thiadiazole": "c1{}snnc1{}",
    "benzothiophene": "c1{}ccc2sccc2c1{}",
    "benzothiazole": "c1{}ccc2scnc2c1",
}
HELD_OUT = [
    "cyclobutane", "oxetane", "morpholine", "pyridazine", "pyrazole", "isoxazole", "quinoline",
    "hydantoin", "norbornane", "oxime", "carbamate", "anhydride", "thiazole", "benzothiophene",
    "thioester", "sulfonamide",
]  # fmt: skip
SUBSTITUENTS = [
    "", "", "(C)", "(CC)", "(C(C)C)", "(O)", "(OC)", "(CO)", "(N)", "(NC)", "(N(C)C)", "(CN)",
    "(C=O)", "(C(C)=O)", "(C(=O)O)", "(C(=O)OC)", "(OC(C)=O)", "(C(N)=O)", "(NC(C)=O)", "(C#N)",
    "(C=C)", "(C#C)", "([N+](=O)[O-])", "(CC#N)", "(CCO)", "(CCN)", "(OCC)", "(C9CC9)", "(COC)",
    "(F)", "(F)", "(Cl)", "(Cl)", "(C(F)(F)F)", "(S)", "(SC)", "(CF)", "(CCl)", "(S(C)(=O)=O)",
]  # fmt: skip
ALONE = [
    "[H][H]", "O", "N", "C", "OO", "NN", "NO", "CO", "CC", "C=C", "C#C", "C=O", "C#N", "CN",
    "[C-]#[O+]", "O=C=O", "N#N", "N=C=O", "CC#N", "CC#C", "C=C=C", "C=C=O", "CCO", "CC=O",
    "OC=O", "CC(=O)O", "CC(C)=O", "COC", "CNC", "CN(C)C", "NC=O", "NC(N)=O", "C=CC=O", "OCCO",
    "NCCN", "O=CC=O", "NCC(=O)O", "O=C(O)C(=O)O", "CC(O)C(=O)O", "CC(C)(C)C", "CCCCCC",
    "OCC(O)CO", "[O-][N+]#N", "C[N+](=O)[O-]", "ON=O", "O[N+](=O)[O-]", "CN=C=O", "C[N+]#[C-]",
    "C=NN", "N=N", "C=[N+]=[N-]", "O=[O+][O-]", "CC(=O)C(C)=O",
    "F", "Cl", "S", "FF", "ClCl", "CF", "CCl", "CS", "SS", "FC(F)F", "ClC(Cl)Cl", "FC(F)(F)F",
    "ClC(Cl)(Cl)Cl", "FC(F)Cl", "C=S", "S=C=S", "O=C=S", "O=S=O", "CSC", "CSSC", "CS(C)=O",
    "CS(C)(=O)=O", "FC=C", "ClC=C", "FC#C", "ClC#C", "FC(=O)C=O", "ClC=O", "NC(=S)N", "ClC#N",
    "OC(=O)C(N)CS", "CSCCC(N)C(=O)O", "FC(F)(F)C(=O)O", "FC(F)(F)CO", "OS(=O)(=O)C", "CN=C=S",
]  # fmt: skip
EXAMS = ("CC(=O)C=C(C)O", "CC(=O)CC(C)=O", "CC(=O)Oc1ccccc1C(=O)O", "Nc1ncccc1OCc1ccccc1")
PARTNERS = [
    "O", "O", "O", "N", "CO", "C=O", "OC=O", "CC(=O)O", "NC=O", "CN", "CC(C)=O", "C", "C=C",
    "c1ccccc1", "c1ccncc1", "c1c[nH]cc1", "NC(N)=O", "COC", "Oc1ccccc1", "c1c[nH]cn1", "CC#N",
    "F", "Cl", "S", "CF", "CCl", "CS", "CSC", "CS(C)=O", "FC(F)F", "ClCCl", "c1ccsc1", "Fc1ccccc1",
]  # fmt: skip
MAX_HEAVY = 14
VAN_DER_WAALS = {1: 1.1, 6: 1.7, 7: 1.55, 8: 1.52, 9: 1.47, 16: 1.8, 17: 1.75}  # A
TOUCH = 0.8  # times the sum of these radii: hydrogen bonds are that short


def main() -> None:
    """Write the two lists and the clusters."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=8, help="molecules of a core")
    parser.add_argument("--clusters", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    trained, exam = molecules(rng, args.each)
    (args.folder / "organic.smi").write_text("\n".join(trained) + "\n")
    (args.folder / "organic_exam.smi").write_text("\n".join(exam) + "\n")
    ase.io.write(args.folder / "organic_clusters.extxyz", clusters(rng, args.clusters))
    print(f"{len(trained)} molecules to learn from, {len(exam)} for the exam")


def molecules(rng: np.random.Generator, each: int) -> tuple[list[str], list[str]]:
    """Return canonical SMILES to learn from, and those of scaffolds that are in the exam alone."""
    left_out = {canonical(smiles) for smiles in EXAMS}
    made: dict[str, str] = {canonical(smiles): "alone" for smiles in ALONE}
    for name, core in CORES.items():
        places = core.count("{}")
        choices = list(itertools.product(SUBSTITUENTS, repeat=places))
        rng.shuffle(choices)
        of_core = 0
        for choice in choices:
            smiles = canonical(core.format(*choice))
            if smiles and smiles not in made and smiles not in left_out:
                made[smiles] = name
                of_core += 1
            if of_core == each:
                break
    held = set(HELD_OUT)
    scaffolds = {scaffold(smiles) for smiles, name in made.items() if name in held} - {""}
    exam = [s for s, name in made.items() if name in held or scaffold(s) in scaffolds]
    return [smiles for smiles in made if smiles not in exam], exam


def canonical(smiles: str) -> str:
    """Return the canonical SMILES, or none of a molecule that is too large or impossible."""
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or molecule.GetNumHeavyAtoms() > MAX_HEAVY:
        return ""
    return str(Chem.MolToSmiles(molecule))


def scaffold(smiles: str) -> str:
    """Return the rings of a molecule and what joins them, after Bemis and Murcko."""
    return str(MurckoScaffold.MurckoScaffoldSmiles(smiles))


def clusters(rng: np.random.Generator, number: int) -> list[Atoms]:
    """Return clusters of two to four molecules that touch."""
    library = [embed(smiles, 1, 0)[0] for smiles in PARTNERS]
    found = []
    for _ in range(number):
        atoms = turned(library[rng.integers(len(library))], rng)
        for _ in range(rng.integers(1, 4)):
            atoms = beside(atoms, turned(library[rng.integers(len(library))], rng), rng)
        found.append(Atoms(atoms.numbers, atoms.positions))
    return found


def turned(molecule: Atoms, rng: np.random.Generator) -> Atoms:
    """Return it with its middle at the origin, turned at random."""
    places = molecule.positions - molecule.positions.mean(0)
    return Atoms(molecule.numbers, Rotation.random(random_state=rng).apply(places))


def beside(fixed: Atoms, other: Atoms, rng: np.random.Generator) -> Atoms:
    """Move the other towards the middle of the fixed ones from afar, until they touch."""
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    radii = [np.array([VAN_DER_WAALS[z] for z in atoms.numbers]) for atoms in (fixed, other)]
    touch = TOUCH * (radii[0][:, None] + radii[1])
    for distance in np.arange(15.0, 0.0, -0.05):
        places = other.positions + distance * direction
        if (np.linalg.norm(fixed.positions[:, None] - places, axis=2) < touch).any():
            break
    places = other.positions + (distance + 0.05) * direction
    both = Atoms([*fixed.numbers, *other.numbers], np.vstack([fixed.positions, places]))
    both.positions -= both.positions.mean(0)
    return both


if __name__ == "__main__":
    main()
