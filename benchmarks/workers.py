# SPDX-License-Identifier: MIT
"""Processes that time a code when asked, and the virtual environments that peers run in."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).resolve().parent
PATIENCE = 3600.0  # s a request may take: compilation takes a quarter of an hour

REQUIREMENTS = {  # pinned, as published on PyPI; PyTorch first, so that a CPU build can be given
    "mace": ("torch==2.13.0", "mace-torch==0.3.16 e3nn==0.4.4 numpy==2.4.6 ase==3.29.0"),
    "symmetrix": (
        "torch==2.13.0",
        "mace-torch==0.3.16 e3nn==0.4.4 numpy==2.4.6 ase==3.29.0 matscipy symmetrix-xl==0.1.1",
    ),
    "flashcart": ("torch==2.13.0", "flashcart==0.1.0 numpy==2.4.6 ase==3.29.0"),
}


class PeerError(RuntimeError):
    """A peer that cannot be installed or does not do what it is asked."""


def peer_python(name: str, folder: Path) -> Path:
    """Return the Python of a peer's virtual environment, making it first if need be.

    Raises:
        PeerError: with pip's reason if it cannot be installed.
    """
    home = folder / name
    python, stamp = home / "bin" / "python", home / "installed.txt"
    wanted = "\n".join(REQUIREMENTS[name])
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"installing {name} into {home}", flush=True)
    if not python.exists():
        venv.create(home, with_pip=True)
    for packages in REQUIREMENTS[name]:
        command = [python, "-m", "pip", "install", "-q", *packages.split()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "ERROR" in line]
            raise PeerError(f"pip install {packages}: {(lines or ['failed'])[-1]}")
    stamp.write_text(wanted)
    return python


class Worker:
    """A worker script in its own process, which answers requests in JSON lines."""

    def __init__(self, script: str, python: Path | str = sys.executable, threads: int = 1) -> None:
        """Start `peers/<script>` with the given number of threads."""
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "PYTHONWARNINGS": "ignore",
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",  # e3nn 0.4.4 loads constants as it did
        }
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 (what libraries print)
        answers, theirs = os.pipe()
        self._answers = os.fdopen(answers)
        self._process = subprocess.Popen(
            [python, HERE / "peers" / script, str(theirs)],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            pass_fds=[theirs],
            env=environment,
            text=True,
        )
        os.close(theirs)

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Return the answer to one request.

        Raises:
            PeerError: the worker fails, dies or takes longer than PATIENCE.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise PeerError(self._last_words()) from None
        if not select.select([self._answers], [], [], PATIENCE)[0]:
            self._process.kill()
            raise PeerError(f"no answer to '{do}' within {PATIENCE:.0f} s")
        line = self._answers.readline()
        if not line:
            raise PeerError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(" ".join(answer["error"].split())[:300])
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._answers.close()
        self._output.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._output.seek(0)
        lines = self._output.read().strip().splitlines()
        return f"exit code {self._process.returncode}: {lines[-1] if lines else 'no message'}"
