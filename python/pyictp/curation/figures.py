# SPDX-License-Identifier: MIT
"""Picture of a data set: how its labels and distances are distributed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import units

from pyictp.common.arrays import FloatArray
from pyictp.curation.parts import is_free_atom
from pyictp.data.frames import Frame
from pyictp.reports.parity import IMAGE_SUFFIXES

NUM_BINS = 60


def plot_data(frames: Sequence[Frame], nearest: Sequence[FloatArray], path: Path) -> Path:
    """Draw one histogram per quantity that is there; returns the file written.

    Args:
        frames: structures; free atoms are left out.
        nearest: of each frame the distances of nearest neighbors [A].
        path: an image file, or a folder in which data.png is made.
    """
    from pyictp.common.drawing import drawing, plain_log_ticks, save

    if path.suffix.lower() not in IMAGE_SUFFIXES:
        path = path / "data.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    panels = [panel for panel in _panels(frames, nearest) if panel[1].size]
    with drawing(3.6 * max(len(panels), 1), 3.2, columns=max(len(panels), 1)) as (figure, axes):
        for one, (title, values, of) in zip(axes, panels, strict=False):
            one.hist(values, bins=NUM_BINS, log=True)
            one.set(xlabel=title, ylabel=of)
            plain_log_ticks(one.yaxis)
            one.grid(alpha=0.3, linewidth=0.4)
        save(figure, path)
    return path


def _panels(
    frames: Sequence[Frame], nearest: Sequence[FloatArray]
) -> list[tuple[str, FloatArray, str]]:
    """Return axis label, values and what is counted, of every quantity."""
    bulk = [frame for frame in frames if not is_free_atom(frame)]
    energies = [f.energy / len(f.atomic_numbers) for f in bulk if f.energy is not None]
    forces = [np.linalg.norm(f.forces, axis=1) for f in bulk if f.forces is not None]
    pressures = [-np.trace(f.stress) / 3 / units.GPa for f in bulk if f.stress is not None]
    return [
        ("energy [eV/atom]", np.array(energies), "frames"),
        ("force on an atom [eV/Å]", np.concatenate([[], *forces]), "atoms"),
        ("pressure [GPa]", np.array(pressures), "frames"),
        ("nearest neighbor [Å]", np.concatenate([[], *nearest]), "atoms"),
    ]
