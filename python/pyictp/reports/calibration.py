# SPDX-License-Identifier: MIT
"""Do deviations and grades tell how large the errors are? Numbers and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import spearmanr

from pyictp.common.arrays import FloatArray, IntArray
from pyictp.reports.comparison import Parity

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.axes import Axes

NORMAL = (68.3, 95.4)  # % of a normal distribution within 1 and 2 standard deviations
MIN_RANKS = 3  # fewer values have no order to speak of
BIN_ATOMS = 20  # at least, of each point of the median
MAX_BINS = 10
VECTOR_POINTS = 400  # beyond that, a picture of the points is smaller
WORDS = {"force_deviation": "force deviation", "grade": "grade"}


def calibration(parity: Parity) -> dict[str, dict[str, Any]]:
    """Return what deviations and grades of a file say about its errors; empty if it has none.

    An error of forces is |F - F_label| of an atom. Within n deviations counts components: the
    deviation of an atom is that of a vector, of a component 1/sqrt(3) of it.
    """
    energy_errors = np.abs(parity.energies[:, 1] - parity.energies[:, 0])  # (K,)
    difference = parity.forces[..., 1] - parity.forces[..., 0]  # (M, 3)
    errors, frames = np.linalg.norm(difference, axis=1), parity.force_structures
    found: dict[str, dict[str, Any]] = {}
    if parity.force_deviations is not None:
        components = parity.force_deviations[:, None] / np.sqrt(3)
        found["force_deviation"] = {
            "mean_mev_per_a": 1e3 * float(parity.force_deviations.mean()),
            "largest_mev_per_a": 1e3 * float(parity.force_deviations.max()),
            **_ranks(parity.force_deviations, errors, frames),
            **_coverage(difference, components),
        }
    if parity.energy_deviations is not None:
        found["energy_deviation"] = {
            "mean_mev": 1e3 * float(parity.energy_deviations.mean()),
            "rank_correlation": _rank_correlation(parity.energy_deviations, energy_errors),
            **_coverage(energy_errors, parity.energy_deviations),
        }
    if parity.grades is not None:
        found["grade"] = {
            "mean": float(parity.grades.mean()),
            "largest": float(parity.grades.max()),
            "percent_above_1": 100 * float((parity.grades > 1).mean()),
            **_ranks(parity.grades, errors, frames),
        }
    return found


def _ranks(values: FloatArray, errors: FloatArray, frames: IntArray) -> dict[str, float | None]:
    """Return rank correlations over atoms, and of the largest of each structure."""
    return {
        "rank_correlation": _rank_correlation(values, errors),
        "rank_correlation_frames": _rank_correlation(
            _largest(values, frames), _largest(errors, frames)
        ),
    }


def _rank_correlation(values: FloatArray, errors: FloatArray) -> float | None:
    """Return Spearman's, None of too few or equal values."""
    if len(values) < MIN_RANKS or np.ptp(values) == 0 or np.ptp(errors) == 0:
        return None
    return float(spearmanr(values, errors).statistic)


def _largest(values: FloatArray, frames: IntArray) -> FloatArray:
    """Return the largest value of each structure."""
    _, index = np.unique(frames, return_inverse=True)
    largest = np.zeros(index.max(initial=-1) + 1)
    np.maximum.at(largest, index, values)
    return largest


def _coverage(errors: FloatArray, deviations: FloatArray) -> dict[str, float | None]:
    """Return how many errors are within deviations, also of deviations scaled to errors' size.

    The factor is that of root mean squares. The mean square of error/deviation, which is common
    too, has no limit for energies of two or three models: now and then they agree by chance.

    Args:
        errors: (n,) or (n, c).
        deviations: to be compared with, (n,) or (n, 1).
    """
    size = float(np.sqrt(np.square(deviations).mean())) if errors.size else 0.0
    factor = float(np.sqrt(np.square(errors).mean())) / size if size > 0 else None
    found: dict[str, float | None] = {"factor": factor}
    for ending, scale in (("", 1.0), ("_scaled", factor or 0.0)):
        for n in (1, 2):
            within = np.abs(errors) <= n * scale * deviations
            share = None if factor is None else 100 * float(within.mean())
            found[f"percent_within_{n}{ending}"] = share
    return found


def describe_calibration(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the numbers of `calibration` as lines for people."""
    lines = []
    for name, values in found.items():
        ranks = [f"rank correlation with errors {_number(values['rank_correlation'])}"]
        if "rank_correlation_frames" in values:
            ranks.append(f"{_number(values['rank_correlation_frames'])} (largest of a frame)")
        if "percent_above_1" in values:
            ranks.append(f"above 1: {values['percent_above_1']:.1f} % of the atoms")
        lines.append(f"{name.replace('_', ' ')}: {', '.join(ranks)}")
        if values.get("factor") is not None:
            parts = [
                f"within 1 and 2: {values[f'percent_within_1{scaled}']:.0f} and "
                f"{values[f'percent_within_2{scaled}']:.0f} %"
                for scaled in ("", "_scaled")
            ]
            lines.append(f"  errors {parts[0]}; times {values['factor']:.2f}, {parts[1]}")
    if any("factor" in values for values in found.values()):
        lines.append(f"  (of a normal distribution: {NORMAL[0]:.0f} and {NORMAL[1]:.0f} %)")
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


@dataclass(frozen=True)
class Spread:
    """Errors of atoms over what a file says of their uncertainty."""

    title: str
    label: str
    values: FloatArray  # (n,) above zero
    errors: FloatArray  # (n,) [meV/A] above zero
    is_deviation: bool


def spreads(parity: Parity) -> list[Spread]:
    """Return one plot per measure that the file has and that is not the same for all atoms."""
    errors = 1e3 * np.linalg.norm(parity.forces[..., 1] - parity.forces[..., 0], axis=1)
    found = []
    for name, values, unit, scale in (
        ("force_deviation", parity.force_deviations, " [meV/Å]", 1e3),
        ("grade", parity.grades, "", 1.0),
    ):
        if values is None:
            continue
        shown = (values > 0) & (errors > 0)
        correlation = _rank_correlation(values, errors)
        if correlation is None or not shown.any():
            continue
        title = f"{WORDS[name]}: rank correlation {correlation:.2f}"
        label = f"{WORDS[name]}{unit}"
        found.append(Spread(title, label, scale * values[shown], errors[shown], scale != 1.0))
    return found


def medians(spread: Spread) -> list[tuple[float, float, float]]:
    """Return median of the values, median and 90th percentile of the errors, in equal bins."""
    number = min(MAX_BINS, len(spread.values) // BIN_ATOMS)
    if number < 2:
        return []
    parts: Sequence[IntArray] = np.array_split(np.argsort(spread.values), number)
    return [
        (
            float(np.median(spread.values[part])),
            float(np.median(spread.errors[part])),
            float(np.percentile(spread.errors[part], 90)),
        )
        for part in parts
    ]


def draw_spread(axes: Axes, spread: Spread) -> None:
    """Draw the atoms, with median and 90th percentile of bins of equal numbers."""
    from pyictp.common.drawing import COLORS, plain_log_ticks

    many = len(spread.values) > VECTOR_POINTS
    alpha = float(np.clip(1000 / len(spread.values), 0.08, 0.5))
    style: dict[str, Any] = {
        "markersize": 3,
        "alpha": alpha,
        "rasterized": many,
        "markeredgewidth": 0,
    }
    axes.plot(spread.values, spread.errors, ".", color=COLORS[0], **style)
    rows = np.array(medians(spread))
    if len(rows):
        axes.plot(rows[:, 0], rows[:, 2], "--", color=COLORS[3], marker=".", label="90th perc.")
        axes.plot(rows[:, 0], rows[:, 1], "-", color=COLORS[3], marker=".", label="median")
    if spread.is_deviation:
        ends = np.array([spread.values.min(), spread.values.max()])
        axes.plot(ends, ends, ":", color="0.3", label="error = deviation")
    axes.set(xscale="log", yscale="log", xlabel=spread.label, ylabel="force error [meV/Å]")
    axes.set_title(spread.title)
    axes.set_ylim(bottom=np.percentile(spread.errors, 0.2))
    plain_log_ticks(axes.xaxis)
    plain_log_ticks(axes.yaxis)
    if axes.lines[1:]:
        axes.legend(loc="upper left")
