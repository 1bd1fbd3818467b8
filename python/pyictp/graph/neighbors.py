# SPDX-License-Identifier: MIT
"""Atom pairs within a cutoff: found by vesin, kept for several steps by a list with a skin."""

from __future__ import annotations

import numpy as np
from ase.geometry import complete_cell
from vesin import NeighborList

from pyictp.common.arrays import BoolArray, FloatArray, IntArray
from pyictp.errors import UserError

SAME_SPOT = 1e-4  # A; closer atoms are one atom written twice


def neighbor_pairs(
    positions: FloatArray, cell: FloatArray, pbc: BoolArray, r_cut: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return center, neighbor and image offset of every pair up to `r_cut`, sorted by center.

    An edge vector is positions[neighbor] - positions[center] + offset. Each pair is there in both
    directions; a center meets its own images where the cell is small.

    Args:
        positions: (N, 3) in A, wrapped or not.
        cell: (3, 3) rows are cell vectors in A; rows of directions without pbc may be zero.
        pbc: (3,) which cell vectors repeat.
        r_cut: list radius in A.

    Returns:
        center (E,), neighbor (E,), offset (E, 3) in A.

    Raises:
        UserError: a direction with pbc has no cell vector, or the cell has no volume.
    """
    box = periodic_cell(cell, pbc)
    if len(positions) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3))
    # one thread: the order of the pairs, and with it every sum, is then the same in every run
    search = NeighborList(cutoff=r_cut, full_list=True, sorted=True, n_threads=1)
    center, neighbor, shifts = search.compute(positions, box, pbc, quantities="ijS")
    offset = shifts.astype(np.float64) @ box
    return center.astype(np.int64), neighbor.astype(np.int64), offset


def periodic_cell(cell: FloatArray, pbc: BoolArray) -> FloatArray:
    """Return a cell (3, 3) [A] that is complete where pbc needs it, zero where nothing repeats.

    Raises:
        UserError: a direction with pbc has no cell vector, or the cell has no volume.
    """
    if not pbc.any():
        return np.zeros((3, 3))
    lengths = np.linalg.norm(cell, axis=1)
    for axis in np.flatnonzero(pbc & (lengths < SAME_SPOT)):
        raise UserError(
            f"pbc is on along {'abc'[axis]} but the cell vector there is zero: "
            "give the cell (Lattice) or switch pbc off"
        )
    used = np.where((pbc | (lengths >= SAME_SPOT))[:, None], cell, 0.0)
    box = np.ascontiguousarray(complete_cell(used), dtype=np.float64)
    if abs(np.linalg.det(box)) < 1e-9 * np.prod(np.linalg.norm(box, axis=1)):
        raise UserError(f"cell vectors lie in one plane: {cell.tolist()} has no volume")
    return box


def check_distances(center: IntArray, neighbor: IntArray, lengths: FloatArray) -> None:
    """Refuse atoms on one spot.

    Args:
        center: (E,) atom indices.
        neighbor: (E,) atom indices.
        lengths: (E,) distances in A.

    Raises:
        UserError: two atoms are closer than `SAME_SPOT`.
    """
    if lengths.size and lengths.min() < SAME_SPOT:
        edge = int(lengths.argmin())
        raise UserError(
            f"atoms {center[edge]} and {neighbor[edge]} are on one spot "
            f"(distance {lengths[edge]:.1e} A): remove one of them"
        )


class SkinList:
    """Pairs up to r_cut + skin, searched again only when an atom moved more than skin/2."""

    def __init__(self, r_cut: float, skin: float) -> None:
        """Set the radii, in A; `skin` 0 searches at every call.

        Raises:
            UserError: the skin is negative.
        """
        if not skin >= 0:
            raise UserError(f"skin: expected a length of 0 A or more, got {skin}")
        self.r_cut = r_cut
        self.skin = skin
        self.num_builds = 0
        self._system: tuple[FloatArray, FloatArray, BoolArray] | None = None
        self._pairs: tuple[IntArray, IntArray, FloatArray] | None = None

    def edges(
        self, positions: FloatArray, cell: FloatArray, pbc: BoolArray
    ) -> tuple[IntArray, FloatArray]:
        """Return edge_index (2, E) and edge_vectors (E, 3) [A] with lengths strictly below r_cut.

        Raises:
            UserError: as `neighbor_pairs`, or two atoms are on one spot.
        """
        if self._pairs is None or self._is_outdated(positions, cell, pbc):
            self._pairs = neighbor_pairs(positions, cell, pbc, self.r_cut + self.skin)
            self._system = (positions.copy(), cell.copy(), pbc.copy())
            self.num_builds += 1
        center, neighbor, offset = self._pairs
        vectors = positions[neighbor] - positions[center] + offset  # (E, 3)
        lengths = np.linalg.norm(vectors, axis=1)  # (E,)
        check_distances(center, neighbor, lengths)
        inside = lengths < self.r_cut
        return np.stack([center[inside], neighbor[inside]]), vectors[inside]

    def _is_outdated(self, positions: FloatArray, cell: FloatArray, pbc: BoolArray) -> bool:
        assert self._system is not None
        old_positions, old_cell, old_pbc = self._system
        if self.skin == 0 or positions.shape != old_positions.shape:
            return True
        if not (np.array_equal(cell, old_cell) and np.array_equal(pbc, old_pbc)):
            return True
        moved = ((positions - old_positions) ** 2).sum(axis=1).max(initial=0.0)
        return bool(moved > (0.5 * self.skin) ** 2)
