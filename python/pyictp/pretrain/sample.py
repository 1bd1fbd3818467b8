# SPDX-License-Identifier: MIT
"""All walks in worker processes, a file for each frame, and what became of them."""

from __future__ import annotations

import shutil
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ase import Atoms

from pyictp.common.files import atomic_path, writing
from pyictp.labelling.workers import Workers
from pyictp.pretrain.modes import has_modes, write_no_modes
from pyictp.pretrain.settings import PretrainConfig
from pyictp.pretrain.walks import FAILED, MINIMUM, MODES, Task, Walk, read_frame, start_worker


@dataclass
class Sample:
    """Frames of all walks."""

    frames: list[Atoms] = field(default_factory=list)  # with labels, in the order of the walks
    kinds: Counter[str] = field(default_factory=Counter)  # of the frames
    left_out: Counter[str] = field(default_factory=Counter)  # reason: frames
    examples: dict[str, str] = field(default_factory=dict)  # the first of each in full


def sample(
    walks: Sequence[Walk], config: PretrainConfig, folder: Path, progress: Callable[[], None]
) -> None:
    """Sample the frames that are not there yet.

    Args:
        walks: what there is to sample.
        config: of the sampling, the teacher and the seed.
        folder: gets the frames.
        progress: called after each frame.

    Raises:
        UserError: the teacher does not start.
    """
    todo = [walk for walk in walks if count_done(walk, folder) < walk.frames]
    if not todo:
        return
    for walk in todo:
        _make_folder(walk, folder)
    settings = config.labeller
    start = partial(start_worker, config.sampling, settings, config.pretrain.seed)
    number = min(settings.processes, len(todo))
    first = {w.number: w for w in todo if w.kind == MODES and not has_modes(folder, w.number)}
    with Workers(start, number, settings.timeout, "teacher") as workers:
        minima = partial(_find_minimum, workers, folder)
        deque(workers.work(list(first.values()), minima), maxlen=0)
        deque(workers.work(todo, partial(_run, workers, folder, progress)), maxlen=0)


def _find_minimum(workers: Workers, folder: Path, walk: Walk) -> None:
    answer = workers.ask(Task(walk, MINIMUM, folder))
    if answer.problem or answer.value:
        write_no_modes(folder, walk.number)


def _run(workers: Workers, folder: Path, progress: Callable[[], None], walk: Walk) -> None:
    """Sample the frames of a walk that are not there yet."""
    for frame in range(count_done(walk, folder), walk.frames):
        answer = workers.ask(Task(walk, frame, folder))
        reason = f"{FAILED}: {answer.problem}" if answer.problem else answer.value
        if reason is not None:
            with atomic_path(walk.files(folder, frame)[1]) as temporary:
                temporary.write_text(f"{reason}\n")
        progress()


def count_done(walk: Walk, folder: Path) -> int:
    """Return how many frames of a walk there are, good or bad."""
    done = (any(p.exists() for p in walk.files(folder, n)) for n in range(walk.frames))
    return next((number for number, there in enumerate(done) if not there), walk.frames)


def _make_folder(walk: Walk, folder: Path) -> None:
    place = walk.files(folder, 0)[0].parent
    with writing(place):
        place.mkdir(parents=True, exist_ok=True)
    for leftover in place.glob("*.work.*"):  # of killed processes, here and below
        shutil.rmtree(leftover, ignore_errors=True)
    for leftover in place.glob(".*"):
        leftover.unlink()


def collect(walks: Sequence[Walk], folder: Path) -> Sample:
    """Return what was sampled; all walks are done."""
    found = Sample()
    for walk in walks:
        for frame in range(walk.frames):
            done, note = walk.files(folder, frame)
            if done.exists():
                found.frames.append(read_frame(walk, done))
                found.kinds[walk.kind] += 1
                continue
            reason = note.read_text().strip()
            kind = reason.partition(":")[0]
            found.left_out[kind] += 1
            found.examples.setdefault(kind, reason)
    return found


def forget_left_out(walks: Sequence[Walk], folder: Path) -> None:
    """Let frames that were left out be sampled again."""
    for walk in walks:
        for frame in range(walk.frames):
            walk.files(folder, frame)[1].unlink(missing_ok=True)
