# SPDX-License-Identifier: MIT
"""Labels by jobs of Slurm, which go on when nobody is logged in: submitted once, collected later.

A labelling is one array of jobs, a task for each structure, known by a name of its own that is
written down before it is submitted. Whoever comes back finds the array by it; a task that the queue
has no more and that left neither label nor reason is lost.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import which
from typing import Any

from ase import Atoms

from pyictp.common.extxyz import save_structures
from pyictp.common.files import atomic_path
from pyictp.common.interrupt import Terminated
from pyictp.common.progress import logger
from pyictp.errors import UserError
from pyictp.labelling.settings import LabellerConfig

ARRAY, STRUCTURES, SCRIPT, OUTPUT = "slurm.json", "structures.extxyz", "job.sh", "slurm-{:04}.out"
INTERVAL = 15.0  # s between two looks at the queue
PATIENCE = 2  # looks without a task until it is lost: files of other machines come late


class UnderWay(Exception):
    """Jobs have been submitted, and `labeller.wait` is false."""


def check_slurm(settings: LabellerConfig) -> None:
    """Refuse a machine from which nothing can be submitted.

    Raises:
        UserError: there is no sbatch or squeue.
    """
    for program in ("sbatch", "squeue"):
        if which(program) is None:
            raise UserError(
                f"labeller.slurm: program '{program}' not found: run this where jobs of Slurm are "
                f"submitted, or leave out labeller.slurm '{settings.slurm}'"
            )


def label_by_jobs(
    structures: Sequence[Atoms],
    settings: LabellerConfig,
    folder: Path,
    missing: Callable[[], list[int]],
    fail: Callable[[int, str], None],
    progress: Callable[[], None] | None,
) -> None:
    """Wait until all structures have a label or a reason for having none; submit what is not yet.

    Args:
        structures: to label.
        settings: of the labeller.
        folder: of the labels.
        missing: returns the numbers of the structures that have neither.
        fail: notes a number and why there will be no label.
        progress: called after each structure.

    Raises:
        UserError: there is no Slurm, or it takes no job.
        UnderWay: there are jobs left, and nobody wants to wait.
    """
    check_slurm(settings)
    array = _read(folder)
    if array is None or ("id" not in array and not _queued(array["name"], wait=True)):
        array = _submit(structures, settings, folder, missing())
    identity = array.get("id", array["name"])
    try:
        _collect(array, settings, folder, missing, fail, progress or (lambda: None))
    except (KeyboardInterrupt, Terminated):
        logger.warning("job %s of Slurm goes on: scancel %s ends it", identity, identity)
        raise
    (folder / ARRAY).unlink()


def _collect(
    array: dict[str, Any],
    settings: LabellerConfig,
    folder: Path,
    missing: Callable[[], list[int]],
    fail: Callable[[int, str], None],
    progress: Callable[[], None],
) -> None:
    """Wait for the labels of an array."""
    gone: dict[int, int] = {}  # task: looks without it
    known = set(missing())
    while True:
        queued = _queued(array["name"])  # before the files: what is gone has written them
        left = missing()
        for _ in known - set(left):
            progress()
        known = set(left)
        if not left:
            return
        if queued is not None:
            gone = {task: gone.get(task, 0) + 1 for task in left if task not in queued}
        for task in [task for task, looks in gone.items() if looks >= PATIENCE]:
            fail(task, _reason(array, task, folder))
        if not settings.wait and (queued is None or queued & known):
            raise UnderWay(
                f"{len(left)} of {len(array['tasks'])} structures are left to label, job "
                f"{array.get('id', array['name'])} of Slurm"
            )
        time.sleep(INTERVAL)


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        return json.loads((folder / ARRAY).read_text())
    except FileNotFoundError:
        return None


def _write(folder: Path, array: dict[str, Any]) -> None:
    with atomic_path(folder / ARRAY) as temporary:
        temporary.write_text(json.dumps(array) + "\n")


def is_current(folder: Path, name: str) -> bool:
    """Return whether an array is the one that labels a folder: it may have been begun anew."""
    return (_read(folder) or {}).get("name") == name


def _submit(
    structures: Sequence[Atoms], settings: LabellerConfig, folder: Path, tasks: list[int]
) -> dict[str, Any]:
    """Submit an array, and write down what it is.

    Raises:
        UserError: Slurm does not take it.
    """
    folder = folder.resolve()  # jobs begin elsewhere
    save_structures(folder / STRUCTURES, structures)
    array: dict[str, Any] = {"name": f"ictp-{uuid.uuid4().hex[:8]}", "tasks": tasks}
    script = Path(str(settings.slurm)).read_text()
    if not script.startswith("#!"):
        script = f"#!/bin/bash\n{script}"
    label = [sys.executable, "-m", "pyictp.labelling.job", str(folder), array["name"]]
    script += f"\nexec {shlex.join(label)}\n"
    (folder / SCRIPT).write_text(script)
    _write(folder, array)
    words = ["sbatch", "--parsable", f"--job-name={array['name']}", f"--chdir={folder}"]
    words += [f"--output={folder / OUTPUT.format(0).replace('0000', '%4a')}"]
    words += [f"--array={','.join(map(str, tasks))}%{settings.processes}", SCRIPT]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        (folder / ARRAY).unlink()
        reason = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise UserError(f"labeller.slurm: '{settings.slurm}': Slurm takes no job: {reason}")
    array["id"] = done.stdout.strip().partition(";")[0]  # a name of the cluster may follow
    array["submitted"] = time.strftime("%Y-%m-%d %H:%M:%S")
    _write(folder, array)
    logger.info("job %s of Slurm: %d structures to label in '%s'", array["id"], len(tasks), folder)
    return array


def _queued(name: str, wait: bool = False) -> set[int] | None:
    """Return the tasks of an array that wait or run; None: the queue does not answer now."""
    words = ["squeue", "--me", "--noheader", "--array", f"--name={name}", "--format=%K"]
    while True:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return {int(word) for word in done.stdout.split() if word.isdigit()}
        logger.warning("squeue: %s", " ".join(done.stderr.split()) or done.returncode)
        if not wait:
            return None
        time.sleep(INTERVAL)


def _reason(array: dict[str, Any], task: int, folder: Path) -> str:
    """Return why a task is lost, as far as anybody knows."""
    output = folder / OUTPUT.format(task)
    lines = output.read_text(errors="replace").split("\n") if output.exists() else []
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    job = f"{array.get('id', array['name'])}_{task}"
    text = f"job {job} of Slurm ended without a label ({_state(job) or 'sacct knows no state'})"
    return f"{text}, last line of '{output}': {last}" if last else text


def _state(job: str) -> str:
    """Return the last state of a job by Slurm's books, where these are kept."""
    if which("sacct") is None:
        return ""
    words = ["sacct", "-j", job, "--noheader", "-X", "--parsable2", "--format=State"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip().split("\n")[-1] if done.returncode == 0 else ""


def own_task() -> int:
    """Return the number of the task that this process is."""
    return int(os.environ["SLURM_ARRAY_TASK_ID"])
