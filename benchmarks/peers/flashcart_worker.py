# SPDX-License-Identifier: MIT
"""FlashCart, random weights: energy, forces and stress of a graph that is built before.

Compiled: energy and forces. Runs in the virtual environment of the peer. The architecture is as
near as the package comes: the same ranks, channels, layers, correlation, radial network and
readout; products with summed paths (its class's default, the faster choice) and weights per
element; Chebyshev instead of Bessel functions. The neighbor list is outside the timing, which
favours the peer: ours has it inside.
"""

from __future__ import annotations

from typing import Any

import torch
from ase import Atoms
from flashcart.data.graph import graph_from_ase
from flashcart.model.flashcart import FlashCartPotential
from protocol import MakeStep, Step, serve


def build(case: dict[str, Any]) -> MakeStep:
    """Build the model of a case; return what makes a step of structures."""
    torch.set_num_threads(case["threads"])
    torch.manual_seed(0)
    dtype = getattr(torch, case["dtype"])
    torch.set_default_dtype(dtype)
    model = FlashCartPotential(
        elements=list(case["elements"]),
        r_max=case["r_cut"],
        n_hidden_feats=case["channels"],
        l_max_hidden_feats=case["l_max_hidden"],
        l_max_edge_attrs=3,
        n_radial=8,
        n_interactions=2,
        correlation=3,
        element_agnostic_product=False,
        hidden_radial=[64, 64, 64],
        hidden_readout=[16],
        avg_neighbors=case["avg_num_neighbors"],
        atomic_shifts=[0.0] * len(case["elements"]),
    )
    model.to(dtype).eval().requires_grad_(False)
    return lambda structures: evaluation(model, structures, case["compiled"])


def evaluation(model: FlashCartPotential, structures: list[dict[str, Any]], compiled: bool) -> Step:
    """Return a function that computes energy, forces and stress."""
    dtype = next(model.parameters()).dtype
    graph = graph_from_ase(Atoms(**structures[0]), model.elements, model.r_max)
    for name, value in graph.to_dict().items():
        if torch.is_tensor(value) and value.is_floating_point():
            setattr(graph, name, value.to(dtype))

    def step() -> None:
        model.predict(
            graph,
            compute_forces=True,
            compute_stress=not compiled,  # torch.compile takes no stress here
            use_compile=compiled,
            compile_mode="default",
        )

    return step


if __name__ == "__main__":
    serve(build)
