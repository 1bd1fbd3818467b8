# SPDX-License-Identifier: MIT
"""`ictp info`: what is inside an exported file, a checkpoint or a training folder."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pyictp.potential.checkpoint import build_model, is_exported, load_checkpoint, resolve_path
from pyictp.potential.distances import KEY, named


def run(args: argparse.Namespace) -> int:
    """Print the description of a model."""
    described = describe(args.model)
    if args.json:
        print(json.dumps(described, indent=1))
        return 0
    if isinstance(described.get(KEY), list):  # of an exported file
        shortest = np.array(described[KEY]).reshape(2 * [len(described["elements"])])
        known = bool(shortest.any())
        described[KEY] = named(shortest, described["elements"]) if known else "not known"
    for number, other in enumerate(described.pop("other_models", []), start=2):
        described[f"model {number} differs in"] = _difference(other, described) or "nothing"
    print("\n".join(_lines(described)))
    return 0


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
    model = build_model(payload)
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
        "model": payload["model_config"],
        "provenance": payload.get("provenance", {}),
    }


def _difference(values: Mapping[str, Any], first: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is not as in another description."""
    found = {}
    for key, value in values.items():
        known = first.get(key)
        both = isinstance(value, Mapping) and isinstance(known, Mapping)
        if value != known:
            found[key] = _difference(value, known) if both else value
    return found


def _lines(values: Mapping[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}", *_lines(value, indent + "  ")]
        elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
            for number, part in enumerate(value, start=1):
                text = ", ".join(f"{name} {_short(entry)}" for name, entry in part.items())
                lines.append(f"{indent}{f'{key} {number}':<22} {text}")
        elif isinstance(value, list):
            lines.append(f"{indent}{key:<22} {' '.join(map(str, value))}")
        else:
            lines.append(f"{indent}{key:<22} {value}")
    return lines


def _short(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
