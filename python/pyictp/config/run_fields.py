# SPDX-License-Identifier: MIT
"""Names and units of fields in files, as the run that trained a model had them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyictp.config.data_files import DataFile, as_data_file
from pyictp.config.load import DataConfig
from pyictp.config.reader import from_dict

FIELDS = (  # of a data section and of its entries, which options of the command line name
    *(f"{field}_key" for field in ("energy", "forces", "stress", "virial")),
    *(f"{field}_unit" for field in ("energy", "length", "forces", "stress")),
)


def data_section(known: Mapping[str, Any]) -> DataConfig:
    """Return the data section of the run, as a checkpoint or an exported file's metadata keep it.

    It is the default where they keep none.

    Raises:
        UserError: what it keeps is no such section.
    """
    section = (known.get("config") or {}).get("data")
    if section is None:
        section = (known.get("provenance") or {}).get("fields")
    return from_dict(DataConfig, section or {}, "data")


def unusual_fields(section: DataConfig) -> dict[str, str]:
    """Return the keys and units of a data section that are not the default.

    An exported file keeps them, and no names of the run's files.
    """
    return {n: getattr(section, n) for n in FIELDS if getattr(section, n) != getattr(DataConfig, n)}


def as_in_run(
    paths: Sequence[str | Path], run: DataConfig, given: Mapping[str, str]
) -> tuple[list[DataFile], DataConfig, list[str]]:
    """Return files and data section to read them as a run would; what was given wins.

    A file that `data.train` or `data.valid` of the run names has the fields of its entry, of the
    first if there are two.

    Args:
        paths: the files.
        run: data section of the run.
        given: fields by their names, of the command line.

    Returns:
        The files with fields of their own, the section for all of them, and lines for people that
        name what is not the default.
    """
    default = DataConfig()
    used = {
        name: getattr(run, name)
        for name in (*FIELDS, "allow_missing")
        if getattr(run, name) != getattr(default, name) and name not in given
    }
    lines = []
    if used:
        lines.append(f"fields as in the configuration of the run: {_listed(used)}")
    files = [DataFile(str(path), **_own(str(path), run, given)) for path in paths]
    for file in files:
        own = {name: getattr(file, name) for name in FIELDS if getattr(file, name) is not None}
        if own:
            lines.append(f"fields of '{file.file}' as in its entry of the run: {_listed(own)}")
    return files, DataConfig(**{**used, **given}), lines


def _own(path: str, run: DataConfig, given: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields that the run's entry of a file has for itself."""
    place = Path(path).resolve()
    for entry in map(as_data_file, (*run.train, *run.valid)):
        if Path(entry.file).resolve() == place:
            fields = {name: getattr(entry, name) for name in FIELDS if name not in given}
            fields |= {"format": entry.format, "elements": entry.elements}
            return {name: value for name, value in fields.items() if value}
    return {}


def _listed(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in fields.items())
