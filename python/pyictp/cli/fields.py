# SPDX-License-Identifier: MIT
"""Options that name the fields of data files and their units."""

from __future__ import annotations

import argparse
from typing import Any

# As DataConfig has them, which is not imported here.
FIELD_KEYS = {"energy": "energy", "forces": "forces", "stress": "stress", "virial": "virial"}


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add names and units of the fields of data files."""
    group = parser.add_argument_group("fields of the data")
    for field, default in FIELD_KEYS.items():
        group.add_argument(f"--{field}-key", help=f"default: {default}")
    group.add_argument("--energy-unit", help="for example kcal/mol; default: eV (rMD17: kcal/mol)")
    group.add_argument("--length-unit", help="default: Angstrom")
    group.add_argument("--forces-unit", help="default: energy unit per length unit")
    group.add_argument("--stress-unit", help="default: energy unit per cubed length unit")


def given_fields(args: argparse.Namespace) -> dict[str, Any]:
    """Return the names and units of fields that the command line has."""
    from pyictp.config.run_fields import FIELDS

    return {name: getattr(args, name) for name in FIELDS if getattr(args, name) is not None}
