# SPDX-License-Identifier: MIT
"""Pictures of the demo report: each function returns a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms, units
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from pyictp.common.drawing import COLORS, PALE, PLAIN, draw_density, drawing, plain_log_ticks
from pyictp.demo.alloy import ELEMENTS
from pyictp.md.averages import Average

SIZE = (5.2, 3.6)  # inches
TEACHER_COLOR, ICTP_COLOR = PLAIN, COLORS[1]
ELEMENT_COLORS = {"Co": COLORS[4], "Ni": COLORS[2], "Fe": COLORS[1], "Cr": COLORS[0]}


def crystal(atoms: Atoms) -> Figure:
    """Draw the cell of the runs along [001], colored by element, paler at the back."""
    positions = atoms.get_positions(wrap=True, eps=0.05)  # whole rows: none split at the edge
    order = np.argsort(positions[:, 2])
    box = atoms.cell.lengths()
    depth = positions[order, 2] / box[2]  # 0 at the back
    symbols = np.array(atoms.get_chemical_symbols())[order]
    colors = np.array([to_rgb(ELEMENT_COLORS[symbol]) for symbol in symbols])  # (N, 3)
    shaded = 1 - (1 - colors) * (0.35 + 0.65 * depth[:, None])
    x, y = positions[order, :2].T
    with drawing(4.4, 3.6) as (figure, (axes,)):
        axes.scatter(x, y, s=190, c=shaded, edgecolors="white", linewidths=0.6)
        for element in ELEMENTS:
            axes.scatter([], [], s=60, color=ELEMENT_COLORS[element], label=element)
        limits = {"xlim": (-1, box[0]), "ylim": (-1, box[1])}
        axes.set(xlabel="x [Å]", ylabel="y [Å]", aspect="equal", **limits)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        return figure


def learning_curve(rows: Sequence[Mapping[str, str]]) -> Figure:
    """Draw the errors on the validation set over the minutes of training, from rows of log.csv."""
    minutes = [float(row["seconds"]) / 60 for row in rows]
    columns = (
        ("energy", "meV/atom", 1e3),
        ("forces", "meV/Å", 1e3),
        ("stress", "GPa", 1 / units.GPa),
    )
    with drawing(9.0, 2.9, columns=3) as (figure, panels):
        for axes, (name, unit, factor) in zip(panels, columns, strict=True):
            errors = [factor * float(row[f"valid_{name}_rmse"]) for row in rows]
            axes.plot(minutes, errors, color=ICTP_COLOR, linewidth=1.4)
            axes.set(xlabel="training [min]", ylabel=f"{name} RMSE [{unit}]", yscale="log")
            plain_log_ticks(axes.yaxis)
        return figure


def energy_drift(
    times: Mapping[str, np.ndarray], energies: Mapping[str, np.ndarray], num_atoms: int
) -> Figure:
    """Draw the total energy per atom from its start; {name: (T,)} in ps and eV."""
    with drawing(*SIZE) as (figure, (axes,)):
        for name, color in (("teacher", TEACHER_COLOR), ("ictp", ICTP_COLOR)):
            change = 1000 * (energies[name] - energies[name][0]) / num_atoms
            axes.plot(times[name], change, color=color, label=name, linewidth=1.4)
        axes.axhline(0, color=PALE, linewidth=0.8, zorder=0)
        axes.set(xlabel="time [ps]", ylabel="change of total energy [meV/atom]")
        axes.legend()
        return figure


def lattice_parameters(
    temperatures: Sequence[float], values: Mapping[str, Sequence[Average]]
) -> Figure:
    """Draw the lattice parameter over temperature with standard errors, teacher and ictp."""
    with drawing(*SIZE) as (figure, (axes,)):
        styles = {
            "teacher": (TEACHER_COLOR, "s", 9, "none"),
            "ictp": (ICTP_COLOR, "o", 5, ICTP_COLOR),
        }
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
        axes.legend()
        return figure


def radial_distributions(r: np.ndarray, g: Mapping[str, np.ndarray]) -> Figure:
    """Draw g(r) of both runs; r (B,) in A."""
    with drawing(*SIZE) as (figure, (axes,)):
        axes.plot(r, g["teacher"], color=TEACHER_COLOR, linewidth=3.5, alpha=0.45, label="teacher")
        axes.plot(r, g["ictp"], color=ICTP_COLOR, linewidth=1.4, label="ictp")
        axes.axhline(1, color=PALE, linewidth=0.8, zorder=0)
        axes.set(xlabel="distance r [Å]", ylabel="g(r)", xlim=(2, r[-1]), ylim=(0, None))
        axes.legend()
        return figure


def force_parity(forces: np.ndarray, reference: np.ndarray, symbols: Sequence[str]) -> Figure:
    """Draw ictp's force components over the teacher's, and the distribution of the differences.

    Args:
        forces: (T, N, 3) [eV/A] of ictp.
        reference: (T, N, 3) [eV/A] of the teacher.
        symbols: of the N atoms.
    """
    pairs = np.stack([reference, forces], axis=-1).reshape(-1, 2)
    width = 5 * 1000 * float(np.std(forces - reference))
    bins = np.linspace(-width, width, 61).tolist()
    with drawing(9.0, 3.8, columns=2) as (figure, (parity, spread)):
        draw_density(parity, pairs)
        limit = 1.05 * np.abs(reference).max()
        parity.set(xlabel="teacher force [eV/Å]", ylabel="ictp force [eV/Å]", aspect="equal")
        parity.set(xlim=(-limit, limit), ylim=(-limit, limit))
        for element in ELEMENTS:
            chosen = np.array(symbols) == element
            differences = 1000 * (forces - reference)[:, chosen].ravel()
            color = ELEMENT_COLORS[element]
            spread.hist(
                differences, bins, histtype="step", density=True, color=color, label=element
            )
        spread.set(xlabel="ictp − teacher [meV/Å]", ylabel="probability density [Å/meV]")
        spread.set_xlim(-width, width)
        spread.legend()
        return figure
