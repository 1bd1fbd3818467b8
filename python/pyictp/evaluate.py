# SPDX-License-Identifier: MIT
"""Errors of a potential on labelled structures: `ictp evaluate`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from pyictp.config import DataConfig
from pyictp.data import LABELS, Frame, read_frames
from pyictp.dataset import make_sample
from pyictp.derivatives import Prediction, evaluate_graph, stress_from_virial
from pyictp.errors import UserError
from pyictp.graph import collate
from pyictp.parity import Parity, check_plot_path, plot_parity
from pyictp.potential import as_potential, potential_properties, resolve_device

FloatArray = NDArray[np.float64]

METRICS = (  # JSON key, what it is called on the screen, unit
    ("energy_mae_mev", "energy MAE", "meV"),
    ("energy_rmse_mev", "energy RMSE", "meV"),
    ("energy_mae_mev_per_atom", "energy MAE", "meV/atom"),
    ("energy_rmse_mev_per_atom", "energy RMSE", "meV/atom"),
    ("force_mae_mev_per_a", "force MAE", "meV/A"),
    ("force_rmse_mev_per_a", "force RMSE", "meV/A"),
    ("stress_mae_mev_per_a3", "stress MAE", "meV/A^3"),
    ("stress_rmse_mev_per_a3", "stress RMSE", "meV/A^3"),
)


def evaluate_frames(
    potential: Any,
    frames: Sequence[Frame],
    batch_size: int = 16,
    device: str | torch.device = "cpu",
    progress: bool = False,
) -> dict[str, Any]:
    """Return MAE and RMSE of energy, forces and stress, of `METRICS` and per element.

    A quantity without a label is None.

    Args:
        potential: model or loaded file on `device`.
        frames: structures; one that lacks a label is left out for that quantity only.
        batch_size: structures per evaluation.
        device: where the potential is.
        progress: show a bar on a terminal.

    Raises:
        UserError: an element is not in the model, two atoms are on one spot.
    """
    return metrics(predict(potential, frames, batch_size, device, progress))


def predict(
    potential: Any,
    frames: Sequence[Frame],
    batch_size: int = 16,
    device: str | torch.device = "cpu",
    progress: bool = False,
) -> Parity:
    """Return labels and predictions of all frames; arguments as `evaluate_frames`."""
    if batch_size < 1:
        raise UserError(f"batch size: expected 1 or more, got {batch_size}")
    elements, r_cut = potential_properties(potential)
    rows: dict[str, list[Any]] = {label: [] for label in LABELS}
    bar = tqdm(total=len(frames), unit="frame", disable=None if progress else True)
    for first in range(0, len(frames), batch_size):
        chosen = frames[first : first + batch_size]
        graph = collate([make_sample(frame, elements, r_cut).graph for frame in chosen])
        prediction = evaluate_graph(potential, graph.to(device))
        _append(rows, chosen, prediction)
        bar.update(len(chosen))
    bar.close()
    symbols = [symbol for frame in frames if frame.forces is not None for symbol in frame.symbols]
    return Parity(
        energies=np.array(rows["energy"], dtype=np.float64).reshape(-1, 2),
        num_atoms=np.array([len(f.symbols) for f in frames if f.energy is not None], np.float64),
        forces=np.concatenate([np.zeros((0, 3, 2)), *rows["forces"]]),
        force_elements=np.array(symbols, dtype=np.str_),
        stresses=np.array(rows["stress"], dtype=np.float64).reshape(-1, 6, 2),
        num_structures=len(frames),
    )


def _append(rows: dict[str, list[Any]], frames: Sequence[Frame], prediction: Prediction) -> None:
    """Put labels and predictions of one batch side by side."""
    energies = prediction.energies.cpu().numpy()
    forces = prediction.forces.cpu().numpy()
    volumes = torch.tensor([frame.volume or 1.0 for frame in frames], dtype=torch.float64)
    stresses = stress_from_virial(prediction.virials.cpu(), volumes).numpy()
    node = 0
    for frame, energy, stress in zip(frames, energies, stresses, strict=True):
        end = node + len(frame.atomic_numbers)
        if frame.energy is not None:
            rows["energy"].append((frame.energy, energy))
        if frame.forces is not None:
            rows["forces"].append(np.stack([frame.forces, forces[node:end]], axis=-1))
        if frame.stress is not None:
            pairs = np.stack([frame.stress, stress], axis=-1)  # (3, 3, 2)
            rows["stress"].append(pairs[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])  # (6, 2)
        node = end


def metrics(parity: Parity) -> dict[str, Any]:
    """Return MAE and RMSE of everything in `parity`; None where there is no label.

    Stress errors count all nine components, so that they do not depend on the notation.
    """
    errors = 1e3 * (parity.energies[:, 1] - parity.energies[:, 0])  # meV
    per_atom = errors / parity.num_atoms
    force_errors = 1e3 * (parity.forces[..., 1] - parity.forces[..., 0])  # (M, 3)
    stress_errors = 1e3 * (parity.stresses[..., 1] - parity.stresses[..., 0])  # (L, 6)
    stress_errors = stress_errors[:, [0, 1, 2, 3, 3, 4, 4, 5, 5]]  # (L, 9)
    per_element = {}
    for element in sorted(set(parity.force_elements.tolist())):
        chosen = force_errors[parity.force_elements == element]
        per_element[element] = {
            "force_mae_mev_per_a": _mae(chosen),
            "force_rmse_mev_per_a": _rmse(chosen),
            "num_atoms": len(chosen),
        }
    return {
        "energy_mae_mev": _mae(errors),
        "energy_rmse_mev": _rmse(errors),
        "energy_mae_mev_per_atom": _mae(per_atom),
        "energy_rmse_mev_per_atom": _rmse(per_atom),
        "force_mae_mev_per_a": _mae(force_errors),
        "force_rmse_mev_per_a": _rmse(force_errors),
        "stress_mae_mev_per_a3": _mae(stress_errors),
        "stress_rmse_mev_per_a3": _rmse(stress_errors),
        "num_structures": parity.num_structures,
        "per_element": per_element,
    }


def _mae(errors: FloatArray) -> float | None:
    return float(np.abs(errors).mean()) if errors.size else None


def _rmse(errors: FloatArray) -> float | None:
    return float(np.sqrt(np.square(errors).mean())) if errors.size else None


def report(result: dict[str, Any]) -> str:
    """Return the metrics as lines for people."""
    lines = [f"structures {result['num_structures']:>13}"]
    for key, name, unit in METRICS:
        if result[key] is not None:
            lines.append(f"{name:<12}{result[key]:>12.3f} {unit}")
    for element, values in result["per_element"].items():
        mae, rmse = values["force_mae_mev_per_a"], values["force_rmse_mev_per_a"]
        lines.append(f"  {element:<3} force MAE {mae:.3f}, RMSE {rmse:.3f} meV/A")
    return "\n".join(lines)


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp evaluate`; returns its parser."""
    parser = subparsers.add_parser(
        "evaluate", help="errors of a model on labelled structures, as numbers and parity plots"
    )
    parser.add_argument("model", metavar="MODEL", help="training folder, checkpoint, exported file")
    parser.add_argument(
        "data", metavar="DATA", nargs="+", help="extended XYZ, ASE database or rMD17 npz"
    )
    parser.add_argument("--json", metavar="FILE", help="write the numbers to a JSON file")
    parser.add_argument(
        "--plot", metavar="PATH", help="draw parity plots: image file, or folder for parity.png"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<number>")
    parser.add_argument("--dtype", choices=("float32", "float64"), help="default: the model's own")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N")
    add_data_options(parser)
    parser.set_defaults(run=run)
    return parser


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add names and units of the fields of data files."""
    group = parser.add_argument_group("fields of the data")
    for field in ("energy", "forces", "stress", "virial"):
        default = getattr(DataConfig(), f"{field}_key")
        group.add_argument(f"--{field}-key", default=default, help=f"default: {default}")
    group.add_argument("--energy-unit", help="for example kcal/mol; default: eV (rMD17: kcal/mol)")
    group.add_argument("--length-unit", help="default: Angstrom")
    group.add_argument("--forces-unit", help="default: energy unit per length unit")
    group.add_argument("--stress-unit", help="default: energy unit per cubed length unit")


def data_config(args: argparse.Namespace) -> DataConfig:
    """Return the data section that the options of `add_data_options` describe."""
    names = [f"{field}_key" for field in ("energy", "forces", "stress", "virial")]
    names += [f"{field}_unit" for field in ("energy", "length", "forces", "stress")]
    return DataConfig(**{name: getattr(args, name) for name in names})


def run(args: argparse.Namespace) -> int:
    """Run `ictp evaluate`; returns the exit status."""
    device = resolve_device(args.device)
    potential = as_potential(args.model, device, args.dtype)
    if args.plot:
        check_plot_path(Path(args.plot))
    frames = _without_lone_atoms(read_frames(args.data, data_config(args)))
    if all(frame.energy is None and frame.forces is None for frame in frames):
        raise UserError(
            f"no frame of {', '.join(args.data)} has an energy under '{args.energy_key}' or forces "
            f"under '{args.forces_key}': set --energy-key and --forces-key"
        )
    parity = predict(potential, frames, args.batch_size, device, progress=True)
    result = metrics(parity)
    print(report(result))
    if args.json:
        _parent(Path(args.json)).write_text(json.dumps(result, indent=2) + "\n")
    if args.plot:
        print(f"parity plots: {plot_parity(parity, _parent(Path(args.plot)))}")
    return 0


def _without_lone_atoms(frames: Sequence[Frame]) -> list[Frame]:
    """Leave out frames marked as isolated atoms, as training does; says how many."""
    kept = [frame for frame in frames if not frame.is_isolated_atom]
    if len(kept) < len(frames):
        print(f"left out {len(frames) - len(kept)} frames marked as isolated atoms")
    if not kept:
        raise UserError("all frames are isolated atoms, none is left to evaluate")
    return kept


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
