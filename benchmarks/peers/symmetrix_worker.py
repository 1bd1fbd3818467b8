# SPDX-License-Identifier: MIT
"""symmetrix-xl's ASE calculator with a file of MACE: energy, forces and stress of moved atoms.

Runs in the virtual environment of the peer. It compiles a program for every model when it is
loaded, outside the timing; `generic` takes its way without a compiler. Neighbor lists with a skin
are reused as the calculator does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from protocol import MakeStep, Step, serve
from symmetrix import Symmetrix, jit

# It gives its compiler 600 s and then takes its way without: too little for 128 channels.
jit.prepare_jit_artifact.__kwdefaults__["compile_timeout"] = 7200.0


def build(case: dict[str, Any]) -> MakeStep:
    """Load the model of a case; return what makes a step of structures."""
    mode = "non-compiled" if case["generic"] else "direct"
    calculator = Symmetrix(case["model"], dtype=case["dtype"], streamed_edges=mode)
    return lambda structures: evaluation(calculator, structures)


def evaluation(calculator: Symmetrix, structures: list[dict[str, Any]]) -> Step:
    """Return a function that moves the atoms a little and computes energy, forces and stress."""
    atoms = Atoms(**structures[0])
    start, generator = atoms.positions.copy(), np.random.default_rng(0)

    def step() -> None:
        atoms.positions = start + generator.normal(scale=1e-4, size=start.shape)
        calculator.calculate(atoms, properties=["energy", "forces", "stress"])

    return step


if __name__ == "__main__":
    serve(build)
