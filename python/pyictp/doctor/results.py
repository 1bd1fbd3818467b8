# SPDX-License-Identifier: MIT
"""What a check found, and running programs that may hang."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pyictp.errors import UserError

MORE_TIME = "try again with --time-limit 600, in case machine or file system are merely slow"


class Status(StrEnum):
    """How it is; only a problem gives exit status 1."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Result:
    """The line of one check."""

    name: str
    status: Status
    text: str  # what was found
    advice: str = ""  # what to do


@dataclass(frozen=True)
class Subject:
    """What is looked at."""

    lmp: str | None = None  # None: on the PATH, else beside this Python
    plugin: Path | None = None  # None: that of this installation
    time_limit: float = 120.0  # of every program that is started [s]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


Check = Callable[[Subject], Result]


def run_check(name: str, check: Check, subject: Subject) -> Result:
    """Return what a check says; an exception in it is a problem like any other."""
    try:
        return check(subject)
    except UserError as error:
        return Result(name, Status.PROBLEM, str(error))
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return Result(name, Status.PROBLEM, f"the check itself failed: {reason}", "report it")


@dataclass(frozen=True)
class Finished:
    """A program that has ended; status None if it was ended at the time limit."""

    status: int | None
    output: str  # standard output and error

    def last_line(self) -> str:
        """Return the last line that says something."""
        lines = [line.strip() for line in self.output.splitlines() if re.search(r"\w", line)]
        return lines[-1] if lines else "it printed nothing"


def run_program(
    command: Sequence[str], subject: Subject, environment: Mapping[str, str], folder: Path
) -> Finished:
    """Run a program; at the time limit it is ended with all processes that it has started."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=subject.time_limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            return Finished(None, output)
        except BaseException:  # Ctrl-C: leave nothing behind
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return Finished(process.returncode, output)
