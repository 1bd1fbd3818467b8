# SPDX-License-Identifier: MIT
"""What a training shows while it runs: a bar, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

LINE_INTERVAL = 10.0  # s, at least, between two lines where there is no terminal


class Progress:
    """A bar over epochs, or over seconds if time ends the training; so it shows the time left."""

    def __init__(self, total: float, done: float, in_seconds: bool, is_quiet: bool = False) -> None:
        """Begin; a quiet one shows nothing."""
        unit, count = (
            ("s", "{n:.0f}/{total:.0f}") if in_seconds else ("epoch", "{n:.1f}/{total:.0f}")
        )
        self._is_quiet = is_quiet
        self._is_terminal = sys.stderr.isatty() and not is_quiet
        self._last_line = -LINE_INTERVAL
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

    def move_to(self, done: float) -> None:
        """Show that `done` epochs or seconds lie behind."""
        self._bar.update(min(done, self._bar.total) - self._bar.n)

    def show(self, text: str) -> None:
        """Show the newest validation behind the bar, or as a line of its own every few seconds."""
        if self._is_terminal:
            self._bar.set_postfix_str(text, refresh=False)
        elif not self._is_quiet and time.monotonic() - self._last_line > LINE_INTERVAL:
            self._last_line = time.monotonic()
            print(text, flush=True)

    def close(self) -> None:
        """Leave the bar as it is and go to the next line."""
        self._bar.close()
