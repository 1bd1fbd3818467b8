# SPDX-License-Identifier: MIT
"""An exported file (contract: export/FORMAT.md) read in Python."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyictp.errors import UserError
from pyictp.graph.derivatives import NodeEnergies, Prediction, evaluate_graph
from pyictp.graph.graph import Graph
from pyictp.native import load_operators
from pyictp.potential.archive import archive_of, check_code, read_archive
from pyictp.potential.checkpoint import is_exported
from pyictp.potential.exported_checks import (
    AGAIN,
    check_attributes,
    check_metadata,
    check_structure,
)
from pyictp.potential.interface import EnergyFunction

SCHEMA_VERSION = 2
ATTRIBUTES: tuple[str, ...] = (
    "schema_version",
    "elements",
    "r_cut",
    "num_layers",
    "dtype",
    "reference_tolerance",
)
ATTRIBUTES += ("num_models", "has_grade", "shortest_distances", "masses")
REFERENCE = ("species", "edge_index", "edge_vectors", "node_energies", "forces", "virial")


@contextmanager
def torchscript() -> Iterator[None]:
    """Leave out what PyTorch says whenever TorchScript is used: it is what C++ reads today.

    A DeprecationWarning, which few see, up to PyTorch 2.13, later a FutureWarning, which all see.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", Warning)
        yield


class ExportedPotential(EnergyFunction):
    """An exported file in Python."""

    def __init__(self, module: torch.jit.ScriptModule, metadata: dict[str, Any]) -> None:
        """Wrap a loaded archive."""
        self.module = module
        self.metadata = metadata
        self.elements: tuple[str, ...] = tuple(module.elements)
        self.r_cut: float = module.r_cut
        self.dtype: torch.dtype = getattr(torch, module.dtype)
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

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.module.reference_species.device

    @property
    def num_models(self) -> int:
        """The models whose mean it is."""
        return self.module.num_models

    def evaluate_members(self, graph: Graph) -> tuple[list[Prediction], Tensor | None]:
        """Return what each of its models says, and grades (N,) where it has them.

        Each model is evaluated once: the first tells its grades beside its energies.
        """
        if not self.has_grade and self.num_models == 1:
            return [self.evaluate(graph)], None
        graded: list[Tensor] = []

        def first(*arguments: Any) -> Tensor:
            energies, grades = self._member(0, self.has_grade, *arguments)
            graded.append(grades.detach())
            return energies

        models = [first, *(self.member(k) for k in range(1, self.num_models))]
        members = [evaluate_graph(model, graph) for model in models]
        return members, graded[0] if self.has_grade else None

    def member(self, index: int) -> NodeEnergies:
        """Return one model of an ensemble, called like this one."""

        def energies(
            species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
        ) -> Tensor:
            return self._member(index, False, species, edge_index, edge_vectors, num_local)[0]

        return energies

    def grades(self, graph: Graph) -> Tensor:
        """Return extrapolation grades (num_local,), float64: 1 is the farthest training atom.

        Raises:
            UserError: the file has none.
        """
        if not self.has_grade:
            raise UserError(
                "the file has no extrapolation grade: export it again, from a training that ended "
                "or with --training-data FILE"
            )
        with torch.no_grad():
            return self._member(
                0, True, graph.species, graph.edge_index, graph.edge_vectors, graph.num_local
            )[1]

    def _member(self, *arguments: Any) -> tuple[Tensor, Tensor]:
        with torch.jit.optimized_execution(False):
            return self.module.member(*arguments)


def check_reference(potential: ExportedPotential) -> float:
    """Return the largest deviation [eV, eV/A] from the reference values in the file.

    Of the virial a tenth [eV] counts, as readers accept ten times the deviation of forces there.
    """
    stored = {name: getattr(potential.module, f"reference_{name}") for name in REFERENCE}
    num_nodes = stored["species"].shape[0]
    index = torch.zeros(num_nodes, dtype=torch.int64, device=stored["species"].device)
    graph = Graph(
        stored["species"], stored["edge_index"], stored["edge_vectors"], num_nodes, index, 1
    )
    found = evaluate_graph(potential, graph)
    energies = (found.node_energies - stored["node_energies"]).abs().max()
    forces = (found.forces - stored["forces"]).abs().max()
    virial = (found.virials[0] - stored["virial"]).abs().max() / 10
    return torch.stack([energies, forces, virial]).max().item()  # NaN if one of them is


def load_exported(
    path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> ExportedPotential:
    """Return the potential of an exported file that gives its reference values on the device.

    Args:
        path: the file.
        device: where it shall compute.
        dtype: None, or what the file must have been exported with.

    Raises:
        UserError: not an exported file, damaged, another schema or dtype, code that no model
            needs, or other values than those in the file.
    """
    potential = open_exported(path, device)
    module = potential.module
    if dtype is not None and dtype != potential.dtype:
        wanted = str(dtype).removeprefix("torch.")
        raise UserError(
            f"'{path}' was exported in {module.dtype}, asked for {wanted}: "
            f"export it with --dtype {wanted}"
        )
    try:
        deviation = check_reference(potential)
    except RuntimeError as error:
        raise UserError(
            f"model '{path}' does not compute its reference structure ({_reason(error)}): {AGAIN}"
        ) from error
    if not deviation <= module.reference_tolerance:
        raise UserError(
            f"model '{path}' does not reproduce its reference structure on {device}: deviates by "
            f"{deviation:.1e} eV or eV/A, allowed are {module.reference_tolerance:.1e}: check "
            f"PyTorch's version and the driver, or {AGAIN}"
        )
    return potential


def open_exported(path: str | Path, device: str | torch.device = "cpu") -> ExportedPotential:
    """Return the potential of an exported file; what it computes is not compared.

    Raises:
        UserError: as `load_exported`, but for the comparison.
    """
    path = Path(path)
    members, metadata = _read(path)
    check_code(members, path)
    load_operators()
    with torchscript():
        try:
            # of what was looked at: another reader of zip files may see other members
            module = torch.jit.load(io.BytesIO(archive_of(members)), map_location=device)
        except MemoryError:
            raise
        except Exception as error:  # code and tables of a damaged file raise anything
            raise UserError(f"model '{path}' does not load ({_reason(error)}): {AGAIN}") from error
    attributes = {name: getattr(module, name, None) for name in ATTRIBUTES}
    check_attributes(attributes, path)
    check_metadata(attributes, metadata, path)
    reference = {name: getattr(module, f"reference_{name}", None) for name in REFERENCE}
    wrong = check_structure(reference, len(module.elements), module.r_cut)
    if wrong:
        raise UserError(f"model '{path}': {wrong}: {AGAIN}")
    return ExportedPotential(module, metadata)


def _reason(error: Exception) -> str:
    """Return the line of an exception of PyTorch that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and "Traceback" not in line]
    return next((line for line in reversed(lines) if "Error" in line), [*lines, "no reason"][0])


def write_archive(
    module: torch.jit.ScriptModule, path: str | Path, metadata: dict[str, Any]
) -> None:
    """Write a TorchScript module with its metadata; members are stored as they are.

    PyTorch compresses code, and reads damaged compressed members without a word: what is stored
    can be held against the archive's check sums byte by byte. Debugging records are left out.
    """
    buffer = io.BytesIO()
    torch.jit.save(module, buffer, _extra_files={"metadata.json": json.dumps(metadata, indent=1)})
    with zipfile.ZipFile(buffer) as written:
        names = [name for name in written.namelist() if not name.endswith(".debug_pkl")]
        members = {name.partition("/")[2]: written.read(name) for name in names}
    Path(path).write_bytes(archive_of(members))


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Return the metadata of an exported file without loading the model.

    Raises:
        UserError: not an exported file, or another schema.
    """
    return _read(Path(path))[1]


def _read(path: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the members of the archive of an exported file, and its metadata."""
    if not path.is_file():
        raise UserError(f"'{path}' not found: expected a file written by ictp export")
    wanted = "is no exported model, or is truncated: write it with ictp export"
    if not is_exported(path):
        raise UserError(f"'{path}' {wanted}")
    _, members = read_archive(path, wanted)
    try:
        metadata = json.loads(members.get("extra/metadata.json", b"{}"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"model '{path}': its metadata.json is damaged: {AGAIN}") from error
    if not isinstance(metadata, dict) or metadata.get("format") != "ictp":
        raise UserError(
            f"'{path}' is a TorchScript archive, but no ICTP model: write it with ictp export"
        )
    schema = metadata.get("schema_version")
    if schema != SCHEMA_VERSION:
        raise UserError(
            f"model '{path}' has schema {str(schema)[:20]}, "
            f"this package reads {SCHEMA_VERSION}: export it again with ictp export"
        )
    check_attributes(metadata, path)
    others = metadata.get("other_models", [])
    if not (isinstance(others, list) and all(isinstance(one, dict) for one in others)):
        raise UserError(f"model '{path}': other_models of its metadata.json is no list: {AGAIN}")
    return members, metadata
