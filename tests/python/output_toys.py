# SPDX-License-Identifier: MIT
"""Small outputs of electronic structure codes, laid out as these write them, with given numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SYMBOLS = ("O", "H", "H")
CELL = np.array([[6.0, 0.0, 0.0], [0.5, 7.0, 0.0], [0.0, -0.25, 8.0]])
POSITIONS = np.array([[1.0, 1.1, 1.2], [1.96, 1.1, 1.2], [0.75, 2.0, 1.3]])
FORCES = np.array([[0.5, -0.25, 0.125], [-0.75, 0.5, -0.375], [0.25, -0.25, 0.25]])
STRESS = np.array([[0.01, 0.002, -0.003], [0.002, 0.02, 0.004], [-0.003, 0.004, -0.03]])
ENERGY, EXTRAPOLATED = -14.5, -14.375  # the forces belong to the first

HARTREE, BOHR = 27.211386246, 0.529177210903  # eV, A (CODATA 2018)
RYDBERG = HARTREE / 2
GPA = 1 / 160.21766208  # eV/A^3


def rows(values: np.ndarray, form: str = "{:15.8f}") -> list[str]:
    """Return a line of numbers for each row."""
    return ["".join(form.format(value) for value in row) for row in np.atleast_2d(values)]


def write_outcar(path: Path) -> None:
    """VASP 6: pressures in kB, compression positive; xx yy zz xy yz zx."""
    s = -STRESS / GPA * 10
    table = [f"{p}{f}" for p, f in zip(rows(POSITIONS), rows(FORCES), strict=True)]
    pressures = [s[0, 0], s[1, 1], s[2, 2], s[0, 1], s[1, 2], s[2, 0]]
    text = [
        " vasp.6.4.2 20Jul23 (build) complex",
        *(f" POTCAR:    PAW_PBE {e} 08Apr2002" for e in ("O", "H", "O", "H")),
        "   ions per type =               1   2",
        "   ISPIN  =      1    spin polarized calculation?",
        "--------------------------------------- Iteration      1(   1)  ----------------------",
        "  in kB " + "".join(f"{value:12.5f}" for value in pressures),
        "      direct lattice vectors                 reciprocal lattice vectors",
        *(f"{row}{row}" for row in rows(CELL, "{:13.9f}")),
        " POSITION                                       TOTAL-FORCE (eV/Angst)",
        " ---------------------------------------------------------------------",
        *table,
        " ---------------------------------------------------------------------",
        "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)",
        "  ---------------------------------------------------",
        f"  free  energy   TOTEN  = {ENERGY:18.8f} eV",
        "",
        f"  energy  without entropy= {2 * EXTRAPOLATED - ENERGY:16.8f}"
        f"  energy(sigma->0) = {EXTRAPOLATED:16.8f}",
    ]
    path.write_text("\n".join(text) + "\n")


def write_vasprun(path: Path) -> None:
    """VASP 6: stress in kB, as in the OUTCAR; e_0_energy is the extrapolated one."""

    def array(name: str, values: np.ndarray) -> str:
        body = "".join(f"<v>{row}</v>" for row in rows(values, " {:.10f}"))
        return f'<varray name="{name}">{body}</varray>'

    fractional = np.linalg.solve(CELL.T, POSITIONS.T).T
    inside = f"<crystal>{array('basis', CELL)}</crystal>{array('positions', fractional)}"
    atoms = "".join(f"<rc><c>{symbol}</c><c>1</c></rc>" for symbol in SYMBOLS)
    energies = f'<i name="e_fr_energy">{ENERGY}</i>'
    energies += f'<i name="e_wo_entrp">{2 * EXTRAPOLATED - ENERGY}</i>'
    energies += f'<i name="e_0_energy">{EXTRAPOLATED}</i>'
    path.write_text(
        '<?xml version="1.0" encoding="ISO-8859-1"?><modeling>'
        f"<kpoints>{array('kpointlist', np.zeros((1, 3)))}{array('weights', np.ones((1, 1)))}"
        f"</kpoints><parameters/><atominfo>"
        f'<array name="atoms"><set>{atoms}</set></array></atominfo>'
        f'<structure name="initialpos">{inside}</structure>'
        f"<calculation><structure>{inside}</structure>"
        f"{array('forces', FORCES)}{array('stress', -STRESS / GPA * 10)}"
        f"<scstep><energy>{energies}</energy></scstep><energy>{energies}</energy></calculation>"
        "</modeling>"
    )


def write_cp2k(path: Path) -> None:
    """CP2K 2023: energies in hartree, forces in hartree per bohr, stress in GPa, compression +."""
    vectors = [
        f" CELL| Vector {name} [angstrom]:{row}    |{name}| = {np.linalg.norm(vector):10.6f}"
        for name, row, vector in zip("abc", rows(CELL), CELL, strict=True)
    ]
    kinds = {"O": 1, "H": 2}
    lines = [
        " DBCSR| Multiplication driver                                               BLAS",
        " CP2K| version string:                                        CP2K version 2023.2",
        *vectors,
        "  1. Atomic kind: O                                     Number of atoms:       1",
        "  2. Atomic kind: H                                     Number of atoms:       2",
        " MODULE QUICKSTEP: ATOMIC COORDINATES IN ANGSTROM",
        "",
        "   Atom Kind Element         X             Y             Z       Z(eff)     Mass",
    ]
    numbers = {"O": 8, "H": 1}
    for index, (symbol, row) in enumerate(zip(SYMBOLS, rows(POSITIONS), strict=True), 1):
        lines.append(f"{index:7d}{kinds[symbol]:5d} {symbol:2s}{numbers[symbol]:4d}{row} 1.0 1.0")
    energy = ENERGY / HARTREE
    lines += [
        "",
        "  *** SCF run converged in    12 steps ***",
        f" ENERGY| Total FORCE_EVAL ( QS ) energy [a.u.]: {energy:25.15f}",
        "",
        " ATOMIC FORCES in [a.u.]",
        "",
        " # Atom   Kind   Element          X              Y              Z",
    ]
    for index, symbol in enumerate(SYMBOLS):
        force = rows(FORCES[index] / HARTREE * BOHR, "{:18.12f}")[0]
        lines.append(f"{index + 1:7d}{kinds[symbol]:7d}      {symbol:2s}{force}")
    lines += [" SUM OF ATOMIC FORCES           0.0 0.0 0.0 0.0", ""]
    lines += [" STRESS TENSOR [GPa]", "", "            X               Y               Z"]
    lines += [f"  {k}{row}" for k, row in zip("XYZ", rows(-STRESS / GPA), strict=True)]
    path.write_text("\n".join([*lines, "", ""]))


def write_espresso(path: Path) -> None:
    """Quantum ESPRESSO 7: Ry, Ry/bohr, Ry/bohr^3; with smearing the energy after ! is the free."""
    alat = 10.0  # bohr
    cell = [
        f"               a({i}) = ({row} )"
        for i, row in enumerate(rows(CELL / BOHR / alat, "{:11.6f}"), 1)
    ]
    sites = [
        f"     {i:5d}       {symbol:3s}    tau({i:4d}) = ({row}  )"
        for i, (symbol, row) in enumerate(
            zip(SYMBOLS, rows(POSITIONS / BOHR / alat, "{:12.7f}"), strict=True), 1
        )
    ]
    forces = [
        f"     atom {i:4d} type {1 if symbol == 'O' else 2:2d}   force = {row}"
        for i, (symbol, row) in enumerate(
            zip(SYMBOLS, rows(FORCES / RYDBERG * BOHR, "{:14.8f}"), strict=True), 1
        )
    ]
    pressure = -STRESS / RYDBERG * BOHR**3
    text = [
        "     Program PWSCF v.7.2 starts on  1Jan2026 at 12: 0: 0",
        f"     lattice parameter (alat)  = {alat:11.4f}  a.u.",
        f"     number of atoms/cell      = {len(SYMBOLS):12d}",
        f"     number of atomic types    = {len(set(SYMBOLS)):12d}",
        f"     celldm(1)= {alat:11.6f}  celldm(2)=   0.000000  celldm(3)=   0.000000",
        "     celldm(4)=    0.000000  celldm(5)=   0.000000  celldm(6)=   0.000000",
        "     crystal axes: (cart. coord. in units of alat)",
        *cell,
        "",
        "     site n.     atom                  positions (alat units)",
        *sites,
        "",
        f"!    total energy              = {ENERGY / RYDBERG:16.8f} Ry",
        "     Forces acting on atoms (cartesian axes, Ry/au):",
        "",
        *forces,
        "",
        "          total   stress  (Ry/bohr**3)                   (kbar)     P=        0.00",
        *(f"{row}        0.0 0.0 0.0" for row in rows(pressure, "{:14.8f}")),
        "",
        "     JOB DONE.",
    ]
    path.write_text("\n".join(text) + "\n")


def write_orca(path: Path) -> None:
    """ORCA 5: hartree; the gradient in hartree per bohr."""
    gradient = rows(-FORCES / HARTREE * BOHR, "{:15.9f}")
    text = [
        "                                 *****************",
        "                                 * O   R   C   A *",
        "                                 *****************",
        "---------------------------------",
        "CARTESIAN COORDINATES (ANGSTROEM)",
        "---------------------------------",
        *(f"  {s}   {row}" for s, row in zip(SYMBOLS, rows(POSITIONS), strict=True)),
        "",
        f"Number of atoms                             ... {len(SYMBOLS):6d}",
        "-------------------------   --------------------",
        f"FINAL SINGLE POINT ENERGY    {ENERGY / HARTREE:18.12f}",
        "-------------------------   --------------------",
        "                         * ORCA SCF GRADIENT CALCULATION *",
        "------------------",
        "CARTESIAN GRADIENT",
        "------------------",
        "",
        *(
            f"   {i}   {s}   : {row}"
            for i, (s, row) in enumerate(zip(SYMBOLS, gradient, strict=True), 1)
        ),
        "",
        "                             ****ORCA TERMINATED NORMALLY****",
    ]
    path.write_text("\n".join(text) + "\n")


def write_mtp(path: Path, num_frames: int = 1) -> None:
    """MLIP-2: eV, A; PlusStress is the virial in eV, compression positive; types from 0."""
    virial = -STRESS * np.linalg.det(CELL)
    voigt = [virial[0, 0], virial[1, 1], virial[2, 2], virial[1, 2], virial[0, 2], virial[0, 1]]
    head = "cartes_x      cartes_y      cartes_z           fx          fy          fz"
    lines = []
    for frame in range(num_frames):
        lines += ["BEGIN_CFG", " Size", f"{len(SYMBOLS):6d}", " Supercell", *rows(CELL)]
        lines.append(f" AtomData:  id type       {head}")
        for index, (symbol, place, force) in enumerate(
            zip(SYMBOLS, rows(POSITIONS), rows(FORCES), strict=True), start=1
        ):
            lines.append(f"{index:14d}{'OH'.index(symbol):5d} {place} {force}")
        lines += [" Energy", f"{ENERGY + frame:24.12f}"]
        lines += [
            " PlusStress:  xx          yy          zz          yz          xz          xy",
            rows(np.array(voigt), "{:20.12f}")[0],
            " Feature   EFS_by       VASP",
            "END_CFG",
            "",
        ]
    path.write_text("\n".join(lines) + "\n")


def write_deepmd(folder: Path, num_frames: int = 2) -> None:
    """deepmd-kit: eV, A, virials in eV, compression positive."""
    (folder / "set.000").mkdir(parents=True)
    (folder / "type.raw").write_text("0\n1\n1\n")
    (folder / "type_map.raw").write_text("O\nH\n")
    volume = np.linalg.det(CELL)
    arrays = {
        "box": CELL.ravel(),
        "coord": POSITIONS.ravel(),
        "force": FORCES.ravel(),
        "virial": (-STRESS * volume).ravel(),
    }
    for name, values in arrays.items():
        np.save(folder / "set.000" / f"{name}.npy", np.tile(values, (num_frames, 1)))
    np.save(folder / "set.000" / "energy.npy", ENERGY + np.arange(num_frames))
