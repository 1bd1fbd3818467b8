# SPDX-License-Identifier: MIT
"""What a pretraining is: the sections of `ictp train` and three more, from one YAML file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase.io.formats import parse_filename

from pyictp.config.load import Config, data_path, find_file, load_config, read_tree
from pyictp.config.reader import check_range
from pyictp.errors import UserError
from pyictp.labelling.settings import METHODS, LabellerConfig, find_words

LISTS = (".smi", ".smiles", ".txt")  # of files with a SMILES in each line


@dataclass(frozen=True)
class PretrainingConfig:
    """The section `pretrain`: what is sampled, where."""

    output: str = "pretrained"  # the folder of everything, relative to the current folder
    structures: tuple[str, ...] = ()  # files of structures, all frames of them; or FILE@0, FILE@:5
    smiles: tuple[str, ...] = ()  # molecules, or a file (.smi) with one in each line; needs RDKit
    conformers: int = 1  # of each SMILES
    seed: int = 0  # of velocities, forces of the thermostat, moves and conformers

    def __post_init__(self) -> None:
        """Refuse what samples nothing."""
        check_range("pretrain.conformers", self.conformers, 1, 10_000)
        check_range("pretrain.seed", self.seed, 0, 2**31 - 1)


@dataclass(frozen=True)
class SamplingConfig:
    """The section `sampling`: frames from each structure at each temperature, all by the teacher.

    There are `walks` * `dynamics` + `torsions` + `normal_modes` of them; a number of 0 leaves a
    kind out.
    """

    temperatures: tuple[float, ...] = (300.0, 600.0, 900.0, 1200.0)  # [K] for each structure
    walks: int = 1  # Langevin dynamics beside each other, velocities of their own
    dynamics: int = 50  # frames of a walk
    torsions: int = 0  # frames of molecules: random turns about bonds, then `every` steps
    normal_modes: int = 0  # frames: relaxed by the teacher, displaced along harmonic modes
    every: int = 20  # steps between two frames
    equilibration: int = 200  # steps of a walk before its first frame
    timestep: float | None = None  # [fs] null: 1, with hydrogen 0.5
    friction: float = 0.01  # [1/fs] of the thermostat
    closest: float = 0.5  # times the sum of covalent radii: frames with closer atoms are left out
    max_force: float = 50.0  # [eV/A] frames with a larger force are left out

    def __post_init__(self) -> None:
        """Refuse what no walk can be."""
        for name, low in (("walks", 1), ("every", 1)):
            check_range(f"sampling.{name}", getattr(self, name), low, None)
        for name in ("dynamics", "torsions", "normal_modes", "equilibration"):
            check_range(f"sampling.{name}", getattr(self, name), 0, None)
        if not self.temperatures:
            raise UserError("sampling.temperatures: expected one or more, got none")
        if len(set(self.temperatures)) < len(self.temperatures):
            raise UserError("sampling.temperatures: one is named twice: raise sampling.walks")
        if not (self.dynamics or self.torsions or self.normal_modes):
            raise UserError(
                "sampling: dynamics, torsions and normal_modes are all 0: nothing to sample"
            )
        named = {f"temperatures {value}": value for value in self.temperatures}
        for name in ("timestep", "friction", "closest", "max_force"):
            named[f"{name} {getattr(self, name)}"] = getattr(self, name)
        for name, value in named.items():
            if value is not None and not 0 < value < math.inf:
                key, _, got = name.partition(" ")
                raise UserError(f"sampling.{key}: expected above 0, got {got}")


@dataclass(frozen=True)
class PretrainConfig(Config):
    """One YAML file: `model`, `data` and `training` as `ictp train` has them, and the sampling."""

    pretrain: PretrainingConfig = field(default_factory=PretrainingConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    labeller: LabellerConfig = field(default_factory=LabellerConfig)


def load_settings(path: str | Path, overrides: Sequence[str] = ()) -> PretrainConfig:
    """Return the configuration of a YAML file, all files found.

    Raises:
        UserError: as `load_config`; there is no teacher, no structure, or keys contradict.
    """
    config = load_config(path, overrides, PretrainConfig)
    _refuse(config, read_tree(path, overrides).get("training") or {})
    folder, given = Path(path).parent, config.pretrain
    found = dataclasses.replace(
        given,
        structures=tuple(_find_frames(name, folder) for name in given.structures),
        smiles=tuple(_find_list(word, folder) for word in given.smiles),
    )
    labeller = find_words(config.labeller, folder)
    return dataclasses.replace(config, pretrain=found, labeller=labeller)


def _find_frames(name: str, folder: Path) -> str:
    """Return FILE@INDEX with the file found."""
    file, index = parse_filename(name)
    return data_path(file, folder) + ("" if index is None else name[len(file) :])


def _find_list(word: str, folder: Path) -> str:
    """Return a SMILES as it is, a file of them with its whole path."""
    if not word.endswith(LISTS):
        return word
    found = find_file(word, folder)
    if found is None:
        raise UserError(f"pretrain.smiles: file '{word}' not found")
    return found


def _refuse(config: PretrainConfig, training: Mapping[str, Any]) -> None:
    if not any(getattr(config.labeller, name) for name in METHODS):
        raise UserError(f"labeller: expected one of {', '.join(METHODS)}, got none")
    if not (config.pretrain.structures or config.pretrain.smiles):
        raise UserError("pretrain.structures, pretrain.smiles: expected a structure, got none")
    if config.data.train or config.data.valid:
        raise UserError("data.train, data.valid: the frames are sampled here, leave both out")
    if "output" in training:
        raise UserError("training.output: the folder is in pretrain.output, leave it out here")
