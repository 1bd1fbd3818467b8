# SPDX-License-Identifier: MIT
"""Files that a reader sees whole or not at all, and why one could not be written."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import re
import secrets
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pyictp.errors import UserError

logger = logging.getLogger("pyictp")
LOCK = ".lock"
TEMPORARY = r"\.\d+-[0-9a-f]{8}"  # after the name: process and, as numbers repeat, a random one
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn what the operating system refuses in the block into a line about `path`.

    Raises:
        UserError: what could not be written, why, what to do.
    """
    try:
        yield
    except OSError as error:
        kept = "; an older file there is still whole" if Path(path).is_file() else ""
        advice = ""
        if error.errno in NO_ROOM:
            advice = ": make room on that disk (or raise the limit) and run the command again"
        elif error.errno in FORBIDDEN:
            advice = ": allow writing there or choose another folder"
        raise UserError(
            f"cannot write '{path}': {error.strerror or error}{advice}{kept}"
        ) from error


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a path to write to; what is there moves to `path` when the block ends without error.

    The contents are on the disk before the name is, so not even a loss of power leaves a part.

    Raises:
        UserError: the file cannot be written; an older one is still whole.
    """
    path = Path(path)
    if not path.name:
        raise UserError(f"cannot write '{path}': expected the name of a file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with writing(path):
            yield temporary
            _to_disk(temporary)
            temporary.replace(path)
            _to_disk(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Refuse a path at which no file can be written, before long work; leave no trace.

    Raises:
        UserError: it is a folder, or the folder it would be in cannot be written to.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(
            f"cannot write '{path}': expected the name of a file, but that is a folder: "
            "name a file in it"
        )
    folder = next(p for p in path.absolute().parents if os.path.lexists(p))
    with writing(path):
        if not folder.is_dir():
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if _is_replaced(path):
            tempfile.TemporaryFile(dir=folder).close()


def write_json(path: str | Path, value: object) -> None:
    """Write a value as JSON, and the folders of the file where they are missing.

    Raises:
        UserError: the file cannot be written; an older one is still whole.
    """
    path, text = Path(path), json.dumps(value, indent=2) + "\n"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _is_replaced(path):
            path.write_text(text)
            return
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def _is_replaced(path: Path) -> bool:
    """Return whether a new file takes the place of the path; none does of a pipe or a terminal."""
    return path.is_file() or not path.exists()


def remove_leftovers(path: Path) -> None:
    """Delete what killed processes left of their writing to `path`; its folder is `locked`."""
    written = re.compile(re.escape(f".{path.name}") + TEMPORARY)
    for leftover in path.parent.iterdir():
        if written.fullmatch(leftover.name):
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: str | Path, command: str) -> Iterator[None]:
    """Keep other processes out of a folder; the lock goes with the process, however it ends.

    Args:
        folder: made where it is missing.
        command: who asks, for the message to others.

    Raises:
        UserError: another process works in it, or it cannot be written to.
    """
    folder = Path(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("ab+", buffering=0)
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().decode(errors="replace") or "another process"
            raise UserError(
                f"'{folder}': {holder} works in it; wait or end it, or give another folder"
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            logger.warning(
                "'%s': its file system knows no locks: see that nothing else works in it", folder
            )
        with writing(folder):
            file.truncate(0)
            file.write(f"{command} (process {os.getpid()} on {socket.gethostname()})".encode())
        try:
            yield
        finally:
            file.truncate(0)


def _to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that knows no such thing
            raise
    finally:
        os.close(descriptor)
