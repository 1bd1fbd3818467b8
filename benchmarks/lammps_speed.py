#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Time pair_style ictp inside LAMMPS: microseconds per atom and step of an untrained model.

The case: bcc Ta-V-Cr-W, a = 3.1 A, r_cut 5 A (30 neighbors), 2 layers, l_max_edge 3,
l_max_hidden 1, correlation 3, constant energy at 300 K, neighbor rebuilds included.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from pyictp import __version__
from pyictp.config import ModelConfig
from pyictp.export import export_model
from pyictp.model import ICTPModel
from pyictp.native import plugin_path

DECK = """
units metal
atom_style atomic
lattice bcc 3.1
region box block 0 {repeat} 0 {repeat} 0 {repeat}
create_box 4 box
create_atoms 1 box
set type 1 type/ratio 2 0.25 1
set type 1 type/ratio 3 0.3333 2
set type 1 type/ratio 4 0.5 3
mass * 100.0
displace_atoms all random 0.1 0.1 0.1 4
pair_style ictp device {device}
pair_coeff * * {model} Ta V Cr W
velocity all create 300 5
fix move all nve
timestep 0.001
run {warm_up}
run {steps}
"""


def main() -> None:
    """Time every combination asked for; print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", nargs="+", default=["cpu"], choices=["cpu", "cuda"])
    parser.add_argument("--channels", nargs="+", type=int, default=[16, 64])
    parser.add_argument("--processes", nargs="+", type=int, default=[1])
    parser.add_argument("--repeat", type=int, default=6, help="cells per edge; 6: 432 atoms")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for channels in args.channels:
            model = make_model(Path(folder), channels, args.dtype)
            for device in args.device:
                for processes in args.processes:
                    time_per_atom = measure(model, device, processes, args)
                    rows.append(
                        {
                            "channels": channels,
                            "device": device,
                            "processes": processes,
                            "us_per_atom_and_step": round(time_per_atom, 3),
                        }
                    )
                    print(rows[-1], flush=True)
    report = {"command": " ".join(sys.argv), "atoms": 2 * args.repeat**3, **machine(), "rows": rows}
    report["dtype"] = args.dtype
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(report, indent=1) + "\n")


def make_model(folder: Path, channels: int, dtype: str) -> Path:
    """Export an untrained model."""
    torch.manual_seed(0)
    config = ModelConfig(
        elements=("Ta", "V", "Cr", "W"), num_channels=channels, avg_num_neighbors=30.0
    )
    path = folder / f"model-{channels}.pt"
    export_model(ICTPModel(config), path, dtype)
    return path


def measure(model: Path, device: str, processes: int, args: argparse.Namespace) -> float:
    """Return microseconds per atom and step in the second of two runs."""
    deck = DECK.format(
        repeat=args.repeat, device=device, model=model, warm_up=args.steps // 4, steps=args.steps
    )
    folder = model.parent
    (folder / "in.lmp").write_text(deck)
    beside = Path(sys.executable).parent
    command = [str(beside / "mpiexec"), "-n", str(processes), str(beside / "lmp")]
    environment = os.environ | {
        "LAMMPS_PLUGIN_PATH": str(plugin_path().parent),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [*command, "-in", "in.lmp", "-log", "none"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    times = re.findall(r"Loop time of (\S+) on \d+ procs for \d+ steps with (\d+)", done.stdout)
    if done.returncode or not times:
        sys.exit(done.stdout[-2000:] + done.stderr)
    seconds, atoms = times[-1]
    return float(seconds) / args.steps / int(atoms) * 1e6


def machine() -> dict[str, object]:
    """Return what the numbers depend on."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": cpu.group(1) if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "torch": torch.__version__,
        "pyictp": __version__,
    }


if __name__ == "__main__":
    main()
