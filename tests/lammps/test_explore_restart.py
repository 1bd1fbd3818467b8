# SPDX-License-Identifier: MIT
"""`ictp explore` killed at any moment, and the example of its page."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from explore_toys import write_loop
from pyictp.md.lammps import potential_folder
from pyictp.potential.checkpoint import load_checkpoint

pytestmark = [pytest.mark.lammps, pytest.mark.slow]
EXAMPLE = Path(__file__).parents[2] / "docs" / "explore"
COMMAND = [sys.executable, "-m", "pyictp.cli.main", "explore"]
KILLS = 5
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
# what both loops must end with, bit for bit
SAME = ("cycle_1/selected.extxyz", "cycle_1/added.extxyz", "cycle_2/selected.extxyz")


def start(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, str(path)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def loop(folder: Path) -> Path:
    folder.mkdir()
    return write_loop(folder, explore={"cycles": 2}, dynamics={"temperatures": [600]})


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_killed_at_random_moments_it_ends_the_same(tmp_path):
    paths = [loop(tmp_path / name) for name in ("whole", "killed")]
    begin = time.monotonic()
    output, _ = start(paths[0]).communicate(timeout=1200)
    duration = time.monotonic() - begin
    assert "2 cycles are done" in output
    moments = random.Random(4711)
    kills = 0
    for _ in range(KILLS):
        process = start(paths[1])
        try:
            process.communicate(timeout=moments.uniform(0.05, 0.3) * duration)
            break  # it came to its end before
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
    assert kills >= 2
    output, _ = start(paths[1]).communicate(timeout=1200)
    assert "2 cycles are done" in output
    one, other = (path.parent / "loop" for path in paths)
    for name in SAME:
        assert (one / name).read_text() == (other / name).read_text(), name
    for run in ("cycle_0/member_1", "cycle_2/member_0"):
        states = [
            load_checkpoint(folder / run / "best.pt")["model_state"] for folder in (one, other)
        ]
        for key, value in states[0].items():
            assert torch.equal(value, states[1][key]), (run, key)
    results = [json.loads((folder / "results.json").read_text()) for folder in (one, other)]
    errors = [[row["test"]["force_rmse_mev_per_a"] for row in r["cycles"]] for r in results]
    assert errors[0] == errors[1]
    assert not list(other.glob("**/*.work.*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl_c", "sigterm"])
def test_a_signal_is_one_line_and_ends_what_it_started(number, tmp_path):
    script = tmp_path / "slow.py"
    script.write_text(
        "import os, time\nfrom pathlib import Path\n\ndef label(atoms):\n"
        f"    Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n    time.sleep(1000)\n"
    )
    path = write_loop(tmp_path, labeller={"calculator": None, "function": f"{script}:label"})
    process = start(path)
    limit = time.monotonic() + 240
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < limit
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert output == (f"interrupted: what is done is kept; go on with: ictp explore {path}\n")
    assert process.returncode == 128 + number
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_the_example_of_the_page_lowers_the_error(tmp_path):
    """Silicon from 300 K to 1500 K: two cycles beside the teacher, in LAMMPS."""
    for path in EXAMPLE.iterdir():
        shutil.copy(path, tmp_path)
    environment = {**ENVIRONMENT, "LAMMPS_POTENTIALS": str(potential_folder())}
    lmp = Path(sys.executable).with_name("lmp")
    for name, temperature in (("cold", 300), ("hot", 1500)):
        words = ["-in", "silicon.in", "-var", "name", name, "-var", "temperature", str(temperature)]
        subprocess.run([lmp, *words], cwd=tmp_path, env=environment, check=True, timeout=600)
    done = subprocess.run(
        [*COMMAND, "silicon.yaml"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
        timeout=2000,
    )
    results = json.loads((tmp_path / "silicon" / "results.json").read_text())
    errors = [row["test"]["force_rmse_mev_per_a"] for row in results["cycles"]]
    assert len(errors) == 3
    assert errors[2] < 0.6 * errors[0]
    assert results["cycles"][2]["frames"] > results["cycles"][0]["frames"] + 12
    assert re.search(rf"^ +2 +\d+ +{errors[2]:.1f} ", done.stdout, re.MULTILINE)
