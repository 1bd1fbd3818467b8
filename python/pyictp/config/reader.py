# SPDX-License-Identifier: MIT
"""Dataclasses from plain values (what YAML and checkpoints hold) and back."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pyictp.errors import UserError


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that a field takes: `Annotated[float, Range(0, 1)]`."""

    low: float
    high: float = math.inf
    above: bool = False  #: low itself is none of them

    def __contains__(self, value: float) -> bool:
        """Return whether a number is one of them; infinity and NaN never are."""
        is_high = self.low < value if self.above else self.low <= value
        return is_high and value <= self.high and value < math.inf

    def __str__(self) -> str:
        """Return it in words."""
        low, high = (f"{x:g}" if isinstance(x, float) else str(x) for x in (self.low, self.high))
        if self.above:
            return f"above {low}" + (f" and up to {high}" if self.high < math.inf else "")
        return f"{low} to {high}" if self.high < math.inf else f"{low} or more"


Count = Annotated[int, Range(1)]
Positive = Annotated[float, Range(0, above=True)]
NotNegative = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, 1)]
Width = Annotated[int, Range(1, 10_000)]  # of networks and features: memory for more is nowhere


def from_dict(cls: type, tree: Mapping[str, Any], section: str) -> Any:
    """Return the dataclass `cls` filled from a mapping of plain values.

    Raises:
        UserError: a key does not exist (the nearest valid one is named), a value has the wrong
            type.
    """
    hints = typing.get_type_hints(cls)  # without ranges: the dataclass itself asks check_fields
    values = {}
    for key, value in tree.items():
        where = f"{section}.{key}" if section else str(key)
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=1, cutoff=0.0)
            raise UserError(f"unknown config key '{where}': did you mean '{near[0]}'?")
        values[key] = _convert(hints[key], value, where)
    return cls(**values)


def to_dict(config: Any) -> dict[str, Any]:
    """Return a dataclass as plain values (lists, no tuples), the inverse of `from_dict`."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, (tuple, list)) else value

    return plain(dataclasses.asdict(config))


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Check a value against its annotation; ints serve as floats, lone values as tuples."""
    hint = str if typing.get_origin(hint) is Literal else hint  # which one: check_fields
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            raise UserError(f"config section '{where}': expected keys and values, got {value!r}")
        return from_dict(hint, value, where)
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return _convert_union(typing.get_args(hint), value, where)
    if origin is tuple:
        items = value if isinstance(value, (list, tuple)) else [value]
        return tuple(_convert(typing.get_args(hint)[0], item, where) for item in items)
    if hint is float:
        value = _number(value)
    if origin is Mapping and isinstance(value, Mapping):
        return {key: _number(item) for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    expected = origin or hint
    if not isinstance(value, expected) or (hint in (int, float) and isinstance(value, bool)):
        raise UserError(f"config key '{where}': expected {_name(hint)}, got {value!r}")
    _check_text(value, where)
    return value


def _check_text(value: Any, where: str) -> None:
    """Refuse characters that no file's name can have, and that cannot be written to one."""
    if not isinstance(value, str):
        return
    if "\0" in value or value.encode(errors="ignore").decode() != value:
        raise UserError(f"config key '{where}': expected characters of a text, got {value!a}")


def _convert_union(options: Sequence[Any], value: Any, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    for option in options:
        if dataclasses.is_dataclass(option) and isinstance(value, Mapping):
            return _convert(option, value, where)  # its message says more than one of the union
        if option is type(None):
            continue
        try:
            return _convert(option, value, where)
        except UserError:
            continue
    raise UserError(
        f"config key '{where}': expected {' or '.join(_name(o) for o in options)}, got {value!r}"
    )


def _number(value: Any) -> Any:
    """Return the float that a string says, else the value: YAML reads 1e-3 (no point) as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _name(hint: Any) -> str:
    return "null" if hint is type(None) else getattr(hint, "__name__", str(hint))


def check_fields(config: Any, section: str) -> None:
    """Refuse values that the annotations of a dataclass's fields do not have.

    `Literal` names choices, `Range` the numbers, of each number where there are several; None is a
    value left open.

    Raises:
        UserError: the first such value.
    """
    for name, hint in typing.get_type_hints(type(config), include_extras=True).items():
        _check_value(hint, getattr(config, name), f"{section}.{name}")


def _check_value(hint: Any, value: Any, where: str) -> None:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if value is None:
        return
    if origin is Literal:
        check_choice(where, value, arguments)
    elif origin is Annotated:
        if value not in arguments[1]:
            raise UserError(f"{where}: expected {arguments[1]}, got {value}")
    elif origin in (types.UnionType, typing.Union):
        for option in arguments:
            _check_value(option, value, where)
    elif origin is tuple:
        for item in value:
            _check_value(arguments[0], item, where)


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a value that is none of the choices."""
    if value not in choices:
        raise UserError(f"{name}: expected {' or '.join(choices)}, got '{value}'")


def check_range(name: str, value: int | Sequence[int] | None, low: int, high: int | None) -> None:
    """Check one number, or each of a sequence; None is a value left open."""
    for number in value if isinstance(value, Sequence) else [value]:
        if number is not None and (number < low or (high is not None and number > high)):
            span = f"{low} or more" if high is None else f"{low} to {high}"
            raise UserError(f"{name}: expected {span}, got {number}")
