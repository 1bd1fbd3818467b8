# SPDX-License-Identifier: MIT
"""LAMMPS runs of the demo: decks that differ in the potential alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyictp.demo.alloy import ELEMENTS, LATTICE_PARAMETER, mass_commands
from pyictp.md.lammps import lammps_command, watch

TIME_STEP = 0.002  # ps
THERMO = "step temp pe etotal press vol lx"


@dataclass(frozen=True)
class Run:
    """One LAMMPS run: a folder with `in.lmp`, and after it `log.lammps` and perhaps dumps."""

    name: str
    folder: Path
    deck: str


def cell_commands(repeat: int, lattice_parameter: float) -> list[str]:
    """Return the lines that make an equiatomic fcc crystal of 4 * repeat^3 atoms, as ever."""
    count = repeat**3  # of each of the four elements
    return [
        "units metal",
        f"lattice fcc {lattice_parameter}",
        f"region box block 0 {repeat} 0 {repeat} 0 {repeat}",
        f"create_box {len(ELEMENTS)} box",
        "create_atoms 1 box",
        *(
            f"set type 1 type/subset {kind} {count} {100 + kind}"
            for kind in range(2, len(ELEMENTS) + 1)
        ),
        *mass_commands(),
    ]


def nve_deck(
    potential: Sequence[str],
    repeat: int,
    temperature: float,
    equilibrate: int,
    steps: int,
    every: int,
) -> str:
    """Return a deck that thermalises, then runs at constant energy and dumps positions, forces."""
    return _deck(
        cell_commands(repeat, LATTICE_PARAMETER),
        potential,
        [
            f"timestep {TIME_STEP}",
            f"velocity all create {2 * temperature} 4711 mom yes rot yes",
            f"thermo {every}",
            f"thermo_style custom {THERMO}",
            "thermo_modify format float %.10g",
            f"fix heat all langevin {temperature} {temperature} 0.1 4711 zero yes",
            "fix move all nve",
            f"run {equilibrate}",
            "unfix heat",
            "reset_timestep 0",
            *dump_commands("nve.dump", every),
            f"run {steps}",
        ],
    )


def npt_deck(
    potential: Sequence[str], repeat: int, temperature: float, equilibrate: int, steps: int
) -> str:
    """Return a deck at constant temperature and zero pressure."""
    return _deck(
        cell_commands(repeat, round(LATTICE_PARAMETER * (1 + 1.5e-5 * temperature), 4)),
        potential,
        [
            f"timestep {TIME_STEP}",
            f"velocity all create {2 * temperature} 815 mom yes rot yes",
            "thermo 5",
            f"thermo_style custom {THERMO}",
            "thermo_modify format float %.10g",
            f"fix move all npt temp {temperature} {temperature} 0.1 iso 0 0 0.5",
            f"run {equilibrate}",
            f"run {steps}",
        ],
    )


def rerun_deck(potential: Sequence[str], repeat: int, dump: str, every: int) -> str:
    """Return a deck that evaluates a potential on the frames of a dump."""
    return _deck(
        cell_commands(repeat, LATTICE_PARAMETER),
        potential,
        [
            "thermo 1",
            f"thermo_style custom {THERMO}",
            "thermo_modify format float %.10g",
            *dump_commands("rerun.dump", every),
            f'rerun "{dump}" dump x y z box yes',
        ],
    )


def dump_commands(file: str, every: int) -> list[str]:
    """Return the lines that write unwrapped positions and forces."""
    return [
        f"dump frames all custom {every} {file} id type element xu yu zu fx fy fz",
        f'dump_modify frames sort id element {" ".join(ELEMENTS)} format float "%.8f"',
    ]


def _deck(cell: Sequence[str], potential: Sequence[str], dynamics: Sequence[str]) -> str:
    return "\n".join([*cell, "", *potential, "", *dynamics, ""])


def run_lammps(run: Run, progress: Callable[[int], None] | None = None) -> Path:
    """Run a deck in its folder and return the log.

    Args:
        run: what to run.
        progress: called with the steps done since its last call.

    Raises:
        UserError: LAMMPS stopped with an error; its message is passed on.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "in.lmp").write_text(run.deck)
    command = [*lammps_command(), "-in", "in.lmp", "-nocite"]
    watch(command, run.folder, f"LAMMPS run '{run.name}'", len(THERMO.split()), progress)
    return run.folder / "log.lammps"


@dataclass(frozen=True)
class Dynamics:
    """Sizes of the LAMMPS runs, the same for the teacher and for ictp."""

    nve_repeat: int = 4  # 4 * 4^3 = 256 atoms
    nve_temperature: float = 300.0  # K
    nve_equilibrate: int = 250
    nve_steps: int = 1000
    nve_every: int = 20  # steps between kept frames
    npt_repeat: int = 3  # 108 atoms
    npt_temperatures: tuple[float, ...] = (300.0, 600.0, 900.0)
    npt_equilibrate: int = 300
    npt_steps: int = 800
    processes: int = 2

    @property
    def num_steps(self) -> int:
        """Return the steps of all runs of one potential."""
        npt = len(self.npt_temperatures) * (self.npt_equilibrate + self.npt_steps)
        return self.nve_equilibrate + self.nve_steps + npt
