# SPDX-License-Identifier: MIT
"""Worker processes that may fail, crash or hang, each asked by a thread of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, NamedTuple

from pyictp.errors import UserError

PATIENCE = 10.0  # s that a worker has to end, with the programs it runs
NOTE, ANSWER = "note", "answer"

Tell = Callable[[Any], None]  # a worker's word on the way, which shows that it lives
Handler = Callable[[Any, Tell], Any]  # what a worker does with a task


class Answer(NamedTuple):
    """What came of a task."""

    value: Any  # of the handler
    problem: str | None  # why there is none: the process crashed or hung


class LeavingError(Exception):
    """The workers are being ended: whoever waits for one shall end too."""


class Workers:
    """Processes, a thread for each; leaving the block ends them and what they run."""

    def __init__(
        self, start: Callable[[], Handler], number: int, timeout: float | None, who: str
    ) -> None:
        """Say what they are; entering the block starts them.

        Args:
            start: called in each process, returns what handles tasks; can be pickled.
            number: of processes.
            timeout: minutes without a word after which a process hangs; None: never.
            who: what they are, for messages: labeller.
        """
        self.start, self.number, self.timeout, self.who = start, number, timeout, who
        self.is_leaving = False
        self.workers: list[_Worker] = []
        self.idle: SimpleQueue[_Worker] = SimpleQueue()

    def __enter__(self) -> Workers:
        """Start the processes."""
        with _without_interrupts():
            for _ in range(self.number):
                self.idle.put(self._new())
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes."""
        self.is_leaving = True
        for worker in self.workers:
            worker.end()

    def _new(self) -> _Worker:
        self.workers.append(_Worker(self.start, self.timeout, self.who))
        return self.workers[-1]

    def wait_until_ready(self) -> None:
        """Wait for a worker to start.

        Raises:
            UserError: it does not.
        """
        self.workers[0].wait_until_ready()

    def work(self, jobs: Sequence[Any], do: Callable[[Any], None]) -> Iterator[None]:
        """Do all jobs, as many at a time as there are workers; yield after each of them.

        Args:
            jobs: whatever `do` takes.
            do: called in a thread, asks the workers.

        Raises:
            UserError: the workers do not start.
        """
        pool = ThreadPoolExecutor(self.number)
        try:
            for future in [pool.submit(do, job) for job in jobs]:
                future.result()
                yield
        except BaseException:
            self.__exit__()  # so that no thread waits for a worker
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def ask(self, task: Any, heard: Tell | None = None) -> Answer:
        """Let the next idle worker handle a task.

        Args:
            task: can be pickled.
            heard: called with each word that the worker says on the way.

        Raises:
            UserError: the worker does not start.
            LeavingError: the workers are being ended.
        """
        if self.is_leaving:
            raise LeavingError
        worker = self.idle.get()
        try:
            if not worker.is_usable:
                worker = self._new()
            answer = worker.ask(task, heard)
        finally:
            self.idle.put(worker)
        if self.is_leaving and answer.problem is not None:
            raise LeavingError
        return answer


class _Worker:
    """One process that handles tasks one after the other."""

    def __init__(self, start: Callable[[], Handler], timeout: float | None, who: str) -> None:
        self.timeout = None if timeout is None else 60 * timeout
        self.who = who
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, start), daemon=True)
        self.process.start()
        theirs.close()
        self.is_usable = True
        self.is_ready = False

    def ask(self, task: Any, heard: Tell | None) -> Answer:
        """Return what comes of a task.

        Raises:
            UserError: the worker does not start.
        """
        self.wait_until_ready()
        self.connection.send(task)
        return self._receive(self.timeout, heard)

    def wait_until_ready(self) -> None:
        """Wait for the worker to start.

        Raises:
            UserError: it does not.
        """
        if not self.is_ready:
            answer = self._receive(None)
            problem = answer.problem or answer.value
            if problem is not None:
                raise UserError(problem)
            self.is_ready = True

    def _receive(self, timeout: float | None, heard: Tell | None = None) -> Answer:
        try:
            while self.connection.poll(timeout):
                kind, value = self.connection.recv()
                if kind == ANSWER:
                    return Answer(value, None)
                if heard is not None:
                    heard(value)
        except (EOFError, OSError):
            self.process.join(PATIENCE)
            status = self.process.exitcode
            self.is_usable = False
            return Answer(None, f"the {self.who}'s process ended with status {status}")
        self.end()
        minutes = (timeout or 0) / 60
        return Answer(None, f"no label after {minutes:g} minutes (labeller.timeout)")

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


def _serve(connection: Connection, start: Callable[[], Handler]) -> None:
    """Handle what comes, until the other side closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    try:
        handle = start()
    except UserError as error:
        connection.send((ANSWER, str(error)))
        return
    connection.send((ANSWER, None))
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        connection.send((ANSWER, handle(task, lambda word: connection.send((NOTE, word)))))
