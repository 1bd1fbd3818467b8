# SPDX-License-Identifier: MIT
"""Where the time of one step goes: each part of the yardstick model timed by itself on one core.

Operations are those of `operations.py`; bytes are what must at least be read and written, operands
and results once; the share is that of the machine's own matrix products. Times are the least of
many calls, in Python, without LAMMPS.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from cases import R_CUT, Case
from machine import describe, fastest, fastest_in_turn, limits
from operations import count_operations
from pyictp.data.samples import species_of
from pyictp.graph.derivatives import evaluate_graph
from pyictp.graph.graph import Graph, build_graph
from pyictp.model.ictp import ICTPModel
from pyictp.model.reduction import reduce_paths
from pyictp.model.tabulate import tabulate_radial
from torch import Tensor

Compute = Callable[..., list[Tensor]]


def main() -> None:
    """Print the table; write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--ranks", type=int, default=1, help="highest one between layers")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    case = Case(channels=args.channels, l_max_hidden=args.ranks)
    model, graph = prepare(case)
    complete, _ = prepare(case, all_paths=True)
    peak = limits()["float32_gflops"]
    rows = [
        {**row, "share": row["mflop"] / row["us"] * 1e3 / peak}
        for row in measure(case, model, graph, args.repeats)
    ]
    steps = [partial(evaluate_graph, one, graph) for one in (model, complete)]
    whole, of_all = (t / graph.num_local * 1e6 for t in fastest_in_turn(steps, args.repeats))
    print_table(rows, whole)
    print(
        f"| whole step, all paths of the product basis | | | {of_all:.1f} | {of_all / whole:.3f} |"
    )
    if args.output:
        report = {**describe(), "peak_gflops": peak, "whole_us": whole}
        report |= {"whole_all_paths_us": of_all, "rows": rows}
        args.output.write_text(json.dumps(report, indent=1) + "\n")


def prepare(case: Case, all_paths: bool = False) -> tuple[ICTPModel, Graph]:
    """Return the model as it is exported, untrained, and the graph of the case's structure.

    With all paths of the product basis if asked, as in training.
    """
    torch.manual_seed(0)
    exact = ICTPModel(case.model_config()).double().eval().requires_grad_(False)
    model = copy.deepcopy(exact)
    if not all_paths:
        model.use_operators(False)
        reduce_paths(model)
    model.float().use_operators(True)
    tabulate_radial(model, exact)
    atoms = case.structure()
    species = species_of(atoms.numbers, case.elements)
    return model, build_graph(atoms.positions, np.array(atoms.cell), atoms.pbc, species, R_CUT)


def measure(case: Case, model: ICTPModel, graph: Graph, repeats: int) -> list[dict[str, float]]:
    """Return one row per part and direction: operations, bytes and microseconds per atom."""
    neighbors = graph.num_edges / graph.num_local
    counts = count_operations(case.model_config(), neighbors)
    rows = []
    for index in range(len(model.layers)):
        for name, (compute, leaves) in parts(model, graph, index).items():
            part = f"layer {index + 1} {name}"
            operations = counts[part]
            if name == "product basis":  # in proportion to the terms that are left
                plain = model.layers[index].product.products.plain
                left = len(plain.polynomial().terms) / len(plain.polynomial(all_paths=True).terms)
                operations = (operations[0] * left, operations[1] * left)
            rows += time_part(part, compute, leaves, operations, graph.num_local, repeats)
    return rows


def parts(model: ICTPModel, graph: Graph, index: int) -> dict[str, tuple[Compute, list[Tensor]]]:
    """Return what a layer computes, and random operands that want gradients."""
    num_atoms, channels = graph.num_local, model.config.num_channels
    interaction = model.layers[index].interaction
    mixed, product = interaction.convolution, model.layers[index].product
    edges = model.edges(
        graph.species, graph.edge_index, graph.edge_vectors, num_atoms, torch.float32
    )
    table = interaction.radial(edges)
    rows = len(model.config.elements) if index == 0 else num_atoms
    source = graph.species[edges.neighbor] if index == 0 else edges.neighbor
    device = graph.edge_vectors.device
    features = torch.randn(rows, interaction.num_components, channels, device=device)
    vectors = graph.edge_vectors.clone()
    dims = mixed.plain.convolution.convolution.dims_z
    a = [torch.randn(num_atoms, d, channels, device=device) for d in dims]

    def convolve(vectors: Tensor, features: Tensor = features) -> list[Tensor]:
        return mixed(features, table, source, edges._replace(vectors=vectors))

    # features before the first layer depend on the species alone: no gradient
    operands = [vectors] if index == 0 else [vectors, features]
    return {
        "convolution and mixing": (convolve, operands),
        "product basis": (lambda *x: product(list(x), graph.species), a),
    }


def time_part(
    name: str,
    compute: Compute,
    leaves: list[Tensor],
    counts: tuple[float, float],
    num_atoms: int,
    repeats: int,
) -> list[dict[str, float]]:
    """Return the rows of the values and of the gradient."""
    leaves = [leaf.requires_grad_() for leaf in leaves]
    results = compute(*leaves)
    grads = [torch.randn_like(result) for result in results]
    operands, outcome = size_of(leaves), size_of(results)
    seconds = (
        fastest(lambda: compute(*leaves), repeats),
        fastest(lambda: torch.autograd.grad(results, leaves, grads, retain_graph=True), repeats),
    )
    moved = (operands + outcome, 2 * operands + outcome)
    return [
        {
            "part": f"{name}, {direction}",
            "mflop": counts[k] / 1e6,
            "kb": moved[k] / num_atoms / 1e3,
            "us": seconds[k] / num_atoms * 1e6,
        }
        for k, direction in enumerate(("values", "gradient"))
    ]


def size_of(tensors: list[Tensor]) -> int:
    """Return bytes."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def print_table(rows: list[dict[str, float]], whole: float) -> None:
    """Print as Markdown."""
    print("| part | MFLOP/atom | kB/atom | us/atom | share of peak |\n|---|---|---|---|---|")
    for row in rows:
        numbers = f"{row['mflop']:.3f} | {row['kb']:.1f} | {row['us']:.1f} | {row['share']:.0%}"
        print(f"| {row['part']} | {numbers} |")
    rest = whole - sum(row["us"] for row in rows)
    print(f"| everything else | | | {rest:.1f} | |\n| whole step | | | {whole:.1f} | |")


if __name__ == "__main__":
    main()
