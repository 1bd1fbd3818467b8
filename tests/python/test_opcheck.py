# SPDX-License-Identifier: MIT
"""What PyTorch itself checks of a custom operator: schema, autograd registration, fake tensors.

Tracing by torch.compile is not among it: the operators have no kernels for symbolic shapes.
"""

from __future__ import annotations

import copy

import pytest
import torch
from model_toys import cluster_graph, make_cluster, make_model
from pyictp.model.kernels import operators_available
from pyictp.model.tabulate import tabulate_radial

CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor")
NAMES = ("edge_convolution", "table_convolution", "product_basis", "scaled_silu", "exchange")


def operands(name: str) -> tuple:
    """Return arguments of an operator as a model hands them over."""
    assert operators_available()
    model, graph = make_model(num_channels=16), cluster_graph(*make_cluster())
    layer = model.layers[0]
    convolution = layer.interaction.convolution
    arguments = graph.edge_index, graph.edge_vectors, graph.num_local, torch.float64
    edges = model.edges(*arguments)
    features = torch.randn(2, 1, 16, dtype=torch.float64, requires_grad=True)
    source = graph.species[edges.neighbor]
    if name == "edge_convolution":
        radial = layer.interaction.radial(edges).detach().requires_grad_()
        return (
            *(features, edges.harmonics, radial, source, edges.offsets),
            *(convolution.paths, convolution.offsets, convolution.terms, convolution.values),
        )
    if name == "table_convolution":
        tabulated = copy.deepcopy(model)
        tabulate_radial(tabulated, model)
        vectors = tabulated.edges(*arguments).vectors
        convolution = tabulated.layers[0].interaction.convolution
        knots = tabulated.layers[0].interaction.radial.knots
        return (
            *(features, vectors, knots, 3.0, source, edges.offsets),
            *(convolution.paths, convolution.offsets, convolution.terms, convolution.values),
        )
    if name == "product_basis":
        basis = layer.product
        a = [torch.randn(3, d, 16, dtype=torch.float64, requires_grad=True) for d in (1, 3, 5, 7)]
        weights = torch.cat(basis.weights(), dim=2).transpose(1, 2).detach()
        part = basis.products
        return a, weights, graph.species[:3], part.offsets, part.terms, part.values, part.dims
    return (features, 1.7) if name == "scaled_silu" else (features.flatten(1), 2)


@pytest.mark.parametrize("name", NAMES)
def test_operator_is_registered_as_pytorch_wants(name: str) -> None:
    arguments = operands(name)
    operator = getattr(torch.ops.ictp, name).default
    torch.library.opcheck(operator, arguments, test_utils=CHECKS)
