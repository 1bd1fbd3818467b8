# SPDX-License-Identifier: MIT
"""benchmarks/explore_control.py on a small loop: three ways on from the same first models."""

from __future__ import annotations

import json
import sys

import explore_control
import pytest
from ase.io import read
from explore_toys import write_loop
from pyictp.potential.checkpoint import load_checkpoint

pytestmark = [pytest.mark.lammps, pytest.mark.long, pytest.mark.timeout(1800)]


def test_three_ways_on_from_the_same_models(tmp_path, monkeypatch, capsys):
    write_loop(tmp_path, uncertainty={"high": 100.0})
    monkeypatch.setattr(explore_control, "CONFIG", "loop.yaml")
    monkeypatch.setattr(explore_control, "make_frames", lambda _: None)
    report = tmp_path / "report.json"
    words = ["--seeds", "1", "--folder", str(tmp_path), "--output", str(report)]
    monkeypatch.setattr(sys, "argv", ["explore_control.py", *words])
    explore_control.main()
    rows = json.loads(report.read_text())["rows"]
    assert [row["name"] for row in rows] == ["as shipped", "random frames", "no new frames"]
    assert len({row["force_rmse"][0] for row in rows}) == 1
    assert len({row["force_rmse"][1] for row in rows}) == 3
    assert all(row["cpu_seconds"] > 0 for row in rows)
    assert capsys.readouterr().out.count("\n| ") == 4
    picked = [
        {str(atoms.positions) for atoms in read(tmp_path / run / "cycle_1/added.extxyz", ":")}
        for run in ("as_shipped_0", "random_frames_0")
    ]
    assert [len(one) for one in picked] == [3, 3]
    assert picked[0] != picked[1]
    # 7 of 9 and 9 of 12 frames in batches of 4: two steps an epoch, then three
    run = load_checkpoint(tmp_path / "no_new_frames_0/cycle_1/member_0/last.pt")
    assert run["training_state"]["position"]["epoch"] == 3
