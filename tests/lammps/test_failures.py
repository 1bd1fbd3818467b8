# SPDX-License-Identifier: MIT
"""What fails on one process ends all of them, with one message and without a hang."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from deck import Deck, Structure, pair_lines, run, run_processes, write_deck
from structures import STRUCTURES, lattice
from toys import FragileToy, LargeToy, MessageToy, PairToy, export_toy

pytestmark = pytest.mark.lammps
LIMIT = 60  # seconds; a hang would take for ever
FAILURES = {
    "raise 0": "atoms closer than 0.7 A",
    "raise 2": "atoms closer than 0.7 A",
    "energy": "energy or forces of atom {} are not finite (nearest neighbor: atom {} at 0.5 A)",
    "gradient": "energy or forces of atom {} are not finite (nearest neighbor: atom {} at 0.5 A)",
}


def crowded() -> Structure:
    """Return a crystal two of whose atoms, 55 and 56, are 0.5 A apart; few processes see them."""
    bulk = lattice((3, 3, 3), 2.9)
    extra = np.array([[0.4, 0.4, 4.9], [0.9, 0.4, 4.9]])
    return Structure(
        np.concatenate([bulk.positions, extra]), np.append(bulk.types, [1, 1]), bulk.cell
    )


def only_error(error: pytest.ExceptionInfo) -> str:
    """Return the error line of LAMMPS' output, with its wrapping undone; there is just one."""
    lines = [line for line in str(error.value).splitlines() if "ERROR" in line]
    assert len(lines) == 1, str(error.value)
    return lines[0]


@pytest.mark.mpi
@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize("failure", FAILURES)
def test_failure_in_a_step(failure, processes, tmp_path):
    model = export_toy(tmp_path / "toy.pt", FragileToy(failure))
    deck = Deck(pair_lines(model), processes=processes, setup=("processors 1 1 *",))
    with pytest.raises(RuntimeError) as error:
        run(tmp_path, crowded(), deck)
    line = only_error(error)
    assert "Pair style ictp, step 0: " in line
    texts = [FAILURES[failure].format(*pair) for pair in ((55, 56), (56, 55))]
    assert any(text in line for text in texts), line


@pytest.mark.mpi
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("most", [3, 20])
def test_memory_says_how_many_atoms_fit(processes, most, tmp_path):
    model = export_toy(tmp_path / "toy.pt", LargeToy(most))
    deck = Deck(pair_lines(model), processes=processes, setup=("processors 1 1 *",))
    with pytest.raises(RuntimeError) as error:
        run(tmp_path, lattice((4, 4, 4), 2.9), deck)
    text = r"not enough memory on cpu for the (\d+) atoms of this process: about (\d+) fit: take "
    atoms, fitting = map(int, re.search(text, only_error(error)).groups())
    assert atoms == 128 // processes
    assert fitting == pytest.approx(most, abs=max(1, most // 16))


def test_a_file_that_does_not_fit(tmp_path):
    model = export_toy(tmp_path / "toy.pt", LargeToy(2))  # the reference structure has three atoms
    with pytest.raises(RuntimeError) as error:
        run(tmp_path, lattice((2, 2, 2), 2.9), Deck(pair_lines(model)))
    assert "toy.pt': not enough memory on cpu to read it" in only_error(error)


@pytest.mark.mpi
def test_the_step_is_named(tmp_path):
    structure = Structure(np.array([[2.0, 5, 5], [4.0, 5, 5]]), np.array([1, 1]), np.eye(3) * 20.0)
    model = export_toy(tmp_path / "toy.pt", FragileToy("energy"))
    modify = ("velocity all set 0 0 0", "fix 1 all nve", "group fast id 2")
    modify += ("velocity fast set -100 0 0", "timestep 0.001")
    deck = Deck(pair_lines(model), modify=modify, run=("run 100",), processes=2)
    with pytest.raises(RuntimeError) as error:
        run(tmp_path, structure, deck)
    # 2 A apart, 0.1 A per step, and the force is weak: 0.7 A are passed at step 13 or 14
    assert re.search(r"step 1[34]: energy or forces of atom", only_error(error))


def test_a_python_script_survives(tmp_path):
    model = export_toy(tmp_path / "toy.pt", FragileToy("raise 2"))
    with pytest.raises(RuntimeError, match="atoms closer than"):
        run(tmp_path, crowded(), Deck(pair_lines(model)))
    answer = run(tmp_path, STRUCTURES["lone atom"], Deck(pair_lines(model)))
    assert np.isfinite(answer.energy)


@pytest.mark.mpi
@pytest.mark.parametrize("processes", [2, 4])
def test_one_process_cannot_build_its_graph(processes, export, tmp_path):
    deck = Deck(pair_lines(export(MessageToy)), setup=("processors 1 1 *",))
    path = write_deck(tmp_path, crowded(), deck)
    atoms = tmp_path / "structure.data"
    atoms.write_text(atoms.read_text().replace("\n55 1 ", "\n56 1 "))
    with pytest.raises(RuntimeError) as error:
        run_processes(path, tmp_path / "log", processes, limit=LIMIT)
    assert "step 0: two atoms have the ID 56: atom IDs must be unique" in only_error(error)


@pytest.mark.mpi
def test_one_of_two_partitions_fails(export, tmp_path):
    good, bad = export(PairToy), export_toy(tmp_path / "bad.pt", FragileToy("raise 0"))
    deck = Deck([*pair_lines("$m")], run=("fix 1 all nve", "run 1000000"))
    path = write_deck(tmp_path, crowded(), deck)
    text = "\n".join(line for line in path.read_text().splitlines() if "dump" not in line)
    path.write_text(f"variable m world {good} {bad}\n{text.replace('$m', '${m}')}\n")
    command = [Path(sys.executable).with_name("mpiexec"), "-n", "2"]
    command += [Path(sys.executable).with_name("lmp"), "-partition", "2x1", "-in", path]
    done = subprocess.run(
        [*map(str, command)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode != 0
    assert (
        "atoms closer than 0.7 A"
        in done.stdout + done.stderr + (tmp_path / "log.lammps.1").read_text()
    )


@pytest.mark.mpi
def test_a_model_that_one_process_cannot_read(tmp_path):
    with pytest.raises(RuntimeError) as error:
        run(tmp_path, crowded(), Deck(pair_lines(tmp_path / "absent.pt"), processes=2))
    assert "absent.pt': file not found or not readable" in only_error(error)
