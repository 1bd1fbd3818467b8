# SPDX-License-Identifier: MIT
"""Irreducible Cartesian tensor potentials: train in Python, run in LAMMPS."""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = [
    "ICTPCalculator",
    "Result",
    "TorchSimModel",
    "build_graph",
    "evaluate_batch",
    "export_model",
    "load_model",
    "read_frames",
]

# What a user reaches for; imported when asked for, as PyTorch takes seconds.
_PUBLIC = {
    "ICTPCalculator": "pyictp.potential.calculator",
    "Result": "pyictp.potential.batch",
    "TorchSimModel": "pyictp.potential.torchsim",
    "build_graph": "pyictp.graph",
    "evaluate_batch": "pyictp.potential.batch",
    "export_model": "pyictp.potential.export",
    "load_model": "pyictp.potential.load",
    "read_frames": "pyictp.data",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'pyictp' has no attribute '{name}'")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
