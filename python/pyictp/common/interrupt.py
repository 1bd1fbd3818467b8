# SPDX-License-Identifier: MIT
"""Ctrl-C and SIGTERM as a polite request: the work in hand is finished and saved first."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(BaseException):
    """SIGTERM asked the program to end."""


def raise_terminated(*_: object) -> None:
    """End what runs, as a handler of SIGTERM."""
    raise Terminated


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """While entered, Ctrl-C ends the process: one line, status 130, no exception.

    For imports: there an exception may come out as another one, or not at all.
    """

    def leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        os.write(2, b"interrupted\n")
        os._exit(130)

    usual = signal.default_int_handler  # a handler of someone else's stays, an ignored one too
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not usual:
        yield
        return
    signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


class StopRequest:
    """While entered, the first SIGINT or SIGTERM only sets `signal_number`; a second one acts."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._previous: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """Return what a shell expects: 130 after Ctrl-C, 143 after SIGTERM, else 0."""
        return 128 + self.signal_number if self.signal_number is not None else 0

    def __enter__(self) -> StopRequest:
        """Install the handlers; outside the main thread Python allows none, and nothing happens."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the former handlers back."""
        self._restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.signal_number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
