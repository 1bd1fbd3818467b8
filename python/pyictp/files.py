# SPDX-License-Identifier: MIT
"""Files that a reader sees whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pyictp.errors import UserError


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a path to write to; what is there moves to `path` when the block ends without error.

    Raises:
        UserError: the file cannot be written; an older one is still whole.
    """
    path = Path(path)
    if not path.name:
        raise UserError(f"cannot write '{path}': expected the name of a file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        kept = "; an older file there is still whole" if path.is_file() else ""
        raise UserError(f"cannot write '{path}': {error.strerror or error}{kept}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
