# SPDX-License-Identifier: MIT
"""What the demo prints: numbered stages with their times, and work done inside a stage."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

LINE_INTERVAL = 10.0  # s between two lines where there is no terminal


class Stages:
    """Numbers the stages of a program and keeps the time of each."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Announce a stage and, after it, its time."""
        print(f"[{len(self.seconds) + 1}/{self.total}] {title}", flush=True)
        start = time.monotonic()
        yield
        self.seconds[title] = time.monotonic() - start
        print(f"      done in {self.seconds[title]:.0f} s", flush=True)


class Counter:
    """A bar on a terminal, a line every few seconds elsewhere; several threads may advance it."""

    def __init__(self, total: int, unit: str) -> None:
        self._bar = tqdm(total=total, unit=unit, disable=not sys.stderr.isatty(), leave=False)
        self._total, self._unit, self._done = total, unit, 0
        self._last_line = time.monotonic()
        self._lock = threading.Lock()

    def advance(self, amount: int = 1) -> None:
        """Add finished work."""
        with self._lock:
            self._done += amount
            self._bar.update(amount)
            now = time.monotonic()
            if self._bar.disable and now - self._last_line > LINE_INTERVAL:
                self._last_line = now
                percent = 100 * self._done / self._total
                print(f"      {percent:3.0f} % of {self._total} {self._unit}", flush=True)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()
