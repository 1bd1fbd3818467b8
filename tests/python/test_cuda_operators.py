# SPDX-License-Identifier: MIT
"""The operators on a GPU against the same operators on the CPU.

`tests/cpp/test_emulated_gpu.py` has the same cases where there is no GPU.
"""

from __future__ import annotations

import copy
from pathlib import Path

import operator_toys as toys
import pytest
import torch
from graph_toys import COUNTS, GraphCase, assert_same_graph
from model_toys import VARIANTS, make_model
from operator_toys import (
    CHANNELS,
    DEGREES,
    IRREPS,
    PRODUCT_SIZES,
    ConvolutionCase,
    GivenCase,
    ProductCase,
)
from pyictp.model.kernels import operators_available
from pyictp.model.tabulate import tabulate_radial
from pyictp.potential.export import export_model
from pyictp.potential.exported import load_exported
from torch import Tensor


def reason_to_skip() -> str | None:
    """Return why operators on a GPU cannot be tested here."""
    if not torch.cuda.is_available():
        return "PyTorch sees no CUDA device"
    if not operators_available():
        return "the compiled operators are not installed"
    if not torch.ops.ictp.serves(torch.zeros(1, device="cuda")):
        return "the operators were built without CUDA (ICTP_CUDA)"
    return None


SKIP = reason_to_skip()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(SKIP is not None, reason=SKIP or "")]


def assert_same(found: list[Tensor], expected: list[Tensor], dtype: torch.dtype) -> None:
    """Compare what is on the GPU."""
    assert all(x.is_cuda for x in found)
    toys.assert_same(found, expected, dtype)


@pytest.mark.parametrize("irreps", IRREPS)
@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("channels", CHANNELS)
def test_table_convolution(irreps: str, degrees: str, channels: int, dtype: torch.dtype) -> None:
    case = ConvolutionCase(irreps, degrees, channels, dtype)
    for found, expected in zip(case.compute("cuda"), case.compute("cpu"), strict=True):
        assert_same(found, expected, dtype)


@pytest.mark.parametrize("irreps", ["scalar", "pseudo", "common1", "rank5"])
@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("channels", [21, 64])
def test_convolution_of_training(
    irreps: str, degrees: str, channels: int, dtype: torch.dtype
) -> None:
    case = GivenCase(irreps, degrees, channels, dtype)
    for found, expected in zip(case.compute("cuda"), case.compute("cpu"), strict=True):
        assert_same(found, expected, dtype)


@pytest.mark.parametrize("top", [0, 1, 2])
@pytest.mark.parametrize(("num_nodes", "channels"), PRODUCT_SIZES)
def test_products_of_common_tables(
    top: int, num_nodes: int, channels: int, dtype: torch.dtype
) -> None:
    case = ProductCase(f"common{top}", num_nodes, channels, dtype)
    found, expected = (case.compute(device, weights_wanted=False) for device in ("cuda", "cpu"))
    for x, wanted in zip(found, expected, strict=True):
        assert_same(x, wanted, dtype)


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("watched", [True, False])
def test_graph(counts: str, watched: bool) -> None:
    case = GraphCase(counts, watched)
    found = case.compute("cuda")
    assert all(x.is_cuda for x in found)
    assert_same_graph(found, case.compute())
    assert_same_graph(found, case.expected())


@pytest.mark.parametrize("degrees", ["no_edges", "ragged"])
def test_tables_of_pairs_of_elements(degrees: str, dtype: torch.dtype) -> None:
    case = ConvolutionCase("vector", degrees, 21, dtype, num_tables=3)
    for found, expected in zip(case.compute("cuda"), case.compute("cpu"), strict=True):
        assert_same(found, expected, dtype)


@pytest.mark.parametrize("degrees", ["no_edges", "ragged"])
def test_mixing_after_the_convolution(degrees: str, dtype: torch.dtype) -> None:
    case = ConvolutionCase("vector", degrees, 21, dtype, num_mixed=13)
    for found, expected in zip(case.compute("cuda"), case.compute("cpu"), strict=True):
        assert_same(found, expected, dtype)


def test_gradients_of_vectors_alone(dtype: torch.dtype) -> None:
    case = ConvolutionCase("vector", "ragged", 64, dtype)
    _, found = case.compute("cuda", features_wanted=False)
    _, expected = case.compute("cpu", features_wanted=False)
    assert_same(found, expected, dtype)


def test_values_do_not_vary_from_run_to_run() -> None:
    case = ConvolutionCase("vector", "ragged", 64, torch.float32)
    first, again = case.compute("cuda")[0], case.compute("cuda")[0]
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))


@pytest.mark.parametrize("variant", [name for name in VARIANTS if "coupled" not in name])
@pytest.mark.parametrize(("num_nodes", "channels"), PRODUCT_SIZES)
def test_product_basis_and_two_derivatives(
    variant: str, num_nodes: int, channels: int, dtype: torch.dtype
) -> None:
    case = ProductCase(variant, num_nodes, channels, dtype)
    for found, expected in zip(case.compute("cuda"), case.compute("cpu"), strict=True):
        assert_same(found, expected, dtype)


def assert_models_agree(on_gpu: toys.Potential, on_cpu: toys.Potential, dtype: torch.dtype) -> None:
    pairs = zip(toys.predictions(on_gpu, "cuda"), toys.predictions(on_cpu), strict=True)
    for found, expected in pairs:
        assert_same(found, expected, dtype)


@pytest.mark.parametrize("variant", VARIANTS)
def test_exported_models(variant: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = make_model(variant, num_channels=21, num_product_channels=None)
    name = "float64" if dtype == torch.float64 else "float32"
    export_model(model, tmp_path / "model.pt", name)
    on_cpu, on_gpu = (load_exported(tmp_path / "model.pt", name) for name in ("cpu", "cuda"))
    assert_models_agree(on_gpu, on_cpu, dtype)


@pytest.mark.parametrize("variant", VARIANTS)
def test_tabulated_models(variant: str) -> None:
    exact = make_model(variant, num_channels=21, num_product_channels=None)
    model = copy.deepcopy(exact)
    tabulate_radial(model, exact)
    assert_models_agree(copy.deepcopy(model).to("cuda"), model, torch.float64)


def test_gradients_of_the_parameters() -> None:
    model = make_model()
    found, expected = (toys.gradients_of_the_parameters(model, name) for name in ("cuda", "cpu"))
    assert_same(found, expected, torch.float64)
