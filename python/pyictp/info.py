# SPDX-License-Identifier: MIT
"""`ictp info`: what is inside an exported file, a checkpoint or a training folder."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyictp.checkpoint import build_model, is_exported, load_checkpoint, resolve_path


def run(args: argparse.Namespace) -> int:
    """Print the description of a model."""
    described = describe(args.model)
    print(json.dumps(described, indent=1) if args.json else "\n".join(_lines(described)))
    return 0


def describe(path: str | Path) -> dict[str, Any]:
    """Return what a model file says of itself, plain values.

    Raises:
        UserError: nothing readable there.
    """
    path = resolve_path(path)
    if is_exported(path):
        from pyictp.exported import read_metadata

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


def _lines(values: Mapping[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}", *_lines(value, indent + "  ")]
        elif isinstance(value, list):
            lines.append(f"{indent}{key:<22} {' '.join(map(str, value))}")
        else:
            lines.append(f"{indent}{key:<22} {value}")
    return lines
