# SPDX-License-Identifier: MIT
"""A structure of any file as LAMMPS wants it: in a box along x, xy, xyz, and back again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.lammps import Prism
from ase.constraints import FixAtoms, FixCartesian
from ase.data import atomic_masses
from ase.geometry import complete_cell
from ase.io import read, write
from ase.io.formats import UnknownFileTypeError, parse_filename

from pyictp.errors import UserError
from pyictp.graph.neighbors import periodic_cell

FINAL = "final.extxyz"  # the end of a run
MARGIN = 5.0  # A of empty box around the atoms where nothing repeats; LAMMPS lets it grow


@dataclass(frozen=True)
class Placed:
    """A structure in LAMMPS' orientation."""

    atoms: Atoms  # not rotated, in a right-handed cell of little tilt, inside where it is open
    prism: Prism  # rotates to LAMMPS and back
    shift: np.ndarray  # (3,) [A] that was added to the positions of the file
    original: Atoms

    @property
    def boundary(self) -> str:
        """Return the words after `boundary`: p, or m, a face that moves out with the atoms."""
        return " ".join("p" if periodic else "m" for periodic in self.atoms.pbc)

    @property
    def fixed(self) -> np.ndarray:
        """Return (N,) which atoms stay where they are."""
        return fixed_atoms(self.original)[0]

    @property
    def ignored(self) -> str:
        """Return the names of constraints that LAMMPS is not told of."""
        return ", ".join(fixed_atoms(self.original)[1])

    def write_data(self, path: Path, elements: Sequence[str], velocities: bool = False) -> None:
        """Write the data file; `elements` are types 1, 2, ..."""
        write(
            path,
            self.atoms,
            format="lammps-data",
            specorder=list(elements),
            masses=True,
            prismobj=self.prism,
            velocities=velocities,
        )

    def back(self, frame: Atoms, repeat: Sequence[int]) -> Atoms:
        """Return a frame of LAMMPS, rotated and shifted back to where the file had it."""
        atoms = frame.copy()
        atoms.arrays.pop("type", None)
        atoms.set_celldisp(np.zeros(3))
        if self.atoms.pbc.all():
            atoms.set_cell(self.prism.vector_to_ase(np.array(frame.cell)))
        else:  # only boxes that repeat all around ever change
            atoms.set_cell(np.array(self.original.cell) * np.array(repeat)[:, None])
        atoms.pbc = self.original.pbc
        atoms.positions = self.prism.vector_to_ase(frame.positions) - self.shift
        atoms.set_velocities(self.prism.vector_to_ase(frame.get_velocities()))
        if self.fixed.any():
            atoms.set_constraint(FixAtoms(mask=np.tile(self.fixed, len(atoms) // len(self.fixed))))
        return atoms


def end_of_run(name: str) -> str | None:
    """Return the file with the end of a run, if a name is the folder of one of `ictp md`."""
    end = Path(name) / FINAL
    return str(end) if end.is_file() else None


def read_structure(name: str) -> Atoms:
    """Return the structure of a file that ASE reads: the last frame, or `file@index`.

    Raises:
        UserError: no such file, nothing that ASE reads, no atoms, masses of the user's own.
    """
    file, index = parse_filename(name)
    atoms = _read(name, file, -1 if index is None else index)
    if len(atoms) != 1 or isinstance(index, slice):
        raise UserError(f"structure '{name}': expected one frame, got {len(atoms)}: give file@0")
    return atoms[0]


def read_structures(name: str) -> list[Atoms]:
    """Return all frames of a file that ASE reads, or those of `file@index` or `file@slice`.

    Raises:
        UserError: as `read_structure`, or the slice is empty.
    """
    file, index = parse_filename(name)
    found = _read(name, file, slice(None) if index is None else index)
    if not found:
        raise UserError(f"structure '{name}' names no frame")
    return found


def _read(name: str, file: str, index: int | slice) -> list[Atoms]:
    if Path(file).is_dir():
        raise UserError(
            f"structure '{file}' is a folder: expected a file that ASE reads, or a run's folder"
        )
    if not Path(file).is_file():
        raise UserError(f"structure '{file}' not found")
    if isinstance(index, int) and index < -1:  # ASE's readers give some frame where it is too low
        _check_index(name, file, index)
    try:
        found = read(file, index)
    except UnknownFileTypeError as error:
        raise UserError(
            f"structure '{name}': expected a format that ASE knows by the file's name (extxyz, "
            "cif, POSCAR, traj, ...), got another one: convert it or change its name"
        ) from error
    except Exception as error:  # readers of formats raise whatever they meet
        if isinstance(index, int):
            _check_index(name, file, index)
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"structure '{name}': ASE cannot read it: {reason}") from error
    frames = [found] if isinstance(found, Atoms) else list(found)
    for atoms in frames:
        _check_atoms(name, atoms)
    return frames


def _check_atoms(name: str, atoms: Atoms) -> None:
    """Refuse what no run can start from."""
    if len(atoms) == 0 or not np.isfinite(atoms.positions).all():
        what = "has a position that is no number" if len(atoms) else "has no atoms"
        raise UserError(f"structure '{name}' {what}")
    sites = atoms.info.get("occupancy", {}).values()  # as ASE's CIF reader leaves it
    if any(sum(site.values()) < 1 - 1e-3 or len(site) > 1 for site in sites):
        raise UserError(
            f"structure '{name}' has sites that are occupied in part or by several elements: "
            "expected whole atoms, make a supercell that picks one for each site"
        )
    if not np.allclose(atoms.get_masses(), atomic_masses[atoms.numbers], atol=0.1):
        raise UserError(
            f"structure '{name}' brings masses of its own, but a LAMMPS type has one mass per "
            "element: use --no-run and edit the masses in structure.data"
        )


def _check_index(name: str, file: str, index: int) -> None:
    """Refuse the index of a frame that a readable file does not have."""
    try:
        count = len(read(file, ":"))
    except Exception:  # the caller says what is wrong
        return
    if not -count <= index < count:
        last = f"0 to {count - 1}" if count > 1 else "0"
        raise UserError(f"structure '{name}': expected frame {last}, as the file has {count}")


def fixed_atoms(atoms: Atoms) -> tuple[np.ndarray, list[str]]:
    """Return (N,) which atoms FixAtoms holds, and the names of all other constraints.

    Files with constraints per direction are read as a FixCartesian per atom, some of them empty.
    """
    fixed, others = np.zeros(len(atoms), dtype=bool), set()
    for constraint in atoms.constraints:
        directions = getattr(constraint, "mask", True)
        if isinstance(constraint, FixAtoms | FixCartesian) and np.all(directions):
            fixed[constraint.index] = True
        elif np.any(directions):
            others.add(type(constraint).__name__)
    return fixed, sorted(others)


def check_fixed(atoms: Atoms, constant_pressure: bool) -> None:
    """Refuse fixed atoms with which LAMMPS cannot run.

    Raises:
        UserError: a changing cell would move them, or nothing else is left.
    """
    fixed, _ = fixed_atoms(atoms)
    if fixed.any() and constant_pressure:
        raise UserError(
            f"{fixed.sum()} atoms are fixed (FixAtoms), which a cell that changes would move: "
            "choose constant volume, or take the constraint away"
        )
    if fixed.all():
        raise UserError("all atoms are fixed (FixAtoms): take the constraint away from some")


def check_elements(atoms: Atoms, model_elements: Sequence[str], model: str) -> list[str]:
    """Return the elements of a structure in the model's order.

    Raises:
        UserError: the model lacks one.
    """
    present = set(atoms.get_chemical_symbols())
    missing = sorted(present - set(model_elements))
    if missing:
        raise UserError(
            f"model '{model}' knows {' '.join(model_elements)}; the structure also has "
            f"{' '.join(missing)}: train a model with all elements"
        )
    return [element for element in model_elements if element in present]


def place(atoms: Atoms, name: str) -> Placed:
    """Return a structure as LAMMPS takes it.

    A vector that does not repeat becomes the normal of the others (LAMMPS tilts periodic
    directions alone), just long enough for the atoms.

    Raises:
        UserError: the cell has no volume.
    """
    placed = atoms.copy()
    placed.set_constraint()  # ASE would obey them here
    try:
        periodic_cell(np.array(atoms.cell), atoms.pbc)
    except UserError as error:
        raise UserError(f"structure '{name}': {error}") from None
    cell = complete_cell(np.where(atoms.pbc[:, None], atoms.cell, 0.0))
    if np.linalg.det(cell) < 0:
        cell[2] *= -1  # the same lattice
    for axis in np.flatnonzero(~atoms.pbc):
        normal = cell[axis] / np.linalg.norm(cell[axis])
        heights = placed.positions @ normal
        cell[axis] = normal * (np.ptp(heights) + 2 * MARGIN)
        placed.positions += normal * (MARGIN - heights.min())
    steep = Prism(cell, atoms.pbc)
    placed.set_cell(steep.lammps_cell @ steep.rot_mat.T)  # the same lattice with less tilt
    shift = (placed.positions - atoms.positions)[0]
    return Placed(placed, Prism(np.array(placed.cell), atoms.pbc), shift, atoms)
