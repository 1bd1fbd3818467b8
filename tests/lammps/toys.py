# SPDX-License-Identifier: MIT
"""TorchScript models with a known answer, exported in the format of schema 2.

They stand in for trained networks: what LAMMPS gives for them is compared with formulas.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from pyictp.config.load import ModelConfig
from pyictp.model.ictp import ICTPModel
from pyictp.potential.exported import ATTRIBUTES, write_archive
from torch import Tensor, nn

ELEMENTS = ["Ta", "V", "W"]
E0 = [-1.5, 0.25, 3.0]
MASSES = [180.94788, 50.9415, 183.84]
STRENGTH = [[1.0, 0.6, 0.4], [0.6, 0.8, 0.7], [0.4, 0.7, 1.3]]


class _Toy(nn.Module):
    """The attributes that every exported file has."""

    def __init__(self, r_cut: float, num_layers: int, dtype: str) -> None:
        super().__init__()
        self.schema_version = 2
        self.num_models = 1
        self.has_grade = False
        self.elements = ELEMENTS
        self.r_cut = r_cut
        self.num_layers = num_layers
        self.dtype = dtype
        self.shortest_distances = [0.0] * 9  # nothing is known
        self.masses = MASSES
        self.reference_tolerance = 1e-8 if dtype == "float64" else 1e-4
        self.register_buffer("e0", torch.tensor(E0, dtype=torch.float64))
        self.register_buffer("strength", torch.tensor(STRENGTH, dtype=torch.float64))
        positions = torch.tensor(
            [[0.0, 0.0, 0.0], [1.0, 0.2, 0.0], [0.1, 1.1, 0.3]], dtype=torch.float64
        ) * (r_cut / 3.0)  # edges are shorter than r_cut
        index = torch.tensor([[0, 0, 1, 1, 2, 2], [1, 2, 0, 2, 0, 1]])
        self.register_buffer("reference_species", torch.arange(3))
        self.register_buffer("reference_edge_index", index)
        self.register_buffer("reference_edge_vectors", positions[index[1]] - positions[index[0]])
        self.register_buffer("reference_node_energies", torch.zeros(3, dtype=torch.float64))
        self.register_buffer("reference_forces", torch.zeros(3, 3, dtype=torch.float64))
        self.register_buffer("reference_virial", torch.zeros(3, 3, dtype=torch.float64))

    def fill_reference(self) -> None:
        """Store the energies, forces and virial of the reference structure."""
        energies, forces, virial, _ = evaluate(
            self, self.reference_species, self.reference_edge_index, self.reference_edge_vectors
        )
        self.reference_node_energies.copy_(energies)
        self.reference_forces.copy_(forces)
        self.reference_virial.copy_(virial)


class PairToy(_Toy):
    """E_i = e0 + 1/2 sum_j A (1 - r^2/r_cut^2)^3: everything is known in closed form."""

    def __init__(self, r_cut: float = 3.0, dtype: str = "float64") -> None:
        super().__init__(r_cut, 1, dtype)
        self.fill_reference()

    def forward(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> Tensor:
        center, neighbor = edge_index[0], edge_index[1]
        switch = 1.0 - (edge_vectors * edge_vectors).sum(1) / (self.r_cut * self.r_cut)
        pair = 0.5 * self.strength[species[center], species[neighbor]] * switch**3
        return self.e0[species[:num_local]].index_add(0, center, pair)


class MessageToy(_Toy):
    """Message passing: every layer adds the neighbors' features, weighted by directions too.

    The exchange operator stands before every layer but the first, as in the real model.
    """

    def __init__(
        self, r_cut: float = 3.0, num_layers: int = 3, width: int = 5, dtype: str = "float64"
    ) -> None:
        super().__init__(r_cut, num_layers, dtype)
        self.width = width
        generator = torch.Generator().manual_seed(7)
        kind = torch.float64 if dtype == "float64" else torch.float32
        self.register_buffer("embedding", torch.rand(3, width, generator=generator).to(kind))
        self.register_buffer("directions", torch.rand(3, width, generator=generator).to(kind))
        self.fill_reference()

    def forward(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> Tensor:
        center, neighbor = edge_index[0], edge_index[1]
        vectors = edge_vectors.to(self.embedding.dtype)
        switch = (1.0 - (vectors * vectors).sum(1) / (self.r_cut * self.r_cut)) ** 3
        weights = switch.unsqueeze(1) * (1.0 + vectors @ self.directions)  # (E, W)
        features = self.embedding[species]  # (N, W)
        for layer in range(self.num_layers):
            if layer > 0:
                features = torch.ops.ictp.exchange(features, species.size(0))
            messages = weights * features[neighbor]
            total = torch.zeros(
                num_local, self.width, dtype=messages.dtype, device=messages.device
            ).index_add(0, center, messages)
            features = torch.tanh(0.3 * total + 0.5 * features[:num_local].roll(1, 1))
        return self.e0[species[:num_local]] + features.to(torch.float64).mean(1)


class BoundToy(_Toy):
    """E_i = e0 + sum_j 2 A s^6 - sqrt(1 + sum_j s^3) with s = 1 - r^2/r_cut^2.

    Repulsion of pairs against an attraction by many bodies: crystals have a minimum.
    """

    def __init__(self, r_cut: float = 3.6, dtype: str = "float64") -> None:
        super().__init__(r_cut, 1, dtype)
        self.fill_reference()

    def forward(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> Tensor:
        center, neighbor = edge_index[0], edge_index[1]
        switch = 1.0 - (edge_vectors * edge_vectors).sum(1) / (self.r_cut * self.r_cut)
        density = torch.zeros(num_local, dtype=torch.float64, device=switch.device)
        density = density.index_add(0, center, switch**3)
        pair = 2.0 * self.strength[species[center], species[neighbor]] * switch**6
        energies = self.e0[species[:num_local]] - torch.sqrt(1.0 + density)
        return energies.index_add(0, center, pair)


class FragileToy(MessageToy):
    """A MessageToy that fails in some way where two atoms are closer than 0.7 A.

    failure: "raise 0" or "raise 2": an exception before the exchange of that layer; "energy" or
    "gradient": values that are no numbers.
    """

    failure = ""  # while the base class computes the reference structure

    def __init__(self, failure: str, num_layers: int = 3) -> None:
        super().__init__(num_layers=num_layers)
        self.failure = failure
        self.fill_reference()

    def forward(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> Tensor:
        center, neighbor = edge_index[0], edge_index[1]
        excess = (edge_vectors * edge_vectors).sum(1) - 0.49
        switch = (1.0 - (edge_vectors * edge_vectors).sum(1) / (self.r_cut * self.r_cut)) ** 3
        features = self.embedding[species]
        for layer in range(self.num_layers):
            if self.failure == "raise " + str(layer) and bool((excess < 0).any()):
                raise RuntimeError("atoms closer than 0.7 A")
            if layer > 0:
                features = torch.ops.ictp.exchange(features, species.size(0))
            total = torch.zeros(num_local, self.width, dtype=torch.float64)
            total = total.index_add(0, center, switch.unsqueeze(1) * features[neighbor])
            features = torch.tanh(0.3 * total + features[:num_local])
        energies = self.e0[species[:num_local]] + features.mean(1)
        root = torch.sqrt(excess)
        if self.failure == "energy":
            energies = energies.index_add(0, center, switch * root)
        if self.failure == "gradient":  # autograd multiplies the unused branch's NaN by 0
            safe = torch.where(excess > 0, root, torch.zeros_like(root))
            energies = energies.index_add(0, center, switch * safe)
        return energies


class LargeToy(MessageToy):
    """A MessageToy that has no memory, in PyTorch's words for a GPU, for more than `most` atoms."""

    most = 1000  # while the base class computes the reference structure

    def __init__(self, most: int) -> None:
        super().__init__(num_layers=2)
        self.most = most

    def forward(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> Tensor:
        features = self.embedding[species]
        features = torch.ops.ictp.exchange(features[:num_local], species.size(0))
        if num_local > self.most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")
        switch = 1.0 - (edge_vectors * edge_vectors).sum(1) / (self.r_cut * self.r_cut)
        pair = switch**3 * features[edge_index[1]].mean(1)
        return self.e0[species[:num_local]].index_add(0, edge_index[0], pair)


def export_toy(path: Path, toy: _Toy, **changes: object) -> Path:
    """Write a toy to a file, with attributes changed (to make a file that must be refused)."""
    scripted = torch.jit.script(toy)
    for name, value in changes.items():
        setattr(scripted, name, value)
    metadata = {"format": "ictp", **{name: getattr(scripted, name) for name in ATTRIBUTES}}
    write_archive(scripted, path, metadata)
    return path


def evaluate(
    toy: nn.Module, species: Tensor, edge_index: Tensor, edge_vectors: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return node energies, forces, virial and edge gradients in Python: all nodes are local."""
    vectors = edge_vectors.clone().requires_grad_(True)
    num_nodes = species.shape[0]
    energies = toy(species, edge_index, vectors, num_nodes)
    gradients = torch.zeros_like(vectors)
    if vectors.numel():
        (gradients,) = torch.autograd.grad(energies.sum(), vectors)
    forces = torch.zeros(num_nodes, 3, dtype=torch.float64)
    forces.index_add_(0, edge_index[0], gradients).index_add_(0, edge_index[1], -gradients)
    return energies.detach(), forces, -vectors.detach().T @ gradients, gradients


def pair_energy_forces_virial(
    species: np.ndarray, edge_index: np.ndarray, edge_vectors: np.ndarray, r_cut: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return PairToy's answer by hand: dE/dr of u(r) = A (1 - r^2/r_cut^2)^3, no autograd."""
    center, neighbor = edge_index
    strength = np.asarray(STRENGTH)[species[center], species[neighbor]]
    switch = 1.0 - (edge_vectors**2).sum(1) / r_cut**2
    energies = np.asarray(E0)[species]
    np.add.at(energies, center, 0.5 * strength * switch**3)
    force_on_center = (strength * 3 * switch**2 * (-2 / r_cut**2))[:, None] * edge_vectors
    forces = np.zeros((len(species), 3))
    np.add.at(forces, center, force_on_center)  # each pair is two edges: center's half only
    virial = -0.5 * edge_vectors.T @ force_on_center
    return energies, forces, virial


def make_network(seed: int = 0, num_layers: int = 3, r_cut: float = 3.5) -> ICTPModel:
    """Return an untrained network, small enough for many short runs."""
    torch.manual_seed(seed)
    config = ModelConfig(
        elements=tuple(ELEMENTS),
        r_cut=r_cut,
        num_layers=num_layers,
        num_channels=4,
        l_max_edge=2,
        l_max_hidden=1,
        correlation=2,
        radial_hidden=(8,),
        readout_hidden=(8,),
        avg_num_neighbors=20.0,
    )
    return ICTPModel(config).to(torch.float64)
