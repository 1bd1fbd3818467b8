# SPDX-License-Identifier: MIT
"""Properties as a table for people, as JSON, as pictures."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.eos import birchmurnaghan
from ase.units import GPa

from pyictp import __version__
from pyictp.common.drawing import COLORS, PALE, PLAIN, drawing, save
from pyictp.common.files import write_json
from pyictp.properties.rows import Measured

WALL_TOP = 30.0  # eV: how much of a repulsion pictures show


def table(measured: Sequence[Measured]) -> list[str]:
    """Return a line per property, with a column per potential."""
    titles = list(dict.fromkeys((row.title, row.unit) for one in measured for row in one.rows))
    names = short_names([one.name for one in measured])
    width = [max(14, len(name) + 2) for name in names]
    lines = []
    if len(measured) > 1:
        lines.append(" " * 42 + "".join(f"{n:>{w}}" for n, w in zip(names, width, strict=True)))
    for title, unit in titles:
        cells, notes = [], []
        for one, name, w in zip(measured, names, width, strict=True):
            row = next((r for r in one.rows if (r.title, r.unit) == (title, unit)), None)
            cell = "-" if row is None or row.value is None else f"{row.value:.5g}"
            is_word = row is not None and row.value is None and len(row.text) < w
            cells.append(f"{row.text if is_word and row else cell:>{w}}")
            if row is not None and row.text and not is_word:
                notes.append(row.text if len(measured) == 1 else f"{name}: {row.text}")
        lines.append(
            (f"{title:<30} {unit:<11}" + "".join(cells) + "  " + "; ".join(notes)).rstrip()
        )
    return lines


def short_names(names: Sequence[str]) -> list[str]:
    """Return the last parts of paths and dotted names, as far as they tell them apart."""
    short = [re.split(r"[/.](?!pt$)", name.rstrip("/"))[-1] for name in names]
    return short if len(set(short)) == len(short) else list(names)


def write(measured: Sequence[Measured], structure: str, folder: Path) -> list[str]:
    """Write properties.json and the pictures that there is something for; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    payload: dict[str, Any] = {
        "structure": structure,
        "potentials": [one.values() for one in measured],
        "pyictp": __version__,
        "date": time.strftime("%Y-%m-%d"),
    }
    write_json(folder / "properties.json", payload)
    names = ["properties.json"]
    for name, draw in PICTURES.items():
        if any(name in one.curves for one in measured):
            draw([one for one in measured if name in one.curves], folder / f"{name}.png")
            names.append(f"{name}.png")
    return names


def draw_eos(measured: Sequence[Measured], path: Path) -> None:
    """Draw energies above the lowest over volume."""
    names = short_names([one.name for one in measured])
    with drawing(4.6, 3.6) as (figure, (axes,)):
        for number, one in enumerate(measured):
            state = one.curves["eos"]
            axes.plot(state.volumes, 1e3 * (state.energies - state.energy), "o", ms=4)
            between = np.linspace(state.volumes[0], state.volumes[-1], 200)
            fit = state.bulk_modulus * GPa, state.derivative, state.volume
            above = 1e3 * birchmurnaghan(between, 0.0, *fit)
            axes.plot(between, above, color=axes.lines[-1].get_color(), label=names[number])
        axes.set(xlabel="volume [Å³/atom]", ylabel="energy above the lowest [meV/atom]")
        axes.set_ylim(bottom=0)
        if len(measured) > 1:
            axes.legend()
        save(figure, path)


def draw_phonons(measured: Sequence[Measured], path: Path) -> None:
    """Draw bands, and the density of states beside them."""
    names = short_names([one.name for one in measured])
    with drawing(8.4, 3.8, columns=2) as (figure, (bands, density)):
        for number, one in enumerate(measured):
            result, color = one.curves["phonons"], COLORS[number]
            along = result.path / result.path[-1]  # of cells that differ a little, point on point
            for branch in result.bands.T:
                bands.plot(along, branch, color=color, linewidth=0.9)
            name = names[number]
            density.plot(result.density, result.density_frequencies, color=color, label=name)
        first = measured[0].curves["phonons"]
        ticks = np.array(list(first.ticks)) / first.path[-1]
        bands.set_xticks(ticks, [name.replace("G", "Γ") for name in first.ticks.values()])
        for tick in ticks:
            bands.axvline(tick, color=PALE, linewidth=0.6, zorder=0)
        for axes in (bands, density):
            axes.axhline(0, color=PALE, linewidth=0.6, zorder=0)
        bands.set(ylabel="frequency [THz]", xlim=(0, 1))
        density.set(xlabel="density of states [1/THz]", ylim=bands.get_ylim(), xlim=(0, None))
        if len(measured) > 1:
            density.legend()
        save(figure, path)


def draw_expansion(measured: Sequence[Measured], path: Path) -> None:
    """Draw volume and linear expansion over temperature."""
    names = short_names([one.name for one in measured])
    with drawing(6.8, 3.2, columns=2) as (figure, (volume, linear)):
        for number, one in enumerate(measured):
            found = one.curves["expansion"]
            volume.plot(found.temperatures, found.volumes, label=names[number])
            linear.plot(found.temperatures, 1e6 * found.linear)
        volume.set(ylabel="volume [Å³/atom]")
        linear.set(ylabel="linear expansion [10⁻⁶/K]", ylim=(0, None))
        for axes in (volume, linear):
            axes.set(xlabel="temperature [K]", xlim=(0, None))
            axes.ticklabel_format(useOffset=False)
        if len(measured) > 1:
            volume.legend()
        save(figure, path)


def draw_diatomics(measured: Sequence[Measured], path: Path) -> None:
    """Draw the energy of two atoms over their distance, a panel per pair of elements."""
    curves = [one.curves["diatomics"] for one in measured]
    names = short_names([one.name for one in measured])
    columns = min(3, len(curves[0]))
    rows = -(-len(curves[0]) // columns)
    with drawing(3.4 * columns, 2.8 * rows, rows=rows, columns=columns) as (figure, panels):
        for axes, alike in zip(panels, zip(*curves, strict=True), strict=False):
            for number, curve in enumerate(alike):
                axes.plot(curve.distances, curve.energies, label=names[number])
            depth = max(curve.depth for curve in alike)
            axes.axhline(0, color=PALE, linewidth=0.6, zorder=0)
            axes.set(title=alike[0].pair, ylim=(-1.2 * depth - 1, WALL_TOP), xlim=(0, None))
            axes.set_yscale("symlog", linthresh=5.0)
            axes.set_yticks([-5, 0, 5, 10, 30], ["-5", "0", "5", "10", "30"])
            axes.set(xlabel="distance [Å]", ylabel="energy [eV]")
        for axes in panels[len(curves[0]) :]:
            axes.set_axis_off()
        if len(measured) > 1:
            panels[0].legend()
        save(figure, path)


def draw_melting(measured: Sequence[Measured], path: Path) -> None:
    """Draw temperature and share of crystal over time."""
    names = short_names([one.name for one in measured])
    with drawing(6.4, 4.2, rows=2, sharex=True) as (figure, (temperature, share)):
        for number, one in enumerate(measured):
            found = one.curves["melting"]
            color = COLORS[number]
            temperature.plot(found.times, found.temperatures, color=color, linewidth=0.8)
            late = found.times[len(found.times) // 2], found.times[-1]
            label = f"{names[number]}: {found.temperature:.0f} ± {found.error:.0f} K"
            mean = [found.temperature] * 2
            temperature.plot(late, mean, color=PLAIN, linewidth=1.6, zorder=3, label=label)
            share.plot(found.times, 100 * found.shares, color=color)
        temperature.set(ylabel="temperature [K]")
        temperature.legend()
        share.set(xlabel="time [ps]", ylabel="crystal [% of atoms]", ylim=(0, 100))
        share.set_xlim(left=0)
        figure.align_ylabels()
        save(figure, path)


def draw_stability(measured: Sequence[Measured], path: Path) -> None:
    """Draw the energy of atoms over the temperature and the volume over the pressure of ramps."""
    names = short_names([one.name for one in measured])
    columns = max(len(one.curves["stability"]) for one in measured)
    with drawing(3.4 * columns, 3.0, columns=columns) as (figure, panels):
        for number, one in enumerate(measured):
            color = COLORS[number]
            for axes, (kind, ramp) in zip(panels, one.curves["stability"].items(), strict=False):
                heats = kind == "heating"
                measures = 1000 * (ramp.energies - ramp.energies[0]) if heats else ramp.volumes
                held = ramp.values <= ramp.reached
                axes.plot(ramp.values[held], measures[held], color=color, label=names[number])
                if ramp.close is not None:
                    axes.axvline(ramp.close, color=color, linestyle=":", linewidth=1.0)
                if ramp.broke:
                    axes.plot(ramp.reached, measures[held][-1], "x", color=color, ms=8)
        panels[0].set(xlabel="thermostat [K]", ylabel="potential energy [meV/atom]")
        if columns > 1:
            panels[1].set(xlabel="barostat [GPa]", ylabel="volume [Å³/atom]", xlim=(0, None))
        if len(measured) > 1:
            panels[0].legend()
        save(figure, path)


PICTURES = {
    "eos": draw_eos,
    "phonons": draw_phonons,
    "diatomics": draw_diatomics,
    "expansion": draw_expansion,
    "melting": draw_melting,
    "stability": draw_stability,
}
