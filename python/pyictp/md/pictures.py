# SPDX-License-Identifier: MIT
"""Pictures of a run: PNG files beside its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.data import chemical_symbols
from ase.data.colors import jmol_colors
from ase.visualize.plot import plot_atoms
from matplotlib.axes import Axes

from pyictp.common.drawing import COLORS, PALE, PLAIN, drawing, plain_log_ticks, save

WIDTH = 6.4  # inches
VIEW = "-80x,15y,0z"  # of structures: from the side, c upwards
CUT = 4.0  # times the other peaks: how much of a higher one is shown
Thermo = Mapping[str, np.ndarray]


@contextmanager
def _panels(path: Path, count: int, height: float = 2.0) -> Iterator[list[Axes]]:
    """Yield panels over one another; the picture is saved after the block."""
    with drawing(WIDTH, height * count + 0.5, rows=count, sharex=True) as (figure, panels):
        yield panels
        for axes in panels:
            if axes.get_yscale() == "linear":
                axes.ticklabel_format(axis="y", useOffset=False)
        figure.align_ylabels(panels)
        save(figure, path)


def draw_dynamics(
    path: Path, thermo: Thermo, num_atoms: int, periodic: bool, target: np.ndarray | None
) -> None:
    """Draw energies, temperature and, of a periodic system, pressure and volume over time.

    Args:
        path: of the PNG.
        thermo: columns Time [ps], PotEng, TotEng [eV], Temp [K], Press [bar], Volume [A^3].
        num_atoms: in the box.
        periodic: in all directions.
        target: (T,) temperature that a thermostat was told [K], or None.
    """
    volume = thermo["Volume"]
    varies = periodic and np.ptp(volume) > 1e-6 * volume[0]
    time = thermo["Time"]
    with _panels(path, 2 + periodic + varies) as panels:
        for name, column, color in (("potential", "PotEng", PLAIN), ("total", "TotEng", COLORS[1])):
            change = 1000 * (thermo[column] - thermo[column][0]) / num_atoms
            panels[0].plot(time, change, color=color, label=name, linewidth=1.2)
        panels[0].set_ylabel("energy from start\n[meV/atom]")
        panels[0].legend(ncols=2)
        panels[1].plot(time, thermo["Temp"], color=PLAIN, linewidth=1.2)
        if target is not None:
            panels[1].plot(time, target, color=COLORS[1], linewidth=1.2, label="thermostat")
            panels[1].legend()
        panels[1].set_ylabel("temperature\n[K]")
        if periodic:
            pressure = thermo["Press"] * units.bar / units.GPa
            panels[2].plot(time, pressure, color=PLAIN, linewidth=1.0)
            panels[2].set_ylabel("pressure\n[GPa]")
        if varies:
            panels[3].plot(time, volume / num_atoms, color=PLAIN, linewidth=1.2)
            panels[3].set_ylabel("volume\n[Å³/atom]")
        panels[-1].set(xlabel="time [ps]", xlim=(time[0], max(time[-1], time[0] + 1e-6)))


def draw_structures(path: Path, frames: Mapping[str, Atoms]) -> None:
    """Draw structures beside one another, atoms in the colours of their elements.

    Args:
        path: of the PNG.
        frames: by their titles, all of the same elements.
    """
    elements = np.unique(next(iter(frames.values())).numbers)
    with drawing(WIDTH, 3.4, columns=len(frames)) as (figure, panels):
        for axes, (title, atoms) in zip(panels, frames.items(), strict=True):
            shown = atoms.copy()
            shown.wrap()  # atoms that have gone into other cells
            plot_atoms(shown, axes, rotation=VIEW, show_unit_cell=2 * bool(atoms.pbc.any()))
            axes.set_axis_off()
            axes.set_title(title)
        dots = [
            panels[0].scatter([], [], color=jmol_colors[z], edgecolors=PLAIN, linewidths=0.5)
            for z in elements
        ]
        names = [chemical_symbols[z] for z in elements]
        figure.legend(dots, names, loc="outside lower center", ncols=min(len(names), 10))
        save(figure, path)


def draw_minimization(path: Path, thermo: Thermo, num_atoms: int) -> None:
    """Draw energy above its end [meV/atom] and largest force component [eV/A] over iterations."""
    steps, largest = thermo["Step"], thermo["Fmax"]
    above = 1000 * (thermo["PotEng"] - thermo["PotEng"][-1]) / num_atoms
    with _panels(path, 2) as (energy, force):
        energy.plot(steps, above, color=PLAIN)
        energy.set_ylabel("energy above end\n[meV/atom]")
        force.plot(steps, np.where(largest > 0, largest, np.nan), color=COLORS[1])
        force.set(xlabel="iteration", ylabel="largest force\ncomponent [eV/Å]")
        if (largest > 0).any():
            force.set_yscale("log")
            plain_log_ticks(force.yaxis)


def draw_distributions(path: Path, r: np.ndarray, g: Mapping[str, np.ndarray]) -> None:
    """Draw g(r) of each pair of elements, each in a panel of its own."""
    with _panels(path, len(g), height=1.6) as panels:
        for number, (axes, (pair, values)) in enumerate(zip(panels, g.items(), strict=True)):
            axes.axhline(1.0, color=PALE, linewidth=0.8)
            axes.plot(r, values, color=COLORS[number % len(COLORS)], linewidth=1.2)
            axes.set(ylabel=f"g(r)  {pair}", ylim=(0, _top(axes, r, values)))
        panels[-1].set(xlabel="distance r [Å]", xlim=(0, r[-1]))


def _top(axes: Axes, r: np.ndarray, g: np.ndarray) -> float | None:
    """Return a limit that cuts the peak of a bond, and say so, where the rest would vanish."""
    peak = int(np.argmax(g))
    rest = g[r > 1.5 * r[peak]].max(initial=0.0)
    if rest == 0 or g[peak] < CUT * rest:
        return None
    text = f"to {g[peak]:.1f} at {r[peak]:.2f} Å"
    axes.annotate(text, (r[peak], 0.92 * CUT * rest), (8, 0), textcoords="offset points", va="top")
    return CUT * rest


def draw_displacements(path: Path, lags: np.ndarray, msd: Mapping[str, np.ndarray]) -> None:
    """Draw mean square displacements of each element over time."""
    with _panels(path, 1, height=3.4) as (axes,):
        for element, values in msd.items():
            axes.plot(lags, values, label=element)
        axes.set(xlabel="time difference [ps]", ylabel="mean square displacement [Å²]")
        axes.set(xlim=(0, None), ylim=(0, None))
        axes.legend()
