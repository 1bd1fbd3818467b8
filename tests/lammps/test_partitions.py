# SPDX-License-Identifier: MIT
"""Several replicas in one LAMMPS: neb, and partitions that differ."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk
from deck import Deck, Structure, pair_lines, write_deck
from structures import STRUCTURES, graph
from toys import BoundToy, MessageToy, evaluate

pytestmark = [pytest.mark.lammps, pytest.mark.mpi]
LIMIT = 90  # seconds


def run_partitions(path: Path, partition: str, processes: int, *launch: str) -> None:
    """Run an input on partitions, in its folder."""
    folder = Path(sys.executable).parent
    command = [folder / "mpiexec", "-n", str(processes), *launch, folder / "lmp"]
    command += ["-partition", partition, "-in", path]
    done = subprocess.run(
        [*map(str, command)],
        cwd=path.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def vacancy() -> tuple[Structure, np.ndarray]:
    """Return a crystal without its first atom, and where that one was."""
    crystal = bulk("Cu", "fcc", a=3.8, cubic=True) * (2, 2, 2)
    types = np.ones(31, dtype=int)
    return Structure(crystal.positions[1:] + 0.5, types, crystal.cell[:]), np.full(3, 0.5)


@pytest.mark.parametrize(
    ("partition", "processes"), [("3x1", 3), pytest.param("3x2", 6, marks=pytest.mark.long)]
)
def test_neb(partition, processes, export, tmp_path):
    structure, hole = vacancy()
    hopping = int(np.argmin(np.linalg.norm(structure.positions - hole, axis=1)))
    (tmp_path / "final").write_text(f"1\n{hopping + 1} {' '.join(map(str, hole))}\n")
    end = ["min_style quickmin", "timestep 0.002", "fix neb all neb 1.0"]
    end += ["neb 0 0.01 300 100 100 final final"]
    end += ['print "$(pe:%.17g)" file pe.${part}']
    end += ["write_dump all custom last.${part} id x y z modify sort id format float %.17g", "quit"]
    deck = Deck(pair_lines(export(BoundToy)), setup=("atom_modify map array sort 0 0",), run=end)
    path = write_deck(tmp_path, structure, deck)
    text = re.sub("dump.*1 .*\n", "", path.read_text())
    path.write_text("variable part world 0 1 2\n" + text)
    run_partitions(path, partition, processes)
    energies = []
    for replica in range(3):
        rows = (tmp_path / f"last.{replica}").read_text().splitlines()[9:]
        positions = np.array([row.split()[1:] for row in rows], dtype=float)
        here = Structure(positions, structure.types, structure.cell)
        expected = evaluate(BoundToy(), *map(torch.as_tensor, graph(here, 3.6)))[0].sum()
        energies.append(float((tmp_path / f"pe.{replica}").read_text()))
        assert energies[-1] == pytest.approx(float(expected), abs=1e-9)
    assert energies[1] > max(energies[0], energies[2]) + 0.01  # the barrier
    assert energies[0] == pytest.approx(energies[2], abs=1e-3)  # a vacancy here or there


def test_only_one_partition_has_the_model(export, tmp_path):
    # without the launcher's variable for the process on its node, each has to ask the others
    style, coeff = pair_lines(export(MessageToy))
    pair = [f"partition yes 1 {style}", f"partition yes 1 {coeff}"]
    pair += ["partition yes 2 pair_style zero 3.0", "partition yes 2 pair_coeff * *"]
    path = write_deck(tmp_path, STRUCTURES["bulk"], Deck(pair))
    text = path.read_text().splitlines()
    path.write_text("\n".join(line for line in text if "dump" not in line) + "\n")
    run_partitions(path, "2x1", 2, "env", "-u", "MPI_LOCALRANKID")
    assert "device cpu" in (tmp_path / "log.lammps.0").read_text()
