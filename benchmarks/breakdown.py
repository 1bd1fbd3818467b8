# SPDX-License-Identifier: MIT
"""Where the time of a LAMMPS run went, from what LAMMPS and the pair style print at its end."""

from __future__ import annotations

import re
from dataclasses import dataclass

PHASES = ("graph", "exchange", "forward", "backward", "scatter")  # of pair_style ictp
MODEL = ("forward", "backward")
SECTIONS = ("Neigh", "Comm", "Output", "Modify", "Other")  # of LAMMPS, beside Pair


@dataclass(frozen=True)
class Breakdown:
    """The last run of an output; all times are seconds per step."""

    atoms: int
    processes: int
    seconds: float  # of a step
    phases: dict[str, float]  # mean over processes
    slowest: dict[str, float]  # the slowest process
    sections: dict[str, float]  # LAMMPS' own, mean over processes
    num_local: float  # mean over processes
    num_ghost: float  # LAMMPS' ghost atoms, mean over processes

    @property
    def outside(self) -> float:
        """Return seconds outside the model: graph, scatter and LAMMPS itself; no exchange."""
        return self.phases["graph"] + self.phases["scatter"] + sum(self.sections.values())

    @property
    def communication(self) -> float:
        """Return seconds of the exchange of features and of LAMMPS' own communication."""
        return self.phases["exchange"] + self.sections["Comm"]


def parse(output: str) -> Breakdown:
    """Return the breakdown of the last run.

    Raises:
        ValueError: no finished run with pair_style ictp in this output.
    """
    loops = re.findall(
        r"Loop time of (\S+) on (\d+) procs for (\d+) steps with (\d+) atoms", output
    )
    lines = re.findall(r"pair ictp: (\d+) evaluations, ms each, mean \(.*?\):(.*)", output)
    if not loops or not lines:
        raise ValueError("expected the output of a finished LAMMPS run with pair_style ictp")
    seconds, processes, steps, atoms = loops[-1]
    phases = re.findall(r"(\w+) (\S+) \((\S+)\)", lines[-1][1])
    return Breakdown(
        atoms=int(atoms),
        processes=int(processes),
        seconds=float(seconds) / int(steps),
        phases={name: 1e-3 * float(mean) for name, mean, _ in phases},
        slowest={name: 1e-3 * float(slowest) for name, _, slowest in phases},
        sections={name: _section(output, name) / int(steps) for name in SECTIONS},
        num_local=_average(output, "Nlocal"),
        num_ghost=_average(output, "Nghost"),
    )


def _section(output: str, name: str) -> float:
    """Return the average of one line of LAMMPS' table; `Other` has no minimum."""
    found = re.findall(rf"^{name} +\|[^|]*\| *(\S+) *\|", output, re.MULTILINE)
    return float(found[-1]) if found else 0.0


def _average(output: str, name: str) -> float:
    return float(re.findall(rf"^{name}: +(\S+) ave", output, re.MULTILINE)[-1])
