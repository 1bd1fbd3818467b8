# SPDX-License-Identifier: MIT
"""One plain vector per structure, near where structures are alike, whatever their atom order."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice

import numpy as np

from pyictp.common.arrays import FloatArray, IntArray
from pyictp.data.frames import Frame
from pyictp.data.samples import species_of
from pyictp.graph.neighbors import neighbor_pairs

NUM_RADII = 16


def structure_vectors(
    frames: Sequence[Frame], elements: Sequence[str], r_cut: float = 5.0
) -> FloatArray:
    """Return composition, mean and standard deviation of the atoms' radial histograms.

    An atom's histogram over radii r_b and neighbor elements is
    h_b = sum_j exp(-(r_ij - r_b)^2 / (2 w^2)) (1 + cos(pi r_ij / r_cut)) / 2, with w the distance
    of two radii: smooth in the positions, and indifferent to order, translation and rotation.

    Args:
        frames: K structures.
        elements: S chemical symbols, all that are in the frames.
        r_cut: of the histograms [A].

    Returns:
        (K, S + 2*S*S*16), dimensionless; zero for a center element that a frame has not.

    Raises:
        UserError: an element is not in `elements`.
    """
    return np.stack([_vector(frame, elements, r_cut) for frame in frames])


def _vector(frame: Frame, elements: Sequence[str], r_cut: float) -> FloatArray:
    species = species_of(frame.atomic_numbers, elements)  # (N,)
    histograms = _histograms(frame, species, len(elements), r_cut)  # (N, S * B)
    means = np.zeros((len(elements), histograms.shape[1]))
    spreads = np.zeros_like(means)
    for element in np.unique(species):
        rows = histograms[species == element]
        means[element], spreads[element] = rows.mean(axis=0), rows.std(axis=0)
    fractions = np.bincount(species, minlength=len(elements)) / len(species)
    return np.concatenate([fractions, means.ravel(), spreads.ravel()])


def _histograms(frame: Frame, species: IntArray, num_elements: int, r_cut: float) -> FloatArray:
    """Return the smeared number of neighbors by element and radius around every atom, (N, S*B)."""
    center, neighbor, offset = neighbor_pairs(frame.positions, frame.cell, frame.pbc, r_cut)
    vectors = frame.positions[neighbor] - frame.positions[center] + offset  # (E, 3)
    lengths = np.minimum(np.linalg.norm(vectors, axis=1), r_cut)  # (E,)
    radii, width = np.linspace(0.5, r_cut, NUM_RADII, retstep=True)
    smooth = 0.5 * (1 + np.cos(np.pi * lengths / r_cut))  # 0 at r_cut
    slots = center * num_elements + species[neighbor]  # (E,)
    num_slots = len(species) * num_elements
    columns = [
        np.bincount(
            slots, smooth * np.exp(-0.5 * ((lengths - radius) / width) ** 2), minlength=num_slots
        )
        for radius in radii
    ]
    return np.stack(columns, axis=1, dtype=np.float64).reshape(
        len(species), num_elements * NUM_RADII
    )


def farthest_points(vectors: FloatArray, number: int) -> list[int]:
    """Return the indices of vectors, each the farthest from all chosen before it.

    The first one is the nearest to the mean, so the same vectors give the same choice.

    Args:
        vectors: (K, D).
        number: how many, from 0 to K.
    """
    if number == 0:
        return []
    centered = _fewer_columns(vectors - vectors.mean(axis=0))
    first = int(np.square(centered).sum(axis=1).argmin())
    others = farthest_first(centered, centered[[first]], {first})
    return [first, *(index for index, _ in islice(others, number - 1))]


def farthest_first(
    vectors: FloatArray, known: FloatArray, without: Collection[int] = ()
) -> Iterator[tuple[int, float]]:
    """Yield all vectors by index, each the farthest from known ones and those before it.

    Args:
        vectors: (K, D), their mean near the origin (distances come from scalar products).
        known: (M, D), at least one.
        without: indices that are left out.

    Yields:
        An index and the distance to the nearest one known before.
    """
    norms = np.square(vectors).sum(axis=1)  # (K,)
    nearest = np.full(len(vectors), np.inf)  # squared distance
    nearest[list(without)] = -np.inf
    for point in known:
        distances = norms + point @ point - 2 * vectors @ point
        nearest = np.minimum(nearest, distances)
    for _ in range(len(vectors) - len(without)):
        index = int(nearest.argmax())
        yield index, float(np.sqrt(max(nearest[index], 0.0)))
        distances = norms + norms[index] - 2 * vectors @ vectors[index]
        nearest = np.minimum(nearest, distances)
        nearest[index] = -np.inf  # never again, not even among copies of one structure


def _fewer_columns(centered: FloatArray) -> FloatArray:
    """Return principal components (K, <= D) that keep all distances to rounding."""
    left, values, _ = np.linalg.svd(centered, full_matrices=False)
    return (left * values)[:, values > 1e-6 * max(values.max(initial=0.0), 1e-12)]
