#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Build on a trained model in plain PyTorch: energies, features, gradients of all kinds.

python docs/interop/checkpoint.py RUN/best.pt FRAMES.xyz
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from ase.io import read
from pyictp.data.samples import species_of
from pyictp.graph.derivatives import evaluate_graph
from pyictp.graph.graph import build_graph
from pyictp.model.ictp import ICTPModel
from pyictp.potential.checkpoint import build_model
from torch import Tensor


def main() -> None:
    """Print what the model says of the first frame of a file, and what can be taken from inside."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="best.pt of a training folder")
    parser.add_argument("frames", help="anything ASE reads")
    args = parser.parse_args()

    # tensors and plain values only: no code of the file runs
    payload = torch.load(args.checkpoint, weights_only=True)
    model = build_model(payload, torch.float64).eval()  # an ordinary torch.nn.Module
    atoms = read(args.frames, 0)
    species = species_of(atoms.numbers, model.config.elements)
    graph = build_graph(
        atoms.positions, np.array(atoms.cell), atoms.pbc, species, model.config.r_cut
    )

    prediction = evaluate_graph(model, graph)
    print(f"{atoms.get_chemical_formula()}: {prediction.energies.item():.6f} eV")
    print(f"largest force {prediction.forces.norm(dim=1).max().item():.6f} eV/A")

    features = last_features(model, graph)
    print("features of the last layer " + " ".join(str(tuple(f.shape)) for f in features))

    # the energy differentiated with respect to the parameters
    model.zero_grad()
    energy = model(graph.species, graph.edge_index, graph.edge_vectors, graph.num_local).sum()
    energy.backward()
    report("energy", model)

    # a loss on forces: differentiated twice; `training=True` keeps what that needs
    model.zero_grad()
    forces = evaluate_graph(model, graph, training=True).forces
    forces.square().sum().backward()
    report("sum of squared forces", model)


def last_features(model: ICTPModel, graph: object) -> list[Tensor]:
    """Return the features of the last layer: (N, 2*rank+1, channels) per irrep, scalars first.

    Scalars do not change under rotations: descriptors of atomic environments.
    """
    taken: list[Tensor] = []
    hook = model.layers[-1].register_forward_hook(lambda _m, _i, output: taken.extend(output))
    with torch.no_grad():
        model(graph.species, graph.edge_index, graph.edge_vectors, graph.num_local)
    hook.remove()
    return taken


def report(name: str, model: ICTPModel) -> None:
    """Print which parameters a gradient is largest for."""
    norms = {n: p.grad.norm().item() for n, p in model.named_parameters() if p.grad is not None}
    largest = max(norms, key=norms.__getitem__)
    print(f"gradient of the {name}: {len(norms)} tensors, largest {norms[largest]:.4e} ({largest})")


if __name__ == "__main__":
    main()
