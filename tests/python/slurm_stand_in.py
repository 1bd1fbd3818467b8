# SPDX-License-Identifier: MIT
"""Programs that stand in for Slurm's: sbatch, squeue, sacct, with the words that we give them.

Jobs are files in the folder STAND_IN_SLURM. There a file `busy` keeps tasks from starting, `full`
lets none in, `silent` makes squeue fail once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

from programs import python_program, write_program

ALIVE = ("PENDING", "RUNNING")


def install(folder: Path) -> None:
    """Write the programs into a folder for the PATH."""
    for name in ("sbatch", "squeue", "sacct"):
        write_program(folder / name, python_program(__file__, name))


def _slurm() -> Path:
    return Path(os.environ["STAND_IN_SLURM"])


def _tasks() -> Iterator[tuple[str, str, str, str]]:
    """Yield job, name, task and state of all tasks."""
    for path in sorted(_slurm().glob("*.json")):
        job = json.loads(path.read_text())
        for task in job["tasks"]:
            state = path.with_name(f"{path.stem}_{task}.state")
            yield path.stem, job["name"], task, state.read_text()


def sbatch(words: list[str]) -> int:
    """Take an array of jobs and let a process of its own run them."""
    options = dict(word.removeprefix("--").partition("=")[::2] for word in words[:-1])
    script = Path(words[-1])
    if (_slurm() / "full").exists():
        print("sbatch: error: QOSMaxSubmitJobPerUserLimit", file=sys.stderr)
        return 1
    assert script.read_text().startswith("#!")
    tasks, limit = options["array"].split("%")
    number = next(n for n in count(1001) if not (_slurm() / f"{n}.json").exists())
    for task in tasks.split(","):
        (_slurm() / f"{number}_{task}.state").write_text("PENDING")
    job = {"name": options["job-name"], "tasks": tasks.split(","), "limit": int(limit)}
    job |= {
        "folder": options["chdir"],
        "output": options["output"],
        "script": str(script.resolve()),
    }
    (_slurm() / f"{number}.json").write_text(json.dumps(job))
    subprocess.Popen(
        [sys.executable, __file__, str(number)],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    print(number if "parsable" in options else f"Submitted batch job {number}")
    return 0


def run_array(number: int) -> None:
    """Run the tasks of an array, so many at a time."""
    job = json.loads((_slurm() / f"{number}.json").read_text())

    def run(task: str) -> None:
        state = _slurm() / f"{number}_{task}.state"
        while (_slurm() / "busy").exists():
            time.sleep(0.05)
        state.write_text("RUNNING")
        output = job["output"].replace("%4a", f"{int(task):04}")
        with open(output, "w") as file:
            done = subprocess.run(
                ["bash", job["script"]],
                cwd=job["folder"],
                env=os.environ | {"SLURM_ARRAY_TASK_ID": task, "SLURM_JOB_ID": str(number)},
                stdout=file,
                stderr=file,
                check=False,
            )
        ended = {0: "COMPLETED", -signal.SIGKILL: "OUT_OF_MEMORY"}
        state.write_text(ended.get(done.returncode, "FAILED"))

    with ThreadPoolExecutor(job["limit"]) as pool:
        list(pool.map(run, job["tasks"]))


def squeue(words: list[str]) -> int:
    """Print the tasks of a name that wait or run."""
    if (_slurm() / "silent").exists():
        (_slurm() / "silent").unlink()
        print("slurm_load_jobs error: Unable to contact slurm controller", file=sys.stderr)
        return 1
    assert words[:3] == ["--me", "--noheader", "--array"]
    assert words[4] == "--format=%K"
    name = words[3].removeprefix("--name=")
    print("\n".join(task for _, of, task, state in _tasks() if of == name and state in ALIVE))
    return 0


def sacct(words: list[str]) -> int:
    """Print the state of a task."""
    assert words[2:] == ["--noheader", "-X", "--parsable2", "--format=State"]
    print(next(s for job, _, task, s in _tasks() if f"{job}_{task}" == words[1]))
    return 0


if __name__ == "__main__":
    run_array(int(sys.argv[1]))
