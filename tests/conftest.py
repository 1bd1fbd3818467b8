# SPDX-License-Identifier: MIT
"""Fixtures that every part of the tests shares."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pyictp.errors import UserError
from pyictp.native import load_operators

ROOT = Path(__file__).resolve().parents[1]
DATA = "ICTP_TEST_DATA"

# Where tests are started in the background, Ctrl-C is ignored, and so it would be by the programs
# that they start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)  # the structures are tiny, and tests run side by side


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Return the folder of data sets and reference values; skip where none is given."""
    name = os.environ.get(DATA)
    if not name:
        pytest.skip(f"{DATA} names no folder of data sets and reference checkpoints")
    if not Path(name).is_dir():
        pytest.fail(f"{DATA}: expected a folder, got '{name}'")
    return Path(name).resolve()


@pytest.hookimpl(tryfirst=True)  # before the selection by -m
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what takes shared_dir, for `-m data`; what calls getfixturevalue bears a mark itself.

    Files with the longest and the most slow tests come first: the last one to begin leaves the
    other cores idle.
    """
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    limits: Counter[Path] = Counter()  # s
    for item in items:
        limit = item.get_closest_marker("timeout")
        if limit and "not long" not in config.getoption("-m"):
            limits[item.path] = max(limits[item.path], limit.args[0])
    items.sort(key=lambda item: (-limits[item.path], -slow[item.path]))
    for item in items:
        if "shared_dir" in getattr(item, "fixturenames", ()):
            item.add_marker("data")


@pytest.fixture(scope="session")
def compiled_parts() -> None:
    """Make `torch.ops.ictp` available; skip where nothing was compiled."""
    try:
        load_operators()
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """Return each floating type in turn."""
    return request.param


@pytest.fixture(params=[1, 2], ids=["one_thread", "two_threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Let torch use one thread, then two."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)
