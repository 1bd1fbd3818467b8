# SPDX-License-Identifier: MIT
"""The reference of all configuration keys, from the dataclasses and the comments beside them."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import re
import textwrap
import tokenize
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from pyictp.config.data_files import DataFile
from pyictp.config.load import Config
from pyictp.config.mace import MaceConfig, MaceRepulsion
from pyictp.config.nequip import NequipConfig
from pyictp.config.reader import to_dict
from pyictp.config.training import PUBLISHED
from pyictp.explore.settings import ExploreConfig
from pyictp.pretrain.settings import PretrainConfig

UNIT = re.compile(r"^\[([^\]]+)\] *")  # how a comment begins that names a unit
TYPE_NAMES = {str: "text", float: "number", int: "integer", bool: "true, false", Any: "value"}


def configuration_page() -> str:
    """Return a table for each section, as Markdown."""
    kinds = typing.get_type_hints(Config)
    parts = [part for name, kind in kinds.items() for part in section(name, kind)]
    parts += section("An entry of data.train or data.valid", DataFile)
    parts += section("model.mace (of imported models)", MaceConfig)
    parts += section("model.mace.repulsion", MaceRepulsion)
    parts += section("model.nequip (of imported models)", NequipConfig)
    known = set(kinds)
    for command, config in (("explore", ExploreConfig), ("pretrain", PretrainConfig)):
        for name, kind in typing.get_type_hints(config).items():
            if name not in known:
                parts += further(f"{name} (of ictp {command})", name, kind, config)
            known.add(name)
    changes = "\n".join(f"{key}: {as_yaml(value)}" for key, value in PUBLISHED.items())
    parts += ["## recipe: published", "The keys that are not set become"]
    return "\n\n".join([*parts, f"```yaml\n{changes}\n```"])


def further(title: str, name: str, kind: type, config: type) -> Sequence[str]:
    """Return the parts of a section that other commands have beside those of `ictp train`."""
    if dataclasses.is_dataclass(kind):
        return section(title, kind)
    return f"## {title}", paragraph(comments_of(config)[name])


def section(title: str, kind: type) -> tuple[str, str, str]:
    """Return heading, first paragraph of the docstring, and the table of all keys."""
    summary = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0]
    comments, hints = comments_of(kind), typing.get_type_hints(kind, include_extras=True)
    lines = ["| key | type | default | unit | |", "|---|---|---|---|---|"]
    for field in dataclasses.fields(kind):
        comment = comments[field.name]
        unit = UNIT.match(comment)
        meaning = re.sub(r"\bNone\b", "null", UNIT.sub("", comment))
        default = f"`{as_yaml(to_plain(field))}`"
        name = type_name(hints[field.name])
        cells = (f"`{field.name}`", name, default, unit[1] if unit else "", meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return f"## {title}", summary, "\n".join(lines)


def paragraph(comment: str) -> str:
    """Return the comment of a section that is no dataclass as a sentence."""
    return f"{comment[0].upper()}{comment[1:]}."


def to_plain(field: dataclasses.Field) -> Any:
    """Return a default as a value that YAML knows."""
    holder = dataclasses.make_dataclass("Holder", [("value", Any, field.default)])
    return to_dict(holder())["value"]


def as_yaml(value: Any) -> str:
    """Return a value as one would write it in a configuration."""
    text = yaml.safe_dump(value, default_flow_style=True, width=1000)
    return text.removesuffix("...\n").strip()


def type_name(hint: Any) -> str:
    """Return an annotation in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(type_name(argument) for argument in arguments)
    if origin is typing.Literal:
        return ", ".join(f"`{argument}`" for argument in arguments)
    if origin is typing.Annotated:
        return f"{type_name(arguments[0])} ({arguments[1]})"
    if origin is tuple:
        return f"list of {type_name(arguments[0])}"
    if origin is Mapping:
        return f"{type_name(arguments[0])}: {type_name(arguments[1])}"
    if dataclasses.is_dataclass(hint):
        return "entry"
    return "null" if hint is type(None) else TYPE_NAMES[hint]


def comments_of(kind: type) -> dict[str, str]:
    """Return the comment of every field of a dataclass, empty where there is none.

    It stands at the end of the field's lines and may go on below; a paragraph of its own, which
    begins with a capital letter, belongs to the field that follows, and comes after its comment.
    """
    source = textwrap.dedent(inspect.getsource(kind))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t for t in tokens if t.type == tokenize.COMMENT}
    (tree,) = ast.parse(source).body
    fields = [node for node in tree.body if isinstance(node, ast.AnnAssign)]
    found: dict[str, list[str]] = {}
    before, line = [], fields[0].lineno - 1  # the comment of the field above, and its last line
    for field in fields:
        between = text_of(comments, range(line + 1, field.lineno))
        line = field.end_lineno
        own = text_of(comments, range(field.lineno, line + 1))
        if between and between[0][0].isupper():
            own = [f"{' '.join(own)}.", *between] if own else between
        else:
            before += between
        found[field.target.id] = before = own
    return {key: " ".join(words) for key, words in found.items()}


def text_of(comments: Mapping[int, tokenize.TokenInfo], lines: range) -> list[str]:
    """Return what comments on some lines say."""
    return [comments[line].string.lstrip("# ") for line in lines if line in comments]
