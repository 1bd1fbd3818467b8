# SPDX-License-Identifier: MIT
"""An emulated GPU: the CUDA sources of the operators as C++ of this machine (docs/developing.md).

`EmulatedGPU` lets operators run them on tensors of the CPU, in anything that is computed within.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from pyictp.native import load_operators
from sanitized import BIN, ROOT, call
from torch.utils._python_dispatch import TorchDispatchMode

LIBRARY = "ICTP_EMULATED_GPU"  # one that is built already, in the environment
H200 = 227 << 10  # bytes that a block may have
SOURCES = Path(__file__).with_name("emulated_gpu")


@functools.cache
def build(kind: str = "plain") -> Path:
    """Compile what has changed, one process at a time; return the library."""
    folder = ROOT / "build" / "emulated_gpu" / kind
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "EMULATED_GPU_TSAN": "ON" if kind == "thread" else "OFF",
        "CMAKE_MAKE_PROGRAM": BIN / "ninja",
        "Python_EXECUTABLE": sys.executable,
    }
    defines = [f"-D{key}={value}" for key, value in settings.items()]
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        call([BIN / "cmake", "-S", SOURCES, "-B", folder, "-G", "Ninja", *defines])
        call([BIN / "cmake", "--build", folder, "--parallel", os.cpu_count()])
    return folder / "libemulated_gpu.so"


@functools.cache
def operator_names() -> frozenset[str]:
    """Return the operators that register a function for CUDA in ops/cuda."""
    texts = [path.read_text() for path in (ROOT / "pair_ictp" / "ops" / "cuda").glob("*.cpp")]
    return frozenset(re.findall(r'library\.impl\("(\w+)"', "".join(texts)))


@functools.cache
def library() -> ctypes.CDLL:
    """Load the emulated operators, and give them the schemas of their originals."""
    load_operators()
    path = os.environ.get(LIBRARY) or build()
    definitions = torch.library.Library("ictp_emulated", "DEF")
    for name in operator_names():
        schema = getattr(torch.ops.ictp, name).default._schema
        definitions.define(str(schema).removeprefix("ictp::"))
    torch.ops.load_library(str(path))
    loaded = ctypes.CDLL(str(path))
    loaded.emulated_gpu_set.argtypes = [ctypes.c_uint64, ctypes.c_int]
    loaded.emulated_gpu_num_blocks.restype = ctypes.c_uint64
    loaded.definitions = definitions  # they go with this object
    return loaded


@contextlib.contextmanager
def unset_is_nan() -> Iterator[None]:
    """Let memory that PyTorch gives hold NaN until it is written."""
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


class EmulatedGPU(TorchDispatchMode):
    """Runs the CUDA sources of operators in the place of their functions for the CPU."""

    def __init__(self, seed: int = 0, shared_bytes: int = H200) -> None:
        """Take the order in which threads run (0: of their numbers) and a block's memory."""
        super().__init__()
        self.library = library()
        self.seed, self.shared_bytes = seed, shared_bytes
        self.calls: Counter[str] = Counter()

    def __enter__(self) -> EmulatedGPU:
        """Begin, with threads in the same order each time."""
        self.library.emulated_gpu_set(self.seed, self.shared_bytes)
        return super().__enter__()

    @property
    def num_blocks(self) -> int:
        """Return how many blocks have run, of all emulated GPUs."""
        return self.library.emulated_gpu_num_blocks()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None) -> Any:
        """Call an operator, or its emulated twin."""
        if function.namespace != "ictp" or function._opname not in operator_names():
            return function(*args, **(kwargs or {}))
        self.calls[function._opname] += 1
        with unset_is_nan():
            return getattr(torch.ops.ictp_emulated, function._opname)(*args, **(kwargs or {}))
