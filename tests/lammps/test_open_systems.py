# SPDX-License-Identifier: MIT
"""Atoms that come and go, on several processes."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from deck import Deck, pair_lines, run
from structures import STRUCTURES, graph
from toys import MessageToy, evaluate

pytestmark = [pytest.mark.lammps, pytest.mark.mpi]
INPUT = """
velocity all create 3000 1 loop geom
fix 1 all nve
neighbor 0.3 bin
region gas block EDGE EDGE EDGE EDGE 12 28
region everywhere block INF INF INF INF INF INF
fix in all deposit 5 1 6 823 region gas near 1.0
fix out all evaporate 10 1 everywhere 99
fix mc all gcmc 5 8 0 1 4711 5000 -7.5 0.5 region gas
"""


@pytest.mark.parametrize("processes", [2, 3])
def test_atoms_that_come_and_go(processes, export, tmp_path):
    """fix deposit, evaporate and gcmc; what is left at the end is compared with Python."""
    slab = replace(STRUCTURES["slab"], types=np.ones(36, dtype=int))
    deck = Deck(
        pair_lines(export(MessageToy)),
        setup=("atom_modify map array", "processors 1 1 *"),
        modify=INPUT.splitlines(),
        run=["run 40", 'print "gcmc $(f_mc[4]) $(f_mc[6])"'],
        processes=processes,
    )
    answer = run(tmp_path, slab, deck)
    left = replace(slab, positions=answer.positions, types=np.ones(len(answer.ids), dtype=int))
    energies, forces, _, _ = evaluate(MessageToy(), *map(torch.as_tensor, graph(left, 3.0)))
    np.testing.assert_allclose(answer.node_energies, energies, atol=1e-10)
    np.testing.assert_allclose(answer.forces, forces, atol=1e-10)
    inserted, deleted = re.search(r"^gcmc (\d+) (\d+)", answer.log, re.MULTILINE).groups()
    assert len(answer.ids) == 36 + 5 - 4 + int(inserted) - int(deleted)
    assert int(inserted) > 0
    assert int(deleted) > 0
