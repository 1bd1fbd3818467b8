# SPDX-License-Identifier: MIT
"""Errors of a potential on labelled structures."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.formula import Formula
from tqdm import tqdm

from pyictp.common.arrays import IntArray
from pyictp.config.data_files import DataFile, as_data_file
from pyictp.config.load import DataConfig
from pyictp.data.frames import LABELS, Frame, missing_labels, read_frames
from pyictp.data.labels import TO_VOIGT
from pyictp.data.magnitudes import check_labels
from pyictp.data.samples import make_sample
from pyictp.errors import UserError
from pyictp.potential.batch import evaluate_graphs, structure_stress
from pyictp.potential.interface import Potential
from pyictp.potential.uncertainty import UncertainPrediction
from pyictp.reports.calibration import describe_calibration
from pyictp.reports.comparison import Parity, Structure
from pyictp.reports.metrics import METRICS, metrics

logger = logging.getLogger("pyictp")

UNCERTAIN = ("energy_deviations", "force_deviations", "grades")  # of Parity and of a prediction


def evaluate_frames(
    potential: Potential,
    frames: Sequence[Frame],
    batch_size: int = 16,
    progress: bool = False,
) -> dict[str, Any]:
    """Return the errors of energy, forces and stress as `metrics.metrics` states them.

    A quantity without a label is None.

    Args:
        potential: what is judged.
        frames: structures; one that lacks a label is left out for that quantity only.
        batch_size: structures per evaluation.
        progress: show a bar on a terminal.

    Raises:
        UserError: an element is not in the model, two atoms are on one spot.
    """
    return metrics(predict(potential, frames, batch_size, progress))


def predict(
    potential: Potential,
    frames: Sequence[Frame],
    batch_size: int = 16,
    progress: bool = False,
) -> Parity:
    """Return labels and predictions of all frames; arguments as `evaluate_frames`."""
    if batch_size < 1:
        raise UserError(f"batch size: expected 1 or more, got {batch_size}")
    rows: dict[str, list[Any]] = {name: [] for name in (*LABELS, "atoms", *UNCERTAIN)}
    bar = tqdm(total=len(frames), unit="frame", disable=None if progress else True)
    graphs = (make_sample(frame, potential.elements, potential.r_cut).graph for frame in frames)
    predictions = evaluate_graphs(potential, graphs, None, batch_size, uncertainty=True)
    for frame, prediction in zip(frames, predictions, strict=True):
        assert isinstance(prediction, UncertainPrediction)
        _append(rows, frame, prediction)
        bar.update()
    bar.close()
    with_forces = _labelled(frames, "forces")
    symbols = [
        np.array(frames[i].symbols)[a] for i, a in zip(with_forces, rows["atoms"], strict=True)
    ]
    return Parity(
        energies=np.array(rows["energy"], dtype=np.float64).reshape(-1, 2),
        num_atoms=np.array([len(f.symbols) for f in frames if f.energy is not None], np.float64),
        energy_structures=_labelled(frames, "energy"),
        forces=np.concatenate([np.zeros((0, 3, 2)), *rows["forces"]]),
        force_elements=np.concatenate([np.zeros(0, dtype=np.str_), *symbols]),
        force_structures=np.repeat(with_forces, [len(atoms) for atoms in rows["atoms"]]),
        force_atoms=np.concatenate([np.zeros(0, dtype=np.int64), *rows["atoms"]]),
        stresses=np.array(rows["stress"], dtype=np.float64).reshape(-1, 6, 2),
        stress_structures=_labelled(frames, "stress"),
        structures=tuple(_structure(frame) for frame in frames),
        **{name: np.concatenate(rows[name]) for name in UNCERTAIN if rows[name]},
    )


def _labelled(frames: Sequence[Frame], label: str) -> IntArray:
    """Return the indices of the frames that carry a label."""
    indices = [index for index, frame in enumerate(frames) if getattr(frame, label) is not None]
    return np.array(indices, dtype=np.int64)


def _structure(frame: Frame) -> Structure:
    formula = Formula.from_dict(dict(Counter(frame.symbols)))
    return Structure(
        name=frame.name,
        group=frame.group,
        formula=formula.format("metal"),
        composition=formula.reduce()[0].format("metal"),
        num_atoms=len(frame.atomic_numbers),
    )


def _append(rows: dict[str, list[Any]], frame: Frame, prediction: UncertainPrediction) -> None:
    """Put labels and predictions of one structure side by side."""
    if frame.energy is not None:
        rows["energy"].append((frame.energy, prediction.energies.item()))
        if prediction.energy_deviations is not None:
            rows["energy_deviations"].append(prediction.energy_deviations.numpy())
    if frame.forces is not None:
        labelled = np.flatnonzero(np.isfinite(frame.forces).all(axis=1))
        pairs = np.stack([frame.forces, prediction.forces.numpy()], axis=-1)  # (N, 3, 2)
        rows["forces"].append(pairs[labelled])
        rows["atoms"].append(labelled)
        for name in ("force_deviations", "grades"):
            values = getattr(prediction, name)
            if values is not None:
                rows[name].append(values.numpy()[labelled])
    if frame.stress is not None:
        stress = structure_stress(prediction.virials, frame)
        assert stress is not None, "labelled, so periodic"
        pairs = np.stack([frame.stress, stress], axis=-1)  # (3, 3, 2)
        rows["stress"].append(pairs[TO_VOIGT])  # (6, 2)


def report(result: dict[str, Any]) -> str:
    """Return the metrics as lines for people."""
    lines = [f"structures {result['num_structures']:>13}"]
    for key, name, unit in METRICS:
        if result[key] is not None:
            lines.append(f"{name:<12}{result[key]:>12.3f} {unit}")
    for element, values in result["per_element"].items():
        mae, rmse = values["force_mae_mev_per_a"], values["force_rmse_mev_per_a"]
        lines.append(f"  {element:<3} force MAE {mae:.3f}, RMSE {rmse:.3f} meV/A")
    worst = result["worst_frames"]["by_forces"]
    if result["num_structures"] > 1 and worst:
        text = f"{worst[0]['force_rmse_mev_per_a']:.3f} meV/A in {worst[0]['frame']}"
        lines.append(f"largest force RMSE of a frame: {text}")
    lines += describe_calibration(result["uncertainty"])
    return "\n".join(lines)


def labelled_frames(
    paths: Sequence[str | Path | DataFile],
    config: DataConfig,
    keys: str,
    say: Callable[[str], None],
) -> list[Frame]:
    """Return the frames of files but those marked as isolated atoms.

    Args:
        paths: the files, perhaps with names and units of their own.
        config: names and units of the fields.
        keys: what a user sets when no label is found.
        say: takes a line on frames that are left out.

    Raises:
        UserError: as `read_frames`; nothing is left; no frame has energy or forces.
    """
    frames = _without_lone_atoms(read_frames(paths, config), say)
    if all(frame.energy is None and frame.forces is None for frame in frames):
        names = ", ".join(as_data_file(path).file for path in paths)
        raise UserError(
            f"no frame of {names} has an energy under '{config.energy_key}' or forces "
            f"under '{config.forces_key}' (keys in frame 0: "
            f"{', '.join(frames[0].keys) or 'none'}): set {keys}"
        )
    for file, text in missing_labels(frames, config):
        logger.warning("'%s': %s", file, text)
    check_labels(frames, (), refuse=False)
    return frames


def _without_lone_atoms(frames: Sequence[Frame], say: Callable[[str], None]) -> list[Frame]:
    """Leave out frames marked as isolated atoms, as training does; says how many."""
    kept = [frame for frame in frames if not frame.is_isolated_atom]
    if len(kept) < len(frames):
        say(f"left out {len(frames) - len(kept)} frames marked as isolated atoms")
    if not kept:
        raise UserError("all frames are isolated atoms, none is left to evaluate")
    return kept
