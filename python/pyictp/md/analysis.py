# SPDX-License-Identifier: MIT
"""Numbers from trajectories in any cell: radial distributions, displacements, diffusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms

from pyictp.graph.neighbors import neighbor_pairs

BIN_WIDTH = 0.02  # A
MOST_PAIRS = 50_000_000  # of all frames together: more adds time and no information
NUM_LAGS = 100
LOCAL_MOTION = 1.0  # ps: shorter times show vibrations, not diffusion
LEAST_LAG = 2.0  # ps, for a straight line: half of what is left of 5 ps without their start
LEAST_DISPLACEMENT = 1.0  # A^2: less is vibration
DIFFUSIVE = (0.8, 1.2)  # exponents of time that pass for 1


@dataclass(frozen=True)
class Diffusion:
    """A straight line through mean square displacements."""

    coefficient: float | None  # cm^2/s; None: the displacements are none of diffusion
    why: str  # there is no coefficient


def widths(cell: np.ndarray) -> np.ndarray:
    """Return the distances (3,) [A] between opposite faces of a cell (3, 3) [A]."""
    return 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)


def radial_distributions(
    frames: Sequence[Atoms], r_max: float | None = None, num_bins: int | None = None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return bin centers and g(r) of every pair of elements, averaged over frames.

    g_ab(r) = (pairs at r) V / (N_a N_b 4 pi r^2 dr): 1 for an ideal gas.

    Args:
        frames: periodic in all directions, all with the same atoms.
        r_max: [A]; None: half the narrowest cell.
        num_bins: between 0 and r_max; None: about BIN_WIDTH each.

    Returns:
        r (B,) [A] and {"H-O": g (B,)}, dimensionless; a lone atom has no pair with itself.
    """
    if r_max is None:
        r_max = 0.5 * min(widths(np.array(frame.cell)).min() for frame in frames)
    first = frames[0]
    elements, kinds = np.unique(first.get_chemical_symbols(), return_inverse=True)
    density = len(first) / first.get_volume()
    pairs_per_frame = len(first) * density * 4 / 3 * np.pi * r_max**3
    stride = int(np.ceil(len(frames) * pairs_per_frame / MOST_PAIRS)) or 1
    num_bins = num_bins or max(1, round(r_max / BIN_WIDTH))
    edges = np.linspace(0.0, r_max, num_bins + 1)
    sums = np.zeros((len(elements), len(elements), num_bins))
    for frame in frames[::stride]:
        sums += _pair_counts(frame, kinds, edges) * frame.get_volume()
    sums /= len(frames[::stride]) * 4 / 3 * np.pi * np.diff(edges**3)
    counts = np.bincount(kinds)
    g = {
        f"{elements[a]}-{elements[b]}": sums[a, b] / (counts[a] * counts[b])
        for a, b in combinations_with_replacement(range(len(elements)), 2)
        if a != b or counts[a] > 1
    }
    return 0.5 * (edges[1:] + edges[:-1]), g


def _pair_counts(frame: Atoms, kinds: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return (K, K, B) how many neighbors of a kind the atoms of a kind have in each bin."""
    r_max, num_bins, num_kinds = edges[-1], len(edges) - 1, int(kinds.max()) + 1
    center, neighbor, offset = neighbor_pairs(
        frame.positions, np.array(frame.cell), frame.pbc, r_max
    )
    vectors = frame.positions[neighbor] - frame.positions[center] + offset
    bins = (np.linalg.norm(vectors, axis=1) / r_max * num_bins).astype(int)
    inside = bins < num_bins
    code = ((kinds[center] * num_kinds + kinds[neighbor]) * num_bins + bins)[inside]
    counts = np.bincount(code, minlength=num_kinds**2 * num_bins)
    return counts.reshape(num_kinds, num_kinds, num_bins)


def mean_square_displacements(
    times: np.ndarray, positions: np.ndarray, symbols: Sequence[str], masses: np.ndarray | None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return lags and mean square displacements of each element, averaged over time origins.

    The motion of the center of mass is taken out. The longest lag is half the trajectory.

    Args:
        times: (T,) [ps], equally spaced.
        positions: (T, N, 3) [A], unwrapped.
        symbols: of the N atoms.
        masses: (N,), or None: other atoms hold the frame of reference, no motion is taken out.

    Returns:
        lags (L,) [ps], 0 first, and {element: (L,) [A^2]}.
    """
    relative = positions
    if masses is not None:
        relative = positions - np.einsum("n,tnx->tx", masses / masses.sum(), positions)[:, None]
    longest = len(times) // 2
    lags = np.unique(np.linspace(0, longest, min(longest, NUM_LAGS) + 1).astype(int))
    squares = np.zeros((len(lags), positions.shape[1]))
    for row, lag in enumerate(lags):
        moved = relative[lag:] - relative[: len(relative) - lag]
        squares[row] = (moved**2).sum(axis=2).mean(axis=0)
    kinds = np.array(symbols)
    msd = {str(name): squares[:, kinds == name].mean(axis=1) for name in np.unique(kinds)}
    return times[lags] - times[0], msd


def diffusion(lags: np.ndarray, msd: np.ndarray) -> Diffusion:
    """Return D = slope / 6 of a straight line through displacements, where they grow like one.

    Args:
        lags: (L,) [ps].
        msd: (L,) [A^2].
    """
    if not len(lags) or lags[-1] < LEAST_LAG - 1e-6:
        return Diffusion(None, f"time differences of {LEAST_LAG:g} ps need a run of 5 ps")
    if msd[-1] < LEAST_DISPLACEMENT:
        return Diffusion(None, f"atoms moved by less than {LEAST_DISPLACEMENT**0.5:g} A")
    fitted = lags >= max(LOCAL_MOTION, 0.2 * lags[-1])
    if fitted.sum() < 5:
        return Diffusion(None, "too few frames: make --every smaller")
    exponent = float(np.polyfit(np.log(lags[fitted]), np.log(msd[fitted]), 1)[0])
    if not DIFFUSIVE[0] <= exponent <= DIFFUSIVE[1]:
        return Diffusion(None, f"displacements grow as t^{exponent:.2f}, not as t")
    slope = float(np.polyfit(lags[fitted], msd[fitted], 1)[0])
    return Diffusion(slope / 6 * 1e-4, "")  # 1 A^2/ps = 1e-4 cm^2/s
