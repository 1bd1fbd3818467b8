# SPDX-License-Identifier: MIT
"""benchmarks/scaling.py: what it reads from a run, and what it makes of the numbers."""

from __future__ import annotations

import breakdown
import cost_model
import pytest
import scaling
from ase.build import bulk
from lammps_run import LammpsRun
from toys import MessageToy

pytestmark = pytest.mark.lammps


@pytest.mark.mpi
def test_breakdown_of_a_run(export, tmp_path):
    atoms = bulk("W", "bcc", a=3.2, cubic=True) * (4, 4, 4)
    model, elements = export(MessageToy), ("Ta", "V", "W")
    run = LammpsRun(tmp_path, model, elements, atoms, processes=2, replicate=(2, 1, 1))
    run.choose_steps(0.0)
    seconds, _ = run.measure()
    parts = breakdown.parse(run.output())
    assert (parts.atoms, parts.processes, parts.num_local) == (256, 2, 128)
    assert parts.num_ghost > parts.num_local
    assert tuple(sorted(parts.phases)) == tuple(sorted(breakdown.PHASES))
    assert all(parts.slowest[name] >= value > 0.0 for name, value in parts.phases.items())
    assert parts.seconds == seconds
    assert 0.0 < parts.sections["Comm"] < sum(parts.sections.values()) < seconds
    assert parts.communication == parts.phases["exchange"] + parts.sections["Comm"]
    # maps and candidate edges: at the setup and at the only list of 10 steps
    assert "neighbor lists read 2" in run.phases


def test_output_without_a_run():
    with pytest.raises(ValueError, match="finished LAMMPS run with pair_style ictp"):
        breakdown.parse("LAMMPS (22 Jul 2025)")


def test_cost_model_of_exact_numbers():
    rows = []
    for num_local, num_ghost in ((500.0, 1500.0), (2000.0, 3000.0), (8000.0, 9000.0)):
        work, communication = 80e-6 * num_local + 1e-3, 2e-6 * num_ghost + 5e-4
        row = {"processes": 2, "num_local": num_local, "num_ghost": num_ghost}
        rows.append(row | {"seconds": work + communication, "communication": communication})
    rows.append(rows[0] | {"processes": 1, "seconds": 1e3})  # fewer processes do not count
    model = cost_model.fit(rows)
    assert model.per_local == pytest.approx(80e-6)
    assert model.per_ghost == pytest.approx(2e-6)
    assert model.constant == pytest.approx(1.5e-3)
    assert model.seconds(500.0, 1500.0) == pytest.approx(rows[0]["seconds"])


@pytest.mark.parametrize(
    ("processes", "factors"), [(1, (1, 1, 1)), (2, (2, 1, 1)), (8, (2, 2, 2)), (24, (4, 3, 2))]
)
def test_boxes_of_weak_scaling(processes, factors):
    assert scaling.split(processes) == factors


def test_faster_of_two_reports():
    key = {"series": "strong", "cells": 6, "processes": 2}
    now = [key | {"seconds": 2.0, "cpu_seconds": 1.0}, key | {"cells": 9, "seconds": 9.0}]
    now[1]["cpu_seconds"] = 8.0
    before = [key | {"seconds": 1.5, "cpu_seconds": 1.2}]
    rows = scaling.faster(now, before)
    assert [row["seconds"] for row in rows] == [1.5, 9.0]
    assert rows[0]["cpu_seconds"] == 1.0
    assert scaling.faster(now, []) == now
