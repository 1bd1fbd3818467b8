# SPDX-License-Identifier: MIT
"""Irreducible Cartesian tensor potentials: train in Python, run in LAMMPS."""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["ICTPCalculator", "Result", "evaluate_batch"]

# What a user reaches for; imported when asked for, as PyTorch takes seconds.
_PUBLIC = {
    "ICTPCalculator": "pyictp.calculator",
    "Result": "pyictp.batch",
    "evaluate_batch": "pyictp.batch",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'pyictp' has no attribute '{name}'")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
