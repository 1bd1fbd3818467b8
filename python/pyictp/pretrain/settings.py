# SPDX-License-Identifier: MIT
"""What a pretraining is: the sections of `ictp train` and three more, from one YAML file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pyictp.config.load import Config, find_file, frames_path, load_config, read_tree
from pyictp.config.reader import Count, Positive, Range, check_fields
from pyictp.errors import UserError
from pyictp.labelling.settings import METHODS, LabellerConfig, find_words

NumFrames = Annotated[int, Range(0)]
LISTS = (".smi", ".smiles", ".txt")  # of files with a SMILES in each line


@dataclass(frozen=True)
class PretrainingConfig:
    """The section `pretrain`: what is sampled, where."""

    output: str = "pretrained"  # the folder of everything, relative to the current folder
    structures: tuple[str, ...] = ()  # files of structures, all frames of them; or FILE@0, FILE@:5
    smiles: tuple[str, ...] = ()  # molecules, or a file (.smi) with one in each line; needs RDKit
    conformers: Annotated[int, Range(1, 10_000)] = 1  # of each SMILES
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0  # of velocities, thermostat, moves, conformers

    def __post_init__(self) -> None:
        """Refuse what samples nothing."""
        check_fields(self, "pretrain")


@dataclass(frozen=True)
class SamplingConfig:
    """The section `sampling`: frames from each structure at each temperature, all by the teacher.

    There are `walks` * `dynamics` + `torsions` + `normal_modes` of them; a number of 0 leaves a
    kind out.
    """

    temperatures: tuple[Positive, ...] = (300.0, 600.0, 900.0, 1200.0)  # [K] for each structure
    walks: Count = 1  # Langevin dynamics beside each other, velocities of their own
    dynamics: NumFrames = 50  # frames of a walk
    torsions: NumFrames = 0  # frames of molecules: turns about bonds, then `every` steps
    normal_modes: NumFrames = 0  # frames: relaxed, displaced along harmonic modes
    every: Count = 20  # steps between two frames
    equilibration: Annotated[int, Range(0)] = 200  # steps of a walk before its first frame
    timestep: Positive | None = None  # [fs] null: 1, with hydrogen 0.5
    friction: Positive = 0.01  # [1/fs] of the thermostat
    closest: Positive = 0.5  # times the sum of covalent radii: closer frames are left out
    max_force: Positive = 50.0  # [eV/A] frames with a larger force are left out

    def __post_init__(self) -> None:
        """Refuse what no walk can be."""
        check_fields(self, "sampling")
        if not self.temperatures:
            raise UserError("sampling.temperatures: expected one or more, got none")
        if len(set(self.temperatures)) < len(self.temperatures):
            raise UserError("sampling.temperatures: one is named twice: raise sampling.walks")
        if not (self.dynamics or self.torsions or self.normal_modes):
            raise UserError(
                "sampling: dynamics, torsions and normal_modes are all 0: nothing to sample"
            )


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
        structures=tuple(frames_path(name, folder) for name in given.structures),
        smiles=tuple(_find_list(word, folder) for word in given.smiles),
    )
    labeller = find_words(config.labeller, folder)
    return dataclasses.replace(config, pretrain=found, labeller=labeller)


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
    if config.labeller.slurm:
        raise UserError(
            "labeller.slurm: a teacher is asked at every step, a job would take longer to begin: "
            "leave it out, and run ictp pretrain itself as a job"
        )
    if not (config.pretrain.structures or config.pretrain.smiles):
        raise UserError("pretrain.structures, pretrain.smiles: expected a structure, got none")
    if config.data.train or config.data.valid:
        raise UserError("data.train, data.valid: the frames are sampled here, leave both out")
    if "output" in training:
        raise UserError("training.output: the folder is in pretrain.output, leave it out here")
