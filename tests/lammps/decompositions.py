# SPDX-License-Identifier: MIT
"""The same cases on any number of processes: what both tests of decompositions share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from deck import Answer, Deck, Structure, run_many

Case = tuple[Structure, Deck]
TILED = ("comm_style tiled",)
ALONG_Z = ("processors 1 1 *",)


def assert_same(answer: Answer, reference: Answer, tolerances: dict[str, float]) -> None:
    """Compare two runs of one structure, quantity by quantity; energies per atom."""
    np.testing.assert_array_equal(answer.ids, reference.ids)
    limits = tolerances | {
        name: tolerances["virial"] for name in ("atom_virials", "centroid_virials")
    }
    limits["energy"] = tolerances["node_energies"] * max(1, len(reference.ids))
    for name, limit in limits.items():
        ours, theirs = getattr(answer, name), getattr(reference, name)
        np.testing.assert_allclose(ours, theirs, atol=limit, rtol=0, err_msg=name)


def on_one_process(case: Case) -> Case:
    """Return a case without what needs several processes: no ghosts, no exchange."""
    structure, deck = case
    modify = tuple(line for line in deck.modify if "balance" not in line)
    return structure, replace(deck, setup=(), modify=modify)


def cached_runs(
    cases: Mapping[str, Case], selection: Mapping[int, list[str]], folder: Path
) -> Callable[[int], dict[str, Answer]]:
    """Return a function that runs the cases selected for a number of processes, once; 0: here."""
    done: dict[int, dict[str, Answer]] = {}

    def answers(processes: int) -> dict[str, Answer]:
        if processes not in done:
            if processes:
                chosen = {name: cases[name] for name in selection[processes]}
            else:
                chosen = {name: on_one_process(case) for name, case in cases.items()}
            done[processes] = run_many(folder / str(processes), chosen, processes)
        return done[processes]

    return answers
