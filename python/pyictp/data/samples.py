# SPDX-License-Identifier: MIT
"""Labelled graphs, built once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols
from torch import Tensor
from tqdm import tqdm

from pyictp.config.data_files import NO_WEIGHTING
from pyictp.data.frames import Frame
from pyictp.errors import UserError
from pyictp.graph.graph import Graph, build_graph


@dataclass(frozen=True)
class Sample:
    """One structure as a graph; None for a label it does not carry."""

    graph: Graph
    energy: float | None  # eV
    forces: Tensor | None  # (N, 3) float64 [eV/A]; rows of NaN: atoms without a label
    stress: Tensor | None  # (3, 3) float64 [eV/A^3], ASE sign
    volume: float | None  # A^3
    name: str  # file:frame index
    weights: tuple[float, float, float] = NO_WEIGHTING  # of the squared errors of LABELS


def elements_of(frames: Sequence[Frame]) -> tuple[str, ...]:
    """Return the elements of the frames by atomic number."""
    numbers = {int(number) for frame in frames for number in frame.atomic_numbers}
    return tuple(chemical_symbols[number] for number in sorted(numbers))


def species_of(numbers: Sequence[int] | np.ndarray, elements: Sequence[str]) -> np.ndarray:
    """Return the 0-based species (N,) of atomic numbers.

    Raises:
        UserError: an element is not in `elements`, or `elements` holds no chemical symbol.
    """
    table = np.full(len(chemical_symbols), -1, dtype=np.int64)
    for index, element in enumerate(elements):
        if element not in atomic_numbers:
            raise UserError(f"model.elements: '{element}' is no chemical symbol")
        table[atomic_numbers[element]] = index
    species = table[np.asarray(numbers, dtype=np.int64)]
    if (species < 0).any():
        atom = int(np.argmax(species < 0))
        raise UserError(
            f"field 'numbers': atom {atom} is {chemical_symbols[numbers[atom]]}, "
            f"but the model's elements are {' '.join(elements)}"
        )
    return species


def make_sample(frame: Frame, elements: Sequence[str], r_cut: float) -> Sample:
    """Return a frame as a graph with labels.

    Raises:
        UserError: an element is not in `elements`, two atoms are on one spot.
    """
    try:
        species = species_of(frame.atomic_numbers, elements)
        graph = build_graph(frame.positions, frame.cell, frame.pbc, species, r_cut)
    except UserError as error:
        text = str(error)
        field = "" if text.startswith("field ") else "field 'positions': "
        raise UserError(f"{frame.where} {field}{text}") from error
    return Sample(
        graph=graph,
        energy=frame.energy,
        forces=None if frame.forces is None else torch.from_numpy(frame.forces),
        stress=None if frame.stress is None else torch.from_numpy(frame.stress),
        volume=frame.volume,
        name=frame.name,
        weights=frame.weights,
    )


class GraphDataset(Sequence[Sample]):
    """The samples of some frames, their graphs built once."""

    def __init__(
        self,
        frames: Sequence[Frame],
        elements: Sequence[str],
        r_cut: float,
        progress: bool = False,
        description: str = "graphs",
    ) -> None:
        """Build all graphs.

        Args:
            frames: structures to take.
            elements: species order.
            r_cut: cutoff radius in A.
            progress: show a bar on a terminal.
            description: of the bar.

        Raises:
            UserError: an element is not in `elements`, two atoms are on one spot.
        """
        self.frames = list(frames)
        self.elements = tuple(elements)
        self.r_cut = r_cut
        # None: no bar where there is no terminal
        bar = tqdm(frames, description, unit="frame", disable=None if progress else True)
        self.samples = [make_sample(frame, elements, r_cut) for frame in bar]

    @property
    def shortest_edge(self) -> float:
        """Return the smallest distance of two atoms [A]; the cutoff radius where there is none."""
        lengths = [
            torch.linalg.vector_norm(sample.graph.edge_vectors, dim=1)
            for sample in self.samples
            if sample.graph.num_edges
        ]
        return float(torch.cat(lengths).min()) if lengths else self.r_cut

    def __len__(self) -> int:
        """Return the number of structures."""
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # no slices
        """Return one sample."""
        return self.samples[index]
