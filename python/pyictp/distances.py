# SPDX-License-Identifier: MIT
"""The shortest distance of each pair of elements in the training data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pyictp.graph import Graph
from pyictp.neighbors import FloatArray, IntArray

KEY = "shortest_distances"  # in provenance


def shortest_lengths(
    kinds: IntArray, center: IntArray, neighbor: IntArray, lengths: FloatArray, num_kinds: int
) -> FloatArray:
    """Return the shortest distance of each pair of kinds, (S, S) symmetric [A]; inf: none.

    Args:
        kinds: (N,) kind of each atom, from 0.
        center: (E,) atom indices; each pair of atoms in both directions.
        neighbor: (E,) atom indices.
        lengths: (E,) in A.
        num_kinds: S.
    """
    shortest = np.full((num_kinds, num_kinds), np.inf)
    np.minimum.at(shortest, (kinds[center], kinds[neighbor]), lengths)
    return shortest


def named(shortest: FloatArray, names: Sequence[str]) -> dict[str, float]:
    """Return finite distances (S, S) by pair, "A-B" with A not after B in `names` [A]."""
    return {
        f"{first}-{names[j]}": float(shortest[i, j])
        for i, first in enumerate(names)
        for j in range(i, len(names))
        if np.isfinite(shortest[i, j])
    }


def shortest_distances(graphs: Iterable[Graph], elements: Sequence[str]) -> dict[str, float]:
    """Return the shortest distance of each pair of elements in some structures, "A-B" [A].

    Pairs that never come within the cutoff radius are absent.
    """
    shortest = np.full((len(elements), len(elements)), np.inf)
    for graph in graphs:
        lengths = np.linalg.norm(graph.edge_vectors.numpy(), axis=1)
        kinds, (center, neighbor) = graph.species.numpy(), graph.edge_index.numpy()
        found = shortest_lengths(kinds, center, neighbor, lengths, len(elements))
        shortest = np.minimum(shortest, found)
    return named(shortest, elements)


def smaller(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Return, pair by pair, the smaller of two sets of distances; pairs of either are there."""
    pairs = dict.fromkeys([*one, *other])
    return {pair: min(one.get(pair, np.inf), other.get(pair, np.inf)) for pair in pairs}


def unknown(elements: Sequence[str]) -> dict[str, float]:
    """Return the distances of pairs of elements of which nothing is known: 0 A each."""
    return named(np.zeros((len(elements), len(elements))), elements)


def distance_table(
    provenance: Mapping[str, Any], elements: Sequence[str], r_cut: float
) -> FloatArray:
    """Return what a training knows of distances as a table, (S, S) symmetric [A].

    Zero everywhere: nothing is known (untrained or imported). Else a pair that never came within
    the cutoff radius has that.

    Args:
        provenance: of a checkpoint.
        elements: those of the model, S.
        r_cut: its cutoff radius [A].
    """
    known = provenance.get(KEY)
    if known is None:
        return np.zeros((len(elements), len(elements)))
    table = np.full((len(elements), len(elements)), r_cut)
    for pair, length in known.items():
        i, j = (elements.index(element) for element in pair.split("-"))
        table[i, j] = table[j, i] = length
    return table
