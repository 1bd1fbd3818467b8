# SPDX-License-Identifier: MIT
"""What the numbers depend on: processor, versions, and what one core can do at most."""

from __future__ import annotations

import math
import os
import platform
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from pyictp import __version__


def describe() -> dict[str, object]:
    """Return processor, cores, GPU, date, versions and command."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    words = [Path(word).name if word.startswith("/") else word for word in sys.argv[1:]]
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": command,
        "cpu": cpu.group(1) if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": {
            "pyictp": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def limits(size: int = 1024) -> dict[str, float]:
    """Return the speed of one core: matrix products of `size` [GFLOP/s], and copying [GB/s].

    Copying counts the bytes copied, half of what moves over the bus.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    measured = {}
    for name in ("float32", "float64"):
        a, b = torch.rand(2, size, size, dtype=getattr(torch, name))
        out = torch.empty_like(a)
        seconds = fastest(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), 20)
        measured[f"{name}_gflops"] = round(2 * size**3 / seconds / 1e9, 1)
    source = torch.rand(32 * 2**20)  # 128 MiB, more than a cache holds
    target = torch.empty_like(source)
    seconds = fastest(lambda: target.copy_(source), 5)
    measured["copy_gb_per_s"] = round(source.nbytes / seconds / 1e9, 1)
    torch.set_num_threads(threads)
    return measured


def fastest(run: Callable[[], object], repeats: int) -> float:
    """Return the least seconds of several calls, after one to warm up."""
    return fastest_in_turn([run], repeats)[0]


def fastest_in_turn(runs: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Return the least seconds of each of several functions, called in turn."""
    least = [math.inf] * len(runs)
    for repeat in range(repeats + 1):
        for i, run in enumerate(runs):
            start = time.perf_counter()
            run()
            if repeat > 0:  # the first call warms up
                least[i] = min(least[i], time.perf_counter() - start)
    return least
