# SPDX-License-Identifier: MIT
"""`ictp info`: what is inside an exported file, a checkpoint or a training folder."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyictp.arguments import examples
from pyictp.checkpoint import build_model, is_exported, load_checkpoint, resolve_path


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp info`; returns its parser."""
    parser = subparsers.add_parser(
        "info",
        description="Print what a model file says of itself: elements, cutoff, architecture, "
        "precision, energies of isolated atoms, and what it was trained on.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="exported file, checkpoint or training folder"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    examples(parser, "ictp info run", "ictp info model.pt --json")
    parser.set_defaults(run=run)
    return parser


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
        from pyictp.export import read_metadata

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
