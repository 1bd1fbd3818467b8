# SPDX-License-Identifier: MIT
"""Several systems that come back step by step, as one graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyictp.common.arrays import BoolArray, FloatArray, IntArray
from pyictp.graph.graph import Graph, build_graph, collate
from pyictp.graph.neighbors import SkinList
from pyictp.potential.distances import Watch
from pyictp.potential.interface import Potential

System = tuple[FloatArray, FloatArray, BoolArray, IntArray]  # positions, cell, pbc, species


class Places:
    """Neighbor lists with a skin, one for each place in a sequence of systems.

    Which system is in a place may change from call to call: a list looks at positions and cells,
    and searches again if they are others.
    """

    def __init__(self, potential: Potential, skin: float, closest: str) -> None:
        """Begin without places.

        Args:
            potential: says cutoff, elements and distances.
            skin: margin of the lists in A; atoms may move skin/2 before they are built anew.
            closest: what to do when atoms are closer than in the training data: `warn` (once),
                raise an `error`, or `ignore`.

        Raises:
            UserError: `closest` is something else.
        """
        self.r_cut, self.skin = potential.r_cut, skin
        self.lists: list[SkinList] = []
        known = potential.shortest_distances
        self.watch = Watch(known, potential.elements, potential.r_cut, closest)

    def graph(self, systems: Iterable[System]) -> Graph:
        """Return the graph of all systems, on the CPU.

        Args:
            systems: positions (N, 3) [A], cell (3, 3) with rows as vectors [A], pbc (3,) and
                species (N,) of each, as `build_graph` takes them.

        Raises:
            UserError: as `build_graph`, or, with `closest` error, two atoms are too close.
        """
        return collate([*self._graphs(systems)])

    def _graphs(self, systems: Iterable[System]) -> Iterator[Graph]:
        for place, (positions, cell, pbc, species) in enumerate(systems):
            if place == len(self.lists):
                self.lists.append(SkinList(self.r_cut, self.skin))
            graph = build_graph(positions, cell, pbc, species, self.r_cut, self.lists[place])
            self.watch.tell(self.watch.find(graph))
            yield graph
