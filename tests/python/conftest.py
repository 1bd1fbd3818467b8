# SPDX-License-Identifier: MIT
"""Fixtures of the tests in Python."""

from collections.abc import Iterator

import pytest
import torch
from train_toys import no_pictures


@pytest.fixture
def quick_training(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Train on one thread, as the equality of runs needs, and without pictures."""
    no_pictures(monkeypatch)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
