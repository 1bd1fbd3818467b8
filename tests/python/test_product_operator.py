# SPDX-License-Identifier: MIT
"""The compiled product basis against plain torch: values, first and second derivatives."""

from __future__ import annotations

import pytest
import torch
from model_toys import COMMON, VARIANTS, make_product_basis
from pyictp.model import kernels
from pyictp.model.products import Irrep
from torch import Tensor

pytestmark = pytest.mark.usefixtures("compiled_parts")
CASES = [name for name in VARIANTS if "coupled" not in name]


def random_a(
    irreps: list[Irrep], num_nodes: int, channels: int, dtype: torch.dtype
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [
        torch.randn(num_nodes, irrep.dim, channels, generator=generator, dtype=torch.float64)
        .to(dtype)
        .requires_grad_()
        for irrep in irreps
    ]


def weighted_sum(tensors: list[Tensor]) -> Tensor:
    return sum((t * t * torch.linspace(0.5, 1.5, t.numel()).view(t.shape)).sum() for t in tensors)


def derivatives(outputs: list[Tensor], leaves: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Return first derivatives of a nonlinear sum, and those of a nonlinear sum of these."""

    def gradient(value: Tensor, create_graph: bool) -> list[Tensor]:
        found = torch.autograd.grad(value, leaves, create_graph=create_graph, allow_unused=True)
        pairs = zip(found, leaves, strict=True)
        return [torch.zeros_like(leaf) if grad is None else grad for grad, leaf in pairs]

    first = gradient(weighted_sum(outputs), create_graph=True)
    if not any(grad.requires_grad for grad in first):
        return first, []
    return first, gradient(weighted_sum(first), create_graph=False)


@pytest.mark.parametrize("variant", CASES)
@pytest.mark.parametrize(("num_nodes", "channels"), [(0, 16), (1, 5), (37, 48)])
def test_product_and_its_derivatives(
    variant: str, num_nodes: int, channels: int, dtype: torch.dtype, threads: int
) -> None:
    assert torch.get_num_threads() == threads
    basis, irreps = make_product_basis(variant, channels, dtype)
    a = random_a(irreps, num_nodes, channels, dtype)
    species = torch.arange(num_nodes) % 2
    leaves = [*a, *basis.parameters()]
    results = []
    for fused in (True, False):
        kernels.use_operators(basis, fused)
        values = basis(a, species)
        results.append((values, *derivatives(values, leaves)))
    limits = {"atol": 1e-10, "rtol": 1e-10}
    if dtype == torch.float32:
        limits = {"atol": 1e-4, "rtol": 1e-4}
    for fused, plain in zip(*results, strict=True):
        for x, y in zip(fused, plain, strict=True):
            scale = max(1.0, y.abs().max().item() if y.numel() else 0.0)
            torch.testing.assert_close(x / scale, y / scale, **limits)


@pytest.mark.parametrize("variant", COMMON)
@pytest.mark.parametrize(("num_nodes", "channels"), [(0, 16), (1, 5), (37, 48)])
def test_tables_that_the_compiler_knows(
    variant: str, num_nodes: int, channels: int, dtype: torch.dtype, threads: int
) -> None:
    """Spanning paths of common models: without loops over terms, with them in another order."""
    assert torch.get_num_threads() == threads
    basis, irreps = make_product_basis(variant, channels, dtype)
    basis.requires_grad_(False)
    a = random_a(irreps, num_nodes, channels, dtype)
    species = torch.arange(num_nodes) % 2
    results = []
    for kind in ("plain", "known", "unknown"):
        kernels.use_operators(basis, kind != "plain")
        if kind == "unknown":
            last = slice(basis.products.offsets[-2], basis.products.offsets[-1])
            for table in (basis.products.terms, basis.products.values):
                table[last] = table[last].flip(0)
        values = basis(a, species)
        results.append([*values, *torch.autograd.grad(weighted_sum(values), a)])
    limit = 1e-12 if dtype == torch.float64 else 1e-5
    for plain, known, unknown in zip(*results, strict=True):
        scale = max(1.0, plain.abs().max().item() if plain.numel() else 0.0)
        torch.testing.assert_close(known / scale, plain / scale, atol=limit, rtol=0)
        torch.testing.assert_close(known / scale, unknown / scale, atol=limit, rtol=0)


def test_product_passes_gradcheck() -> None:
    basis, irreps = make_product_basis("symmetric", 2, torch.float64)
    a = random_a(irreps, 3, 2, torch.float64)
    operator = kernels.OperatorProducts(basis.products)
    weights = torch.cat(basis.weights(), dim=2).transpose(1, 2).detach().requires_grad_()
    species = torch.tensor([1, 0, 1])

    def compute(weights: Tensor, *a: Tensor) -> tuple[Tensor, ...]:
        tables = (operator.offsets, operator.terms, operator.values, operator.dims)
        return tuple(torch.ops.ictp.product_basis(a, weights, species, *tables))

    assert torch.autograd.gradcheck(compute, (weights, *a), fast_mode=True)
    assert torch.autograd.gradgradcheck(compute, (weights, *a), fast_mode=True)


def test_a_third_derivative_is_refused_not_wrong() -> None:
    basis, irreps = make_product_basis("symmetric", 4, torch.float64)
    kernels.use_operators(basis, True)
    a = random_a(irreps, 2, 4, torch.float64)
    values = basis(a, torch.tensor([0, 1]))
    first = torch.autograd.grad(weighted_sum(values), a, create_graph=True)
    with pytest.raises(RuntimeError, match="has two derivatives: for more, use plain PyTorch"):
        torch.autograd.grad(weighted_sum(list(first)), a, create_graph=True)


def test_wrong_operands_are_refused() -> None:
    basis, irreps = make_product_basis("symmetric", 4, torch.float64)
    kernels.use_operators(basis, True)
    a = random_a(irreps, 2, 4, torch.float64)
    with pytest.raises(RuntimeError, match="species beyond the 2 of the weights"):
        basis(a, torch.tensor([0, 2]))
    with pytest.raises(RuntimeError, match=r"expected \[3, 1, 4\] on the CPU"):
        basis(a, torch.tensor([0, 1, 0]))
