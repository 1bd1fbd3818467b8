# SPDX-License-Identifier: MIT
"""The shortest distance of each pair of elements in the training data, and what goes below it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyictp.common.arrays import FloatArray, IntArray
from pyictp.errors import UserError
from pyictp.graph.graph import Graph
from pyictp.model.zbl import covalent_sums

logger = logging.getLogger("pyictp")

KEY = "shortest_distances"  # in provenance
CLOSEST = ("warn", "error", "ignore")  # as pair_style ictp has them
MARGIN = 0.1  # A, from the data to the core: hotter frames than those trained on hardly feel it
MIXED = 1.2  # with less a liquid alloy falls into holes, with more a solid one feels the core
ROUNDING = 1e-6  # a training frame, read from a file, is not below itself


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


def core_distances(provenance: Mapping[str, Any], elements: Sequence[str]) -> Tensor | None:
    """Return below which nuclei repel, (S, S) symmetric [A]; None: nothing is known.

    A little below the shortest distances of the training data, where networks are still right. Two
    elements have no more than 1.2 times the mean of those of either with itself: an alloy of which
    only cold crystals were in the data. Where nothing else is known, the sum of covalent radii.
    """
    known = provenance.get(KEY)
    if known is None:
        return None
    radii = covalent_sums(elements)
    table = torch.from_numpy(distance_table(provenance, elements, np.inf))
    like = torch.where(table.diagonal() > 0.0, table.diagonal(), torch.inf)
    mixed = 0.5 * MIXED * (like.unsqueeze(0) + like.unsqueeze(1)).fill_diagonal_(torch.inf)
    table = torch.minimum(table, mixed)
    return (torch.where(torch.isinf(table), radii, table) - MARGIN).clamp(min=0.0)


class CloseAtoms(NamedTuple):
    """Two atoms closer than any such pair in the training data."""

    ratio: float  # of their distance to the shortest one known, below 1
    text: str  # which atoms, how close


class Watch:
    """Looks for atoms closer than in the training data, and says so as pair_style ictp does.

    There a model knows nothing and may attract, down to an energy of minus infinity.
    """

    def __init__(
        self, table: FloatArray, elements: Sequence[str], r_cut: float, closest: str = "warn"
    ) -> None:
        """Take what to do.

        Args:
            table: (S, S) shortest distances [A], 0: nothing is known.
            elements: of the model.
            r_cut: its cutoff radius [A].
            closest: `warn` once, raise an `error`, or `ignore`.

        Raises:
            UserError: `closest` is something else.
        """
        if closest not in CLOSEST:
            raise UserError(f"closest: expected warn, error or ignore, got {closest!r}")
        self.table, self.elements, self.r_cut = table, elements, r_cut
        self.closest = closest
        self.has_warned = False

    def find(self, graph: Graph) -> CloseAtoms | None:
        """Return the two atoms of a structure that are farthest below, None if there are none."""
        if self.closest == "ignore" or not self.table.any() or graph.num_edges == 0:
            return None
        species, (center, neighbor) = graph.species.numpy(), graph.edge_index.numpy()
        lengths = np.linalg.norm(graph.edge_vectors.numpy(), axis=1)
        shortest = self.table[species[center], species[neighbor]]
        ratios = lengths / np.where(shortest > 0, shortest, 1e-300)
        edge = int(ratios.argmin())
        if ratios[edge] >= 1 - ROUNDING:
            return None
        atoms = (f"{i} ({self.elements[species[i]]})" for i in (center[edge], neighbor[edge]))
        known = f"closer than any such pair in the training data ({shortest[edge]:.3g} A)"
        if shortest[edge] >= self.r_cut:
            known = "but no such pair in the training data came within r_cut"
        text = f"atoms {' and '.join(atoms)} are {lengths[edge]:.3g} A apart, {known}"
        return CloseAtoms(float(ratios[edge]), text)

    def tell(self, found: CloseAtoms | None, where: str = "") -> None:
        """Warn of what was found, once, or refuse it.

        Args:
            found: of `find`.
            where: what to say before.

        Raises:
            UserError: `closest` is error and something was found.
        """
        if found is None:
            return
        text = f"{where}{found.text}: what the model says of them is a guess"
        if self.closest == "error":
            raise UserError(text)
        if not self.has_warned:
            logger.warning("%s", text)
        self.has_warned = True
