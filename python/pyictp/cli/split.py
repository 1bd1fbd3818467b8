# SPDX-License-Identifier: MIT
"""`ictp split`: labelled structures in train, valid and test files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pyictp.cli.fields import add_data_options, given_fields
from pyictp.cli.parser import examples
from pyictp.errors import UserError

SPLIT_METHODS = ("random", "group", "farthest")


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp split`; returns its parser."""
    parser = subparsers.add_parser(
        "split",
        description="Write training, validation and test files out of labelled structures, and "
        "print the data section that trains on them. Frames are drawn at random, by whole groups, "
        "or as different from one another as there are.",
    )
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="+",
        help="extended XYZ, ASE database, npz, outputs of codes",
    )
    parser.add_argument("-o", "--output", metavar="FOLDER", required=True, help="where to write")
    number = {"metavar": "N|FRACTION"}
    parser.add_argument("--train", **number, help="default: all frames that remain")
    parser.add_argument("--valid", **number, required=True)
    parser.add_argument("--test", **number, help="default: no test file")
    parser.add_argument(
        "--method",
        choices=SPLIT_METHODS,
        default="random",
        help="random (default); group: whole groups stay together; farthest: training frames as "
        "different from one another as there are",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--group-key",
        metavar="KEY",
        help="field that names the group, or the word file; default: config_type, else group",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument("--json", metavar="FILE", help="write files and numbers to a JSON file")
    add_data_options(parser)
    examples(
        parser,
        "ictp split data.xyz -o parts --valid 0.1 --test 0.1",
        "ictp split data.xyz -o few --train 5 --valid 2 --method farthest",
    )
    parser.set_defaults(run=run, needs="pyictp.curation.split")
    return parser


def run(args: argparse.Namespace) -> int:
    """Write the parts; print numbers of frames and the section of a configuration."""
    from pyictp.common.files import check_writable, write_json
    from pyictp.config import DataConfig
    from pyictp.curation.labelled import read_labelled
    from pyictp.curation.split import (
        check_parts,
        choose_parts,
        count_groups,
        data_section,
        report,
        write_parts,
    )

    if args.seed < 0:
        raise UserError(f"--seed: expected 0 or more, got {args.seed}")
    if args.json:
        check_writable(args.json)
    config = DataConfig(**given_fields(args))
    items = read_labelled(args.data, config)
    sizes = {"train": args.train, "valid": args.valid, "test": args.test}
    parts = choose_parts(items, sizes, args.method, args.seed, args.group_key)
    check_parts(items, parts)
    files = write_parts(items, parts, Path(args.output), config, args.overwrite)
    print(report(items, parts, files, args.group_key))
    print(f"\nfor the configuration of ictp train:\n{data_section(files, config)}", end="")
    if args.json:
        groups = count_groups(items, parts, args.group_key)
        result = {
            "data": args.data,
            "method": args.method,
            "seed": args.seed,
            "files": {part: str(path) for part, path in files.items()},
            "frames": {part: len(indices) for part, indices in parts.items()},
            "unused": len(items) - sum(map(len, parts.values())),
            "groups": groups if any(groups) else {},
        }
        write_json(args.json, result)
    return 0
