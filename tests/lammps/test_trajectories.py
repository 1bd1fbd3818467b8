# SPDX-License-Identifier: MIT
"""The same trajectory on any number of processes, atoms moving from one to another."""

from __future__ import annotations

from dataclasses import replace

import pytest
from deck import Deck, pair_lines
from decompositions import ALONG_Z, TILED, Case, assert_same, cached_runs
from structures import STRUCTURES, lattice
from toys import MessageToy

pytestmark = [pytest.mark.lammps, pytest.mark.mpi, pytest.mark.slow]
MOVE = ("velocity all create 3000 1 loop geom", "fix 1 all nve", "neighbor 0.3 bin")
SHIFT = ("fix balance all balance 5 1.01 shift xyz 10 1.01",)
RCB = ("fix balance all balance 5 1.01 rcb",)
LIMITS = {"node_energies": 1e-8, "forces": 1e-7, "positions": 1e-7, "virial": 1e-6}


def trajectories(toy: list[str], network: list[str]) -> dict[str, Case]:
    """Return runs of 200 steps in which atoms change their process and domains their size."""
    deck = Deck(toy, modify=MOVE, run=("run 200",))
    small = lattice((2, 1, 1), 2.6, seed=11)
    return {
        "bulk, shifted": (STRUCTURES["bulk"], replace(deck, modify=(*MOVE, *SHIFT))),
        "slab, tiled, rcb": (
            STRUCTURES["slab"],
            replace(deck, setup=(*TILED, *ALONG_Z), modify=(*MOVE, *RCB)),
        ),
        "droplet, tiled, rcb": (
            STRUCTURES["droplet"],
            replace(deck, setup=TILED, modify=(*MOVE, *RCB)),
        ),
        "triclinic": (STRUCTURES["triclinic"], deck),
        "small cell": (small, replace(deck, modify=(*MOVE, "velocity all scale 600"))),
        "network, slab": (
            STRUCTURES["slab"],
            replace(deck, pair=network, setup=ALONG_Z, modify=(*MOVE, *SHIFT)),
        ),
    }


NAMES = list(trajectories(["", ""], []))
SELECTION = {2: NAMES, 4: NAMES[:2], 3: NAMES, 8: NAMES}
QUICK = [(2, name) for name in NAMES]
LONG = [(number, name) for number in (3, 4, 8) for name in SELECTION[number]]


@pytest.fixture(scope="module")
def answers(export, network, tmp_path_factory):
    toy = pair_lines(export(MessageToy, num_layers=3))
    cases = trajectories(toy, pair_lines(network("float64")))
    return cached_runs(cases, SELECTION, tmp_path_factory.mktemp("trajectories"))


def check(processes, name, answers):
    ours, reference = answers(processes)[name], answers(0)[name]
    assert "Neighbor list builds = 0" not in ours.log  # atoms did change their process
    assert_same(ours, reference, LIMITS)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("processes", "name"), QUICK)
def test_200_steps(processes, name, answers):
    check(processes, name, answers)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("processes", "name"), LONG)
def test_200_steps_on_more_processes(processes, name, answers):
    check(processes, name, answers)
