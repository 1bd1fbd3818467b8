# SPDX-License-Identifier: MIT
"""The operators' CUDA kernels, on an emulated GPU, against the same operators on the CPU.

What makes a GPU what it is varies: the order in which threads run, and the memory of a block.
`tests/python/test_cuda_operators.py` has the same cases on a real one.
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from emulated import H200, EmulatedGPU, library, operator_names
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
    assert_same,
    gradients_of_the_parameters,
    predictions,
)
from pyictp.model.tabulate import tabulate_radial
from pyictp.potential.export import export_model
from pyictp.potential.exported import load_exported

pytestmark = [pytest.mark.usefixtures("compiled_parts"), pytest.mark.timeout(600)]
FORWARD, BACKWARD = "table_convolution_forward", "table_convolution_backward"
PRODUCTS = [f"product_basis_{name}" for name in ("forward", "backward", "tangent")]
TABLE = {FORWARD, BACKWARD}
GIVEN = {"edge_convolution_forward", "edge_convolution_backward"}
GRAPH = {"edges_within", "edge_sums", "edge_virials"}
LEAST = 48 << 10  # bytes that a block may have on any GPU


@pytest.fixture(scope="module", autouse=True)
def emulated_operators() -> None:
    """Compile once, and fail once if that fails."""
    library()


def compare(
    case: ConvolutionCase | GivenCase | ProductCase,
    gpu: EmulatedGPU,
    dtype: torch.dtype,
    **wanted: bool,
) -> None:
    """Compute on both, and see that the emulated GPU has done something."""
    expected = case.compute("cpu", **wanted)
    before = gpu.num_blocks
    with gpu:
        computed = case.compute("cpu", **wanted)
    for found, wanted in zip(computed, expected, strict=True):
        assert_same(found, wanted, dtype)
    assert gpu.calls
    has_nodes = not isinstance(case, ProductCase) or len(case.species) > 0
    assert (gpu.num_blocks > before) == has_nodes


@pytest.mark.parametrize(
    ("irreps", "degrees", "channels"),
    [
        ("scalar", "dense", 1),
        ("vector", "no_edges", 32),
        ("vector", "one_node", 96),
        ("vector", "ragged", 33),
        ("pseudo", "ragged", 21),
        ("rank5", "dense", 5),
        ("common0", "ragged", 33),
        ("common1", "one_node", 96),
        ("common1", "no_edges", 32),
        ("common1", "ragged", 66),
        ("common2", "ragged", 21),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_table_convolution(
    irreps: str, degrees: str, channels: int, seed: int, dtype: torch.dtype
) -> None:
    gpu = EmulatedGPU(seed)
    compare(ConvolutionCase(irreps, degrees, channels, dtype), gpu, dtype)
    assert gpu.calls == dict.fromkeys(TABLE, 1)


@pytest.mark.parametrize("irreps", ["vector", "common1"])
@pytest.mark.parametrize("degrees", ["no_edges", "ragged"])
def test_tables_of_pairs_of_elements(irreps: str, degrees: str, dtype: torch.dtype) -> None:
    compare(ConvolutionCase(irreps, degrees, 21, dtype, num_tables=3), EmulatedGPU(1), dtype)


@pytest.mark.parametrize("degrees", ["no_edges", "ragged"])
def test_mixing_after_the_convolution(degrees: str, dtype: torch.dtype) -> None:
    compare(ConvolutionCase("vector", degrees, 21, dtype, num_mixed=13), EmulatedGPU(1), dtype)


@pytest.mark.parametrize(
    ("irreps", "degrees", "channels"),
    [
        ("scalar", "dense", 1),
        ("vector", "no_edges", 32),
        ("vector", "one_node", 96),
        ("common1", "ragged", 33),
        ("pseudo", "dense", 5),
        ("rank5", "dense", 5),
    ],
)
def test_convolution_of_training_and_two_derivatives(
    irreps: str, degrees: str, channels: int, dtype: torch.dtype
) -> None:
    gpu = EmulatedGPU(seed=1)
    compare(GivenCase(irreps, degrees, channels, dtype), gpu, dtype)
    assert set(gpu.calls) == GIVEN


@pytest.mark.parametrize("variant", ["symmetric", "full", "odd"])
@pytest.mark.parametrize(("num_nodes", "channels"), [(0, 16), (1, 5), (37, 3)])
def test_product_basis_and_two_derivatives(
    variant: str, num_nodes: int, channels: int, dtype: torch.dtype
) -> None:
    gpu = EmulatedGPU(seed=1)
    compare(ProductCase(variant, num_nodes, channels, dtype), gpu, dtype)
    assert set(gpu.calls) == set(PRODUCTS)


@pytest.mark.parametrize("top", [0, 1, 2])
@pytest.mark.parametrize(("num_nodes", "channels"), [(0, 16), (1, 5), (37, 21)])
def test_products_of_common_tables(
    top: int, num_nodes: int, channels: int, dtype: torch.dtype
) -> None:
    case = ProductCase(f"common{top}", num_nodes, channels, dtype)
    compare(case, EmulatedGPU(seed=1), dtype)
    compare(case, EmulatedGPU(seed=1), dtype, weights_wanted=False)


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_graph(counts: str, seed: int) -> None:
    compare_graph(GraphCase(counts), EmulatedGPU(seed))


def compare_graph(case: GraphCase, gpu: EmulatedGPU) -> None:
    """Compare edges and sums with those of the CPU and with plain sums."""
    expected, before = case.compute(), gpu.num_blocks
    with gpu:
        found = case.compute()
    assert_same_graph(found, expected)
    assert_same_graph(found, case.expected())
    assert set(gpu.calls) == GRAPH
    assert (gpu.num_blocks > before) == (case.num_local > 0)


def test_graph_of_positions_that_are_not_finite() -> None:
    case = GraphCase("ragged")
    case.positions[case.node_atoms[1]] = torch.nan
    with EmulatedGPU(seed=1):
        _, vectors, offsets, _ = torch.ops.ictp.edges_within(*case.operands(), 1e-3)
    assert offsets.tolist()[1:3] == [0, 70]
    assert vectors[:70].isnan().all()


def test_every_operator_with_a_kernel_is_tested() -> None:
    assert operator_names() == {*TABLE, *GIVEN, *PRODUCTS, *GRAPH}


def num_blocks(case: ConvolutionCase | GivenCase | ProductCase, **wanted: bool) -> int:
    """Return how many blocks a case takes."""
    gpu = EmulatedGPU()
    before = gpu.num_blocks
    with gpu:
        case.compute("cpu", **wanted)
    return gpu.num_blocks - before


def test_common_tables_have_kernels_of_their_own() -> None:
    # four centers in a block, or one
    case = ConvolutionCase("common1", "ragged", 64, torch.float32)
    assert num_blocks(case) == 2
    case.convolution.values[-1] *= 1.0 + 1e-15  # rounding of another machine
    assert num_blocks(case) == 2
    case.convolution.values = 1.001 * case.convolution.values
    assert num_blocks(case) == 2 * 4


def test_common_products_have_kernels_of_their_own() -> None:
    # blocks have 128 threads, or 32 with the memory for their rows
    case = ProductCase("common1", 8, 16, torch.float64)
    with EmulatedGPU(shared_bytes=LEAST) as gpu:
        before = gpu.num_blocks
        case.basis(case.a, case.species)
        assert gpu.num_blocks == before + 1
        case.basis.products.values = 1.001 * case.basis.products.values
        case.basis(case.a, case.species)
        assert gpu.num_blocks == before + 1 + 4


@pytest.mark.parametrize("irreps", ["vector", "common1"])
def test_gradients_of_vectors_alone(irreps: str, dtype: torch.dtype) -> None:
    case = ConvolutionCase(irreps, "ragged", 64, dtype)
    _, expected = case.compute("cpu", features_wanted=False)
    with EmulatedGPU(seed=2):
        _, found = case.compute("cpu", features_wanted=False)
    assert_same(found, expected, dtype)


@pytest.mark.parametrize("irreps", ["vector", "common1"])
def test_values_do_not_depend_on_the_order_of_threads(irreps: str) -> None:
    case = ConvolutionCase(irreps, "ragged", 64, torch.float32)
    results = []
    for seed in (0, 1, 2):
        with EmulatedGPU(seed):
            results.append(case.compute("cpu")[0])
    for other in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], other, strict=True))


@pytest.mark.parametrize("shared_bytes", [LEAST, 64 << 10])
def test_tiles_of_few_edges(shared_bytes: int) -> None:
    gpu = EmulatedGPU(seed=1, shared_bytes=shared_bytes)
    compare(ConvolutionCase("rank4", "dense", 21, torch.float64), gpu, torch.float64)


@pytest.mark.parametrize("shared_bytes", [LEAST, 4 << 10])
def test_rows_of_products_in_the_memory_of_the_device(
    shared_bytes: int, dtype: torch.dtype
) -> None:
    gpu = EmulatedGPU(seed=1, shared_bytes=shared_bytes)
    compare(ProductCase("symmetric", 37, 21, dtype), gpu, dtype)


def test_an_edge_that_does_not_fit_is_refused() -> None:
    case = ConvolutionCase("rank5", "dense", 5, torch.float64)
    text = "the tables of one edge do not fit into the memory of a thread block on this GPU"
    with EmulatedGPU(shared_bytes=0), pytest.raises(RuntimeError, match=text):
        case.compute("cpu")


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (209, "built for other GPUs than this one: build with -D CMAKE_CUDA_ARCHITECTURES=native"),
        (98, "built for other GPUs than this one: build with -D CMAKE_CUDA_ARCHITECTURES=native"),
        (35, "built with a newer CUDA than the driver of this GPU knows: update the driver"),
        (222, "built with a newer CUDA than the driver of this GPU knows: update the driver"),
        (2, "the CUDA kernel did not start: error of the emulated GPU"),
    ],
)
def test_a_kernel_that_does_not_start(status: int, text: str) -> None:
    case = ConvolutionCase("vector", "dense", 5, torch.float32)
    library().emulated_gpu_refuse(status)
    try:
        with EmulatedGPU(), pytest.raises(RuntimeError, match=text):
            case.compute("cpu")
    finally:
        library().emulated_gpu_refuse(0)


def test_an_exported_model(tmp_path: Path) -> None:
    compare_exported("symmetric", torch.float32, tmp_path, seed=1)


def compare_exported(variant: str, dtype: torch.dtype, folder: Path, seed: int) -> None:
    """Compare a model's file with itself on the emulated GPU."""
    model = make_model(variant, num_channels=21, num_product_channels=None)
    export_model(model, folder / "model.pt", str(dtype).removeprefix("torch."))
    potential = load_exported(folder / "model.pt", "cpu")
    gpu = EmulatedGPU(seed)
    expected = predictions(potential)
    with gpu:
        computed = predictions(potential)
    for found, wanted in zip(computed, expected, strict=True):
        assert_same(found, wanted, dtype)
    assert set(gpu.calls) >= TABLE
    # coupled products are plain PyTorch
    assert (PRODUCTS[1] in gpu.calls) == ("coupled" not in variant)


# All of it: make test-long.

every_gpu = pytest.mark.parametrize(
    ("seed", "shared_bytes"), [(0, H200), (7, H200), (8, LEAST)], ids=["order", "random", "least"]
)


@pytest.mark.long
@pytest.mark.parametrize("irreps", IRREPS)
@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("channels", [*CHANNELS, 33])
@every_gpu
def test_every_table_convolution(
    irreps: str, degrees: str, channels: int, seed: int, shared_bytes: int, dtype: torch.dtype
) -> None:
    gpu = EmulatedGPU(seed, shared_bytes)
    compare(ConvolutionCase(irreps, degrees, channels, dtype), gpu, dtype)


@pytest.mark.long
@pytest.mark.parametrize("irreps", IRREPS)
@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("channels", [21, 64])
@every_gpu
def test_every_convolution_of_training(
    irreps: str, degrees: str, channels: int, seed: int, shared_bytes: int, dtype: torch.dtype
) -> None:
    compare(GivenCase(irreps, degrees, channels, dtype), EmulatedGPU(seed, shared_bytes), dtype)


@pytest.mark.long
@pytest.mark.parametrize("top", [0, 1, 2])
@pytest.mark.parametrize(("num_nodes", "channels"), PRODUCT_SIZES)
@every_gpu
def test_every_product_of_common_tables(
    top: int, num_nodes: int, channels: int, seed: int, shared_bytes: int, dtype: torch.dtype
) -> None:
    case = ProductCase(f"common{top}", num_nodes, channels, dtype)
    for wanted in (True, False):
        compare(case, EmulatedGPU(seed, shared_bytes), dtype, weights_wanted=wanted)


@pytest.mark.long
@pytest.mark.parametrize("variant", [name for name in VARIANTS if "coupled" not in name])
@pytest.mark.parametrize(("num_nodes", "channels"), PRODUCT_SIZES)
@every_gpu
def test_every_product_basis(
    variant: str, num_nodes: int, channels: int, seed: int, shared_bytes: int, dtype: torch.dtype
) -> None:
    compare(
        ProductCase(variant, num_nodes, channels, dtype), EmulatedGPU(seed, shared_bytes), dtype
    )


@pytest.mark.long
@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("r_cut", [0.1, 0.8, 100.0])
@every_gpu
def test_every_graph(
    counts: str, watched: bool, r_cut: float, seed: int, shared_bytes: int
) -> None:
    case = GraphCase(counts, watched)
    expected = case.compute(r_cut=r_cut)
    with EmulatedGPU(seed, shared_bytes):
        assert_same_graph(case.compute(r_cut=r_cut), expected)
    assert_same_graph(expected, case.expected(r_cut))


@pytest.mark.long
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_exported_model(variant: str, dtype: torch.dtype, tmp_path: Path) -> None:
    compare_exported(variant, dtype, tmp_path, seed=7)


@pytest.mark.long
@pytest.mark.parametrize("variant", VARIANTS)
def test_tabulated_models(variant: str) -> None:
    exact = make_model(variant, num_channels=21, num_product_channels=None)
    model = copy.deepcopy(exact)
    tabulate_radial(model, exact)
    expected = predictions(model)
    gpu = EmulatedGPU(seed=7)
    with gpu:
        computed = predictions(model)
    for found, wanted in zip(computed, expected, strict=True):
        assert_same(found, wanted, torch.float64)
    assert set(gpu.calls) >= TABLE


@pytest.mark.long
def test_gradients_of_the_parameters() -> None:
    model = make_model()
    gpu = EmulatedGPU(seed=7)
    with gpu:
        found = gradients_of_the_parameters(model)
    assert_same(found, gradients_of_the_parameters(model), torch.float64)
    assert set(gpu.calls) >= {*PRODUCTS, *GIVEN}
