# SPDX-License-Identifier: MIT
"""SevenNet-0 by sevenn: energy, forces and stress of a graph that is built before.

Runs in the virtual environment of the peer. The neighbor list is outside the timing, which favours
the peer: ours has it inside.
"""

from __future__ import annotations

from typing import Any

import torch
from ase import Atoms
from protocol import MakeStep, Step, serve
from sevenn.atom_graph_data import AtomGraphData
from sevenn.calculator import SevenNetCalculator
from sevenn.train.dataload import unlabeled_atoms_to_graph


def build(case: dict[str, Any]) -> MakeStep:
    """Read the released model; return what makes a step of one structure."""
    torch.set_num_threads(case["threads"])
    calculator = SevenNetCalculator(case["checkpoint"], device="cpu")
    return lambda structures: evaluation(calculator, structures)


def evaluation(calculator: SevenNetCalculator, structures: list[dict[str, Any]]) -> Step:
    """Return a function that computes energy, forces and stress of a structure."""
    atoms = Atoms(**structures[0])
    graph = unlabeled_atoms_to_graph(atoms, calculator.cutoff, with_shift=False)
    data = AtomGraphData.from_numpy_dict(graph)
    return lambda: calculator.model(data.clone())


if __name__ == "__main__":
    serve(build)
