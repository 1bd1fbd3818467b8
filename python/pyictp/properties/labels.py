# SPDX-License-Identifier: MIT
"""What labelled frames say of a crystal, beside models: its equation of state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from ase import Atoms
from ase.eos import birchmurnaghan
from ase.formula import Formula
from ase.units import GPa

from pyictp.data.frames import Frame, read_frames
from pyictp.errors import UserError
from pyictp.properties.crystals import fit_state
from pyictp.properties.rows import Measured, state_rows

FEWEST = 5  # volumes, for four parameters
SAME = 1e-6  # relative: volumes closer than that are one
MOST_OFF = 0.1  # of the range of energies, from the curve through them


def labelled(file: str, atoms: Atoms) -> Measured:
    """Return the equation of state through the energies of a file, cells of any number of atoms.

    Args:
        file: with energies of a crystal at several volumes, by any method.
        atoms: the crystal, which tells frames of other composition apart.

    Raises:
        UserError: as `read_frames`; too few volumes; no crystal; energies on no
            curve.
    """
    if not atoms.pbc.all():
        raise UserError("--labels: expected a crystal, of which labels give the equation of state")
    formula = _composition(atoms.symbols)
    points = dict[float, float]()
    for frame in read_frames([file]):
        point = _point(frame, formula)
        if point is None:
            continue
        volume = next((v for v in points if abs(v - point[0]) <= SAME * v), point[0])
        points[volume] = min(points.get(volume, point[1]), point[1])  # others are displaced
    if len(points) < FEWEST:
        raise UserError(
            f"--labels '{file}': expected {FEWEST} volumes or more of {formula}, with energies, "
            f"got {len(points)}"
        )
    volumes = sorted(points)
    state = fit_state(volumes, [points[volume] for volume in volumes])
    curve = birchmurnaghan(
        state.volumes, state.energy, state.bulk_modulus * GPa, state.derivative, state.volume
    )
    off = np.sqrt(np.mean((state.energies - curve) ** 2))
    if off > MOST_OFF * np.ptp(state.energies):
        raise UserError(
            f"--labels '{file}': expected one crystal of {formula} with its atoms at rest, its "
            f"energies are {1000 * off:.3g} meV/atom (root mean square) from an equation of state: "
            "leave out other phases and frames of molecular dynamics"
        )
    return Measured("labels", state_rows(state), {"eos": state})


def _point(frame: Frame, formula: str) -> tuple[float, float] | None:
    """Return volume [A^3/atom] and energy [eV/atom] of a frame of the crystal."""
    number = len(frame.symbols)
    if frame.volume is None or frame.energy is None or _composition(frame.symbols) != formula:
        return None
    return frame.volume / number, frame.energy / number


def _composition(symbols: Iterable[str]) -> str:
    return Formula.from_dict(Counter(symbols)).reduce()[0].format("hill")
