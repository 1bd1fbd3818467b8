# SPDX-License-Identifier: MIT
"""`ictp properties`: what a potential says of a crystal or a molecule."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pyictp.cli.parser import examples

OF_CRYSTALS = ("cell", "eos", "elastic", "phonons", "vacancy", "surfaces")
OF_MOLECULES = ("geometry", "vibrations")
ON_REQUEST = ("expansion", "melting", "stability")
PROPERTIES = (*OF_CRYSTALS, *OF_MOLECULES, "diatomics", *ON_REQUEST)

OF = f"{', '.join(PROPERTIES)}; default: all but the last three, which take minutes"


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp properties`; returns its parser."""
    parser = subparsers.add_parser(
        "properties",
        description="Relax a structure and measure what experiments and textbooks know of it, at 0 "
        "K and in float64. Of a crystal: cell, equation of state, elastic constants, phonons, and, "
        "of one element, vacancy and surfaces; of a molecule: bonds and vibrations; of both: pairs "
        "of atoms alone down to 0.3 A. On request: thermal expansion, the melting point, and how "
        "hot and dense runs in LAMMPS become before they break. The folder gets properties.json "
        "and pictures.",
    )
    examples(
        parser,
        "ictp properties run crystal.cif",
        "ictp properties run crystal.cif --of elastic phonons -o elastic",
        "ictp properties run crystal.cif --of melting stability -o hot",
        "ictp properties run crystal.cif --of cell eos --labels volumes.xyz",
        "ictp properties run1 molecule.xyz --beside run2",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="training folder, checkpoint, or exported file in float64")
    add("structure", metavar="STRUCTURE", help="any file ASE reads; FILE@0 for its first frame")
    add("--of", metavar="NAME", nargs="+", choices=PROPERTIES, default=(), help=OF)
    add(
        "--beside",
        metavar="POTENTIAL",
        nargs="+",
        default=(),
        help="other models, GFN1-xTB or GFN2-xTB (tblite), or the dotted name of an ASE calculator",
    )
    add(
        "--labels",
        metavar="FILE",
        help="frames of the crystal at several volumes with energies: their equation of state "
        "beside the model's",
    )
    add("-o", "--output", metavar="FOLDER", type=Path, default=Path("properties"))
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Measure, print, write."""
    import importlib.util

    from pyictp.errors import UserError
    from pyictp.md.structure import read_structure

    if importlib.util.find_spec("phonopy") is None:
        raise UserError("phonopy is not installed: pip install 'pair_ictp[properties]'")
    from pyictp.properties.labels import labelled
    from pyictp.properties.measure import choose, measure
    from pyictp.properties.results import table, write

    atoms = read_structure(args.structure)
    asked = choose(atoms, args.of)
    potentials = (args.model, *args.beside)
    say = _silent if args.quiet else _say
    measured = [
        measure(atoms, name, asked, say, run_folder(args.output, number))
        for number, name in enumerate(potentials)
    ]
    if args.labels:
        measured.append(labelled(args.labels, atoms))
    print("\n".join(table(measured)))
    names = write(measured, args.structure, args.output)
    print(f"wrote '{args.output}': {', '.join(names)}")
    return 0


def run_folder(output: Path, number: int) -> Path:
    """Return the folder of the runs of a potential: those beside the first have their own."""
    return output / f"beside_{number}" if number else output


def _say(line: str) -> None:
    import sys

    print(line, file=sys.stderr, flush=True)


def _silent(_: str) -> None:
    pass
