# SPDX-License-Identifier: MIT
"""What a run is: what was asked for, with every default filled in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from ase import Atoms

from pyictp.errors import UserError
from pyictp.md.structure import check_fixed

NUM_ROWS = 500  # of the log, and frames of the trajectory, unless the user says otherwise
MOST_POSITIONS = 5_000_000  # in the trajectory, unless the user says otherwise
DEFAULT_TIME = 1.0  # ps
DEFAULT_ITERATIONS = 1000
THERMOSTAT, BAROSTAT = 100, 1000  # damping [time steps]
LEAST_SAMPLING = 100  # steps, unless the user says otherwise: all models of a file cost time
SAMPLED = {  # of `compute models all pair ictp`
    "force_deviation_eV_per_A": "c_models[1]",
    "grade": "c_models[4]",
}
Coupling = Literal["iso", "aniso", "tri"]  # what of the cell a pressure changes


@dataclass(frozen=True)
class Request:
    """What a user asks for, as the options of `ictp md`; None: as the structure needs it."""

    ensemble: str = "nvt"
    temperature: float = 300.0  # K
    to_temperature: float | None = None  # K
    pressure: float | None = None  # bar
    coupling: Coupling | None = None
    time: float | None = None  # ps
    steps: int | None = None
    equilibrate: float | None = None  # ps
    timestep: float | None = None  # fs
    repeat: tuple[int, int, int] = (1, 1, 1)
    seed: int = 1
    thermo: int | None = None  # steps
    every: int | None = None  # steps
    uncertainty: int | None = None  # steps
    closest: str = "warn"


@dataclass(frozen=True)
class Settings:
    """A run. Pressure None: the box stays as it is."""

    ensemble: str
    steps: int
    timestep: float  # ps
    temperature: float  # K
    to_temperature: float  # K, at the end
    pressure: float | None  # bar
    coupling: Coupling
    repeat: tuple[int, int, int]
    thermo: int  # steps between rows of the log
    every: int  # steps between frames
    seed: int
    uncertainty: int = 0  # steps between samples; 0: none
    samples: tuple[str, ...] = ()  # of SAMPLED
    equilibration: int = 0  # steps before the run
    continued: bool = False  # with the velocities of the structure
    closest: str = "warn"  # of pair_style ictp: what to do where atoms are too close for the data

    @property
    def minimizes(self) -> bool:
        """Return whether there is no time in this run."""
        return self.ensemble == "minimize"

    @property
    def columns(self) -> str:
        """Return the words after `thermo_style custom`."""
        dynamics = "step time cpu temp pe ke etotal press vol"
        if self.pressure is not None:
            dynamics += " cella cellb cellc"
        plain = "step cpu pe fmax fnorm press" if self.minimizes else dynamics
        return " ".join([plain, *(SAMPLED[name] for name in self.samples)])

    def describe(self) -> str:
        """Return the run in words."""
        sampling = f", uncertainty every {self.uncertainty} steps" if self.uncertainty else ""
        if self.minimizes:
            return f"minimize, at most {self.steps} iterations{sampling}"
        words = {
            "nve": f"nve from {self.temperature:g} K",
            "nvt": f"nvt at {self.temperature:g} K",
            "npt": f"npt at {self.temperature:g} K",
            "anneal": f"anneal from {self.temperature:g} to {self.to_temperature:g} K",
        }[self.ensemble]
        if self.pressure is not None:
            words += f" and {self.pressure:g} bar ({self.coupling})"
        duration = f"{self.steps * self.timestep:g} ps in {self.steps} steps of"
        words += f", {duration} {1000 * self.timestep:g} fs, seed {self.seed}"
        if self.continued:
            words = words.replace(", seed", ", velocities as they are, seed")
        if self.equilibration:
            words += f", after {self.equilibration * self.timestep:g} ps of equilibration"
        if self.ensemble != "nve":
            words += f", thermostat damping {1000 * THERMOSTAT * self.timestep:g} fs"
        if self.pressure is not None:
            words += f", barostat damping {1000 * BAROSTAT * self.timestep:g} fs"
        return words + sampling


def resolve(request: Request, atoms: Atoms, continued: bool = False) -> Settings:
    """Return the settings of a request for a structure.

    Args:
        request: what a user asks for.
        atoms: the structure.
        continued: it is the end of another run, whose velocities are kept.

    Raises:
        UserError: options that contradict each other or the structure.
    """
    _check(request, atoms)
    if continued and np.prod(request.repeat) > 1:
        raise UserError("--repeat: copies would all move alike; start from a structure instead")
    repeat = request.repeat
    minimizes = request.ensemble == "minimize"
    light = "H" in atoms.get_chemical_symbols()
    timestep = (request.timestep or (0.5 if light else 1.0)) / 1000
    steps = request.steps
    if steps is None and minimizes:
        steps = DEFAULT_ITERATIONS
    elif steps is None:
        steps = max(1, round((request.time or DEFAULT_TIME) / timestep))
    rows = 1 if minimizes else max(1, steps // NUM_ROWS)
    num_atoms = len(atoms) * int(np.prod(repeat))
    frames = max(1, min(NUM_ROWS, MOST_POSITIONS // num_atoms))
    pressure = 0.0 if request.ensemble == "npt" and request.pressure is None else request.pressure
    to_temperature = request.temperature
    if minimizes and request.equilibrate:
        raise UserError("--equilibrate with --ensemble minimize: a minimization has no temperature")
    if request.ensemble == "anneal" and request.to_temperature is not None:  # as _check has it
        to_temperature = request.to_temperature
    return Settings(
        ensemble=request.ensemble,
        steps=steps,
        timestep=timestep,
        temperature=request.temperature,
        to_temperature=to_temperature,
        pressure=pressure,
        coupling=request.coupling or "iso",
        repeat=repeat,
        thermo=request.thermo or rows,
        every=request.every or max(1, -(-steps // frames)),
        seed=request.seed,
        equilibration=0 if minimizes else round((request.equilibrate or 0.0) / timestep),
        continued=continued,
        closest=request.closest,
    )


def with_samples(
    settings: Settings, request: Request, known: Sequence[str], model: str
) -> Settings:
    """Return settings that sample how sure the model is, on steps that the log has as well.

    Args:
        settings: without.
        request: what was asked for.
        known: which of SAMPLED the model file has.
        model: its name, for messages.

    Raises:
        UserError: the file has none of what is asked for, or the log would leave samples out.
    """
    least = request.uncertainty
    if least is None:
        least = 1 if settings.minimizes else LEAST_SAMPLING
        least = -(-least // settings.thermo) * settings.thermo
    if not known and request.uncertainty:
        raise UserError(
            f"--uncertainty: model '{model}' is one model without grade: export several as an "
            "ensemble, or one with --training-data"
        )
    if not known or not least:
        return settings
    if request.thermo and least % request.thermo:
        raise UserError(
            f"--uncertainty {least} --thermo {request.thermo}: expected a multiple of --thermo, so "
            "that the log has every sample"
        )
    divisors = (rows for rows in range(1, min(settings.thermo, least) + 1) if least % rows == 0)
    return replace(settings, thermo=max(divisors), uncertainty=least, samples=tuple(known))


def _check(request: Request, atoms: Atoms) -> None:
    minimizes = request.ensemble == "minimize"
    if minimizes and request.time is not None:
        raise UserError("--time with --ensemble minimize: a minimization has --steps, no time")
    if request.ensemble == "anneal" and request.to_temperature is None:
        raise UserError("--ensemble anneal: say where the temperature ends with --to-temperature")
    if request.ensemble != "anneal" and request.to_temperature is not None:
        raise UserError(f"--to-temperature is for --ensemble anneal, not {request.ensemble}")
    if request.pressure is not None and request.ensemble not in ("npt", "anneal"):
        hint = "lammps_inputs/minimize.in relaxes cells" if minimizes else "choose npt"
        raise UserError(
            f"--pressure is for --ensemble npt or anneal, not {request.ensemble}: {hint}"
        )
    constant = request.ensemble == "npt" or request.pressure is not None
    if request.coupling is not None and not constant:
        raise UserError("--coupling is for runs with a pressure: choose npt")
    if constant and not atoms.pbc.all():
        raise UserError(
            "constant pressure needs a structure that is periodic in all directions, this one has "
            f"pbc {' '.join('T' if p else 'F' for p in atoms.pbc)}: choose nvt or nve"
        )
    if any(count > 1 and not p for count, p in zip(request.repeat, atoms.pbc, strict=True)):
        raise UserError("--repeat: expected 1 along directions in which nothing is periodic")
    _check_mobile(request, atoms, constant)


def _check_mobile(request: Request, atoms: Atoms, constant: bool) -> None:
    """Refuse what LAMMPS cannot do with atoms that are fixed, or with a single one."""
    check_fixed(atoms, constant)
    single = len(atoms) * int(np.prod(request.repeat)) == 1
    if single and request.ensemble != "minimize":
        counts = " ".join("3" if periodic else "1" for periodic in atoms.pbc)
        hint = f"copy the cell with --repeat {counts}" if atoms.pbc.any() else "add atoms"
        raise UserError(f"dynamics need at least two atoms that move, there is one: {hint}")
