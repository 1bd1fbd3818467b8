# SPDX-License-Identifier: MIT
"""`ictp evaluate`: errors of a potential on labelled structures."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from pyictp.cli.fields import add_data_options, given_fields
from pyictp.cli.parser import examples


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp evaluate`; returns its parser."""
    parser = subparsers.add_parser(
        "evaluate",
        description="Print the errors of a model on labelled structures: energies, forces, "
        "stresses, forces per element; of an exported file also how well its deviations and grades "
        "tell the errors. Also as JSON, as plots, or all on one HTML page.",
    )
    parser.add_argument("model", metavar="MODEL", help="training folder, checkpoint, exported file")
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="+",
        help="extended XYZ, ASE database, npz, outputs of codes",
    )
    parser.add_argument("--json", metavar="FILE", help="write the numbers to a JSON file")
    parser.add_argument(
        "--plot", metavar="PATH", help="draw parity plots: image file, or folder for parity.png"
    )
    parser.add_argument(
        "--report", metavar="FILE", help="write numbers and pictures to one HTML file"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<number>")
    parser.add_argument("--dtype", choices=("float32", "float64"), help="default: the model's own")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N")
    add_data_options(parser)
    examples(
        parser,
        "ictp evaluate run test.xyz",
        "ictp evaluate model.pt test.xyz --json errors.json --plot parity.png",
        "ictp evaluate run test.xyz --report errors.html",
    )
    parser.set_defaults(run=run, needs="pyictp.reports.evaluate")
    return parser


def run(args: argparse.Namespace) -> int:
    """Print errors; write numbers, pictures, a page where asked for."""
    from pyictp.common.files import check_writable, write_json
    from pyictp.config.run_fields import as_in_run, data_section
    from pyictp.potential.load import as_potential, resolve_device
    from pyictp.reports.evaluate import labelled_frames, predict, report
    from pyictp.reports.metrics import metrics
    from pyictp.reports.parity import check_plot_path, plot_parity

    # before the long work
    if args.json:
        check_writable(args.json)
    if args.plot:
        check_plot_path(Path(args.plot))
    if args.report:
        from pyictp.reports.page import check_report_path

        check_report_path(Path(args.report))
    potential = as_potential(args.model, resolve_device(args.device), args.dtype)
    of_run = data_section(potential.metadata)
    files, config, lines = as_in_run(args.data, of_run, given_fields(args))
    for line in lines:
        print(line)
    frames = labelled_frames(files, config, "--energy-key and --forces-key", say=print)
    parity = predict(potential, frames, args.batch_size, progress=not args.quiet)
    result = metrics(parity)
    print(report(result))
    if args.json:
        write_json(args.json, result)
    if args.plot:
        print(f"parity plots: {plot_parity(parity, _parent(Path(args.plot)))}")
    if args.report:
        _write_page(args, parity, result)
        print(f"report: {args.report}")
    return 0


def _write_page(args: argparse.Namespace, parity: Any, result: dict[str, Any]) -> None:
    from pyictp.reports.page import Subject, write_report

    options = [
        word
        for name, value in given_fields(args).items()
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    words = ["ictp", "evaluate", args.model, *args.data, *options, "--report", args.report]
    names = ", ".join(Path(name).name for name in args.data)
    subject = Subject(
        Path(args.model), f"frames of {names}", (shlex.join(words),), tuple(args.data)
    )
    write_report(_parent(Path(args.report)), subject, parity, result)


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
