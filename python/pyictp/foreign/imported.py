# SPDX-License-Identifier: MIT
"""What an import returns: the model and what is known of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pyictp.foreign.choice import Choice
from pyictp.foreign.licences import licence_notice
from pyictp.model.ictp import ICTPModel

TABLES_FROM = 0.5  # A, where tolerances of exported tables begin: training data are not known


@dataclass(frozen=True)
class Imported:
    """A model of another program, float64, and what is known of it."""

    model: ICTPModel
    provenance: dict[str, Any]  # plain values
    notes: list[str] = field(default_factory=list)  # for people: what was read, and what changed


def described(
    model: ICTPModel,
    path: Path,
    choice: Choice,
    origin: str,
    dtype: torch.dtype,
    notes: Sequence[str],
) -> Imported:
    """Return a model with provenance and notes.

    Args:
        model: that was imported.
        path: of the file.
        choice: what was taken of it.
        origin: the class, or kind, of the model in the file.
        dtype: of its weights.
        notes: for people; elements left out and the licence follow.
    """
    notes = list(notes)
    left_out = [e for e in choice.all_elements if e not in choice.elements]
    if left_out:
        notes.append(f"left out: elements {' '.join(left_out)}")
    licence = licence_notice(path.name, len(choice.all_elements))
    if licence:
        notes.append(f"licence: {licence}")
    provenance = {
        "imported_from": path.name,
        "shortest_edge": TABLES_FROM,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "imported_class": origin,
        "imported_dtype": str(dtype).removeprefix("torch."),
        "head": choice.head_name,
        "heads": list(choice.heads),
        "elements_of_file": list(choice.all_elements),
        "notes": "; ".join(notes),
        **choice.state,
    }
    if licence:
        provenance["licence"] = licence
    return Imported(model, provenance, notes)
