# SPDX-License-Identifier: MIT
"""Checks of PyTorch, the operators and the GPU: run as a program, prints one line of JSON."""

from __future__ import annotations

import copy
import json
import platform
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import torch

from pyictp.config.load import ModelConfig
from pyictp.doctor.machine import X86_64, instruction_set
from pyictp.doctor.python_checks import REINSTALL, TORCH_CHECKS
from pyictp.doctor.results import Result, Status, Subject, run_check
from pyictp.graph.derivatives import evaluate_graph
from pyictp.graph.graph import build_graph
from pyictp.model.ictp import ICTPModel
from pyictp.model.tabulate import tabulate_radial
from pyictp.native import check_torch, library_folder, load_operators

# Largest deviation of forces from plain torch, relative to the largest force.
LIMITS = {torch.float64: 1e-10, torch.float32: 1e-4}


def check_version(_: Subject) -> Result:
    """Compare PyTorch with the one that the operators were built with."""
    check_torch(torch.__version__)
    text = f"{torch.__version__}, fits the operators"
    if not torch._C._GLIBCXX_USE_CXX11_ABI:
        text += "; it has the C++ ABI of before 2011, the operators that of after"
        return Result("PyTorch", Status.PROBLEM, text, "take a PyTorch of the Python package index")
    return Result("PyTorch", Status.OK, text)


def check_operators(_: Subject) -> Result:
    """Load the operators."""
    load_operators()
    text = f"libictp_ops.so loads, {instruction_set()} loops"
    if instruction_set() == "baseline" and platform.machine() in X86_64:  # others have no better
        return Result("operators", Status.WARNING, f"{text}: slow", "take a machine with AVX2")
    return Result("operators", Status.OK, text)


def check_numbers(_: Subject) -> Result:
    """Compare forces of a small model by operators with those by plain torch."""
    load_operators()
    found = {dtype: deviation(dtype, "cpu") for dtype in LIMITS}
    text = ", ".join(f"{str(k).removeprefix('torch.')} {v:.0e}" for k, v in found.items())
    text = f"forces of a small model, operators from plain PyTorch: {text}"
    if any(not value < LIMITS[dtype] for dtype, value in found.items()):
        return Result("numbers", Status.PROBLEM, text, f"{REINSTALL}; if it stays, report it")
    return Result("numbers", Status.OK, text)


def deviation(dtype: torch.dtype, device: str) -> float:
    """Return the largest deviation of forces, relative; with radial network and with table."""
    torch.manual_seed(0)
    config = ModelConfig(
        elements=("H", "O"),
        r_cut=3.0,
        num_channels=4,
        l_max_edge=2,
        l_max_hidden=1,
        radial_hidden=(8,),
        avg_num_neighbors=5.0,
    )
    exact = ICTPModel(config).double()
    model = copy.deepcopy(exact).to(device, dtype)
    rng = np.random.default_rng(0)
    positions = np.argwhere(np.ones((2, 2, 2))) * 1.5 + rng.uniform(-0.3, 0.3, (8, 3))
    graph = build_graph(positions, np.zeros((3, 3)), False, rng.integers(0, 2, 8), config.r_cut)
    largest = 0.0
    for tabulated in (False, True):
        if tabulated:
            tabulate_radial(model, exact)
        fused, plain = (
            evaluate_graph(model.use_operators(use), graph.to(device)).forces
            for use in (True, False)
        )
        largest = max(largest, float((fused - plain).abs().max() / plain.abs().max()))
    return largest


def check_gpu(_: Subject) -> Result:
    """Look for a GPU, and compare forces on it where there is one."""
    operators = library_folder() / "libictp_ops.so"
    compiled = operators.is_file() and b"libc10_cuda.so" in operators.read_bytes()
    kernels = f"operators {'with' if compiled else 'without'} CUDA kernels"
    if torch.version.cuda is None:
        return Result("GPU", Status.OK, f"not used: PyTorch is a build without CUDA; {kernels}")
    text = f"PyTorch with CUDA {torch.version.cuda}, {kernels}"
    if not torch.cuda.is_available():
        advice = "on a login node this is as it should be; else look at nvidia-smi"
        return Result("GPU", Status.WARNING, f"{text}; no GPU is seen here", advice)
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    text = f"{names}; {text}"
    if not compiled:
        advice = "models run there in plain PyTorch: install again with nvcc on the PATH"
        return Result("GPU", Status.WARNING, text, advice)
    found = {dtype: deviation(dtype, "cuda") for dtype in LIMITS}
    if any(not value < LIMITS[dtype] for dtype, value in found.items()):
        text += f"; forces deviate from plain PyTorch: {', '.join(map(str, found.values()))}"
        return Result("GPU", Status.PROBLEM, text, f"{REINSTALL}; if it stays, report it")
    return Result("GPU", Status.OK, f"{text}; forces as in plain PyTorch")


CHECKS: dict[str, Callable[[Subject], Result]] = dict(
    zip(TORCH_CHECKS, (check_version, check_operators, check_numbers, check_gpu), strict=True)
)


def main() -> None:
    """Print the results as JSON."""
    torch.set_num_threads(1)
    results = [run_check(name, check, Subject()) for name, check in CHECKS.items()]
    # this module is a program too, whose answer is read by check_torch
    print(json.dumps([asdict(result) for result in results]))  # noqa: T201


if __name__ == "__main__":
    main()
