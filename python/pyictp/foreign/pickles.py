# SPDX-License-Identifier: MIT
"""Pickles read without running anything of them.

A pickle names classes and functions, and asks to call them. Here it gets tensors and ordered
dicts; any other name stands for a class of records, which keep what they are called with.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch._utils
from torch import Tensor

from pyictp.errors import UserError

DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
}
MAX_NUMBERS = 2**31  # of all tensors of a file: 16 GB in float64


class Record:
    """What a pickle says of an object: its class by name, arguments, state; nothing runs."""

    origin = ""  # module.name of the class or function
    args: tuple
    state: Any
    entries: list

    def __new__(cls, *args: Any, **_: Any) -> Record:
        """Keep the arguments."""
        record = super().__new__(cls)
        record.args, record.state, record.entries = args, {}, []
        return record

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take what a class or function is called with."""

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries.append((key, value))

    def append(self, value: Any) -> None:
        """Keep an element of what is a list to its program."""
        self.entries.append(value)

    def add(self, value: Any) -> None:
        """Keep an element of what is a set to its program."""
        self.entries.append(value)


class TensorUnpickler(pickle.Unpickler):
    """Rebuilds tensors and ordered dicts; refuses everything else a pickle could run."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the few functions that are allowed."""
        allowed = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
            ("torch.storage", "_load_from_bytes"): lambda data: torch.load(
                io.BytesIO(data), weights_only=True
            ),
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return allowed[module, name]


class _Storage(NamedTuple):
    """Numbers that tensors are views of."""

    numbers: Tensor


class _RecordUnpickler(pickle.Unpickler):
    """Makes tensors of an archive's members, and records of everything else."""

    def __init__(self, data: bytes, member: Callable[[str], bytes]) -> None:
        super().__init__(io.BytesIO(data))
        self._member = member
        self._storages: dict[str, _Storage] = {}
        self._records: dict[str, Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        known = {
            "collections.OrderedDict": OrderedDict,
            "torch._utils._rebuild_tensor_v2": _tensor,
            "_codecs.encode": lambda text, _: text.encode("latin-1"),  # bytes in protocol 2
            "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
            "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
        }
        origin = f"{module}.{name}"
        if origin not in self._records:
            self._records[origin] = known.get(origin) or type(
                "Named", (Record,), {"origin": origin}
            )
        return self._records[origin]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage, key, _, count = pid
        dtype = DTYPES.get(storage.origin.removeprefix("torch."))
        if kind != "storage" or dtype is None:
            raise pickle.UnpicklingError(f"it asks for a {kind} of {storage.origin}")
        if key not in self._storages:
            data = self._member(key)
            if len(data) != count * dtype.itemsize:
                raise pickle.UnpicklingError(f"storage {key} has {len(data)} bytes")
            numbers = torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0)
            self._storages[key] = _Storage(numbers)
        return self._storages[key]


def _tensor(storage: Any, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    """Return a view of a storage that is no larger than it."""
    if not isinstance(storage, _Storage) or math.prod(size) > storage.numbers.numel():
        raise pickle.UnpicklingError("a tensor is larger than its storage")
    return torch.as_strided(storage.numbers, size, stride, offset)


def read_records(path: Path) -> Any:
    """Return the object in a file of `torch.save`, classes as `Record`.

    Raises:
        UserError: it cannot be read, is damaged or no such file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _contents(archive)
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise UserError(
            f"'{path}' is damaged or another kind of file ({error}): expected one of torch.save"
        ) from error
    except OSError as error:
        raise UserError(f"cannot read '{path}': {error.strerror or error}") from error
    except MemoryError:
        raise
    except Exception as error:  # damaged files raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"'{path}' is damaged ({reason}): copy it again") from error


def _contents(archive: zipfile.ZipFile) -> Any:
    names = archive.namelist()
    pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1 or len(set(names)) != len(names):
        raise pickle.UnpicklingError("it holds no data.pkl, or two members of one name")
    if sum(entry.file_size for entry in archive.infolist()) > 8 * MAX_NUMBERS:
        raise pickle.UnpicklingError("it claims to hold more than 16 GB")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
        raise pickle.UnpicklingError("its numbers are big-endian")
    return _RecordUnpickler(
        archive.read(pickles[0]), lambda key: archive.read(f"{folder}data/{key}")
    ).load()
