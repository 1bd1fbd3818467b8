# SPDX-License-Identifier: MIT
"""What a program shows while it works: a bar, or plain lines where there is no terminal."""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm

logger = logging.getLogger("pyictp")

LINE_INTERVAL = 10.0  # s, at least, between two lines where there is no terminal
LINE_SHARE = 0.02  # and at least this share of the time so far: a long log stays short


class _Pace:
    """Says when a line is due where there is no terminal, and how long the rest will take."""

    def __init__(self, total: float, done: float, last_line: float) -> None:
        self._total, self._first = total, done
        self._start = time.monotonic()
        self._last_line = last_line

    def is_due(self) -> bool:
        """Return whether a line may be printed, which then counts as printed."""
        now = time.monotonic()
        due = now - self._last_line > max(LINE_INTERVAL, LINE_SHARE * (now - self._start))
        if due:
            self._last_line = now
        return due

    def left(self, done: float) -> str:
        """Return the time left in words, to follow others; nothing where it is not known."""
        if done <= self._first:
            return ""
        elapsed = time.monotonic() - self._start
        left = elapsed / (done - self._first) * max(0.0, self._total - done)
        return f", {tqdm.format_interval(left)} left"


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

    def note(self, text: str) -> None:
        """Show a line that belongs to the stage under way."""
        print(f"      {text}", flush=True)


class Counter:
    """Counts finished work of a known amount; several threads may advance it."""

    def __init__(self, total: int, unit: str, done: int = 0) -> None:
        """Begin with what was done before."""
        shown = {"unit": unit, "disable": not sys.stderr.isatty(), "leave": False}
        self._bar = tqdm(total=total, initial=done, **shown)
        self._total, self._unit, self._done = total, unit, done
        self._pace = _Pace(total, done, last_line=time.monotonic())
        self._lock = threading.Lock()

    def advance(self, amount: int = 1) -> None:
        """Add finished work."""
        with self._lock:
            self._done += amount
            self._bar.update(amount)
            if self._bar.disable and self._pace.is_due():
                percent = 100 * self._done / self._total
                left = self._pace.left(self._done)
                print(f"      {percent:3.0f} % of {self._total} {self._unit}{left}", flush=True)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()


class Progress:
    """A training: epochs, or seconds if time ends it; so the bar shows the time left."""

    def __init__(self, total: float, done: float, in_seconds: bool, is_quiet: bool = False) -> None:
        """Begin; a quiet one shows nothing."""
        unit, count = (
            ("s", "{n:.0f}/{total:.0f}") if in_seconds else ("epoch", "{n:.1f}/{total:.0f}")
        )
        self._is_quiet = is_quiet
        self._is_terminal = sys.stderr.isatty() and not is_quiet
        self._pace = _Pace(total, done, last_line=-math.inf)
        self._first_pace = _Pace(total, done, last_line=time.monotonic())
        self._done = done
        self._bar = tqdm(
            total=total,
            initial=done,
            unit=unit,
            disable=not self._is_terminal,
            dynamic_ncols=True,
            mininterval=0.2,
            bar_format="{percentage:3.0f}% |{bar:20}| "
            + count
            + f" {unit} "
            + "[{elapsed}<{remaining}]{postfix}",
        )

    def move_to(self, done: float, text: str = "") -> None:
        """Show that `done` epochs or seconds lie behind, and a text until there are others."""
        self._done = done
        self._bar.update(min(done, self._bar.total) - self._bar.n)
        if text:
            self._show(text, self._first_pace)

    def show(self, text: str) -> None:
        """Show the newest validation behind the bar, or as a line of its own every few seconds."""
        self._show(text, self._pace)

    def _show(self, text: str, pace: _Pace) -> None:
        if self._is_terminal:
            self._bar.set_postfix_str(text, refresh=False)
        elif not self._is_quiet and pace.is_due():
            print(f"{text}{pace.left(self._done)}", flush=True)

    def close(self) -> None:
        """Leave the bar as it is and go to the next line."""
        self._bar.close()


def say(text: str, file: TextIO | None = None) -> None:
    """Show a line at once; a program in a pipe would keep it otherwise."""
    print(text, file=file, flush=True)
