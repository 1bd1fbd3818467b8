# SPDX-License-Identifier: MIT
"""Small random models and structures for the tests of the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pyictp.config.load import ModelConfig
from pyictp.graph.derivatives import Prediction, evaluate_graph
from pyictp.graph.graph import Graph, build_graph
from pyictp.model.ictp import ICTPModel
from pyictp.model.product_basis import ProductBasis
from pyictp.model.products import Irrep
from pyictp.model.reduction import reduce_paths
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

VARIANTS = {
    "full": {"symmetric_product": False},
    "symmetric": {},
    "coupled": {"coupled_product": True, "num_product_channels": 3},
    "odd": {"odd_products": True},
    "odd_coupled": {"odd_products": True, "coupled_product": True},
    "rank4": {"l_max_edge": 4, "l_max_hidden": 2},
    "three_layers": {"num_layers": 3, "l_max_edge": 2, "l_max_hidden": 2},
    "one_layer": {"num_layers": 1},
    "scalar": {"l_max_edge": 0, "l_max_hidden": 0},
    "correlation1": {"correlation": 1},
    "correlation2": {"correlation": 2, "symmetric_product": False},
    "correlation4": {"correlation": 4, "l_max_edge": 2},
}

# product bases that kernels are made for, of spanning paths alone
COMMON = {f"common{top}": {"l_max_edge": 3, "l_max_hidden": top} for top in range(3)}


def make_model(variant: str = "symmetric", seed: int = 0, **changes: object) -> ICTPModel:
    """Return a random float64 model of two elements, energies of order 1 eV."""
    torch.manual_seed(seed)
    settings = {
        "elements": ("H", "O"),
        "r_cut": 3.0,
        "num_channels": 4,
        "radial_hidden": (16, 16),
        "avg_num_neighbors": 2.0,
    }
    model = ICTPModel(ModelConfig(**(settings | VARIANTS[variant] | changes))).double()
    num_species = len(model.config.elements)
    model.shift.copy_(torch.linspace(-1.0, -3.0, num_species))
    model.scale.copy_(torch.linspace(1.3, 0.7, num_species))
    return model


def make_product_basis(
    variant: str, channels: int, dtype: torch.dtype
) -> tuple[ProductBasis, list[Irrep]]:
    """Return a random product basis of two elements, and the irreps it takes."""
    torch.manual_seed(3)
    settings = {"elements": ("H", "O"), "num_channels": channels} | (VARIANTS | COMMON)[variant]
    config = ModelConfig(**settings)
    irreps = [Irrep(rank) for rank in range(config.l_max_edge + 1)]
    if config.odd_products:
        irreps += [Irrep(rank, True) for rank in range(1, 3)]
    basis = ProductBasis(config, irreps, config.l_max_hidden).double()
    if variant in COMMON:
        reduce_paths(nn.ModuleList([basis]))
    return basis.to(dtype), irreps


def make_cluster(num_atoms: int = 7, seed: int = 1) -> tuple[Tensor, np.ndarray]:
    """Return positions (N, 3) [A] without close pairs or symmetry, and species (N,)."""
    generator = np.random.default_rng(seed)
    positions = np.empty((0, 3))
    while len(positions) < num_atoms:
        trial = generator.uniform(0, 3.2, 3)
        if len(positions) == 0 or np.linalg.norm(positions - trial, axis=1).min() > 0.9:
            positions = np.vstack([positions, trial])
    return torch.from_numpy(positions), generator.integers(0, 2, num_atoms)


def cluster_graph(positions: Tensor, species: np.ndarray, r_cut: float = 3.0) -> Graph:
    """Return the graph of atoms without a cell."""
    return build_graph(positions.numpy(), np.zeros((3, 3)), False, species, r_cut)


def predict(model: ICTPModel, positions: Tensor, species: np.ndarray) -> Prediction:
    """Return what the model says of a cluster."""
    return evaluate_graph(model, cluster_graph(positions, species, model.config.r_cut))


def rotation(seed: int = 2) -> Tensor:
    """Return a random proper rotation (3, 3)."""
    matrix = torch.linalg.qr(torch.from_numpy(np.random.default_rng(seed).normal(size=(3, 3)))).Q
    return matrix * torch.linalg.det(matrix)


def rotate_compact(rank: int, matrix: Tensor) -> Tensor:
    """Return how an orthogonal matrix acts on compact tensors, (2l+1, 2l+1), from 3^l."""
    from pyictp.model.cartesian import irreducible_basis

    big = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(rank):
        big = torch.kron(big, matrix)
    basis = irreducible_basis(rank)
    return basis @ big @ basis.T


class OperatorCalls(TorchDispatchMode):
    """Keeps the operands of the first call, and of every one, of operators of this project."""

    def __init__(self) -> None:
        super().__init__()
        self.operands: dict[str, tuple[Any, ...]] = {}
        self.every: dict[str, list[tuple[Any, ...]]] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == "ictp":
            self.operands.setdefault(function._opname, args)
            self.every.setdefault(function._opname, []).append(args)
        return function(*args, **(kwargs or {}))
