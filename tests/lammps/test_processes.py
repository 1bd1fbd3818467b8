# SPDX-License-Identifier: MIT
"""The same answer on any number of processes, whatever each of them owns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from deck import Deck, Structure, pair_lines, run
from decompositions import ALONG_Z, TILED, Case, assert_same, cached_runs
from structures import STRUCTURES, lattice
from toys import MessageToy

pytestmark = [pytest.mark.lammps, pytest.mark.mpi, pytest.mark.slow]
LIMITS = {"node_energies": 1e-10, "forces": 1e-9, "positions": 1e-12, "virial": 1e-8}


def one_step(toy: list[str], network: list[str]) -> dict[str, Case]:
    """Return structures and decompositions for a toy and for an untrained network."""
    cases = {name: (structure, Deck(toy)) for name, structure in STRUCTURES.items()}
    cases["network, bulk"] = STRUCTURES["bulk"], Deck(network)
    cases["network, droplet"] = STRUCTURES["droplet"], Deck(network, setup=TILED)
    cases["network, triclinic"] = STRUCTURES["triclinic"], Deck(network)
    cases["network, slab"] = STRUCTURES["slab"], Deck(network, setup=ALONG_Z)
    # 30 A of cell for 6 A of slab: cut along z, most processes own nothing
    cases["slab along z"] = STRUCTURES["slab"], Deck(toy, setup=ALONG_Z)
    for name in ("bulk", "triclinic", "droplet"):
        cases[f"{name}, tiled"] = STRUCTURES[name], Deck(toy, setup=TILED)
    cases["slab along z, tiled"] = STRUCTURES["slab"], Deck(toy, setup=(*TILED, *ALONG_Z))
    # 8.7 A along x: with many processes ghosts come over several swaps
    cases["thin domains"] = lattice((3, 3, 3), 2.9), Deck(toy, setup=("processors * 1 1",))
    overlay = [
        "pair_style hybrid/overlay ictp device cpu zbl 1.0 2.5",
        f"pair_coeff * * ictp {toy[1].split()[3]} Ta NULL W",
        "pair_coeff * * zbl 3.0 3.0",
    ]
    cases["overlay, NULL type"] = STRUCTURES["bulk"], Deck(overlay)
    return cases


NAMES = list(one_step(["", "pair_coeff * * x"], []))
FEW = ["slab along z, tiled", "droplet, tiled", "network, triclinic", "cell below the cutoff"]
SELECTION = {
    1: FEW,
    2: NAMES,
    3: [*FEW, "slab along z", "triclinic, tiled", "one atom, periodic"],
    4: [*FEW, "slab along z", "bulk", "thin domains", "lone atom", "overlay, NULL type"],
}
ALL = {num: NAMES for num in (3, 4, 8)}


def pairs_of(selection):
    return [(num, name) for num, names in selection.items() for name in names]


@pytest.fixture(scope="module")
def cases(export, network):
    toy = pair_lines(export(MessageToy, num_layers=3))
    return one_step(toy, pair_lines(network("float64")))


@pytest.fixture(scope="module")
def answers(cases, tmp_path_factory):
    return cached_runs(cases, SELECTION, tmp_path_factory.mktemp("processes"))


@pytest.fixture(scope="module")
def all_answers(cases, tmp_path_factory):
    return cached_runs(cases, ALL, tmp_path_factory.mktemp("all"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("processes", "name"), pairs_of(SELECTION))
def test_one_step(processes, name, answers):
    assert_same(answers(processes)[name], answers(0)[name], LIMITS)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("processes", "name"), pairs_of(ALL))
def test_one_step_of_everything(processes, name, all_answers):
    assert_same(all_answers(processes)[name], all_answers(0)[name], LIMITS)


def compare(folder: Path, structure: Structure, deck: Deck, tolerances: dict[str, float]) -> None:
    """Compare a run on several processes with this one process."""
    reference = run(folder / "serial", structure, replace(deck, processes=0))
    answer = run(folder / "parallel", structure, deck)
    assert_same(answer, reference, tolerances)


@pytest.mark.parametrize("num_layers", [1, 2, 4])
def test_number_of_layers(num_layers, export, tmp_path):
    pair = pair_lines(export(MessageToy, num_layers=num_layers))
    deck = Deck(pair, processes=2)
    compare(tmp_path, STRUCTURES["scrambled IDs"], deck, LIMITS)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 2e-5)])
def test_features_wider_than_a_message(dtype, tolerance, export, tmp_path):
    # 259 is odd (float32 leaves half a double over) and needs two or three slices of 128 doubles
    pair = pair_lines(export(MessageToy, num_layers=2, width=259, dtype=dtype))
    limits = {name: tolerance for name in ("node_energies", "forces", "positions")}
    limits["virial"] = 50 * tolerance
    compare(tmp_path, STRUCTURES["bulk"], Deck(pair, processes=2), limits)
