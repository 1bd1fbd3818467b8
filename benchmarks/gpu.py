# SPDX-License-Identifier: MIT
"""Time the yardstick on a GPU: kernels beside what the GPU can do at most, LAMMPS, a trace.

benchmarks/on_gpu.sh calls it. Times are medians by the GPU's own events. `--device cpu` is for
trying out the program itself.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from cases import Case
from lammps_run import LammpsError, LammpsRun
from machine import describe
from operators import Compute, parts, prepare
from pyictp.graph.derivatives import evaluate_graph
from pyictp.graph.graph import Graph
from pyictp.model.ictp import ICTPModel
from pyictp.potential.export import export_model
from torch import Tensor

REPEATS = 10
Row = dict[str, object]


def main() -> None:
    """Do what is asked; write numbers as JSON and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["small", "kernels", "lammps", "trace"])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--cells", nargs="+", type=int, default=[37], help="2 N^3 atoms each")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="folder")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    rows = {"small": small, "kernels": kernels, "lammps": lammps, "trace": trace}[args.what](args)
    report = {**describe(), "device": args.device, "rows": rows}
    (args.output / f"gpu-{args.what}.json").write_text(json.dumps(report, indent=1) + "\n")
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    if not rows or any("error" in row for row in rows):
        sys.exit(1)


def small(args: argparse.Namespace) -> list[Row]:
    """Run each kernel once on few atoms: for compute-sanitizer and ncu."""
    model, graph = on_device(args, 2)
    energies = evaluate_graph(model, graph).energies
    return [{"atoms": graph.num_local, "energy": energies.sum().item()}]


def kernels(args: argparse.Namespace) -> list[Row]:
    """Time copies, matrix products and every part of a step, values and gradients."""
    rows = limits(args.device)
    for cells in args.cells:
        model, graph = on_device(args, cells)
        for index in range(len(model.layers)):
            for name, (compute, leaves) in parts(model, graph, index).items():
                for direction, seconds in time_part(args.device, compute, leaves).items():
                    part = f"layer {index + 1} {name}, {direction}"
                    rows.append(row_of(part, graph, seconds))
        step = partial(evaluate_graph, model, graph)
        rows.append(row_of("whole step", graph, median(args.device, step)))
    return rows


def time_part(device: str, compute: Compute, leaves: list[Tensor]) -> dict[str, float]:
    """Return the seconds of values and of their gradient."""
    leaves = [leaf.requires_grad_() for leaf in leaves]
    results = compute(*leaves)
    grads = [torch.randn_like(result) for result in results]
    gradient = partial(torch.autograd.grad, results, leaves, grads, retain_graph=True)
    return {
        "values": median(device, partial(compute, *leaves)),
        "gradient": median(device, gradient),
    }


def row_of(part: str, graph: Graph, seconds: float) -> Row:
    """Return what a part takes."""
    return {
        "part": part,
        "atoms": graph.num_local,
        "edges_per_atom": round(graph.num_edges / graph.num_local, 1),
        "us_per_atom": round(seconds / graph.num_local * 1e6, 4),
    }


def limits(device: str) -> list[Row]:
    """Return what the device can do at most: bytes read and written, and operations."""
    rows: list[Row] = []
    on_gpu = device == "cuda"
    sizes = {"memory": 2**28 if on_gpu else 2**22, "second-level cache": 2**21}  # float32 numbers
    for name, size in sizes.items():
        source = torch.rand(size, device=device)
        target = torch.empty_like(source)
        seconds = median(device, partial(target.copy_, source), 50)
        moved = 2 * source.nbytes / seconds / 1e9
        rows.append({"limit": f"copy, {name}", "gb_per_s": round(moved)})
    size = 8192 if on_gpu else 512
    for dtype in (torch.float32, torch.float64):
        a = torch.rand(size, size, device=device, dtype=dtype)
        seconds = median(device, partial(torch.mm, a, a))
        teraflops = round(2 * size**3 / seconds / 1e12, 2)
        rows.append({"limit": f"matrix products, {dtype}", "tflop_per_s": teraflops})
    return rows


def lammps(args: argparse.Namespace) -> list[Row]:
    """Time LAMMPS on one process and on two."""
    folder = args.output / "lammps"
    folder.mkdir(parents=True, exist_ok=True)
    model = (folder / "model.pt").resolve()
    torch.manual_seed(0)
    config = Case(channels=args.channels, cells=2).model_config()
    export_model(ICTPModel(config).double(), model, "float32")
    rows: list[Row] = []
    for cells, processes in itertools.product(args.cells, (1, 2)):
        case = Case(channels=args.channels, cells=cells)
        atoms = case.structure()
        row: Row = {"atoms": len(atoms), "processes": processes}
        place = folder / f"{cells}-{processes}"
        run = LammpsRun(place, model, case.elements, atoms, processes, args.device)
        try:
            seconds, _ = run.measure()
            row["us_per_atom"] = round(seconds / len(atoms) * 1e6, 4)
            row["phases"] = run.phases
        except LammpsError as error:  # the others shall be timed nevertheless
            row["error"] = str(error)
        rows.append(row)
    return rows


def trace(args: argparse.Namespace) -> list[Row]:
    """Write a trace of one step, and return what takes most of it."""
    from torch.profiler import ProfilerActivity, profile

    model, graph = on_device(args, args.cells[0])
    evaluate_graph(model, graph)
    wanted = [ProfilerActivity.CPU]
    if args.device == "cuda":
        wanted.append(ProfilerActivity.CUDA)
    with profile(activities=wanted) as profiler:
        evaluate_graph(model, graph)
    profiler.export_chrome_trace(str(args.output / "trace.json.gz"))
    key = "self_device_time_total" if args.device == "cuda" else "self_cpu_time_total"
    found = sorted(profiler.key_averages(), key=lambda item: -getattr(item, key))[:20]
    return [
        {"name": item.key[:80], "calls": item.count, "us": round(getattr(item, key))}
        for item in found
    ]


def on_device(args: argparse.Namespace, cells: int) -> tuple[ICTPModel, Graph]:
    """Return the model as it is exported, and the graph of a structure."""
    model, graph = prepare(Case(channels=args.channels, cells=cells))
    return model.to(args.device), graph.to(args.device)


def median(device: str, run: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the median of the seconds of several calls, after two to warm up."""
    found = []
    for repeat in range(repeats + 2):
        seconds = by_events(run) if device == "cuda" else by_clock(run)
        if repeat > 1:
            found.append(seconds)
    return statistics.median(found)


def by_clock(run: Callable[[], object]) -> float:
    """Return wall seconds."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def by_events(run: Callable[[], object]) -> float:
    """Return the seconds between two events of the GPU."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3


if __name__ == "__main__":
    main()
