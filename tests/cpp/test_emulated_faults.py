# SPDX-License-Identifier: MIT
"""Faults put into copies of the CUDA sources: the emulated GPU finds each kind."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from emulated import LIBRARY, build
from planted import Fault
from sanitized import BIN, ROOT, Outcome, call, run_tests

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]
CUDA = "pair_ictp/ops/cuda"
TESTS = "tests/cpp/test_emulated_gpu.py"
EDGES, PRODUCTS = ("edge_forward.cu", "edge_backward.cu"), ("product_kernels.cu",)
KNOWN = ("edge_known_forward.cu", "edge_known_backward.cu")
GRAPH = ("graph_edges.cu", "graph_sums.cu")


def plant(fault: Fault, units: Sequence[str], kind: str, folder: Path) -> Path:
    """Return the library of `kind` with a fault, which is in these units or what they include."""
    built = build(kind).parent
    sources = folder / "pair_ictp"
    shutil.copytree(ROOT / "pair_ictp" / "ops", sources / "ops")
    (folder / fault.source).write_text(fault.text())
    commands = json.loads((built / "compile_commands.json").read_text())
    linker = call([BIN / "ninja", "-t", "commands", "-s", fault.library], built)
    for unit in units:
        name, planted = str(ROOT / CUDA / unit), str(folder / f"{unit}.o")
        (command,) = (entry["command"] for entry in commands if entry["file"] == name)
        words = shlex.split(command)
        output = words[words.index("-o") + 1]
        changes = {
            output: planted,
            name: str(folder / CUDA / unit),
            f"-I{ROOT / 'pair_ictp'}": f"-I{sources}",
        }
        assert all(words.count(old) == 1 for old in changes)
        call([changes.get(word, word) for word in words], built)
        linker = linker.replace(f" {output} ", f" {planted} ")
    library = folder / fault.library
    call(["sh", "-c", linker.replace(f"-o {fault.library}", f"-o {library}")], built)
    return library


def fault(name: str, old: str, new: str) -> Fault:
    """Return a change of a file of ops/cuda."""
    return Fault(f"{CUDA}/{name}", {old: new}, "libemulated_gpu.so")


def run(kind: str, library: Path, words: str) -> Outcome:
    """Run the quick tests whose names have these words, with a library."""
    arguments = [TESTS, "-k", words, "-x", "-n", "0"]
    return run_tests(kind, arguments, **{LIBRARY: str(library)})


def words_for(units: Sequence[str]) -> str:
    """Return what the names of tests have that run kernels of these units."""
    if set(units) <= set(GRAPH):
        return "test_graph"
    return "test_product" if units == PRODUCTS else "test_table or test_gradients"


WRONG = "Tensor-likes are not close"
BEHIND = "a thread touched what is behind the memory of its block"
ALONE = "threads wait for others that do not come"
APART = "lanes of one warp shuffle over different distances"
# what is changed, the units that have it, and what the tests say
FOUND = {
    "no barrier before the next edges": (
        fault("edge_tile.h", "__syncthreads();    // the edges before are no longer read", ""),
        EDGES,
        WRONG,
    ),
    "no barrier after the edges are read": (
        fault(
            "edge_tile.h",
            "(e < count ? e : 0), e);\n  __syncthreads();",
            "(e < count ? e : 0), e);",
        ),
        EDGES,
        WRONG,
    ),
    "no barrier between levels of a polynomial": (
        fault(
            "edge_tile.h",
            "left + e, right + e, size);\n    __syncthreads();",
            "left + e, right + e, size);",
        ),
        EDGES,
        WRONG,
    ),
    "no barrier before the adjoint polynomial": (
        fault("edge_backward.cu", "__syncthreads();\n    run_levels(", "run_levels("),
        ("edge_backward.cu",),
        WRONG,
    ),
    "a barrier under a condition": (
        fault(
            "edge_backward.cu",
            "__syncthreads();\n    run_levels(",
            "if (threadIdx.x < WARP) __syncthreads();\n    run_levels(",
        ),
        ("edge_backward.cu",),
        ALONE,
    ),
    "a shuffle under a condition": (
        fault(
            "edge_backward.cu",
            "const T sum = sum_over_warp(sums, index);",
            "const T sum = channels.valid[0] ? sum_over_warp(sums, index) : sums[index = 0];",
        ),
        ("edge_backward.cu",),
        ALONE,
    ),
    "too little memory for an edge": (
        fault("edge_tile.h", " + rows * sizeof(T) + sizeof(int32_t);", " + rows * sizeof(T);"),
        EDGES,
        BEHIND,
    ),
    "no memory for the gradients of lengths": (
        fault("edge_tile.h", "? shape.num_rows + shape.num_paths : 0)", "? shape.num_rows : 0)"),
        EDGES,
        BEHIND,
    ),
    "too little memory for the rows of products": (
        fault(
            "product_kernels.cu",
            "static_cast<std::size_t>(bytes), 0}",
            "static_cast<std::size_t>(bytes - 8), 0}",
        ),
        PRODUCTS,
        BEHIND,
    ),
    "a sum that is never begun": (
        fault(
            "edge_backward.cu",
            "(is_length ? add_length || m1 > 0 : add_matrix) ? *to + sum : sum",
            "*to + sum",
        ),
        ("edge_backward.cu",),
        WRONG,
    ),
    "a lane too many": (
        fault("edge_forward.cu", "if (channels.valid[n])\n        out[", "out["),
        ("edge_forward.cu",),
        WRONG,
    ),
    "no barrier before a warp's next edges": (
        fault("edge_known.h", "__syncwarp();    // the edges before are no longer read", ""),
        KNOWN,
        WRONG,
    ),
    "no barrier after a warp's edges are read": (
        fault("edge_known.h", "  }\n  __syncwarp();\n}", "  }\n}"),
        KNOWN,
        WRONG,
    ),
    "no barrier before the gradients of edges are read": (
        fault("edge_known_backward.cu", "    __syncwarp();\n", ""),
        KNOWN,
        WRONG,
    ),
    "a shuffle of lanes that have channels": (
        fault(
            "edge_known_backward.cu",
            "const T sum = sum_over_warp(edge_sums, index);",
            "const T sum = channels.valid ? sum_over_warp(edge_sums, index) : T(index = 0);",
        ),
        KNOWN,
        ALONE,
    ),
    "gradients of lanes that have no channels": (
        fault(
            "edge_known_backward.cu",
            "channels.valid ? g[Path::FIRST_SUM + m][n] : T(0)",
            "g[Path::FIRST_SUM + m][n]",
        ),
        KNOWN,
        WRONG,
    ),
    "too little memory for the edges of warps": (
        fault("edge_known_forward.cu", "sizeof(KnownEdge<Table, T>), stream", "92, stream"),
        KNOWN,
        BEHIND,
    ),
    "too little memory for the gradients of edges": (
        fault("edge_known_backward.cu", "WARPS * EDGES * BYTES", "(WARPS * EDGES - 1) * BYTES"),
        KNOWN,
        BEHIND,
    ),
    "an edge in the place of another": (
        fault("graph_edges.cu", "(1U << lane) - 1", "(1U << lane) / 2"),
        ("graph_edges.cu",),
        WRONG,
    ),
    "a vote without the lanes that have no candidate": (
        fault(
            "graph_edges.cu",
            "const unsigned found = __ballot",
            "if (candidate >= end)\n      break;\n    const unsigned found = __ballot",
        ),
        ("graph_edges.cu",),
        APART,
    ),
    "no barrier before sums of warps are read": (
        fault("graph_sums.cu", "__syncthreads();", ""),
        ("graph_sums.cu",),
        WRONG,
    ),
    "too little memory for the sums of warps": (
        fault("graph_sums.cu", "WARPS * 9 * sizeof(double)", "(WARPS * 9 - 1) * sizeof(double)"),
        ("graph_sums.cu",),
        BEHIND,
    ),
    "forces of neighbors with the wrong sign": (
        fault("graph_sums.cu", "atomicAdd(back + k, -g[k]);", "atomicAdd(back + k, g[k]);"),
        ("graph_sums.cu",),
        WRONG,
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_faults_that_tests_find(name: str, tmp_path: Path) -> None:
    planted, units, text = FOUND[name]
    outcome = run("plain", plant(planted, units, "plain", tmp_path), words_for(units))
    assert outcome.returncode == 1
    assert text in outcome.output


# what is changed, and the kernel that the report names
RACES = {
    "an addition that is not atomic": (
        fault(
            "edge_backward.cu",
            "atomicAdd(data.grad_features + row + channels.at[n], back * weight[n].value);",
            "data.grad_features[row + channels.at[n]] += back * weight[n].value;",
        ),
        "backward_kernel",
    ),
    "blocks that write to one place": (
        fault("edge_forward.cu", "(center * path.d3 + m3) * stride", "m3 * stride"),
        "forward_kernel",
    ),
    "no barrier of the warp": (
        fault("edge_backward.cu", "__syncwarp();    // another lane", "// another lane"),
        "backward_kernel",
    ),
    "lanes beyond the last channel read": (
        fault("edge_forward.cu", "add && channels.valid[n] ?", "add ?"),
        "forward_kernel",
    ),
    "an addition of a warp that is not atomic": (
        fault(
            "edge_known_backward.cu",
            "atomicAdd(to + m * data.num_channels + n, grad_x[m][n]);",
            "to[m * data.num_channels + n] += grad_x[m][n];",
        ),
        "known_backward_kernel",
    ),
    "warps that write to one place": (
        fault("edge_known_forward.cu", "center * Path::D3 * row", "Path::D3 * row"),
        "known_forward_kernel",
    ),
    "lanes beyond the last channel write": (
        fault("edge_known.h", "    if (valid)\n", ""),
        "known_forward_kernel",
    ),
    "weights of a species that are not added atomically": (
        fault(
            "product_kernels.cu",
            "atomicAdd(data.grad_weights + weight_at(row - shape.num_a), value);",
            "data.grad_weights[weight_at(row - shape.num_a)] += value;",
        ),
        "product_kernel",
    ),
    "forces of neighbors that are not added atomically": (
        fault("graph_sums.cu", "atomicAdd(back + k, -g[k]);", "back[k] -= g[k];"),
        "sums_kernel",
    ),
    "two warps that are the closest": (
        fault(
            "graph_edges.cu",
            "atomic_least(out.closest, closest);",
            "*out.closest = least(*out.closest, closest);",
        ),
        "edges_kernel",
    ),
}
UNITS_OF = {
    **dict.fromkeys(["known_forward_kernel", "known_backward_kernel"], KNOWN),
    **dict.fromkeys(["sums_kernel", "edges_kernel"], GRAPH),
    "product_kernel": PRODUCTS,
}


@pytest.mark.parametrize("name", RACES)
def test_races_that_are_reported(name: str, tmp_path: Path) -> None:
    planted, kernel = RACES[name]
    units = UNITS_OF.get(kernel, EDGES)
    outcome = run("thread", plant(planted, units, "thread", tmp_path), words_for(units))
    assert outcome.returncode != 0
    assert "WARNING: ThreadSanitizer: data race" in outcome.reports
    assert kernel in outcome.reports


@pytest.mark.parametrize("kind", ["plain", "thread"])
def test_without_a_fault_nothing_is_found(kind: str) -> None:
    outcome = run(kind, build(kind), "not every")
    assert not outcome.reports, outcome.reports[:6000]
    assert outcome.returncode == 0, outcome.output[-6000:]
