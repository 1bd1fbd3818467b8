#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Time pair_style ictp, the ASE calculator and a training step, side by side with peers from PyPI.

Without options: the yardstick (432-atom bcc Ta-V-Cr-W, 2 layers, l_max_edge 3, correlation 3) at
32, 64 and 128 channels and variations at 64, about a quarter of an hour on two cores. Peers (MACE,
FlashCart) are installed into virtual environments of their own; what cannot be installed is
reported as absent. Every code of a case is timed in turns, so that ratios hold on a busy machine.
--imported imports MACE's own model of each case, and times it beside MACE and symmetrix-xl, which
reads the same file and compiles a program for it with the C++ compiler that is there.
--codes flashcart-compiled compiles for a quarter of an hour per case, and is timed when named only.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

import machine
import report
import torch
from cases import CELLS, R_CUT, Case
from figure import draw
from measure import IMPORTED, PEER_SCRIPTS, Plan, measure_case, measure_training
from workers import REQUIREMENTS

ROOT = Path(__file__).resolve().parent.parent
CODES = ("lammps", "ase", IMPORTED, *PEER_SCRIPTS)
USUAL_CODES = ("lammps", "ase", "mace", "flashcart")


def main() -> None:
    """Measure every case of the sweep; print tables, write JSON and a picture."""
    args = parse_arguments()
    torch.set_num_threads(1)
    limits = machine.limits()
    data: dict[str, Any] = {**machine.describe(), "load_before": os.getloadavg()[0]}
    data |= {"peers": REQUIREMENTS, "limits_of_one_core": limits, "rows": [], "training": []}
    print(_headline(data), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(args.codes, args.processes, args.device, args.rounds, args.peers, Path(folder))
        for case, codes in sweep(args):
            rows = measure_case(case, dataclasses.replace(plan, codes=codes))
            limits |= {name: max(limits[name], value) for name, value in machine.limits().items()}
            data["rows"] += rows
            report.add_ratios(data["rows"], limits)
            print(f"\n{case}, {rows[0]['atoms']} atoms\n{report.table(rows)}", flush=True)
            save(data, args.output)
        for l_max_hidden in args.training:
            rows = measure_training(l_max_hidden, plan, args.aspirin)
            data["training"] += rows
            report.add_training_ratios(rows)
            print(f"\ntraining step, two threads\n{report.training_table(rows)}", flush=True)
            save(data, args.output)


def parse_arguments() -> argparse.Namespace:
    """Return the options, defaults of the sweep filled in."""
    parser = argparse.ArgumentParser(description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="yardstick at 64 channels, with mace")
    size.add_argument("--full", action="store_true", help="every combination; hours")
    size.add_argument(
        "--imported",
        action="store_true",
        help="models of mace, imported, beside mace and symmetrix-xl; r_cut 5 and 6 A",
    )
    parser.add_argument("--codes", nargs="+", choices=CODES)
    parser.add_argument("--system", nargs="+", choices=list(CELLS))
    parser.add_argument("--channels", nargs="+", type=int)
    parser.add_argument("--l-max-hidden", nargs="+", type=int)
    parser.add_argument("--dtype", nargs="+", choices=["float32", "float64"])
    parser.add_argument("--r-cut", nargs="+", type=float, help="[A]")
    parser.add_argument("--cells", nargs="+", type=int, help="per edge: 2 N^3 atoms, N^3 molecules")
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--training", nargs="*", type=int, metavar="L", help="l_max_hidden of steps"
    )
    parser.add_argument("--aspirin", type=Path, help="rMD17 npz; else a built-in geometry")
    parser.add_argument("--peers", type=Path, default=ROOT / "build" / "peers")
    parser.add_argument("--output", type=Path, help="a file in benchmarks/results")
    args = parser.parse_args()
    if args.output is None:
        name = "imported" if args.imported else "bench"
        args.output = ROOT / "benchmarks" / "results" / f"{name}.json"
    chosen = _is_chosen(args)
    if args.codes is None:
        args.codes = ["lammps", "ase", "mace"] if args.quick else list(USUAL_CODES)
        if args.imported:
            args.codes = [IMPORTED, "mace", "symmetrix", "symmetrix-generic"]
        if args.device != "cpu":
            args.codes = ["lammps", "ase"]
    if args.training is None:
        args.training = [] if args.quick or args.imported or chosen else [1, 2]
    if args.device != "cpu":
        args.processes, args.training = [1], []
    return args


def sweep(args: argparse.Namespace) -> list[tuple[Case, list[str]]]:
    """Return the cases and the codes to time on each."""
    if args.quick:
        return [(Case(), args.codes)]
    if args.full or args.imported or _is_chosen(args):
        ranks = args.l_max_hidden or ([0, 1, 2] if args.full else [1])
        product = itertools.product(
            args.system or (["alloy", "water"] if args.full else ["alloy"]),
            args.channels or ([64, 128] if args.imported else [32, 64, 128] if args.full else [64]),
            ranks,
            args.dtype or (["float32", "float64"] if args.full else ["float32"]),
            args.r_cut or ([R_CUT, 6.0] if args.imported else [R_CUT]),
        )
        return [
            (Case(system, channels, rank, dtype, cells, r_cut), args.codes)
            for system, channels, rank, dtype, r_cut in product
            for cells in args.cells or [CELLS[system]]
        ]
    yardstick = [Case(channels=channels) for channels in (32, 64, 128)]
    variations = [
        Case(l_max_hidden=0),
        Case(l_max_hidden=2),
        Case(dtype="float64"),
        Case(system="water", cells=CELLS["water"]),
    ]
    without = [code for code in args.codes if not code.startswith("flashcart")]
    return [(case, args.codes) for case in yardstick] + [(case, without) for case in variations]


def save(data: dict[str, Any], path: Path) -> None:
    """Write what there is so far; a picture is drawn of our own architectures."""
    report.write(path, data)
    if any(row["code"].startswith("ictp") for row in data["rows"]):
        draw(data, path.with_suffix(".png"))


def _is_chosen(args: argparse.Namespace) -> bool:
    """Return whether the user named cases."""
    return any((args.system, args.channels, args.l_max_hidden, args.dtype, args.cells, args.r_cut))


def _headline(data: dict[str, Any]) -> str:
    limits = data["limits_of_one_core"]
    text = (
        f"{data['cpu']}, {data['cores']} cores; one core: float32 {limits['float32_gflops']:.0f}, "
        f"float64 {limits['float64_gflops']:.0f} GFLOP/s, copy {limits['copy_gb_per_s']:.0f} GB/s"
    )
    if data["load_before"] > 0.5:
        text += f"\nwarning: load {data['load_before']:.1f} before the start: the machine is busy"
    return text


if __name__ == "__main__":
    main()
