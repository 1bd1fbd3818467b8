# SPDX-License-Identifier: MIT
"""What labelled frames say of a crystal, beside models: its equation of state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ase import Atoms
from ase.formula import Formula

from pyictp.data.frames import Frame, read_frames
from pyictp.errors import UserError
from pyictp.properties.crystals import fit_state
from pyictp.properties.measure import Measured, state_rows

FEWEST = 5  # volumes, for four parameters
SAME = 1e-6  # relative: volumes closer than that are one


def labelled(file: str, atoms: Atoms) -> Measured:
    """Return the equation of state through the energies of a file, cells of any number of atoms.

    Args:
        file: with energies of a crystal at several volumes, by any method.
        atoms: the crystal, which tells frames of other composition apart.

    Raises:
        UserError: as `read_frames`; too few volumes; no crystal.
    """
    if not atoms.pbc.all():
        raise UserError("--labels: expected a crystal, of which labels give the equation of state")
    formula = _composition(atoms.symbols)
    points = dict[float, float]()
    for frame in read_frames([file]):
        point = _point(frame, formula)
        if point is not None and all(abs(v - point[0]) > SAME * v for v in points):
            points[point[0]] = point[1]
    if len(points) < FEWEST:
        raise UserError(
            f"--labels '{file}': expected {FEWEST} volumes or more of {formula}, with energies, "
            f"got {len(points)}"
        )
    volumes = sorted(points)
    state = fit_state(volumes, [points[volume] for volume in volumes])
    return Measured("labels", state_rows(state), {"eos": state})


def _point(frame: Frame, formula: str) -> tuple[float, float] | None:
    """Return volume [A^3/atom] and energy [eV/atom] of a frame of the crystal."""
    number = len(frame.symbols)
    if frame.volume is None or frame.energy is None or _composition(frame.symbols) != formula:
        return None
    return frame.volume / number, frame.energy / number


def _composition(symbols: Iterable[str]) -> str:
    return Formula.from_dict(Counter(symbols)).reduce()[0].format("hill")
