# SPDX-License-Identifier: MIT
"""The job scripts of docs/clusters.md: their syntax, and a run where there is a Slurm."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from blocks import ROOT, blocks_run_by

SCRIPTS = sorted((ROOT / "docs" / "clusters").glob("*.slurm"))
ICTP = Path(sys.executable).parents[1]
RUN = """
units         metal
lattice       bcc 3.19
region        box block 0 4 0 4 0 4
create_box    1 box
create_atoms  1 box
mass          1 183.84
pair_style    ictp device cpu
pair_coeff    * * model.pt W
velocity      all create 300 4711 loop geom
fix           move all nve
thermo        10
"""


def test_the_page_has_every_script() -> None:
    page = (ROOT / "docs" / "clusters.md").read_text()
    assert SCRIPTS
    for script in SCRIPTS:
        assert f"```{{literalinclude}} clusters/{script.name}\n" in page


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts_are_whole(script: Path, tmp_path: Path) -> None:
    text = script.read_text()
    options = re.findall(r"^#SBATCH (--[\w-]+=\S+)", text, re.MULTILINE)
    assert len(options) == text.count("#SBATCH")
    assert text.index("set -euo") > text.rindex("#SBATCH")  # Slurm reads up to the first command
    subprocess.run(["bash", "-n", script], check=True)
    # without an argument each says what it wants
    done = subprocess.run(
        ["bash", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert re.search(r"which \w+( \w+)*\? sbatch", done.stderr)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck (Debian: apt-get install shellcheck)")
    # of the environment's own script it cannot know
    command = ["shellcheck", "--shell=bash", "--exclude=SC1091", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == ""


def thermo(log: Path) -> np.ndarray:
    """Return step, energies, temperature and pressure of a log."""
    rows = re.search(r"Step +Temp.*\n((?: +[\d. +-e]+\n)+)", log.read_text())[1]
    return np.array([[float(word) for word in line.split()] for line in rows.splitlines()])


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """Return a folder with a model and the beginning of an input."""
    shutil.copy(ROOT / "models" / "monbtaw" / "model.pt", tmp_path)
    return tmp_path


@pytest.mark.lammps
def test_a_run_ends_in_time_and_goes_on(run_folder: Path) -> None:
    (lines,) = blocks_run_by("tests/docs/test_clusters.py", "lammps")
    short = lines.replace("10000", "10").replace("23:45:00 every 100", "0:00:01 every 10")
    assert "0:00:01 every 10" in short
    (run_folder / "in.run").write_text(f"{RUN}{short}run 1000000\nprint 'after the run'\n")
    subprocess.run([ICTP / "bin/lmp", "-in", "in.run"], cwd=run_folder, check=True)
    assert "after the run" in (run_folder / "log.lammps").read_text()
    last = thermo(run_folder / "log.lammps")[-1]
    assert 10 <= last[0] < 1000000
    newer = max(run_folder.glob("?.restart"), key=lambda file: file.stat().st_mtime_ns)
    again = RUN[RUN.index("pair_style") : RUN.index("velocity")]
    (run_folder / "in.again").write_text(
        f"read_restart {newer.name}\n{again}fix move all nve\nthermo 10\nrun 10\n"
    )
    subprocess.run([ICTP / "bin/lmp", "-in", "in.again"], cwd=run_folder, check=True)
    rows = thermo(run_folder / "log.lammps")
    assert rows[:, 0].tolist() == [last[0], last[0] + 10]
    np.testing.assert_allclose(rows[0], last, rtol=1e-5)


@pytest.mark.lammps
@pytest.mark.mpi
def test_a_job_of_slurm_is_one_run(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("sbatch") is None or subprocess.run(["sinfo"], check=False).returncode:
        pytest.skip("needs a Slurm whose sinfo answers (Debian: slurmctld, slurmd)")
    (run_folder / "in.run").write_text(f"{RUN}run 20\n")
    monkeypatch.setenv("ICTP", str(ICTP))
    command = ["sbatch", "--wait", "--parsable", "--ntasks-per-node=2", "--time=5"]
    script = ROOT / "docs" / "clusters" / "cpu.slurm"
    done = subprocess.run(
        [*command, script, "in.run"], cwd=run_folder, capture_output=True, text=True, check=False
    )
    output = (run_folder / f"slurm-{done.stdout.strip()}.out").read_text()
    assert done.returncode == 0, output
    assert re.search(r"\d by \d by 2 MPI processor grid|2 by \d by \d MPI processor", output)
    assert output.count("Loop time of") == 1
    subprocess.run([ICTP / "bin/lmp", "-in", "in.run", "-log", "one"], cwd=run_folder, check=True)
    found = thermo(run_folder / f"log.{done.stdout.strip()}")
    expected = thermo(run_folder / "one")
    assert found[:, 0].tolist() == [0, 10, 20]
    np.testing.assert_allclose(found[:, 2], expected[:, 2], rtol=1e-6)  # float32
    np.testing.assert_allclose(found[:, 1], expected[:, 1], rtol=1e-4)
