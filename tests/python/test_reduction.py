# SPDX-License-Identifier: MIT
"""Spanning paths of the product basis carry the weights of all: the same function, fewer terms."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from model_toys import VARIANTS, cluster_graph, make_cluster, make_model
from pyictp.graph.derivatives import evaluate_graph
from pyictp.model.ictp import ICTPModel
from pyictp.model.powers import Products
from pyictp.model.reduction import reduce_paths


def reduced(model: ICTPModel) -> ICTPModel:
    found = copy.deepcopy(model)
    found.use_operators(False)
    reduce_paths(found)
    return found


def bases(model: ICTPModel) -> list[Products]:
    return [part for part in model.modules() if isinstance(part, Products)]


@pytest.mark.parametrize("operators", [False, True], ids=["plain", "operators"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_reduced_model_is_the_model(variant: str, operators: bool) -> None:
    model = make_model(variant)
    lean = reduced(model)
    lean.use_operators(operators)
    graph = cluster_graph(*make_cluster())
    expected, found = (evaluate_graph(one, graph) for one in (model, lean))
    torch.testing.assert_close(found.node_energies, expected.node_energies, rtol=0, atol=1e-11)
    torch.testing.assert_close(found.forces, expected.forces, rtol=0, atol=1e-11)


def test_paths_that_vanish_are_left_out() -> None:
    """A x A is nothing where the product is antisymmetric."""
    model = make_model("odd", symmetric_product=False)
    lean = reduced(model)
    graph = cluster_graph(*make_cluster())
    expected, found = (evaluate_graph(one, graph) for one in (model, lean))
    torch.testing.assert_close(found.forces, expected.forces, rtol=0, atol=1e-11)
    symmetric = reduced(make_model("odd"))  # without them from the beginning
    kept = [[int(b.kept.sum()) for b in bases(one)] for one in (lean, symmetric)]
    assert kept[0] == kept[1]


@pytest.mark.parametrize(
    ("l_max_hidden", "correlation", "weights", "terms"),
    [(0, 3, 13, 128), (1, 3, 29, 239), (2, 3, 49, 399), (1, 2, 9, 87)],
)
def test_numbers_of_weights_and_terms(
    l_max_hidden: int, correlation: int, weights: int, terms: int
) -> None:
    """As many weights as symmetric tensors: 8, 12, 14 cubes, 4, 3, 5 squares, 1 of A itself."""
    config = dataclasses.replace(
        make_model().config, l_max_edge=3, l_max_hidden=l_max_hidden, correlation=correlation
    )
    model = ICTPModel(config).double()
    model.use_operators(False)
    before = len(bases(model)[0].polynomial().terms)
    lean = bases(reduced(model))[0]
    assert lean.kept is not None
    assert int(lean.kept.sum()) == weights
    assert len(lean.polynomial().terms) <= min(terms, before)


def test_paths_left_out_have_weight_zero() -> None:
    lean = reduced(make_model())
    (first, *_) = [part for part in lean.modules() if hasattr(part, "products")]
    weights = torch.cat(first.weights(), dim=2)
    assert not weights[:, :, ~first.products.kept].any()
    assert weights[:, :, first.products.kept].all()
