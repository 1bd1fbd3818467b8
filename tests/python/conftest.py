# SPDX-License-Identifier: MIT
"""Fixtures of the tests in Python."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def quick_training(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Train on one thread, as the equality of runs needs, and without pictures."""
    name = "pyictp.training.trainer.plot_learning_curve"
    monkeypatch.setattr(name, lambda _rows, path: path.touch())
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
