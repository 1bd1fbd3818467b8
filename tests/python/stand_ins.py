# SPDX-License-Identifier: MIT
"""Programs that stand in for VASP, Quantum ESPRESSO, CP2K, ORCA and MPI.

Each reads what the real one reads and writes what the real one writes; energies, forces and
stresses are those of ASE's EMT. What they say of convergence follows from the input.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import output_toys
from ase import Atoms
from ase.calculators.emt import EMT
from ase.io import read
from ase.stress import voigt_6_to_full_3x3_stress
from output_toys import BOHR, HARTREE, rows
from programs import python_program, write_program

PROGRAMS = {"vasp_std": "vasp", "pw.x": "espresso", "cp2k_shell.psmp": "cp2k", "orca": "orca"}
EXTRAPOLATED = 0.125  # eV that VASP's energy without smearing is above the free one
FEW = 5  # electronic steps that are not enough


def install(folder: Path) -> Path:
    """Write all programs into a folder for the PATH; returns it."""
    folder.mkdir()
    write_program(folder / "mpirun", '#!/bin/sh\ntest "$1" = -n && shift 2 && exec "$@"\n')
    for name, function in PROGRAMS.items():
        write_program(folder / name, python_program(__file__, function))
    return folder


def potentials(folder: Path, *elements: str) -> Path:
    """Write POTCARs that name their elements; returns the folder for VASP_PP_PATH."""
    for element in elements:
        file = folder / "potentials" / "potpaw_PBE" / element / "POTCAR"
        file.parent.mkdir(parents=True)
        file.write_text(f"  PAW_PBE {element} 22Jun2005\n")
    return folder / "potentials"


def take(atoms: Atoms) -> None:
    """Let the writers of outputs know a structure and its labels."""
    atoms.calc = EMT()
    output_toys.SYMBOLS = tuple(atoms.get_chemical_symbols())
    output_toys.CELL, output_toys.POSITIONS = np.array(atoms.cell), atoms.positions
    output_toys.FORCES, output_toys.ENERGY = atoms.get_forces(), atoms.get_potential_energy()
    output_toys.EXTRAPOLATED = output_toys.ENERGY + EXTRAPOLATED
    if atoms.cell.rank == 3:
        output_toys.STRESS = atoms.get_stress(voigt=False)


def vasp(words: list[str]) -> int:
    """POSCAR, INCAR and POTCAR in; OUTCAR and vasprun.xml out."""
    assert not words
    tags = dict(re.findall(r"^ *(\w+) *= *(\S+)", Path("INCAR").read_text(), re.MULTILINE))
    atoms = read("POSCAR", format="vasp")
    kinds = list(dict.fromkeys(atoms.get_chemical_symbols()))
    assert re.findall(r"PAW_PBE (\w+)", Path("POTCAR").read_text()) == kinds
    assert float(tags["KSPACING"]) > 0 or Path("KPOINTS").exists()
    take(atoms)
    output_toys.write_vasprun(Path("vasprun.xml"))
    converged = int(tags["NELM"]) > FEW
    reason = "because EDIFF is reached" if converged else "EDIFF was not reached (unconverged)"
    Path("OUTCAR").write_text(
        " vasp.6.4.2 20Jul23 (build) complex\n"
        f"   NBANDS=     12\n----------------- aborting loop {reason} ----------------\n"
        f"  free  energy   TOTEN  = {output_toys.ENERGY:18.8f} eV\n"
    )
    return 0


def espresso(words: list[str]) -> int:
    """An input file of pw.x in, its output on standard output."""
    assert words[0] == "-in"
    text = Path(words[1]).read_text()
    folder = Path(re.search(r"pseudo_dir *= *'(.*)'", text)[1])
    for name in re.findall(r"^\w+ +[\d.]+ +(\S+\.upf)", text, re.MULTILINE):
        assert (folder / name).is_file(), f"no pseudopotential {folder / name}"
    take(read(words[1], format="espresso-in"))
    output_toys.write_espresso(Path("output"))
    output = Path("output").read_text()
    if int(re.search(r"electron_maxstep *= *(\d+)", text)[1]) <= FEW:
        print(output.partition("!")[0] + "     convergence NOT achieved after   5 iterations: stop")
        return 2
    for key, title in (("tprnfor", "Forces acting"), ("tstress", "total   stress")):
        if not re.search(rf"{key} *= *\.true\.", text):
            output = "".join(x for x in output.splitlines(True) if title not in x)
    print(output)
    return 0


def orca(words: list[str]) -> int:
    """An input file of ORCA in, its output on standard output, the gradient in a file."""
    text = Path(words[0]).read_text()
    lines = re.search(r"^\*xyz 0 1 *\n(.*?)^\*", text, re.MULTILINE | re.DOTALL)[1].splitlines()
    places = [line.split() for line in lines]
    take(Atoms([p[0] for p in places], [[float(x) for x in p[1:4]] for p in places]))
    output_toys.write_orca(Path("out"))
    output = Path("out").read_text()
    has_forces = "EnGrad" in text.splitlines()[0].split()
    print(output if has_forces else output.replace("SCF GRADIENT CALCULATION", "PROPERTIES"))
    if has_forces:
        gradient = (-output_toys.FORCES / HARTREE * BOHR).ravel()
        Path(words[0]).with_suffix(".engrad").write_text(
            f"#\n# Number of atoms\n#\n {len(places)}\n"
            f"#\n# The current total energy in Eh\n#\n {output_toys.ENERGY / HARTREE:.12f}\n"
            "#\n# The current gradient in Eh/bohr\n#\n"
            + "".join(f"{value:21.12f}\n" for value in gradient)
            + "#\n# The atomic numbers and current coordinates in Bohr\n#\n"
        )
    return 0


def cp2k(words: list[str]) -> int:
    """Speak as cp2k_shell does, in eV and A once it was told so."""
    assert not words
    known: dict[int, Atoms] = {}
    in_ev_a = False
    print("* READY", flush=True)
    while line := sys.stdin.readline():
        order, *rest = line.split()
        answer: list[str] = []
        if order == "EXIT":
            return 0
        if order == "VERSION":
            answer = ["CP2K Shell Version: 6.0"]
        elif order == "UNITS_EV_A":
            in_ev_a = True
        elif order == "WRITE_FILE":
            name, number = sys.stdin.readline().strip(), int(sys.stdin.readline())
            Path(name).write_text("".join(sys.stdin.readline() for _ in range(number)))
            assert sys.stdin.readline() == "*END\n"
        elif order == "LOAD":
            known[len(known) + 1] = _read_cp2k(Path(rest[0]))
            answer = [str(len(known))]
        elif order == "SET_CELL":
            known[int(rest[0])].cell = [sys.stdin.readline().split() for _ in range(3)]
        elif order == "SET_POS":
            number = int(sys.stdin.readline())
            places = [sys.stdin.readline().split() for _ in range(number // 3)]
            assert sys.stdin.readline() == "*END\n"
            atoms = known[int(rest[0])]
            change = np.abs(np.array(places, float) - atoms.positions).max()
            atoms.positions, answer = np.array(places, float), [f"{change:.10e}"]
        elif order in ("EVAL_EF", "GET_E", "GET_F", "GET_STRESS"):
            assert in_ev_a
            answer = _cp2k_answer(order, known[int(rest[0])])
        else:
            assert order in ("HARSH", "DESTROY"), order
        print("\n".join([*answer, "* READY"]), flush=True)
    return 0


def _read_cp2k(path: Path) -> Atoms:
    """Return the structure of an input file of CP2K."""
    text = path.read_text()
    assert re.search(r"STRESS_TENSOR +ANALYTICAL", text)
    coordinates = re.search(r"&COORD(.*?)&END", text, re.DOTALL)[1].split("\n")
    places = [line.split() for line in coordinates if line.strip()]
    box = re.search(r"&CELL(.*?)&END", text, re.DOTALL)[1]
    cell = [re.search(rf"^ *{name} +(.*)$", box, re.MULTILINE)[1].split() for name in "ABC"]
    positions = np.array([p[1:4] for p in places], float)
    return Atoms([p[0] for p in places], positions, cell=np.array(cell, float), pbc="XYZ" in box)


def _cp2k_answer(order: str, atoms: Atoms) -> list[str]:
    atoms.calc = EMT()
    if order == "GET_E":
        return [f"{atoms.get_potential_energy():.15e}"]
    if order == "GET_F":
        forces = atoms.get_forces()
        return [str(forces.size), *rows(forces, " {:.15e}"), "* END"]
    if order == "GET_STRESS":
        stress = voigt_6_to_full_3x3_stress(atoms.get_stress())
        return [" ".join(f"{-value:.15e}" for value in stress.ravel())]
    return []
