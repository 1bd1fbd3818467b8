# SPDX-License-Identifier: MIT
"""Edge gradients to forces and virials: the single place with signs.

With r = r_neighbor - r_center and g = dE/dr of every edge:

    force[center]   += g
    force[neighbor] -= g
    virial           = -sum r (x) g      LAMMPS' sign: sum over atoms of r_i (x) f_i
    stress           = -virial / volume  ASE's sign: dE/d(strain) / volume, tension positive
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pyictp.graph.graph import Graph

NodeEnergies = Callable[[Tensor, Tensor, Tensor, int], Tensor]


@dataclass(frozen=True)
class Prediction:
    """What a potential says of a graph, all float64."""

    energies: Tensor  # (B,) [eV] per structure
    node_energies: Tensor  # (num_local,) [eV]
    forces: Tensor  # (N, 3) [eV/A]; rows of ghosts belong to their owners
    virials: Tensor  # (B, 3, 3) [eV], LAMMPS' sign
    edge_gradients: Tensor  # (E, 3) dE/d(edge_vectors) [eV/A]


def evaluate_graph(model: NodeEnergies, graph: Graph, training: bool = False) -> Prediction:
    """Return energies and their derivatives.

    Args:
        model: maps species, edge_index, edge_vectors, num_local to node_energies (num_local,) [eV].
        graph: on the model's device.
        training: keep what a loss needs to be differentiated once more; else all is detached.
    """
    with torch.enable_grad():
        edge_vectors = graph.edge_vectors.detach().requires_grad_(True)
        node_energies = model(graph.species, graph.edge_index, edge_vectors, graph.num_local)
        node_energies = node_energies.to(torch.float64)
        gradients = _edge_gradients(node_energies.sum(), edge_vectors, training)
        if not training:
            node_energies, gradients = node_energies.detach(), gradients.detach()
        return assemble(graph, node_energies, gradients)


def _edge_gradients(energy: Tensor, edge_vectors: Tensor, training: bool) -> Tensor:
    """Return dE/d(edge_vectors), (E, 3) [eV/A]; zero where the energy knows no edge."""
    gradients = None
    if energy.requires_grad and edge_vectors.shape[0] > 0:
        (gradients,) = torch.autograd.grad(
            energy, edge_vectors, create_graph=training, allow_unused=True
        )
    return torch.zeros_like(edge_vectors) if gradients is None else gradients


def assemble(graph: Graph, node_energies: Tensor, edge_gradients: Tensor) -> Prediction:
    """Return the sums over nodes and edges.

    Args:
        graph: the structures.
        node_energies: (num_local,) in eV, float64.
        edge_gradients: (E, 3) dE/d(edge_vectors) in eV/A.
    """
    center, neighbor = graph.edge_index[0], graph.edge_index[1]
    gradients = edge_gradients.to(torch.float64)
    vectors = graph.edge_vectors.to(torch.float64)
    energies = node_energies.new_zeros(graph.num_structures)
    energies = energies.index_add(0, graph.structure_index[: graph.num_local], node_energies)
    forces = gradients.new_zeros(graph.num_nodes, 3)
    forces = forces.index_add(0, center, gradients).index_add(0, neighbor, -gradients)
    products = vectors[:, :, None] * gradients[:, None, :]  # (E, 3, 3)
    virials = gradients.new_zeros(graph.num_structures, 3, 3)
    virials = virials.index_add(0, graph.structure_index[center], -products)
    return Prediction(energies, node_energies, forces, virials, edge_gradients)


def virials_of_nodes(graph: Graph, edge_gradients: Tensor) -> Tensor:
    """Return virials of atoms (N, 3, 3) [eV], LAMMPS' sign: half an edge's to each of its ends.

    Args:
        graph: the structures.
        edge_gradients: (E, 3) dE/d(edge_vectors) in eV/A.
    """
    gradients, vectors = edge_gradients.to(torch.float64), graph.edge_vectors.to(torch.float64)
    halves = -0.5 * vectors[:, :, None] * gradients[:, None, :]  # (E, 3, 3)
    virials = gradients.new_zeros(graph.num_nodes, 3, 3)
    return virials.index_add(0, graph.edge_index[0], halves).index_add(
        0, graph.edge_index[1], halves
    )


def stress_from_virial(virials: Tensor, volumes: Tensor) -> Tensor:
    """Return stresses (B, 3, 3) [eV/A^3] in ASE's sign, symmetric.

    Args:
        virials: (B, 3, 3) in eV, LAMMPS' sign.
        volumes: (B,) or (1,) in A^3.
    """
    symmetric = 0.5 * (virials + virials.transpose(-1, -2))
    return -symmetric / volumes[:, None, None]
