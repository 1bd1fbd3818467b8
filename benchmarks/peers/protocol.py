# SPDX-License-Identifier: MIT
"""The workers' side of the benchmark: a process that is asked, one JSON line each, to time a code.

Standard library only: it runs in the virtual environment of each peer. Requests:
`prepare` (a case as `benchmarks/workers.py` sends it), then `measure` (repeats), then `memory`.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Step = Callable[[], object]  # one evaluation or one training step
MakeStep = Callable[[list[dict[str, Any]]], Step]  # of structures as plain values
Build = Callable[[dict[str, Any]], MakeStep]  # of a case; it builds the model


class Service:
    """Times the steps of one case."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self.step: Step | None = None
        self.empty_peak = 0.0
        self.large_step: Callable[[], Step] | None = None

    def prepare(self, **case: Any) -> dict[str, Any]:
        """Build the model, evaluate the tiny structure, then warm up on the case's own."""
        make_step = self.build(case)
        if case["tiny"]:
            tiny = make_step(case["tiny"])
            for _ in range(2):
                tiny()
        self.empty_peak = peak_memory()
        if case["large"]:
            self.large_step = lambda: make_step(case["large"])
        self.step = make_step(case["structures"])
        for _ in range(case["warm_up"]):
            self.step()
        return {}

    def measure(self, repeats: int, min_seconds: float) -> dict[str, Any]:
        """Return wall and processor seconds of each step.

        At least `repeats` steps and `min_seconds` in all.
        """
        assert self.step is not None
        seconds: list[tuple[float, float]] = []
        begin = time.perf_counter()
        while len(seconds) < repeats or time.perf_counter() - begin < min_seconds:
            start, processor = time.perf_counter(), time.process_time()
            self.step()
            seconds.append((time.perf_counter() - start, time.process_time() - processor))
        return {"seconds": seconds}

    def memory(self) -> dict[str, Any]:
        """Return the peak of resident memory [kB], and that after the tiny structure.

        If the case has a large structure, it is evaluated first.
        """
        if self.large_step is not None:
            self.large_step()()
        return {"peak": peak_memory(), "empty_peak": self.empty_peak}


def peak_memory() -> float:
    """Return the highest resident memory of this process so far [kB]."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return float(match.group(1)) if match else float("nan")


def serve(build: Build) -> None:
    """Answer requests on the pipe named by the first argument until there are no more."""
    service = Service(build)
    with os.fdopen(int(sys.argv[1]), "w", buffering=1) as answers:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = getattr(service, request.pop("do"))(**request)
            except Exception as error:  # whatever a peer throws is its answer
                answer = {"error": f"{type(error).__name__}: {error}"}
            answers.write(json.dumps(answer) + "\n")
