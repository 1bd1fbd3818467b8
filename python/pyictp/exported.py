# SPDX-License-Identifier: MIT
"""An exported file (contract: export/FORMAT.md) read in Python."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyictp.checkpoint import is_exported
from pyictp.derivatives import Potential, evaluate_graph
from pyictp.errors import UserError
from pyictp.graph import Graph
from pyictp.native import load_operators

SCHEMA_VERSION = 2
ATTRIBUTES = ("schema_version", "elements", "r_cut", "num_layers", "dtype", "reference_tolerance")
ATTRIBUTES += ("num_models", "has_grade", "shortest_distances", "masses")
REFERENCE = ("species", "edge_index", "edge_vectors", "node_energies", "forces", "virial")


class ExportedPotential:
    """An exported file in Python: a callable like `ICTPModel.forward`."""

    def __init__(self, module: torch.jit.ScriptModule, metadata: dict[str, Any]) -> None:
        """Wrap a loaded archive."""
        self.module = module
        self.metadata = metadata
        self.elements: tuple[str, ...] = tuple(module.elements)
        self.r_cut: float = module.r_cut
        self.dtype: torch.dtype = getattr(torch, module.dtype)
        self.num_models: int = module.num_models
        self.has_grade: bool = module.has_grade
        size = len(self.elements)
        # (S, S) [A], 0: nothing is known
        self.shortest_distances = np.array(module.shortest_distances).reshape(size, size)

    def __call__(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> Tensor:
        """Return (num_local,) float64 node energies [eV]."""
        # The number of edges changes at every call: never specialise.
        with torch.jit.optimized_execution(False):
            return self.module(species, edge_index, edge_vectors, num_local)

    def member(self, index: int) -> Potential:
        """Return one model of an ensemble, a callable like this one."""

        def energies(
            species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
        ) -> Tensor:
            return self._member(index, False, species, edge_index, edge_vectors, num_local)[0]

        return energies

    def grades(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> Tensor:
        """Return the extrapolation grades (num_local,) of local nodes: 1 is the training's edge.

        Raises:
            UserError: the file has none.
        """
        if not self.has_grade:
            raise UserError(
                "the file has no extrapolation grade: export it again, from a training that ended "
                "or with --training-data FILE"
            )
        with torch.no_grad():
            return self._member(0, True, species, edge_index, edge_vectors, num_local)[1]

    def _member(self, *arguments: Any) -> tuple[Tensor, Tensor]:
        with torch.jit.optimized_execution(False):
            return self.module.member(*arguments)


def check_reference(potential: ExportedPotential) -> float:
    """Return the largest deviation [eV, eV/A] from the reference values in the file."""
    stored = {name: getattr(potential.module, f"reference_{name}") for name in REFERENCE}
    num_nodes = stored["species"].shape[0]
    index = torch.zeros(num_nodes, dtype=torch.int64, device=stored["species"].device)
    graph = Graph(
        stored["species"], stored["edge_index"], stored["edge_vectors"], num_nodes, index, 1
    )
    found = evaluate_graph(potential, graph)
    energies = (found.node_energies - stored["node_energies"]).abs().max()
    forces = (found.forces - stored["forces"]).abs().max()
    return max(energies.item(), forces.item())


def load_exported(
    path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> ExportedPotential:
    """Return the potential of an exported file.

    Args:
        path: the file.
        device: where it shall compute.
        dtype: None, or what the file must have been exported with.

    Raises:
        UserError: not an exported file, another schema or dtype.
    """
    metadata = read_metadata(path)
    load_operators()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            module = torch.jit.load(str(path), map_location=device)
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"exported file '{path}' does not load: {reason}; export it again"
            ) from error
    potential = ExportedPotential(module, metadata)
    if dtype is not None and dtype != potential.dtype:
        wanted = str(dtype).removeprefix("torch.")
        raise UserError(
            f"'{path}' was exported in {module.dtype}, asked for {wanted}: "
            f"export it with --dtype {wanted}"
        )
    return potential


def write_archive(
    module: torch.jit.ScriptModule, path: str | Path, metadata: dict[str, Any]
) -> None:
    """Write a TorchScript module with its metadata; members are stored as they are.

    PyTorch compresses code, and reads damaged compressed members without a word: what is stored
    can be held against the archive's check sums byte by byte. Debugging records are left out.
    """
    buffer = io.BytesIO()
    torch.jit.save(module, buffer, _extra_files={"metadata.json": json.dumps(metadata, indent=1)})
    with zipfile.ZipFile(buffer) as written, zipfile.ZipFile(path, "w") as stored:
        for name in written.namelist():
            if not name.endswith(".debug_pkl"):
                # a fixed date: one model makes the same file every time
                stored.writestr(zipfile.ZipInfo(name), written.read(name))


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Return the metadata of an exported file without loading the model.

    Raises:
        UserError: not an exported file, or another schema.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"'{path}' not found: expected a file written by export/export_model.py")
    if not is_exported(path):
        raise UserError(
            f"'{path}' is no exported model, or is truncated: write it with export/export_model.py"
        )
    with zipfile.ZipFile(path) as archive:
        found = [name for name in archive.namelist() if name.endswith("/extra/metadata.json")]
        metadata = json.loads(archive.read(found[0])) if found else {}
    if metadata.get("format") != "ictp":
        raise UserError(
            f"'{path}' is a TorchScript archive, but no ICTP model: "
            "write it with export/export_model.py"
        )
    if metadata["schema_version"] != SCHEMA_VERSION:
        raise UserError(
            f"model '{path}' has schema {metadata['schema_version']}, "
            f"this package reads {SCHEMA_VERSION}: export it again with export/export_model.py"
        )
    return metadata
