# SPDX-License-Identifier: MIT
"""SevenNet-0 in LAMMPS beside sevenn, one core each, in turns.

    python benchmarks/sevennet.py --python PYTHON

PYTHON is that of an environment with sevenn (`pip install torch==2.13.0 sevenn==0.13.0`); the
checkpoint is the one that comes with it. Least of all samples, microseconds per atom: wall and
processor time, which are the same where nothing else runs.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from lammps_run import LammpsRun
from pyictp.foreign.importer import import_model
from pyictp.potential.export import export_model
from workers import Worker

SAMPLES = 5
FIND = "import sevenn._const as found; print(found.SEVENNET_0_11Jul2024)"


def structures() -> dict[str, Atoms]:
    """Return a metal, an oxide and water, 200 to 300 atoms each."""
    rng = np.random.default_rng(0)
    water = Atoms(cell=3 * [4 * 3.1], pbc=True)
    for place in np.ndindex(4, 4, 4):
        one = molecule("H2O")
        one.rotate(rng.uniform(0.0, 360.0), rng.normal(size=3))
        one.translate(3.1 * np.array(place))
        water += one
    found = {
        "copper": bulk("Cu", cubic=True) * (4, 4, 4),
        "MgO": bulk("MgO", "rocksalt", a=4.21, cubic=True) * (3, 3, 3),
        "water": water,
    }
    for atoms in found.values():
        atoms.rattle(0.02, rng=rng)
    return found


def main() -> None:
    """Time every structure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True, help="of an environment with sevenn")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    args = parser.parse_args()
    done = subprocess.run([args.python, "-c", FIND], capture_output=True, text=True, check=True)
    checkpoint = done.stdout.strip()
    imported = import_model(checkpoint)  # all elements
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.pt"
        export_model(imported.model, model, provenance=imported.provenance)
        for name, atoms in structures().items():
            time_structure(name, atoms, model, args.python, checkpoint, args.samples)


def time_structure(
    name: str, atoms: Atoms, model: Path, python: str, checkpoint: str, samples: int
) -> None:
    """Print microseconds per atom of both codes."""
    case = {
        "threads": 1,
        "checkpoint": checkpoint,
        "tiny": None,
        "large": None,
        "warm_up": 1,
        "structures": [
            {
                "numbers": atoms.numbers.tolist(),
                "positions": atoms.positions.tolist(),
                "cell": atoms.cell.tolist(),
                "pbc": True,
            }
        ],
    }
    elements = tuple(sorted(set(atoms.get_chemical_symbols())))
    ours = LammpsRun(model.parent / name, model, elements, atoms)
    seconds: dict[str, list[tuple[float, float]]] = {"LAMMPS": [], "sevenn": []}
    with Worker("sevenn_worker.py", python) as worker:
        worker.ask("prepare", **case)
        for _ in range(samples):
            seconds["LAMMPS"].append(ours.measure())
            seconds["sevenn"] += worker.ask("measure", repeats=1, min_seconds=0.0)["seconds"]
    least = {code: 1e6 * np.min(times, axis=0) / len(atoms) for code, times in seconds.items()}
    for code, (wall, processor) in least.items():
        print(f"{name}, {len(atoms)} atoms, {code}: {wall:.0f} us/atom, processor {processor:.0f}")
    wall, processor = least["sevenn"] / least["LAMMPS"]
    print(f"{name}: {wall:.0f} times faster, processor time {processor:.0f}", flush=True)


if __name__ == "__main__":
    main()
