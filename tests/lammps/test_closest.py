# SPDX-License-Identifier: MIT
"""Distances below those of the training data: what the pair style says of them."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deck import Deck, Structure, pair_lines, run
from session import lammps_session, set_up, state_of
from test_checks import MOVES, RIGHT_MASSES, warnings
from toys import PairToy, export_toy

pytestmark = pytest.mark.lammps
CLOSE = "atoms {} ({}) and {} ({}) are {:.3g} A apart, "


def shortest_toy(folder: Path, distances: dict[tuple[int, int], float], r_cut: float = 3.0) -> Path:
    table = np.full((3, 3), 0.5)
    for (i, j), distance in distances.items():
        table[i, j] = table[j, i] = distance
    toy = PairToy(r_cut=r_cut)
    toy.shortest_distances = table.ravel().tolist()
    return export_toy(folder / "close.pt", toy)


PAIR = Structure(
    np.array([[2.0, 5, 5], [8.0, 5, 5], [8.0, 6.5, 5]]), np.array([1, 2, 3]), np.eye(3) * 10
)


@pytest.mark.parametrize("processes", [0, 3])
@pytest.mark.parametrize("value", ["warn", "error", "ignore", None])
def test_atoms_closer_than_in_the_training_data(value, processes, tmp_path):
    """The first two are 4 A apart through the boundary, the last two 1.5 A."""
    model = shortest_toy(tmp_path, {(1, 2): 1.8})
    style = "ictp device cpu" + (f" closest {value}" if value else "")
    approach = ["run 0", "displace_atoms all move 0.1 0.1 0.1", "run 0 post no", "run 5"]
    deck = Deck([*pair_lines(model, style=style), *RIGHT_MASSES], run=approach, processes=processes)
    if value == "error":
        with pytest.raises(
            RuntimeError, match=re.escape("A apart, closer than any such pair in the")
        ):
            run(tmp_path / "run", PAIR, deck)
        return
    found = warnings(run(tmp_path / "run", PAIR, deck).log)
    if value == "ignore":
        assert found == []
        return
    assert len(found) == 4  # once per run
    names = [("2", "V"), ("3", "W")]
    texts = [CLOSE.format(*a, *b, 1.5) for a, b in itertools.permutations(names)]
    assert any(text in found[0] for text in texts)
    assert "closer than any such pair in the training data (1.8 A)" in found[0]
    assert "step 0:" in found[0]


def test_the_pair_that_is_farthest_below_is_named(tmp_path):
    structure = replace(PAIR, positions=np.array([[2.0, 5, 5], [8.0, 5, 5], [8.0, 6.0, 5]]))
    model = shortest_toy(tmp_path, {(0, 1): 3.0, (1, 2): 1.05}, r_cut=4.5)
    found = warnings(
        run(tmp_path / "run", structure, Deck([*pair_lines(model), *RIGHT_MASSES])).log
    )
    assert "are 1 A apart, closer than any such pair in the training data (1.05 A)" in found[0]


def test_a_pair_of_elements_that_was_never_close(tmp_path):
    model = shortest_toy(tmp_path, {(1, 2): 3.0})
    found = warnings(run(tmp_path / "run", PAIR, Deck([*pair_lines(model), *RIGHT_MASSES])).log)
    assert "are 1.5 A apart, but no such pair in the training data came within r_cut" in found[0]


def test_an_approach_during_a_run_is_told_with_its_step(tmp_path):
    model = shortest_toy(tmp_path, {(1, 2): 1.3})
    with lammps_session(tmp_path) as lmp:
        set_up(lmp, tmp_path, PAIR, [*pair_lines(model), *RIGHT_MASSES])
        lmp.commands_list(["set atom 3 vy -10", "fix nve all nve", "timestep 0.001", "run 100"])
        places = state_of(lmp).structure.positions
    apart = np.linalg.norm(places[2] - places[1])
    log = (tmp_path / "log.lammps").read_text()
    first, *_ = warnings(log)
    step, distance = re.search(r"step (\d+):.* are (\S+) A apart", first).groups()
    assert 15 <= int(step) <= 25
    last = re.findall("pair ictp: farthest below the training data, step .*", log)
    assert re.search(rf"step 100: atoms (2|3) .* are {apart:.3g} A apart, closer than", last[0])
    assert float(distance) == pytest.approx(1.3, abs=0.011)


@pytest.mark.parametrize(("known", "warned"), [(1.5 + 1e-7, False), (1.5 + 1e-4, True)])
def test_the_closest_pair_of_the_training_data_itself(known, warned, tmp_path):
    """A data file has as many digits as it has."""
    model = shortest_toy(tmp_path, {(1, 2): known})
    log = run(tmp_path / "run", PAIR, Deck([*pair_lines(model), *RIGHT_MASSES])).log
    assert bool(warnings(log)) == warned


@pytest.mark.parametrize("move", [MOVES[0].replace("all", "one"), MOVES[1]])
def test_atoms_moved_after_a_step_that_failed(move, tmp_path):
    """A program that LAMMPS is a library of goes on after an error, with the list it has."""
    style = pair_lines(shortest_toy(tmp_path, {(1, 2): 1.0}), style="ictp device cpu closest error")
    with lammps_session(tmp_path) as lmp:
        set_up(lmp, tmp_path, PAIR, [*style, *RIGHT_MASSES])
        lmp.commands_list(["neigh_modify delay 9", "group one id 1", "group gone id 1", "run 0"])
        lmp.command("set atom 3 y 5.8")
        for _ in range(2):
            with pytest.raises(Exception, match="A apart, closer than any such pair"):
                lmp.command("run 1 pre no")
        lmp.command(move)
        with pytest.raises(Exception, match="since the neighbor list of step 0 was made: use run"):
            lmp.command("run 1 pre no")
