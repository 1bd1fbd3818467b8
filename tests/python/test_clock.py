# SPDX-License-Identifier: MIT
"""What the clock of a training says of the time that there is."""

from __future__ import annotations

import pytest
from pyictp.config.training import TrainConfig
from pyictp.training.parallel import SINGLE
from pyictp.training.position import PACE_KNOWN, Clock, Position

BATCHES = 50


def clock_after(steps: int, seconds: float, **changes: object) -> Clock:
    """Return the clock of a training that did so many steps in its first session."""
    position = Position()
    clock = Clock(TrainConfig(output="run", **changes), position, SINGLE)
    position.step, position.seconds = steps, seconds
    return clock


def test_time_for_a_few_epochs_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = clock_after(25, PACE_KNOWN, max_minutes=3)  # half an epoch of 50 batches in a sixth
    clock.warn_of_few_epochs(BATCHES)
    clock.warn_of_few_epochs(BATCHES)
    assert caplog.text.count("about 3 epochs fit into training.max_minutes = 3, too few") == 1


@pytest.mark.parametrize(
    ("steps", "seconds", "changes"),
    [
        (25, PACE_KNOWN - 1, {"max_minutes": 3}),  # nothing is known yet
        (BATCHES, PACE_KNOWN, {"max_minutes": 6}),  # twelve epochs
        (25, PACE_KNOWN, {"max_minutes": 3, "schedule_by": "epochs", "max_epochs": 99}),
    ],
)
def test_otherwise_nothing_is_said(
    steps: int, seconds: float, changes: dict, caplog: pytest.LogCaptureFixture
) -> None:
    clock_after(steps, seconds, **changes).warn_of_few_epochs(BATCHES)
    assert not caplog.text


def test_a_session_that_goes_on_does_not_repeat_it(caplog: pytest.LogCaptureFixture) -> None:
    clock = clock_after(25, PACE_KNOWN, max_minutes=3)
    clock.start()
    clock.warn_of_few_epochs(BATCHES)
    assert not caplog.text
