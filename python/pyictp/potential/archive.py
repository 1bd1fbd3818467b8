# SPDX-License-Identifier: MIT
"""Archives of PyTorch, which are zip files: whole, and with no code that a model does not need."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from pyictp.errors import UserError

# Words of code that reaches files or other processes, runs at load, or hides what it calls.
# pair_ictp/ictp_archive.cpp refuses the same; export/FORMAT.md has the list for people.
DENIED: tuple[str, ...] = (
    "save",
    "load",
    "from_file",
    "rpc_sync",
    "rpc_async",
    "rpc_remote",
    "classes",
)
DENIED += ("__setstate__", "__getstate__", "getattr")
LIBRARIES = ("aten", "prim", "prims", "ictp")  # whose operators a model may call
REFUSED = re.compile(
    rf"\b(?:{'|'.join(DENIED)})\b"
    rf"|\bops\b(?!\.(?:{'|'.join(LIBRARIES)})\.)(?:\.\w+)*"
    r"|\btorch\b(?!\.\w)",  # under another name it could be asked for anything
    re.ASCII,
)


def read_archive(path: Path, what: str) -> tuple[bytes, dict[str, bytes]]:
    """Return the bytes of an archive, and its members without the folder that all are in.

    Every member is what its check sum says: PyTorch's reader does not look. It takes names in
    capital letters for the same, so names come back in small ones.

    Args:
        path: of the file.
        what: how a file is described that is something else, after its name.

    Raises:
        UserError: no archive, damaged, or made so that two readers would see different things.
    """
    data = path.read_bytes()
    # as PyTorch demands: nothing before the first member, nothing after the end record
    if not data.startswith(b"PK\3\4") or data[-22:-18] != b"PK\5\6":
        raise UserError(f"'{path}' {what}")
    try:
        return data, _members(data)
    except MemoryError:
        raise
    except Exception as error:  # damaged archives raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"'{path}' is damaged, or no archive of PyTorch ({reason}): copy or write it again"
        ) from error


def _members(data: bytes) -> dict[str, bytes]:
    members, folders = {}, set()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            folder, _, name = entry.orig_filename.lower().partition("/")
            folders.add(folder)
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise ValueError(f"{name} is compressed")
            if name in members or not name.isprintable() or len(folders) > 1:
                raise ValueError(f"two members are {name!a}, or it is in another folder")
            members[name] = archive.read(entry)  # the check sum is held against it
    return members


def archive_of(members: Mapping[str, bytes]) -> bytes:
    """Return an archive of members, stored as they are: one model makes the same bytes always."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data)
    return buffer.getvalue()


def check_code(members: Mapping[str, bytes], path: Path) -> None:
    """Refuse an archive whose code has what no exported model needs and harm may come from.

    Raises:
        UserError: it has; nothing of it has run.
    """
    for name, code in members.items():
        found = REFUSED.search(code.decode("latin-1")) if name.startswith("code/") else None
        if found:
            raise UserError(
                f"model '{path}': its code ({name}) has {found.group()}, which no exported model "
                "needs: do not use it, and ask where it came from"
            )
