# SPDX-License-Identifier: MIT
"""`ictp export`: trained models to a file, and what was measured of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pyictp.cli.parser import examples
from pyictp.errors import UserError


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp export`; returns its parser."""
    parser = subparsers.add_parser(
        "export",
        description="Write the one file that pair_style ictp, the ASE calculator and the other "
        "commands read. It is read again and compared with the trained model before this says that "
        "it is done.",
    )
    parser.add_argument(
        "models",
        metavar="RUN",
        nargs="+",
        help="training folder or checkpoint; several become an ensemble, which tells how far its "
        "models deviate from each other",
    )
    parser.add_argument(
        "-o", "--output", default="model.pt", help="file to write (default: model.pt)"
    )
    parser.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", help="default: float32"
    )
    parser.add_argument(
        "--portable", action="store_true", help="use plain PyTorch instead of compiled operators"
    )
    parser.add_argument(
        "--radial",
        choices=("table", "network"),
        default="table",
        help="radial functions as a table (fast, within 1e-6, in float64 1e-10) or as the network "
        "(default: table)",
    )
    parser.add_argument(
        "--training-data",
        metavar="FILE",
        nargs="+",
        help="structures the first model was trained on, for the extrapolation grade; default: "
        "the training left it in the checkpoint",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    examples(
        parser,
        "ictp export run -o model.pt",
        "ictp export run1 run2 run3 -o ensemble.pt",
        "ictp export run -o precise.pt --dtype float64",
    )
    parser.set_defaults(run=run, needs="pyictp.potential.runs")
    return parser


def run(args: argparse.Namespace) -> int:
    """Export, compare and say what came out."""
    import torch

    from pyictp.potential.checkpoint import build_model
    from pyictp.potential.export_check import compare, spread
    from pyictp.potential.runs import export_runs

    payloads = [_payload(source) for source in args.models]
    exact = [
        build_model(payload, torch.float64, source)
        for payload, source in zip(payloads, args.models, strict=True)
    ]
    graphs = _training_graphs(args, payloads[0])
    training = graphs if args.training_data else ()
    written = export_runs(payloads, args.output, args.dtype, args.portable, args.radial, training)
    on_frames = None
    if graphs:
        on_frames = compare(args.output, exact, spread(graphs))
    size = Path(args.output).stat().st_size
    if args.json:
        values = {"file": args.output, "bytes": size, "dtype": args.dtype}
        values |= {"deviation": written.deviation}  # in eV or eV/A, as those on frames
        values |= {"num_models": len(payloads), "has_grade": written.has_grade}
        values["on_training_frames"] = None if on_frames is None else asdict(on_frames)
        print(json.dumps(values))
        return 0
    what = f"{len(payloads)} models, " if len(payloads) > 1 else ""
    print(
        f"wrote '{args.output}' ({what}{size / 1e6:.1f} MB, {args.dtype}): reloaded, on its small "
        f"reference structure at most {written.deviation:.1e} eV or eV/A from the trained "
        f"{'mean' if what else 'model'}"
    )
    print(on_frames or "not compared on training frames: --training-data FILE does that")
    if not written.has_grade:
        print("no extrapolation grade: the training did not end; --training-data FILE gives one")
    elements = " ".join(payloads[0]["model_config"]["elements"])
    print(f"in LAMMPS:  pair_style ictp  and  pair_coeff * * {args.output} {elements}")
    return 0


def _training_graphs(args: argparse.Namespace, payload: Mapping[str, Any]) -> Sequence[Any]:
    """Return training structures: those asked for, else those of the run where they are at hand."""
    from pyictp.config import ModelConfig, from_dict
    from pyictp.config.run_fields import as_in_run, data_section
    from pyictp.data import read_frames
    from pyictp.data.samples import GraphDataset
    from pyictp.potential.export_check import at_hand, spread

    of_run = data_section(payload)
    files, section, lines = as_in_run(args.training_data or at_hand(of_run), of_run, {})
    if args.training_data and not args.json:
        for line in lines:
            print(line)
    frames = [frame for frame in read_frames(files, section) if not frame.is_isolated_atom]
    if args.training_data and not frames:
        raise UserError("--training-data: all frames are isolated atoms, expected structures")
    model = from_dict(ModelConfig, payload["model_config"], "model")
    frames = frames if args.training_data else spread(frames)
    shown = not args.quiet and bool(args.training_data)
    samples = GraphDataset(frames, model.elements, model.r_cut, progress=shown)
    return [sample.graph for sample in samples]


def _payload(name: str) -> dict[str, Any]:
    from pyictp.potential.checkpoint import is_exported, load_checkpoint, resolve_path

    source = resolve_path(name)
    if is_exported(source):
        raise UserError(
            f"'{source}' is an exported file already: expected a training folder or a checkpoint"
        )
    return load_checkpoint(source)
