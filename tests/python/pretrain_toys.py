# SPDX-License-Identifier: MIT
"""A pretraining that takes seconds: copper-nickel cells of four atoms, their teacher EMT."""

import yaml
from ase.io import write
from pyictp.config.load import to_dict
from train_toys import MODEL, emt_frames


def write_pretraining(folder, **sections):
    """Write structures and configuration; return the YAML file.

    Args:
        folder: of all files; the pretraining's is `folder`/out.
        sections: keys that replace those below.
    """
    write(folder / "cells.extxyz", emt_frames(2))
    tree = {
        "pretrain": {"output": str(folder / "out"), "structures": ["cells.extxyz"]},
        "sampling": {
            "temperatures": [300, 900],
            "dynamics": 5,
            "normal_modes": 2,
            "every": 4,
            "equilibration": 10,
        },
        "labeller": {"calculator": "ase.calculators.emt.EMT", "processes": 2},
        "model": to_dict(MODEL),
        "training": {"max_epochs": 2, "num_threads": 1, "device": "cpu"},
    }
    for name, values in sections.items():
        tree[name] = {**tree.get(name, {}), **values}
    path = folder / "pretrain.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path
