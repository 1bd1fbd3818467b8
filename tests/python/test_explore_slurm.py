# SPDX-License-Identifier: MIT
"""Labels by jobs of Slurm: submitted once, collected later, lost ones told in a line.

Slurm is the one of slurm_stand_in.py, whose jobs are processes that outlive who submitted them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import slurm_stand_in
from explore_toys import write_loop
from pyictp.cli.main import main
from pyictp.common.extxyz import load_structures, save_structures
from pyictp.errors import UserError
from pyictp.labelling import slurm
from pyictp.labelling.label_pool import forget_failures, label_structures
from pyictp.labelling.settings import LabellerConfig
from pyictp.labelling.slurm import UnderWay
from train_toys import emt_frames

JOB = "#SBATCH --time=01:00:00\nexport OMP_NUM_THREADS=1\n"
COUNT = 3


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """Return the folder of a Slurm that is on the PATH."""
    programs, folder = tmp_path / "bin", tmp_path / "queue"
    programs.mkdir()
    folder.mkdir()
    slurm_stand_in.install(programs)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_SLURM", str(folder))
    monkeypatch.setattr(slurm, "INTERVAL", 0.1)
    monkeypatch.chdir(tmp_path)
    return folder


def settings(folder: Path, lines: str = "", wait: bool = True, **keys: object) -> LabellerConfig:
    """Return a labeller whose jobs run some lines before they label."""
    script = folder / "job.sh"
    script.write_text(JOB + lines)
    keys = keys or {"calculator": "ase.calculators.emt.EMT"}
    return LabellerConfig(slurm=str(script), wait=wait, processes=2, **keys)


def frames() -> tuple[list, list]:
    labelled = emt_frames(COUNT)
    return [atoms.copy() for atoms in labelled], labelled


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def jobs(queue: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(queue.glob("*.json"))]


def read_array(folder: Path) -> dict:
    path = folder / slurm.ARRAY
    return json.loads(path.read_text()) if path.exists() else {}


def states(queue: Path) -> set[str]:
    return {path.read_text() for path in queue.glob("*.state")}


def assert_labels(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.get_potential_energy() == pytest.approx(other.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(one.get_forces(), other.get_forces(), atol=1e-6)


def test_an_array_of_jobs_labels_all(tmp_path, queue):
    bare, expected = frames()
    (queue / "silent").touch()  # squeue fails once: nothing is lost by that
    counted = []
    folder = Path("labels")  # jobs begin elsewhere
    found, failed = label_structures(bare, settings(tmp_path), folder, lambda: counted.append(1))
    assert failed == []
    assert_labels(found, expected)
    assert len(counted) == COUNT
    (job,) = jobs(queue)
    assert (job["tasks"], job["limit"]) == (["0", "1", "2"], 2)
    script = (folder / "job.sh").read_text()
    assert script.startswith(f"#!/bin/bash\n{JOB}")
    assert not (folder / slurm.ARRAY).exists()
    label_structures(bare, settings(tmp_path), folder)
    assert len(jobs(queue)) == 1  # nothing is left to submit


SUBMIT = """import json, sys
from ase.io import read
from pathlib import Path
from pyictp.labelling.label_pool import label_structures
from pyictp.labelling.settings import LabellerConfig
bare = read("bare.extxyz", ":")
label_structures(bare, LabellerConfig(**json.loads(sys.argv[1])), Path("labels"))
"""


def test_jobs_go_on_when_who_submitted_them_is_killed(tmp_path, queue):
    """SIGKILL to the whole session, as a machine that is switched off would."""
    bare, expected = frames()
    save_structures(tmp_path / "bare.extxyz", bare)
    (queue / "busy").touch()
    wanted = settings(tmp_path)
    keys = {"slurm": wanted.slurm, "calculator": wanted.calculator, "processes": 2}
    with subprocess.Popen(
        [sys.executable, "-c", SUBMIT, json.dumps(keys)], start_new_session=True
    ) as who:
        wait_for(lambda: "id" in read_array(tmp_path / "labels"))
        os.killpg(who.pid, signal.SIGKILL)
    assert states(queue) == {"PENDING"}
    (queue / "busy").unlink()
    wait_for(lambda: states(queue) == {"COMPLETED"})  # nobody waits for them
    found, failed = label_structures(
        load_structures(tmp_path / "bare.extxyz"), wanted, Path("labels")
    )
    assert failed == []
    assert_labels(found, expected)
    assert len(jobs(queue)) == 1


def test_without_waiting_it_says_how_to_collect(tmp_path, queue):
    bare, expected = frames()
    (queue / "busy").touch()
    wanted, folder = settings(tmp_path, wait=False), tmp_path / "labels"
    for _ in range(2):
        with pytest.raises(UnderWay) as left:
            label_structures(bare, wanted, folder)
        assert str(left.value) == "3 of 3 structures are left to label, job 1001 of Slurm"
    (queue / "busy").unlink()
    wait_for(lambda: states(queue) == {"COMPLETED"})
    found, _ = label_structures(bare, wanted, folder)
    assert_labels(found, expected)
    assert len(jobs(queue)) == 1


def test_a_kill_between_submission_and_note_submits_nothing_twice(tmp_path, queue):
    bare, expected = frames()
    (queue / "busy").touch()
    wanted, folder = settings(tmp_path, wait=False), tmp_path / "labels"
    with pytest.raises(UnderWay):
        label_structures(bare, wanted, folder)
    note = folder / slurm.ARRAY
    known = json.loads(note.read_text())
    note.write_text(json.dumps({key: known[key] for key in ("name", "tasks")}))
    (queue / "busy").unlink()
    found, _ = label_structures(bare, settings(tmp_path), folder)
    assert_labels(found, expected)
    assert len(jobs(queue)) == 1
    for path in folder.glob("*.extxyz"):
        path.unlink()
    note.write_text(json.dumps({"name": "ictp-none", "tasks": [0, 1, 2]}))  # never submitted
    assert_labels(label_structures(bare, settings(tmp_path), folder)[0], expected)
    assert len(jobs(queue)) == 2


def test_lost_and_failed_jobs_are_a_line_each(tmp_path, queue):
    bare, expected = frames()
    lines = 'if [ "$SLURM_ARRAY_TASK_ID" = 1 ]; then echo slurmstepd: oom-kill; kill -9 $$; fi\n'
    script = tmp_path / "label.py"
    script.write_text(
        "from ase.calculators.emt import EMT\n\ndef label(atoms):\n"
        "    if atoms.info['step'] == 2:\n        raise RuntimeError('no\\nconvergence')\n"
        "    atoms.calc = EMT()\n    atoms.get_forces()\n    return atoms\n"
    )
    for step, atoms in enumerate(bare):
        atoms.info["step"] = step
    wanted = settings(tmp_path, lines, function=f"{script}:label")
    folder = tmp_path / "labels"
    found, failed = label_structures(bare, wanted, folder)
    assert found[0].get_potential_energy() == pytest.approx(expected[0].get_potential_energy())
    output = folder / "slurm-0001.out"
    assert failed == [
        (
            1,
            f"job 1001_1 of Slurm ended without a label (OUT_OF_MEMORY), last line of '{output}': "
            "slurmstepd: oom-kill",
        ),
        (2, "RuntimeError: no convergence"),
    ]
    forget_failures(folder)
    wanted = settings(tmp_path, function=f"{script}:label")
    found, failed = label_structures(bare, wanted, folder)
    assert (len(found), failed) == (2, [(2, "RuntimeError: no convergence")])
    assert [job["tasks"] for job in jobs(queue)] == [["0", "1", "2"], ["1", "2"]]


def test_what_slurm_refuses_and_what_is_not_there(tmp_path, queue, monkeypatch):
    bare, _ = frames()
    (queue / "full").touch()
    wanted = settings(tmp_path)
    with pytest.raises(UserError) as told:
        label_structures(bare, wanted, tmp_path / "labels")
    assert str(told.value) == (
        f"labeller.slurm: '{wanted.slurm}': Slurm takes no job: sbatch: error: "
        "QOSMaxSubmitJobPerUserLimit"
    )
    assert not (tmp_path / "labels" / slurm.ARRAY).exists()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        UserError, match=r"program 'sbatch' not found: run this where jobs of Slurm"
    ):
        label_structures(bare, wanted, tmp_path / "labels")
    with pytest.raises(
        UserError, match=r"labeller.timeout: the time of a job is in labeller.slurm"
    ):
        LabellerConfig(slurm="job.sh", timeout=1.0)


def test_a_label_of_a_folder_begun_anew_is_of_no_use(tmp_path, queue):
    """A job that still runs when another labeller takes the folder writes nothing into it."""
    bare, expected = frames()
    script = tmp_path / "slow.py"
    script.write_text(
        "import pathlib, time\nfrom ase.calculators.emt import EMT\n\ndef label(atoms):\n"
        f"    pathlib.Path({str(tmp_path / 'labelling')!r}).touch()\n"
        f"    while not pathlib.Path({str(tmp_path / 'go')!r}).exists():\n"
        "        time.sleep(0.05)\n"
        "    atoms.calc = EMT()\n    forces = 2 * atoms.get_forces()\n"
        "    from ase.calculators.singlepoint import SinglePointCalculator as Labels\n"
        "    atoms.calc = Labels(atoms, energy=0.0, forces=forces)\n    return atoms\n"
    )
    folder = tmp_path / "labels"
    with pytest.raises(UnderWay):
        label_structures(
            bare[:1], settings(tmp_path, wait=False, function=f"{script}:label"), folder
        )
    wait_for((tmp_path / "labelling").exists)
    (queue / "busy").touch()
    with pytest.raises(UnderWay):
        label_structures(bare[:1], settings(tmp_path, wait=False), folder)
    (tmp_path / "go").touch()
    wait_for(lambda: (queue / "1001_0.state").read_text() not in slurm_stand_in.ALIVE)
    assert not list(folder.glob("0000.*"))
    (queue / "busy").unlink()
    assert_labels(label_structures(bare[:1], settings(tmp_path), folder)[0], expected[:1])


@pytest.mark.lammps
@pytest.mark.slow
def test_a_loop_by_jobs(tmp_path, queue, capsys):
    (tmp_path / "job.sh").write_text(JOB)
    loop = write_loop(tmp_path, labeller={"slurm": "job.sh", "wait": False, "processes": 3})
    words = ["explore", str(loop)]
    assert main([*words, "--dry-run"]) == 0
    assert "labels     by calculator, as jobs of Slurm, up to 3 a cycle" in capsys.readouterr().out
    told = []
    for _ in range(20):
        assert main(words) == 0
        told.append(capsys.readouterr().out.splitlines()[-1])
        if not told[-1].endswith(f"collect them, and go on, with: ictp explore {loop}"):
            break
        wait_for(lambda: not states(queue) & set(slurm_stand_in.ALIVE))
    assert told[0].startswith("1 of 1 structures are left to label, job 1001 of Slurm; collect")
    assert told[1].startswith("3 of 3 structures are left to label, job 1002 of Slurm; collect")
    assert len(told) == 3
    assert json.loads((tmp_path / "loop/results.json").read_text())["cycles"][1]["frames"] == 12
