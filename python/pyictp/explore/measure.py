# SPDX-License-Identifier: MIT
"""How good the models of a cycle are: errors and uncertainty on structures held back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pyictp.batch import evaluate_graphs
from pyictp.data import Frame
from pyictp.dataset import make_sample
from pyictp.evaluate import evaluate_frames
from pyictp.explore.settings import DEVIATION
from pyictp.exported import ExportedPotential, load_exported
from pyictp.graph import Graph

KEYS = (
    *("energy_mae_mev_per_atom", "energy_rmse_mev_per_atom"),
    *("force_mae_mev_per_a", "force_rmse_mev_per_a"),
)


def measure(model: Path, frames: Sequence[Frame], by: str) -> dict[str, Any]:
    """Return errors of the mean of all models, and the largest uncertainty, on labelled frames.

    Args:
        model: exported file.
        frames: with labels.
        by: deviation [eV/A] or grade.
    """
    potential = load_exported(model)
    found = evaluate_frames(potential, frames)
    graphs = [make_sample(f, potential.elements, potential.r_cut).graph for f in frames]
    largest = [_uncertainties(potential, graph, by).max().item() for graph in graphs]
    return {
        "num_structures": len(frames),
        **{key: found[key] for key in KEYS},
        f"largest_{by}": max(largest),
        f"mean_largest_{by}": sum(largest) / len(largest),
    }


def _uncertainties(potential: ExportedPotential, graph: Graph, by: str) -> torch.Tensor:
    """Return (N,) the uncertainty of each atom, as the pair style has it."""
    if by != DEVIATION:
        return potential.grades(
            graph.species, graph.edge_index, graph.edge_vectors, graph.num_local
        )
    members = [potential.member(index) for index in range(potential.num_models)]
    forces = torch.stack(
        [next(evaluate_graphs(member, [graph])).forces for member in members]
    )  # (K, N, 3)
    return (forces - forces.mean(0)).square().sum(2).mean(0).sqrt()
