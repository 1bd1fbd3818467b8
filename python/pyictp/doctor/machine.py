# SPDX-License-Identifier: MIT
"""Cores and instruction sets of this machine; nothing here imports PyTorch."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

X86_64 = ("x86_64", "AMD64")
CPU_INFO = Path("/proc/cpuinfo")
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def instruction_set(
    flags: frozenset[str] | None = None, environment: Mapping[str, str] = os.environ
) -> str:
    """Return which of their three builds the operators choose: baseline, AVX2 or AVX-512.

    The same rule as in pair_ictp/ops/instruction_set.h.

    Args:
        flags: what the processor can; None: as the kernel says.
        environment: where ICTP_INSTRUCTION_SET may ask for a lesser one.
    """
    if flags is None:
        flags = processor_flags()
    asked = environment.get("ICTP_INSTRUCTION_SET", "")
    if asked == "baseline" or not {"avx2", "fma"} <= flags:
        return "baseline"
    if asked == "avx2" or not {"avx512f", "avx512dq"} <= flags:
        return "AVX2"
    return "AVX-512"


def processor_flags() -> frozenset[str]:
    """Return the features of an x86-64 processor; none for another one."""
    if platform.machine() not in X86_64 or not CPU_INFO.is_file():
        return frozenset()
    lines = CPU_INFO.read_text().splitlines()
    flags = next((line for line in lines if line.startswith("flags")), ":")
    return frozenset(flags.split(":", 1)[1].split())


def num_cores() -> int:
    """Return the cores that this process may use: affinity and the container's quota."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = CPU_QUOTA.read_text().split()
        return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores
