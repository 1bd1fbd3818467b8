# SPDX-License-Identifier: MIT
"""Many labels: worker processes that may fail, crash or hang, one file for every structure done."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

from ase import Atoms
from ase.io import read, write

from pyictp.common.files import atomic_path
from pyictp.data.frames import from_atoms
from pyictp.data.magnitudes import find_doubts
from pyictp.errors import UserError
from pyictp.explore.settings import METHODS, LabellerConfig

# what makes a labeller another one; how many processes it has does not
WHO = (*METHODS, "arguments", "elements", "units")
PATIENCE = 10.0  # s that a worker has to end, with the programs it runs


def label_structures(
    structures: Sequence[Atoms],
    settings: LabellerConfig,
    folder: Path,
    progress: Callable[[], None] | None = None,
    believed: Collection[str] = (),
) -> tuple[list[Atoms], list[tuple[int, str]]]:
    """Return the labelled structures, and number and reason of those that could not be.

    What `folder` holds of an earlier call is not labelled again, so a killed one goes on; labels
    of another labeller are.

    Args:
        structures: to label, the same at every call with this folder.
        settings: of the labeller.
        folder: gets NNNN.extxyz for each structure, or NNNN.failed with the reason.
        progress: called after each structure.
        believed: labels that must be possible; a structure with one that no matter has failed.

    Raises:
        UserError: the labeller does not start: no such program, calculator, function or package.
    """
    _prepare(folder, settings)
    todo = [i for i in range(len(structures)) if not any(p.exists() for p in _files(folder, i))]
    if todo:
        with _Workers(settings, min(settings.processes, len(todo))) as workers:
            workers.label({i: structures[i] for i in todo}, folder, progress)
    labelled, failed = [], []
    for index in range(len(structures)):
        done, note = _files(folder, index)
        if done.exists() and (reason := _impossible(read(done), believed)):
            _write_note(note, reason)
            done.unlink()
        if done.exists():
            labelled.append(read(done))
        else:
            failed.append((index, note.read_text().strip()))
    return labelled, failed


def start_labeller(settings: LabellerConfig) -> None:
    """Start a process that labels, and end it.

    Raises:
        UserError: it does not start: no such program, calculator, function or package.
    """
    with _Workers(settings, 1) as workers:
        workers.workers[0].wait_until_ready()


def forget_failures(folder: Path) -> None:
    """Let structures that failed be labelled again."""
    for note in folder.glob("*.failed"):
        note.unlink()


def _files(folder: Path, index: int) -> tuple[Path, Path]:
    return folder / f"{index:04}.extxyz", folder / f"{index:04}.failed"


def _write_note(note: Path, reason: str) -> None:
    with atomic_path(note) as temporary:
        temporary.write_text(reason + "\n")


def _impossible(atoms: Atoms, believed: Collection[str]) -> str | None:
    """Return what is wrong with a label that no matter has, as training would refuse it."""
    for doubt, _ in find_doubts(from_atoms([atoms])):
        if doubt.impossible and doubt.label in believed:
            advice = "if it is right set data.check_labels to false"
            return f"labeller: {doubt.label}: {doubt.text}; {advice}"
    return None


def _prepare(folder: Path, settings: LabellerConfig) -> None:
    """Make the folder; remove what is another labeller's, and what killed processes left."""
    signature = folder / "labeller.json"
    text = json.dumps({key: getattr(settings, key) for key in WHO}, indent=1)
    if signature.exists() and signature.read_text() != text:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(signature) as temporary:
        temporary.write_text(text)
    for leftover in folder.glob("*.work.*"):
        shutil.rmtree(leftover, ignore_errors=True)


class _Workers:
    """Processes that label, a thread for each; leaving the block ends them and what they run."""

    def __init__(self, settings: LabellerConfig, number: int) -> None:
        self.settings, self.number = settings, number
        self.is_leaving = False
        self.workers: list[_Worker] = []
        self.idle: SimpleQueue[_Worker] = SimpleQueue()

    def __enter__(self) -> _Workers:
        with _without_interrupts():
            for _ in range(self.number):
                self.idle.put(self._new())
        return self

    def __exit__(self, *_: object) -> None:
        self.is_leaving = True
        for worker in self.workers:
            worker.end()

    def _new(self) -> _Worker:
        self.workers.append(_Worker(self.settings))
        return self.workers[-1]

    def label(
        self, structures: dict[int, Atoms], folder: Path, progress: Callable[[], None] | None
    ) -> None:
        """Write a file for each structure."""
        pool = ThreadPoolExecutor(self.number)
        try:
            jobs = [pool.submit(self._one, i, atoms, folder) for i, atoms in structures.items()]
            for job in jobs:
                job.result()
                if progress is not None:
                    progress()
        except BaseException:
            self.__exit__()  # so that no thread waits for a worker
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _one(self, index: int, atoms: Atoms, folder: Path) -> None:
        if self.is_leaving:
            return
        worker = self.idle.get()
        try:
            if not worker.is_usable:
                worker = self._new()
            done, note = _files(folder, index)
            reason = worker.label(atoms, done)
        finally:
            self.idle.put(worker)
        if reason is not None and not self.is_leaving:
            _write_note(note, reason)


class _Worker:
    """One process that labels structures one after the other."""

    def __init__(self, settings: LabellerConfig) -> None:
        self.timeout = None if settings.timeout is None else 60 * settings.timeout
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, settings), daemon=True)
        self.process.start()
        theirs.close()
        self.is_usable = True
        self.is_ready = False

    def label(self, atoms: Atoms, target: Path) -> str | None:
        """Write the labelled structure to a file; return why not, where that failed.

        Raises:
            UserError: the labeller does not start.
        """
        self.wait_until_ready()
        self.connection.send((atoms, target))
        return self._receive(self.timeout)

    def wait_until_ready(self) -> None:
        """Wait for the labeller to start.

        Raises:
            UserError: it does not.
        """
        if not self.is_ready:
            problem = self._receive(None)
            if problem is not None:
                raise UserError(problem)
            self.is_ready = True

    def _receive(self, timeout: float | None) -> str | None:
        try:
            if not self.connection.poll(timeout):
                self.end()
                return f"no label after {(timeout or 0) / 60:g} minutes (labeller.timeout)"
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join(PATIENCE)
            status = self.process.exitcode
            self.is_usable = False
            return f"the labeller's process ended with status {status}"

    def end(self) -> None:
        """End the process and what it runs."""
        self.is_usable = False
        self.process.terminate()
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let processes started inside ignore Ctrl-C: the one that started them ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python sets signals in the main thread only
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _leave(*_: object) -> None:
    raise SystemExit(1)  # through the programs under way, which end too


def _serve(connection: Connection, settings: LabellerConfig) -> None:
    """Label what comes, until the other side closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    from pyictp.explore.labellers import make_labeller

    try:
        labeller = make_labeller(settings)
    except UserError as error:
        connection.send(str(error))
        return
    connection.send(None)
    while True:
        try:
            atoms, target = connection.recv()
        except EOFError:
            return
        connection.send(_label(labeller, atoms, target))


def _label(labeller: Callable[[Atoms, Path], Atoms], atoms: Atoms, target: Path) -> str | None:
    folder = target.with_name(f"{target.stem}.work.{os.getpid()}")
    folder.mkdir()
    try:
        labelled = labeller(atoms, folder)
        with atomic_path(target) as temporary:
            write(temporary, labelled, format="extxyz")
        shutil.rmtree(folder)
        return None
    except UserError as error:
        reason = str(error)
    except Exception as error:  # labellers raise whatever they like, and the loop goes on
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    kept = target.with_name(f"{target.stem}_failed")
    shutil.rmtree(kept, ignore_errors=True)
    folder.rename(kept)
    return reason.replace(str(folder), str(kept))
