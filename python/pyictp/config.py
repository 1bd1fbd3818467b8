# SPDX-License-Identifier: MIT
"""All configuration: frozen dataclasses, from YAML with `section.key=value` overrides.

The defaults are the published settings (arXiv:2405.14253, appendix; spec section 7).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ase.data import atomic_numbers

from pyictp.config_reader import from_dict, to_dict
from pyictp.errors import UserError

__all__ = [
    "Config",
    "DataConfig",
    "ModelConfig",
    "TrainConfig",
    "from_dict",
    "load_config",
    "read_tree",
    "to_dict",
]


@dataclass(frozen=True)
class ModelConfig:
    """The architecture of an ICTP model; lengths in A."""

    elements: tuple[
        str, ...
    ] = ()  # species order; empty: taken from the training data, by atomic number
    r_cut: float = 5.0
    num_layers: int = 2
    num_channels: int = 64
    num_product_channels: int | None = None  # None: the same as num_channels
    l_max_edge: int = 3
    l_max_hidden: int = 1
    correlation: int = 3
    symmetric_product: bool = True
    coupled_product: bool = False
    odd_products: bool = False
    num_radial: int = 8
    cutoff_power: int = 5
    radial_hidden: tuple[int, ...] = (64, 64, 64)
    readout_hidden: tuple[int, ...] = (16,)
    avg_num_neighbors: float | None = None  # None: measured on the training data

    @property
    def product_channels(self) -> int:
        """Return the number of channels inside the product basis."""
        return self.num_channels if self.num_product_channels is None else self.num_product_channels

    def __post_init__(self) -> None:
        """Refuse what no model can be built from."""
        for name, low, high in (
            ("num_layers", 1, None),
            ("num_channels", 1, None),
            ("num_product_channels", 1, None),
            ("l_max_edge", 0, 6),
            ("l_max_hidden", 0, self.l_max_edge),
            ("correlation", 1, 4),
            ("num_radial", 1, None),
            ("cutoff_power", 2, None),
            ("radial_hidden", 1, None),
            ("readout_hidden", 1, None),
        ):
            _check_range(f"model.{name}", getattr(self, name), low, high)
        if not 0 < self.r_cut < math.inf:
            raise UserError(f"model.r_cut: expected a length above 0 A, got {self.r_cut}")
        neighbors = self.avg_num_neighbors
        if neighbors is not None and not 0 < neighbors < math.inf:
            raise UserError(f"model.avg_num_neighbors: expected above 0, got {neighbors}")
        for element in self.elements:
            if not atomic_numbers.get(element):
                raise UserError(f"model.elements: '{element}' is no chemical symbol")
        if len(set(self.elements)) != len(self.elements):
            raise UserError(f"model.elements: an element is named twice in {list(self.elements)}")


@dataclass(frozen=True)
class DataConfig:
    """Where the labelled structures are, and what their fields are called."""

    train: tuple[str, ...] = ()  # files: extended XYZ, ASE database (.db), rMD17 npz
    valid: tuple[str, ...] = ()  # empty: split off the training files
    valid_fraction: float = 0.1
    num_train: int | None = None  # None: all that remain after the validation split
    num_valid: int | None = None  # None: valid_fraction of the frames
    split_seed: int = 0
    energy_key: str = "energy"
    forces_key: str = "forces"
    stress_key: str | None = "stress"  # eV/A^3, ASE sign (tension positive)
    virial_key: str | None = "virial"  # eV, -stress * volume
    energy_unit: str | None = None  # names of ase.units; None: eV, or kcal/mol for rMD17 npz
    length_unit: str | None = None  # None: Angstrom
    forces_unit: str | None = None  # None: energy_unit/length_unit
    stress_unit: str | None = None  # None: energy_unit/length_unit^3
    allow_missing: bool = False  # train on frames without a label that has a weight, not refuse
    isolated_atoms: str | Mapping[str, float] | None = (
        None  # a file with lone atoms, or {element: eV}
    )

    def __post_init__(self) -> None:
        """Refuse a seed no generator takes."""
        _check_range("data.split_seed", self.split_seed, 0, None)


TINY = math.ulp(0.0)
MAX_SEED = 2**63 - 1  # torch takes no more
CHOICES = {
    "dtype": ("float32", "float64"),
    "schedule": ("plateau", "cosine"),
    "schedule_by": ("auto", "epochs", "time"),
}
RANGES = (
    (("batch_size", "max_epochs", "valid_every", "save_every", "plateau_patience"), 1, math.inf),
    (("num_threads", "early_stopping_patience"), 1, math.inf),
    (("energy_weight", "forces_weight", "stress_weight", "weight_decay"), 0, math.inf),
    (("learning_rate", "max_minutes", "max_grad_norm"), TINY, math.inf),
    (("warmup_fraction", "final_fraction", "plateau_factor", "ema_decay"), 0, 1),
)


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation: the published recipe by default.

    The loss is stated in loss.py, the schedules in optimisation.py.
    """

    output: str = "run"  # the run folder, relative to the current folder
    seed: int = 0  # initial weights and the order of the batches
    dtype: str = "float32"  # of the weights; energies are summed in float64 either way
    device: str = "auto"  # auto | cpu | cuda | cuda:0 ...
    num_threads: int | None = None  # None: as torch decides
    batch_size: int = 5
    max_epochs: int = 2000
    max_minutes: float | None = None  # of this session; by time: of the training, all sessions
    energy_weight: float = 1.0
    forces_weight: float = 10.0
    stress_weight: float = 0.0  # of the virial [eV]
    learning_rate: float = 0.01
    weight_decay: float = 5e-7
    amsgrad: bool = True
    max_grad_norm: float | None = None  # None: gradients are not clipped
    schedule: str = "plateau"  # plateau | cosine
    schedule_by: str = "auto"  # the cosine: auto | epochs | time; auto: time if max_minutes is set
    warmup_fraction: float = 0.02  # of the cosine: linear rise to learning_rate
    final_fraction: float = 0.01  # of the cosine: last learning rate / learning_rate
    plateau_factor: float = 0.8
    plateau_patience: int = 50  # validations
    ema_decay: float | None = 0.99  # None: no average, the last weights are used
    early_stopping_patience: int | None = None  # validations without a lower validation loss
    valid_every: int = 1  # epochs
    save_every: int = 1  # epochs between writings of last.pt
    refit_shift: bool = False  # with --finetune: fit the energy shifts to the new training energies

    @property
    def time_limited(self) -> bool:
        """Return whether the cosine runs over max_minutes of all sessions, not over max_epochs."""
        return self.schedule == "cosine" and (
            self.schedule_by == "time"
            or (self.schedule_by == "auto" and self.max_minutes is not None)
        )

    def __post_init__(self) -> None:
        """Refuse values no training can run with."""
        for name, choices in CHOICES.items():
            _check_choice(f"training.{name}", getattr(self, name), choices)
        _check_range("training.seed", self.seed, 0, MAX_SEED)
        for names, low, high in RANGES:
            for name in names:
                value = getattr(self, name)
                if value is not None and not low <= value <= high:
                    span = f"{low:g} to {high:g}" if high < math.inf else f"{low:g} or more"
                    span = "above 0" if low == TINY else span
                    raise UserError(f"training.{name}: expected {span}, got {value}")
        if not (self.energy_weight or self.forces_weight or self.stress_weight):
            raise UserError(
                "training: energy_weight, forces_weight, stress_weight are all 0: nothing to learn"
            )
        if self.schedule_by == "time" and self.max_minutes is None:
            raise UserError("training.schedule_by is time: set training.max_minutes too")


@dataclass(frozen=True)
class Config:
    """One YAML file: sections `model`, `data` and `training`."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainConfig = field(default_factory=TrainConfig)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration of a YAML file with `section.key=value` overrides applied.

    A relative data path is looked up next to the config file first, then in the current folder,
    and comes back absolute.

    Raises:
        UserError: the file is missing or no mapping, a key does not exist, a value is of the wrong
            type or out of range.
    """
    config = from_dict(Config, read_tree(path, overrides), "")
    return dataclasses.replace(config, data=_find_files(config.data, Path(path).parent))


def read_tree(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return what a YAML file and the overrides say: plain values, no defaults, not checked.

    Raises:
        UserError: the file is missing or not a mapping, an override is not `section.key=value`.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"config '{path}' not found: expected a YAML file")
    try:
        tree = yaml.safe_load(path.read_text()) or {}
    except UnicodeDecodeError as error:
        raise UserError(f"config '{path}' is no text: expected a YAML file") from error
    except yaml.YAMLError as error:
        raise UserError(
            f"config '{path}' is not valid YAML: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(tree, dict):
        raise UserError(
            f"config '{path}': expected sections model, data, training; got {type(tree).__name__}"
        )
    for item in overrides:
        _apply_override(tree, item)
    return tree


def _apply_override(tree: dict[str, Any], item: str) -> None:
    key, equals, text = item.partition("=")
    section, dot, name = key.partition(".")
    if not (equals and dot and name):
        raise UserError(
            f"override '{item}': expected section.key=value, for example training.max_epochs=10"
        )
    if tree.get(section) is None:
        tree[section] = {}
    if not isinstance(tree[section], dict):
        raise UserError(
            f"config section '{section}': expected keys and values, got {tree[section]!r}"
        )
    try:
        tree[section][name] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"override '{item}': '{text}' is not a valid YAML value") from error


def _find_files(data: DataConfig, folder: Path) -> DataConfig:
    """Return `data` with absolute paths; a file that is nowhere stays as written."""

    def find(name: str) -> str:
        places = (folder / name, Path(name))
        return next((str(place.resolve()) for place in places if place.exists()), name)

    lone = data.isolated_atoms
    return dataclasses.replace(
        data,
        train=tuple(find(name) for name in data.train),
        valid=tuple(find(name) for name in data.valid),
        isolated_atoms=find(lone) if isinstance(lone, str) else lone,
    )


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UserError(f"{name}: expected {' or '.join(choices)}, got '{value}'")


def _check_range(name: str, value: int | Sequence[int] | None, low: int, high: int | None) -> None:
    """Check one number, or each of a sequence; None is a value left open."""
    for number in value if isinstance(value, Sequence) else [value]:
        if number is not None and (number < low or (high is not None and number > high)):
            span = f"{low} or more" if high is None else f"{low} to {high}"
            raise UserError(f"{name}: expected {span}, got {number}")
