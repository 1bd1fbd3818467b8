# SPDX-License-Identifier: MIT
"""What is inside an exported file, a checkpoint or a training folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pyictp.config.load import to_dict
from pyictp.potential.checkpoint import build_model, is_exported, load_checkpoint, resolve_path
from pyictp.potential.distances import KEY, named


def describe(path: str | Path) -> dict[str, Any]:
    """Return what a model file says of itself, plain values.

    Raises:
        UserError: nothing readable there.
    """
    path = resolve_path(path)
    if is_exported(path):
        from pyictp.potential.exported import read_metadata

        return {"file": str(path), **read_metadata(path)}
    payload = load_checkpoint(path)
    model = build_model(payload, source=path)
    return {
        "file": str(path),
        "format": payload["format"],
        "schema_version": payload["schema_version"],
        "elements": list(model.config.elements),
        "r_cut": model.config.r_cut,
        "num_layers": model.config.num_layers,
        "dtype": str(model.node_embedding.dtype).removeprefix("torch."),
        "e0": dict(zip(model.config.elements, model.e0.tolist(), strict=True)),
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "model": to_dict(model.config),  # what a file from before does not say, too
        "provenance": payload.get("provenance", {}),
    }


def for_people(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description in which the shortest distances of an exported file have names."""
    shown = dict(described)
    if isinstance(shown.get(KEY), list):
        shortest = np.array(shown[KEY]).reshape(2 * [len(shown["elements"])])
        known = bool(shortest.any())
        shown[KEY] = named(shortest, shown["elements"]) if known else "not known"
    return shown
