# SPDX-License-Identifier: MIT
"""A loop that takes seconds: alloy cells of four atoms, labelled by a closed-form potential."""

import yaml
from ase.io import write
from pyictp.config.load import to_dict
from train_toys import MODEL, emt_frames


def write_loop(folder, **sections):
    """Write data and configuration of a small loop; returns the YAML file.

    Args:
        folder: of all files; the loop's is `folder`/loop.
        sections: keys that replace those below.
    """
    frames = emt_frames(14)
    write(folder / "start.extxyz", frames[:9])
    write(folder / "test.extxyz", frames[9:13])
    write(folder / "cell.extxyz", frames[13])
    tree = {
        "model": to_dict(MODEL),
        "data": {"train": "start.extxyz", "valid_fraction": 0.25},
        "training": {"max_epochs": 3, "batch_size": 4, "num_threads": 1, "device": "cpu"},
        "retraining": {"max_epochs": 2},
        "explore": {
            "output": str(folder / "loop"),
            "cycles": 1,
            "committee": 2,
            "test": "test.extxyz",
        },
        "dynamics": {
            "structures": "cell.extxyz",
            "temperatures": [300, 600],
            "steps": 20,
            "every": 4,
        },
        "uncertainty": {"low": 0.0, "high": 1000.0},
        "selection": {"max_frames": 3, "min_distance": 0.0},
        "labeller": {"calculator": "ase.calculators.emt.EMT"},
    }
    for name, values in sections.items():
        tree[name] = {**tree.get(name, {}), **values} if isinstance(values, dict) else values
    path = folder / "loop.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path
