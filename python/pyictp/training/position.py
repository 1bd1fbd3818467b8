# SPDX-License-Identifier: MIT
"""Where a training stands, and its clock: the same on every process."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from enum import Enum

from pyictp.common.interrupt import StopRequest
from pyictp.config.load import TrainConfig
from pyictp.training.parallel import Processes

logger = logging.getLogger("pyictp")
FEW_EPOCHS = 10
PACE_KNOWN = 30.0  # s of training, after which the first, slower steps count for little


class Outcome(Enum):
    """Why a training ended."""

    FINISHED = "finished"
    SIGNAL = "stopped by a signal"
    PAUSED = "training.max_minutes of this session are over"


@dataclass
class Position:
    """Where a training stands."""

    epoch: int = 0  # complete epochs
    batch: int = 0  # batches done of the epoch under way
    step: int = 0
    seconds: float = 0.0  # of training in all sessions
    epoch_seconds: float = 0.0  # of them since the last epoch ended
    best_epoch: int = 0
    best_loss: float = math.inf
    num_bad: int = 0  # validations since the best
    num_rollbacks: int = 0
    rate_factor: float = 1.0  # of the learning rate, lowered by each of them


class Clock:
    """Counts the seconds of a training, and says when it ends.

    Of several processes the first has the time; a signal to any of them stops all.
    """

    def __init__(self, config: TrainConfig, position: Position, processes: Processes) -> None:
        """Count on in `position`."""
        self.config, self.position, self.processes = config, position, processes
        self.is_signalled = False
        self.start()

    def start(self) -> None:
        """Begin a session: the time before does not count."""
        self._before = self._started = time.monotonic()
        self.session_seconds = 0.0
        self._knows_pace = self.position.seconds >= PACE_KNOWN

    def tick(self, stop: StopRequest) -> None:
        """Take note of the time and of a signal; collective."""
        now = time.monotonic()
        passed, session = now - self._before, now - self._started
        self._before = now
        if not self.processes.is_first:
            passed = session = 0.0
        passed, self.session_seconds, signalled = self.processes.largest(
            passed, session, float(stop.signal_number is not None)
        )
        self.position.seconds += passed
        self.position.epoch_seconds += passed
        self.is_signalled = bool(signalled)

    @property
    def limit(self) -> float:
        """Return the seconds that there are, of all sessions or of each; infinity without limit."""
        return math.inf if self.config.max_minutes is None else 60 * self.config.max_minutes

    @property
    def time_fraction(self) -> float:
        """Return the part of the time that is over, 0 if epochs are counted."""
        if not self.config.time_limited:
            return 0.0
        return self.position.seconds / self.limit

    def progress(self, num_batches: int) -> float:
        """Return the fraction of the whole training that lies behind.

        Args:
            num_batches: of the epoch under way.
        """
        steps = self.position.epoch * num_batches + self.position.batch
        return max(self.time_fraction, steps / (self.config.num_epochs * num_batches))

    @property
    def in_seconds(self) -> bool:
        """Return whether the bar shows seconds, of all sessions or of this one, not epochs."""
        return self.config.time_limited or self.config.num_epochs == math.inf

    def done(self, num_batches: int) -> float:
        """Return the progress in the unit of the bar: seconds or epochs."""
        if self.in_seconds:
            return self.position.seconds if self.config.time_limited else self.session_seconds
        return self.position.epoch + self.position.batch / num_batches

    @property
    def total(self) -> float:
        """Return the end of the training in the unit of the bar."""
        return self.limit if self.in_seconds else self.config.num_epochs

    def warn_of_few_epochs(self, num_batches: int) -> None:
        """Say once, as soon as the pace is known, that the time is too short to learn much.

        Args:
            num_batches: of an epoch.
        """
        seconds, step = self.position.seconds, self.position.step
        if self._knows_pace or not self.config.time_limited or seconds < PACE_KNOWN or not step:
            return
        self._knows_pace = True
        num_epochs = self.limit / seconds * step / num_batches
        if num_epochs < FEW_EPOCHS and self.processes.is_first:
            logger.warning(
                "about %.2g epochs fit into training.max_minutes = %g, too few to learn much: "
                "allow more minutes, take fewer structures or a smaller model",
                num_epochs,
                self.config.max_minutes,
            )

    def reason_to_stop(self) -> Outcome | None:
        """Return why to stop before the next step, by the last tick."""
        if self.is_signalled:
            return Outcome.SIGNAL
        if self.time_fraction >= 1:
            return Outcome.FINISHED
        if not self.config.time_limited and self.session_seconds >= self.limit:
            return Outcome.PAUSED
        return None

    def is_finished(self) -> bool:
        """Return whether no epoch is left to do."""
        patience = self.config.early_stopping_patience
        return (
            self.position.epoch >= self.config.num_epochs
            or (self.time_fraction >= 1 and self.position.batch == 0)
            or (patience is not None and self.position.num_bad >= patience)
        )

    def is_last_epoch(self) -> bool:
        """Return whether the training ends with the epoch under way."""
        return self.position.epoch + 1 >= self.config.num_epochs or self.time_fraction >= 1
