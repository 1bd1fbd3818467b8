# SPDX-License-Identifier: MIT
"""`ictp convert`: outputs of electronic structure codes as extended XYZ."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pyictp.cli.fields import add_data_options, given_fields
from pyictp.cli.parser import examples


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp convert`; returns its parser."""
    parser = subparsers.add_parser(
        "convert",
        description="Write the structures and labels of files and folders to one extended XYZ "
        "file, in eV and Angstrom, and say what was taken from each: outputs of VASP, Quantum "
        "ESPRESSO, CP2K, ORCA, FHI-aims, ABACUS and Gaussian, folders of deepmd-kit, MTP's .cfg, "
        "and what else ase.io or dpdata reads. train, stats and the others read them as they are.",
    )
    parser.add_argument("data", metavar="IN", nargs="+", help="files and folders")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the file to write")
    parser.add_argument(
        "--format",
        metavar="NAME",
        help="of all of them, in ase.io or dpdata; default: found out by their content",
    )
    parser.add_argument(
        "--elements",
        metavar="EL",
        nargs="+",
        default=(),
        help="of types 0, 1, ... in files that name none: MTP's .cfg, deepmd-kit",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    add_data_options(parser)
    examples(
        parser,
        "ictp convert OUTCAR vasprun.xml -o frames.xyz",
        "ictp convert set1 -o frames.xyz",
        "ictp convert output.log --format vasp-out -o frames.xyz",
        "ictp convert train.cfg --elements Ni Al -o frames.xyz",
    )
    parser.set_defaults(run=run, needs="pyictp.curation.convert")
    return parser


def run(args: argparse.Namespace) -> int:
    """Convert; print a line for each file."""
    from pyictp.config import DataConfig
    from pyictp.config.data_files import DataFile
    from pyictp.curation.convert import describe_files, write_frames
    from pyictp.curation.labelled import read_labelled

    config = DataConfig(**given_fields(args))
    elements = tuple(args.elements)
    files = [DataFile(name, format=args.format, elements=elements) for name in args.data]
    items = read_labelled(files, config)
    write_frames(items, Path(args.output), config, args.overwrite)
    for line in describe_files(items):
        print(line)
    print(f"wrote '{args.output}': {len(items)} frames, in eV and Angstrom")
    return 0
