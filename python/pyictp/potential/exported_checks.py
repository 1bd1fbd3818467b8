# SPDX-License-Identifier: MIT
"""What an exported file says of itself: types, ranges, and what must agree.

`pair_ictp/ictp_model_file.cpp` asks for the same before LAMMPS runs a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from ase.data import atomic_numbers
from torch import Tensor

from pyictp.errors import UserError

MAX_R_CUT = 100.0  # A
MAX_LAYERS, MAX_MODELS, MAX_REFERENCE = 100, 1000, 10000
AGAIN = "export it again with `ictp export`"


def _is_number(value: Any, low: float, high: float) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and low <= value <= high  # a NaN is not


def _is_count(value: Any, high: int) -> bool:
    return isinstance(value, int) and _is_number(value, 1, high)


def _are_elements(value: Any) -> bool:
    is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return is_list and bool(value) and all(atomic_numbers.get(item) for item in value)


def _are_numbers(value: Any, size: int, low: float, high: float) -> bool:
    is_list = isinstance(value, list) and len(value) == size
    return is_list and all(_is_number(item, low, high) for item in value)


def check_attributes(values: Mapping[str, Any], path: Path) -> None:
    """Refuse attributes of a wrong type or out of range.

    Args:
        values: by name; those of the archive, or those of its metadata.json.
        path: of the file.

    Raises:
        UserError: the first that is wrong, what was expected, what came.
    """
    elements, r_cut = values.get("elements"), values.get("r_cut")
    size = len(elements) if isinstance(elements, list) else 0
    r_max = float(r_cut) if r_cut and _is_number(r_cut, 0, MAX_R_CUT) else MAX_R_CUT
    rules: dict[str, tuple[Callable[[Any], bool], str]] = {
        "elements": (
            lambda v: _are_elements(v) and len(set(v)) == size,
            "chemical symbols, each named once",
        ),
        "r_cut": (lambda v: v != 0 and _is_number(v, 0, MAX_R_CUT), "above 0 and up to 100 A"),
        "num_layers": (lambda v: _is_count(v, MAX_LAYERS), f"1 to {MAX_LAYERS}"),
        "num_models": (lambda v: _is_count(v, MAX_MODELS), f"1 to {MAX_MODELS}"),
        "dtype": (lambda v: v in ("float32", "float64"), "float32 or float64"),
        "has_grade": (lambda v: isinstance(v, bool), "true or false"),
        "reference_tolerance": (lambda v: _is_number(v, 0, 1e3), "0 to 1000 eV or eV/A"),
        "masses": (lambda v: _are_numbers(v, size, 0.5, 500), "one mass [u] per element"),
        "shortest_distances": (
            lambda v: _are_numbers(v, size**2, 0, r_max),
            "0 to r_cut, one per pair of elements",
        ),
    }
    for name, (is_right, expected) in rules.items():
        value = values.get(name)
        if not is_right(value):
            text = " ".join(str(value).split())[:60]
            raise UserError(f"model '{path}': expected {name} {expected}, got {text}: {AGAIN}")


def check_metadata(attributes: Mapping[str, Any], metadata: Mapping[str, Any], path: Path) -> None:
    """Refuse an archive that computes with other attributes than its metadata.json tells people.

    Raises:
        UserError: the first that differs.
    """
    for name, value in attributes.items():
        if metadata.get(name) != value:
            raise UserError(
                f"model '{path}': its {name} is {value}, but {metadata.get(name)} in its "
                f"metadata.json: {AGAIN}"
            )


def check_structure(reference: Mapping[str, Any], num_species: int, r_cut: float) -> str | None:
    """Return why the reference structure is none that a model can be evaluated on.

    Args:
        reference: `reference_*` of the archive without that prefix, tensors if all is right.
        num_species: number of elements.
        r_cut: cutoff radius [A].
    """
    species, edges = reference["species"], reference["edge_index"]
    if not (_is_index(species, 1, num_species) and 0 < len(species) <= MAX_REFERENCE):
        return "its reference structure is damaged"
    num_nodes = len(species)
    if not (_is_index(edges, 2, num_nodes) and len(edges) == 2 and (edges[0].diff() >= 0).all()):
        return "its reference structure is damaged"
    num_edges = edges.shape[1]
    shapes = {
        "edge_vectors": (num_edges, 3),
        "node_energies": (num_nodes,),
        "forces": (num_nodes, 3),
        "virial": (3, 3),
    }
    for name, shape in shapes.items():
        value = reference[name]
        if not (isinstance(value, Tensor) and value.shape == shape and value.dtype == torch.double):
            return "its reference structure is damaged"
    lengths = torch.linalg.vector_norm(reference["edge_vectors"], dim=1)
    if not (lengths < r_cut).all():
        return f"its reference structure has an edge beyond r_cut {r_cut} A"
    return None


def _is_index(value: Any, num_dims: int, size: int) -> bool:
    if not (isinstance(value, Tensor) and value.dtype == torch.int64 and value.dim() == num_dims):
        return False
    return bool(((value >= 0) & (value < size)).all())
