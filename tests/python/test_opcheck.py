# SPDX-License-Identifier: MIT
"""What PyTorch itself checks of custom operators, on every operator that models call."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from graph_toys import GraphCase
from model_toys import OperatorCalls, cluster_graph, make_cluster, make_model
from pyictp.graph.derivatives import evaluate_graph
from pyictp.model.tabulate import tabulate_radial
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_map

pytestmark = pytest.mark.usefixtures("compiled_parts")

WHOLE = {"edge_convolution", "table_convolution", "product_basis", "scaled_silu", "interpolate"}
WHOLE |= {"exchange", "mix_channels", "table_convolution.mixed"}
PARTS = ["edge_convolution_forward", "edge_convolution_backward", "table_convolution_forward"]
PARTS += ["product_basis_forward", "product_basis_backward", "interpolate_contract"]
PARTS += ["mix_channels_forward"]
PARTS += ["scaled_silu_forward", "scaled_silu_first", "exchange_ghosts", "exchange_ghosts_backward"]
# where derivatives end
LAST = ["table_convolution_backward", "product_basis_tangent", "scaled_silu_second"]
LAST += ["edges_within", "edge_sums", "edge_virials"]


def copied(value: Any, last: bool) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.detach().clone().requires_grad_(value.requires_grad and not last)


@pytest.fixture(scope="module")
def operands() -> dict[str, tuple[Any, ...]]:
    """Return what training, an exported model and the halo exchange call operators with."""
    graph = cluster_graph(*make_cluster())
    model = make_model(num_channels=5)
    tabulated = copy.deepcopy(model)
    tabulate_radial(tabulated, model)
    model.interpolate_radial(0.8, 64)
    model.train()
    with OperatorCalls() as calls:
        forces = evaluate_graph(model, graph, training=True).forces
        forces.square().sum().backward()
        evaluate_graph(tabulated, graph)
        features = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
        torch.ops.ictp.exchange_ghosts(features, 0).sum().backward()
        GraphCase("dense").compute(r_cut=100.0)  # of what is farther nothing is written
    return {
        name: tree_map(partial(copied, last=name in LAST), x) for name, x in calls.operands.items()
    }


def test_no_operator_is_left_out() -> None:
    names = torch._C._dispatch_get_all_op_names()
    registered = {name.removeprefix("ictp::") for name in names if name.startswith("ictp::")}
    assert registered == {*WHOLE, *PARTS, *LAST, "serves"}


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # by opcheck, PyTorch 2.15
@pytest.mark.parametrize("name", PARTS + LAST)
def test_operator_is_what_pytorch_wants(name: str, operands: dict[str, tuple[Any, ...]]) -> None:
    """Those of `WHOLE` are made of these."""
    torch.library.opcheck(getattr(torch.ops.ictp, name).default, operands[name])


@pytest.mark.parametrize("tabulated", [False, True])
def test_torch_export_follows_a_model(tabulated: bool) -> None:
    """With one graph for structures of any size."""
    model = make_model().eval()
    if tabulated:
        tabulate_radial(model, copy.deepcopy(model))
    any_size = torch.export.Dim.DYNAMIC
    shapes = {0: any_size}, {1: any_size}, {0: any_size}, any_size
    program = torch.export.export(model, operands_of(12), dynamic_shapes=shapes)
    called = {str(node.target).split(".")[1] for node in program.graph.nodes if is_ours(node)}
    kind = "table_convolution" if tabulated else "edge_convolution"
    assert called == {kind, "product_basis", "mix_channels", "scaled_silu", "serves"}
    for size in (12, 7):
        found = program.module()(*operands_of(size))
        torch.testing.assert_close(found, model(*operands_of(size)), rtol=0, atol=0)


@pytest.mark.parametrize("tabulated", [False, True])
def test_gradients_are_traced_by_shapes_alone(tabulated: bool) -> None:
    model = make_model().eval().requires_grad_(False)
    if tabulated:
        tabulate_radial(model, copy.deepcopy(model))

    def edge_gradients(species: Tensor, index: Tensor, vectors: Tensor, num_local: int) -> Tensor:
        vectors = vectors.requires_grad_()
        energies = model(species, index, vectors, num_local)
        return torch.autograd.grad(energies.sum(), vectors)[0]

    *tensors, num_local = operands_of(12)
    trace = make_fx(
        partial(edge_gradients, num_local=num_local),
        tracing_mode="symbolic",
        _allow_non_fake_inputs=True,
    )
    traced = trace(*tensors)
    called = {str(node.target).split(".")[1] for node in traced.graph.nodes if is_ours(node)}
    kind = "table_convolution" if tabulated else "edge_convolution"
    parts = {"product_basis_backward", "mix_channels_forward", "scaled_silu_first"}
    assert {f"{kind}_backward", *parts} <= called
    torch.testing.assert_close(traced(*tensors), edge_gradients(*tensors, num_local))


def operands_of(num_atoms: int) -> tuple[Tensor, Tensor, Tensor, int]:
    graph = cluster_graph(*make_cluster(num_atoms))
    return graph.species, graph.edge_index, graph.edge_vectors.detach(), graph.num_local


def is_ours(node: torch.fx.Node) -> bool:
    return str(node.target).startswith("ictp.")
