# SPDX-License-Identifier: MIT
"""Fewer paths for the same product basis: what only evaluates a model need not have them all.

All factors of a power are the same A, so paths that differ in the order of their couplings are
linear combinations of each other. A spanning part of them carries the weights of all, exactly, and
the polynomial that the operator evaluates has about half as many terms. Training keeps all paths:
the weights of checkpoints are theirs.
"""

from __future__ import annotations

from itertools import chain

import numpy as np
import torch
from torch import nn

from pyictp.common.arrays import BoolArray, FloatArray
from pyictp.model.polynomial import terms_left
from pyictp.model.powers import Products
from pyictp.model.product_basis import ProductBasis

NUM_TRIALS = 1000  # exchanges of two paths
INDEPENDENT = 0.1  # part of a path of length 1 that is none of others: float32 loses a digit
EXACT = 1e-10  # largest deviation of a path from its combination of spanning ones, relative


def reduce_paths(model: nn.Module) -> None:
    """Move the weights of product bases to spanning paths; those of all others become zero.

    Bases whose weights mix channels stay as they are.

    Args:
        model: in float64, in plain PyTorch; changed.
    """
    for part in model.modules():
        if isinstance(part, ProductBasis) and type(part.products) is Products:
            _reduce(part, part.products)


def _reduce(basis: ProductBasis, products: Products) -> None:
    groups = path_values(products, [weight.shape[2] for weight in basis.weights()])
    kept = spanning_paths(products, groups)
    start = 0
    with torch.no_grad():
        for weight, values in zip(basis.weights(), groups, strict=True):
            chosen = kept[start : start + weight.shape[2]]
            start += len(chosen)
            combination = np.zeros((len(chosen), len(chosen)))  # spanning path, path
            combination[chosen] = np.linalg.lstsq(values[:, chosen], values, rcond=None)[0]
            deviation = np.abs(values @ combination - values).max()
            assert deviation <= EXACT * max(1.0, np.abs(values).max())
            weight.copy_(weight @ torch.from_numpy(combination).T)
    products.kept = torch.from_numpy(kept)


def path_values(products: Products, num_paths: list[int]) -> list[FloatArray]:
    """Return the components (M, P) of all paths of every set of weights at random A.

    M is large enough for their ranks to be those of the polynomials.
    """
    generator = torch.Generator().manual_seed(0)
    irreps_a, total = products.recipe[0], sum(num_paths)
    points = max(num_paths) + 10
    a = [
        torch.randn(points, irrep.dim, 1, generator=generator, dtype=torch.float64)
        for irrep in irreps_a
    ]
    # every channel sees one path alone
    alone = torch.eye(total, dtype=torch.float64).unsqueeze(0)  # (S, C', rows)
    weights = list(alone.split(num_paths, dim=2))
    species = torch.zeros(points, dtype=torch.int64)
    basis = products([t.expand(-1, -1, total) for t in a], weights, species)
    targets = [*chain.from_iterable(products.target), *products.last_target]
    values = [basis[target].split(num_paths, dim=2)[i] for i, target in enumerate(targets)]
    return [v.reshape(-1, v.shape[2]).numpy() for v in values]


def spanning_paths(products: Products, groups: list[FloatArray]) -> BoolArray:
    """Return which paths, of all sets of weights side by side, span the rest with few terms.

    From a spanning set on, a path takes the place of another while there are not more terms then.

    Args:
        products: of all paths.
        groups: the values (M, P) of the paths of every set of weights.
    """
    table, random = products.polynomial(), np.random.default_rng(0)
    triangles = [np.linalg.qr(_normalized(values))[1] for values in groups]
    kept = [_independent(triangle) for triangle in triangles]
    fewest = len(table.terms)
    dependent = [number for number, chosen in enumerate(kept) if not chosen.all()]
    for _ in range(NUM_TRIALS if dependent else 0):
        number = random.choice(dependent)
        chosen, triangle = kept[number], triangles[number]
        new = random.choice(np.flatnonzero(~chosen))
        parts = np.linalg.lstsq(triangle[:, chosen], triangle[:, new], rcond=None)[0]
        candidates = np.flatnonzero(chosen)[np.abs(parts) > INDEPENDENT]
        if not len(candidates):
            continue
        old = random.choice(candidates)
        other = chosen.copy()
        other[new], other[old] = True, False
        trial = [*kept[:number], other, *kept[number + 1 :]]
        terms = terms_left(table, *products.sizes, torch.from_numpy(np.concatenate(trial)))
        if int(terms.sum()) <= fewest:
            kept, fewest = trial, int(terms.sum())
    return np.concatenate(kept)


def _normalized(values: FloatArray) -> FloatArray:
    """Return columns of length 1, or 0: A x A is nothing where the product is antisymmetric."""
    lengths = np.linalg.norm(values, axis=0)
    return values / np.where(lengths > EXACT, lengths, np.inf)  # of what is of order 1


def _independent(triangle: FloatArray) -> BoolArray:
    """Return columns that span all, by pivoting: each is the one farthest from those before."""
    rest, chosen = triangle.copy(), np.zeros(triangle.shape[1], bool)
    while True:
        lengths = np.linalg.norm(rest, axis=0)
        new = int(np.argmax(lengths))
        if lengths[new] < INDEPENDENT:
            return chosen
        chosen[new] = True
        direction = rest[:, new] / lengths[new]
        rest -= np.outer(direction, direction @ rest)
