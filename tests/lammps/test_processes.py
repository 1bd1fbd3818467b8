# SPDX-License-Identifier: MIT
"""The same answer on any number of processes, whatever each of them owns."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from deck import Answer, Deck, Structure, pair_lines, run, write_deck
from structures import STRUCTURES, lattice
from toys import MessageToy

pytestmark = [pytest.mark.lammps, pytest.mark.mpi]
BRICK = ()
TILED = ("comm_style tiled",)
RCB = ("fix balance all balance 5 1.01 rcb",)
MOVE = ("velocity all create 3000 1 loop geom", "fix 1 all nve", "neighbor 0.3 bin")


def assert_same(answer: Answer, reference: Answer, tolerance: float) -> None:
    """Compare two runs of one structure, quantity by quantity."""
    np.testing.assert_array_equal(answer.ids, reference.ids)
    for name in ("energy", "node_energies", "forces", "positions"):
        ours, theirs = getattr(answer, name), getattr(reference, name)
        np.testing.assert_allclose(ours, theirs, atol=tolerance, rtol=0, err_msg=name)
    for name in ("virial", "atom_virials", "centroid_virials"):
        ours, theirs = getattr(answer, name), getattr(reference, name)
        np.testing.assert_allclose(ours, theirs, atol=50 * tolerance, rtol=0, err_msg=name)


def compare(folder: Path, structure: Structure, pair: list[str], num: int, **deck) -> None:
    """Compare `num` processes with this one process, which has no ghosts and no exchange."""
    tolerance = deck.pop("tolerance", 1e-10)
    serial = {**deck, "setup": ()}
    serial["modify"] = tuple(line for line in deck.get("modify", ()) if "balance" not in line)
    reference = run(folder / "serial", structure, Deck(pair, **serial))
    answer = run(folder / "parallel", structure, Deck(pair, processes=num, **deck))
    assert_same(answer, reference, tolerance)


@pytest.fixture
def model(export):
    return functools.partial(export, MessageToy)


@pytest.mark.parametrize("num", [2, 4])
@pytest.mark.parametrize("name", ["bulk", "triclinic", "cell below the cutoff", "two clusters"])
def test_one_step(name, num, model, tmp_path):
    compare(tmp_path, STRUCTURES[name], pair_lines(model(num_layers=3)), num)


@pytest.mark.parametrize(
    ("num", "name"), [(2, "one atom, periodic"), (2, "no atoms"), (4, "lone atom")]
)
def test_processes_without_atoms(num, name, model, tmp_path):
    compare(tmp_path, STRUCTURES[name], pair_lines(model(num_layers=3)), num)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_number_of_layers(num_layers, model, tmp_path):
    compare(tmp_path, STRUCTURES["scrambled IDs"], pair_lines(model(num_layers=num_layers)), 2)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 2e-5)])
def test_features_wider_than_a_message(dtype, tolerance, model, tmp_path):
    # 131 is odd (float32 leaves half a double over) and needs two or three slices of 64 doubles
    pair = pair_lines(model(num_layers=2, width=131, dtype=dtype))
    compare(tmp_path, STRUCTURES["bulk"], pair, 2, tolerance=tolerance)


@pytest.mark.parametrize(
    ("setup", "modify"), [(BRICK, MOVE), (TILED, MOVE), (TILED, (*MOVE, *RCB))]
)
def test_slab_trajectory_with_empty_processes(setup, modify, model, tmp_path):
    # 30 A of cell for 6 A of slab: cut along z, most of the four processes own nothing
    setup = (*setup, "processors 1 1 4")
    pair = pair_lines(model(num_layers=3))
    compare(
        tmp_path,
        STRUCTURES["slab"],
        pair,
        4,
        setup=setup,
        modify=modify,
        run=("run 30",),
        tolerance=1e-9,
    )


def test_domain_thinner_than_the_cutoff(model, tmp_path):
    # 8.7 A along x for 4 processes: ghosts come over several swaps
    pair = pair_lines(model(num_layers=3))
    deck = {"setup": ("processors 4 1 1",), "modify": MOVE, "run": ("run 20",)}
    compare(tmp_path, lattice((3, 3, 3), 2.9), pair, 4, tolerance=1e-9, **deck)


def test_hybrid_overlay_and_null_types(model, tmp_path):
    pair = [
        "pair_style hybrid/overlay ictp device cpu zbl 1.0 2.5",
        f"pair_coeff * * ictp {model(num_layers=3)} Ta NULL W",
        "pair_coeff * * zbl 3.0 3.0",
    ]
    compare(tmp_path, STRUCTURES["bulk"], pair, 2)


def test_only_one_partition_has_the_model(model, tmp_path):
    # without the launcher's variable for the process on its node, each has to ask the others
    style, coeff = pair_lines(model())
    pair = [f"partition yes 1 {style}", f"partition yes 1 {coeff}"]
    pair += ["partition yes 2 pair_style zero 3.0", "partition yes 2 pair_coeff * *"]
    path = write_deck(tmp_path, STRUCTURES["bulk"], Deck(pair))
    text = path.read_text().splitlines()
    path.write_text("\n".join(line for line in text if "dump" not in line) + "\n")
    folder = Path(sys.executable).parent
    command = [folder / "mpiexec", "-n", "2", "env", "-u", "MPI_LOCALRANKID", folder / "lmp"]
    command += ["-partition", "2x1", "-in", path]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*map(str, command)], cwd=tmp_path, env=environment, timeout=60, check=True)
    assert "device cpu" in (tmp_path / "log.lammps.0").read_text()
