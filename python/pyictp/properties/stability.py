# SPDX-License-Identifier: MIT
"""How hot and how dense a run may become before it breaks: ramps in LAMMPS."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms

from pyictp.common.arrays import FloatArray
from pyictp.md.averages import energy_drift
from pyictp.md.lammps import first_too_close
from pyictp.md.settings import Request, resolve
from pyictp.properties.dynamics import Driver, run_deck, time_step
from pyictp.properties.lattice_dynamics import repeats

COLD, HOT = 300.0, 3000.0  # K
PEAK = 100.0  # GPa
BAR = 1e4  # in a GPa
DURATION = 10.0  # ps, of each ramp
WIDTH = 10.0  # A, of a crystal at least
WILD = 10_000.0  # K: no thermostat was told of that
LOST = 0.1  # eV/atom that no bath gave: the run no longer conserves energy


@dataclass(frozen=True)
class Ramp:
    """A temperature or a pressure that grows, as far as the run held."""

    values: FloatArray  # (T,) of the ramp [K or GPa]
    temperatures: FloatArray  # (T,) measured [K]
    pressures: FloatArray  # (T,) measured [GPa]
    volumes: FloatArray  # (T,) [A^3/atom]
    energies: FloatArray  # (T,) potential [eV/atom]
    drifts: FloatArray  # (T,) of the total energy without what the bath gave [eV/atom]
    reached: float  # [K or GPa]: the end of the ramp, or where the run broke
    broke: str  # how; "": it held
    close: float | None  # where atoms first were closer than in the training data [K or GPa]
    drift: float | None  # [meV/atom/ps], heating only


def heating(
    atoms: Atoms, driver: Driver, folder: Path, duration: float = DURATION, hot: float = HOT
) -> Ramp:
    """Return a run from 300 K to `hot` [K] in `duration` [ps] at constant volume.

    Raises:
        UserError: LAMMPS left no row.
    """
    request = Request(ensemble="anneal", temperature=COLD, to_temperature=hot)
    return _ramp(atoms, driver, folder, request, duration, (COLD, hot))


def compression(
    atoms: Atoms, driver: Driver, folder: Path, duration: float = DURATION, peak: float = PEAK
) -> Ramp:
    """Return a run at 300 K from 0 to `peak` [GPa] in `duration` [ps], the cell's shape kept.

    Raises:
        UserError: LAMMPS left no row.
    """
    request = Request(ensemble="npt", temperature=COLD, pressure=0.0)
    return _ramp(atoms, driver, folder, request, duration, (0.0, peak))


def _ramp(
    atoms: Atoms,
    driver: Driver,
    folder: Path,
    request: Request,
    duration: float,
    ends: tuple[float, float],
) -> Ramp:
    large = atoms.repeat(repeats(atoms, WIDTH)) if atoms.pbc.all() else atoms
    request = replace(request, time=duration, timestep=1000 * time_step(large))
    settings = resolve(request, large)
    heats = request.ensemble == "anneal"
    thermo, problem = run_deck(
        "stability.lammps.j2",
        large,
        driver,
        settings,
        folder,
        title=f"{'A temperature' if heats else 'A pressure'} that grows, until the run breaks",
        peak=ends[1] * BAR,
        wild=WILD,
        columns=["econserve"],
    )
    values = np.interp(thermo["Step"], (0, settings.steps), ends)
    drifts = (thermo["Econserve"] - thermo["Econserve"][0]) / len(large)
    row, broke = judge(thermo["Temp"], thermo["PotEng"], drifts if heats else None, problem)
    close = first_too_close(folder / "log.lammps")
    held = slice(0, row + 1)
    whole = heats and row > 2
    return Ramp(
        values=values,
        temperatures=thermo["Temp"],
        pressures=thermo["Press"] / BAR,
        volumes=thermo["Volume"] / len(large),
        energies=thermo["PotEng"] / len(large),
        drifts=drifts,
        reached=float(values[row]),
        broke=broke,
        close=None if close is None else float(np.interp(close, (0, settings.steps), ends)),
        drift=energy_drift(thermo["Time"][held], drifts[held], 1) if whole else None,
    )


def judge(
    temperatures: FloatArray, energies: FloatArray, drifts: FloatArray | None, problem: str
) -> tuple[int, str]:
    """Return the row to which a run held, and how it broke or "".

    Args:
        temperatures: (T,) [K].
        energies: (T,) [eV].
        drifts: (T,) of the conserved energy [eV/atom]; None: something else did work.
        problem: LAMMPS' message, where it failed.
    """
    gained = np.zeros_like(energies) if drifts is None else np.abs(drifts)
    signs = {
        "energies are no numbers": ~(np.isfinite(temperatures) & np.isfinite(energies)),
        f"hotter than {WILD:g} K": temperatures > WILD,
        f"{LOST:g} eV/atom came from nowhere": gained > LOST,
    }
    found = [(int(np.argmax(rows)), text) for text, rows in signs.items() if rows.any()]
    return min(found) if found else (len(temperatures) - 1, problem)
