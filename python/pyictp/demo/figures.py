# SPDX-License-Identifier: MIT
"""Pictures of the demo report: each function returns a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from pyictp.demo.alloy import ELEMENTS
from pyictp.md.averages import Average

TEACHER_COLOR, ICTP_COLOR = "#4d4d4d", "#d95f02"
ELEMENT_COLORS = {"Co": "#e7298a", "Ni": "#1b9e77", "Fe": "#d95f02", "Cr": "#7570b3"}


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, readable on dense displays; return the path."""
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=160)
    return path


def _figure(width: float = 5.2, height: float = 3.6) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def crystal(atoms: Atoms) -> Figure:
    """Draw the cell of the runs along [001], colored by element, paler at the back."""
    figure, axes = _figure(4.4, 3.6)
    positions = atoms.get_positions(wrap=True, eps=0.05)  # whole rows: none split at the edge
    order = np.argsort(positions[:, 2])
    box = atoms.cell.lengths()
    depth = positions[order, 2] / box[2]  # 0 at the back
    symbols = np.array(atoms.get_chemical_symbols())[order]
    colors = np.array([to_rgb(ELEMENT_COLORS[symbol]) for symbol in symbols])  # (N, 3)
    shaded = 1 - (1 - colors) * (0.35 + 0.65 * depth[:, None])
    x, y = positions[order, :2].T
    axes.scatter(x, y, s=190, c=shaded, edgecolors="white", linewidths=0.6)
    for element in ELEMENTS:
        axes.scatter([], [], s=60, color=ELEMENT_COLORS[element], label=element)
    limits = {"xlim": (-1, box[0]), "ylim": (-1, box[1])}
    axes.set(xlabel="x [Å]", ylabel="y [Å]", aspect="equal", **limits)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure


def learning_curve(rows: Sequence[Mapping[str, str]]) -> Figure:
    """Draw the errors on the validation set over the minutes of training, from rows of log.csv."""
    figure = Figure(figsize=(9.0, 2.9), layout="constrained")
    minutes = [float(row["seconds"]) / 60 for row in rows]
    columns = (("energy", "meV/atom"), ("forces", "meV/Å"), ("stress", "meV/Å³"))
    for axes, (name, unit) in zip(figure.subplots(1, 3), columns, strict=True):
        errors = [1000 * float(row[f"valid_{name}_rmse"]) for row in rows]
        axes.plot(minutes, errors, color=ICTP_COLOR, linewidth=1.4)
        axes.set(xlabel="training [min]", ylabel=f"{name} RMSE [{unit}]", yscale="log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.tick_params(axis="y", which="minor", labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def energy_drift(
    times: Mapping[str, np.ndarray], energies: Mapping[str, np.ndarray], num_atoms: int
) -> Figure:
    """Draw the total energy per atom from its start; {name: (T,)} in ps and eV."""
    figure, axes = _figure()
    for name, color in (("teacher", TEACHER_COLOR), ("ictp", ICTP_COLOR)):
        change = 1000 * (energies[name] - energies[name][0]) / num_atoms
        axes.plot(times[name], change, color=color, label=name, linewidth=1.4)
    axes.axhline(0, color="#bbbbbb", linewidth=0.8, zorder=0)
    axes.set(xlabel="time [ps]", ylabel="change of total energy [meV/atom]")
    axes.legend(frameon=False)
    return figure


def lattice_parameters(
    temperatures: Sequence[float], values: Mapping[str, Sequence[Average]]
) -> Figure:
    """Draw the lattice parameter over temperature with standard errors, teacher and ictp."""
    figure, axes = _figure()
    styles = {"teacher": (TEACHER_COLOR, "s", 9, "none"), "ictp": (ICTP_COLOR, "o", 5, ICTP_COLOR)}
    for name, (color, marker, size, face) in styles.items():
        means = [value.mean for value in values[name]]
        axes.errorbar(
            temperatures,
            means,
            yerr=[value.error for value in values[name]],
            color=color,
            marker=marker,
            markersize=size,
            markerfacecolor=face,
            capsize=3,
            linewidth=1.2,
            label=name,
        )
    axes.set(xlabel="temperature [K]", ylabel="lattice parameter [Å]")
    axes.set_xlim(0, 1.1 * max(temperatures))
    axes.legend(frameon=False)
    return figure


def radial_distributions(r: np.ndarray, g: Mapping[str, np.ndarray]) -> Figure:
    """Draw g(r) of both runs; r (B,) in A."""
    figure, axes = _figure()
    axes.plot(r, g["teacher"], color=TEACHER_COLOR, linewidth=3.5, alpha=0.45, label="teacher")
    axes.plot(r, g["ictp"], color=ICTP_COLOR, linewidth=1.4, label="ictp")
    axes.axhline(1, color="#bbbbbb", linewidth=0.8, zorder=0)
    axes.set(xlabel="distance r [Å]", ylabel="g(r)", xlim=(2, r[-1]), ylim=(0, None))
    axes.legend(frameon=False)
    return figure


def force_parity(forces: np.ndarray, reference: np.ndarray, symbols: Sequence[str]) -> Figure:
    """Draw ictp's force components over the teacher's, and the distribution of the differences.

    Args:
        forces: (T, N, 3) [eV/A] of ictp.
        reference: (T, N, 3) [eV/A] of the teacher.
        symbols: of the N atoms.
    """
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    parity, spread = figure.subplots(1, 2)
    shown = slice(None, None, max(1, len(forces) // 10))
    width = 5 * 1000 * float(np.std(forces - reference))
    bins = np.linspace(-width, width, 61)
    for element in ELEMENTS:
        style = {"color": ELEMENT_COLORS[element], "label": element}
        chosen = np.array(symbols) == element
        mine, its = forces[:, chosen], reference[:, chosen]
        parity.plot(its[shown].ravel(), mine[shown].ravel(), ".", ms=2, **style)
        differences = 1000 * (mine - its).ravel()
        spread.hist(differences, bins=bins, histtype="step", density=True, **style)
    limit = 1.05 * np.abs(reference).max()
    parity.plot([-limit, limit], [-limit, limit], color="#999999", linewidth=0.8, zorder=0)
    parity.set(xlabel="teacher force [eV/Å]", ylabel="ictp force [eV/Å]", aspect="equal")
    parity.set(xlim=(-limit, limit), ylim=(-limit, limit))
    spread.set(xlabel="ictp − teacher [meV/Å]", ylabel="probability density [Å/meV]")
    spread.set_xlim(-width, width)
    for axes in (parity, spread):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, markerscale=4)
    return figure
