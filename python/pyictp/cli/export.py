# SPDX-License-Identifier: MIT
"""`ictp export`: trained models to a file, and what was measured of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pyictp.common.files import writing
from pyictp.config.run_fields import as_in_run, data_section
from pyictp.data.frames import read_frames
from pyictp.data.samples import GraphDataset
from pyictp.errors import UserError
from pyictp.graph.graph import Graph
from pyictp.model.ictp import ICTPModel
from pyictp.potential.checkpoint import build_model, is_exported, load_checkpoint, resolve_path
from pyictp.potential.distances import KEY, shortest_distances
from pyictp.potential.export import export_model
from pyictp.potential.export_check import Deviation, at_hand, compare, spread
from pyictp.potential.extrapolation import fit_grade, grade_of


def run(args: argparse.Namespace) -> int:
    """Export as the command line says."""
    payloads = [_payload(source) for source in args.models]
    models = [build_model(payload) for payload in payloads]
    provenances = [dict(payload.get("provenance", {})) for payload in payloads]
    grade = grade_of(payloads[0])
    graphs = _training_graphs(args, payloads[0], models[0])
    if args.training_data:
        grade = fit_grade(models[0], graphs)
        if KEY not in provenances[0]:
            provenances[0][KEY] = shortest_distances(graphs, models[0].config.elements)
    if not Path(args.output).parent.exists():
        with writing(args.output):
            Path(args.output).parent.mkdir(parents=True)
    deviation = export_model(
        models,
        args.output,
        args.dtype,
        provenances,
        args.portable,
        args.radial,
        grade,
    )
    exact = [build_model(payload, torch.float64) for payload in payloads]
    on_frames = compare(args.output, exact, spread(graphs)) if graphs else None
    _report(args, models, deviation, on_frames, grade is not None)
    return 0


def _training_graphs(
    args: argparse.Namespace, payload: Mapping[str, Any], model: ICTPModel
) -> list[Graph]:
    """Return training structures: those asked for, else those of the run where they are at hand."""
    of_run = data_section(payload)
    paths = args.training_data or at_hand(of_run)
    files, section, lines = as_in_run(paths, of_run, {})
    if args.training_data and not args.json:
        print("".join(f"{line}\n" for line in lines), end="")
    frames = [frame for frame in read_frames(files, section) if not frame.is_isolated_atom]
    if args.training_data and not frames:
        raise UserError("--training-data: all frames are isolated atoms, expected structures")
    frames = frames if args.training_data else spread(frames)
    samples = GraphDataset(frames, model.config.elements, model.config.r_cut)
    return [sample.graph for sample in samples]


def _report(
    args: argparse.Namespace,
    models: Sequence[ICTPModel],
    deviation: float,
    on_frames: Deviation | None,
    has_grade: bool,
) -> None:
    """Print what was written, and what was measured on what."""
    size = Path(args.output).stat().st_size
    if args.json:
        values = {"file": args.output, "bytes": size, "dtype": args.dtype, "deviation": deviation}
        values |= {"num_models": len(models), "has_grade": has_grade}
        values["on_training_frames"] = None if on_frames is None else asdict(on_frames)
        print(json.dumps(values))  # deviations in eV or eV/A
        return
    what = f"{len(models)} models, " if len(models) > 1 else ""
    print(
        f"wrote '{args.output}' ({what}{size / 1e6:.1f} MB, {args.dtype}): reloaded, on its small "
        f"reference structure at most {deviation:.1e} eV or eV/A from the trained "
        f"{'mean' if what else 'model'}"
    )
    print(on_frames or "not compared on training frames: --training-data FILE does that")
    if not has_grade:
        print("no extrapolation grade: the training did not end; --training-data FILE gives one")
    elements = " ".join(models[0].config.elements)
    print(f"in LAMMPS:  pair_style ictp  and  pair_coeff * * {args.output} {elements}")


def _payload(name: str) -> dict[str, Any]:
    source = resolve_path(name)
    if is_exported(source):
        raise UserError(
            f"'{source}' is an exported file already: expected a training folder or a checkpoint"
        )
    return load_checkpoint(source)
