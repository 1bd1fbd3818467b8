# SPDX-License-Identifier: MIT
"""`ictp info`: what a model file says of itself."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from pyictp.cli.parser import examples


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
    parser.set_defaults(run=run, needs="pyictp.potential.describe")
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the description of a model."""
    import json

    from pyictp.potential.describe import describe, for_people

    described = describe(args.model)
    if args.json:
        print(json.dumps(described, indent=1))
        return 0
    described = for_people(described)
    for number, other in enumerate(described.pop("other_models", []), start=2):
        described[f"model {number} differs in"] = _difference(other, described) or "nothing"
    print("\n".join(_lines(described)))
    return 0


def _difference(values: Mapping[str, Any], first: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is not as in another description."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        known = first.get(key)
        if value == known:
            continue
        if isinstance(value, Mapping) and isinstance(known, Mapping):
            found[key] = _difference(value, known)
        else:
            found[key] = value
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
