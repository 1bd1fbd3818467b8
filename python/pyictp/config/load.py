# SPDX-License-Identifier: MIT
"""All configuration: frozen dataclasses, from YAML with `section.key=value` overrides."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar, overload

import yaml
from ase.data import atomic_numbers

from pyictp.config.data_files import DataFile, check_unweighted
from pyictp.config.mace import MaceConfig
from pyictp.config.nequip import NequipConfig
from pyictp.config.reader import (
    Positive,
    Range,
    Width,
    check_fields,
    check_range,
    from_dict,
    to_dict,
)
from pyictp.config.training import PUBLISHED, TrainConfig
from pyictp.errors import UserError

__all__ = [
    "Config",
    "DataConfig",
    "DataFile",
    "ModelConfig",
    "TrainConfig",
    "from_dict",
    "load_config",
    "read_tree",
    "to_dict",
]

MAX_R_CUT = 100.0  # A, also of exported files
# model.size: what it stands for. In one layer nothing passes from atom to neighbor to neighbor.
SIZES: dict[str, dict[str, int]] = {
    "fast": {"num_layers": 1, "num_channels": 16, "l_max_edge": 3, "l_max_hidden": 0},
    "standard": {"num_layers": 2, "num_channels": 32, "l_max_edge": 3, "l_max_hidden": 1},
    "accurate": {"num_layers": 2, "num_channels": 64, "l_max_edge": 3, "l_max_hidden": 2},
}


@dataclass(frozen=True)
class ModelConfig:
    """The architecture of an ICTP model; lengths in A."""

    elements: tuple[
        str, ...
    ] = ()  # species order; empty: taken from the training data, by atomic number
    r_cut: Annotated[float, Range(0, MAX_R_CUT, above=True)] = 5.0  # [A] cutoff radius
    num_layers: Annotated[int, Range(1, 100)] = 2  # of message passing
    num_channels: Width = 64  # tensors of each rank that an atom carries
    num_product_channels: Width | None = None  # inside the product basis; None: num_channels
    l_max_edge: Annotated[int, Range(0, 6)] = 3  # highest rank of the harmonics and of A
    l_max_hidden: int = 1  # highest rank that goes from layer to layer
    correlation: Annotated[int, Range(1, 4)] = 3  # highest power of A in the product basis
    symmetric_product: bool = True  # A x A without the mirror images of its paths
    coupled_product: bool = False  # the weights of products mix channels
    odd_products: bool = False  # products with a Levi-Civita tensor too: tells mirror images apart
    num_radial: Annotated[int, Range(1, 1000)] = 8  # radial functions
    radial_scale: Positive = 1.0  # multiplies them; 1 as published
    cutoff_power: Annotated[int, Range(2, 100)] = 5  # p of the cutoff function
    radial_hidden: tuple[Width, ...] = (64, 64, 64)  # widths of the radial networks' inner layers
    readout_hidden: tuple[Width, ...] = (16,)  # widths of the last readout's inner layers
    avg_num_neighbors: Positive | None = None  # divides A; None: measured on the training data
    zbl: bool = False  # add the repulsion of nuclei at short distances
    zbl_reach: Positive = 0.7  # where it ends, in sums of the covalent radii of the two elements
    core_repulsion: bool = (
        True  # of nuclei alone, below the shortest distances of the training data
    )
    mace: MaceConfig | None = None  # what else a model has that `ictp import` made of one of MACE
    nequip: NequipConfig | None = None  # the same of SevenNet, in the place of a product basis

    @property
    def product_channels(self) -> int:
        """Return the number of channels inside the product basis."""
        return self.num_channels if self.num_product_channels is None else self.num_product_channels

    def __post_init__(self) -> None:
        """Refuse what no model can be built from."""
        check_fields(self, "model")
        check_range("model.l_max_hidden", self.l_max_hidden, 0, self.l_max_edge)
        for element in self.elements:
            if not atomic_numbers.get(element):
                raise UserError(f"model.elements: '{element}' is no chemical symbol")
        if len(set(self.elements)) != len(self.elements):
            raise UserError(f"model.elements: an element is named twice in {list(self.elements)}")
        if self.mace is not None:
            self.mace.check(self.num_layers, self.num_radial, self.elements)
        if self.nequip is not None and self.mace is not None:
            raise UserError("model.mace and model.nequip: a model is of one kind, leave one out")
        if self.nequip is not None:
            self.nequip.check(self.num_layers, self.num_radial, self.l_max_edge, self.r_cut)


@dataclass(frozen=True)
class DataConfig:
    """Where the labelled structures are, and what their fields are called."""

    train: tuple[
        str | DataFile, ...
    ] = ()  # files, folders, patterns: extended XYZ, ASE database (.db), rMD17 npz,
    # outputs of other codes (formats.md); or {file: ..., weight: ...}
    valid: tuple[str | DataFile, ...] = ()  # empty: split off the training files
    valid_fraction: float = 0.1  # of the training files' frames, where no file is given
    num_train: int | None = None  # None: all that remain after the validation split
    num_valid: int | None = None  # None: valid_fraction of the frames
    split_seed: Annotated[int, Range(0)] = 0  # which frames are held back
    energy_key: str = "energy"  # names of the fields in the files
    forces_key: str = "forces"  # minus the gradient of the energy
    stress_key: str | None = "stress"  # ASE's sign: tension is positive
    virial_key: str | None = "virial"  # -stress * volume
    energy_unit: str | None = None  # names of ase.units; None: eV, or kcal/mol for rMD17 npz
    length_unit: str | None = None  # None: Angstrom
    forces_unit: str | None = None  # None: energy_unit/length_unit
    stress_unit: str | None = None  # None: energy_unit/length_unit^3
    allow_missing: bool = False  # train on frames without a label that has a weight, not refuse;
    # rows of NaN among the forces are atoms without a label
    check_labels: bool = True  # refuse labels that no matter has (thousands of GPa, stress against
    # virial); false: warn only, for those who have such data
    isolated_atoms: str | Mapping[str, float] | None = (
        None  # a file with lone atoms, or {element: eV}
    )

    def __post_init__(self) -> None:
        """Refuse a seed no generator takes, and weights that would do nothing."""
        check_fields(self, "data")
        check_unweighted("data.valid", self.valid)


@dataclass(frozen=True)
class Config:
    """One YAML file: sections `model`, `data` and `training`."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainConfig = field(default_factory=TrainConfig)


AnyConfig = TypeVar("AnyConfig", bound=Config)


@overload
def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config: ...


@overload
def load_config(path: str | Path, overrides: Sequence[str], kind: type[AnyConfig]) -> AnyConfig: ...


def load_config(
    path: str | Path, overrides: Sequence[str] = (), kind: type[Config] = Config
) -> Config:
    """Return the configuration of a YAML file with `section.key=value` overrides applied.

    `kind` may have further sections.

    A relative data path is looked up beside the config file first, then in the current folder,
    and comes back absolute; one that is in neither is missing beside the config file.

    Raises:
        UserError: the file is missing or no mapping, a key does not exist, a value is of the wrong
            type or out of range.
    """
    tree = read_tree(path, overrides)
    training = tree.get("training")
    if isinstance(training, dict) and training.get("recipe") == "published":
        tree["training"] = {**PUBLISHED, **training}
    config = from_dict(kind, tree, "")
    return dataclasses.replace(config, data=_find_files(config.data, Path(path).parent))


def read_tree(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return what a YAML file and the overrides say: plain values, no defaults, not checked.

    `model.size` is replaced by the keys that it stands for. In a file, keys beside it count more;
    as an override it replaces them, and later overrides count more.

    Raises:
        UserError: the file is missing or not a mapping, an override is not `section.key=value`,
            a size is unknown.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"config '{path}' not found: expected a YAML file")
    try:
        tree = yaml.safe_load(path.read_text())
    except UnicodeDecodeError as error:
        raise UserError(f"config '{path}' is no text: expected a YAML file") from error
    except yaml.YAMLError as error:
        raise UserError(
            f"config '{path}' is not valid YAML: {' '.join(str(error).split())}"
        ) from error
    if tree is None:
        raise UserError(f"config '{path}' is empty: expected sections model, data, training")
    if not isinstance(tree, dict):
        raise UserError(
            f"config '{path}': expected sections model, data, training; got {type(tree).__name__}"
        )
    model = tree.get("model")
    if isinstance(model, dict) and "size" in model:
        tree["model"] = {**_size(model.pop("size")), **model}
    for item in overrides:
        _apply_override(tree, item)
    return tree


def _size(name: Any) -> dict[str, int]:
    if not isinstance(name, str) or name not in SIZES:
        raise UserError(f"model.size: expected one of {', '.join(SIZES)}; got {name!r}")
    return SIZES[name]


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
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"override '{item}': '{text}' is not a valid YAML value") from error
    tree[section].update(_size(value) if (section, name) == ("model", "size") else {name: value})


def find_file(name: str, folder: Path) -> str | None:
    """Return the absolute path of a file in `folder` or here, None where there is none."""
    places = (folder / name, Path(name))
    return next((str(place.resolve()) for place in places if place.exists()), None)


def data_path(name: str, folder: Path) -> str:
    """Return the absolute path of a file in `folder` or here; that in `folder` if it is nowhere.

    Nowhere must not depend on where a command runs: the same name would mean two files.
    """
    return find_file(name, folder) or os.path.normpath((folder / name).absolute())


def frames_path(name: str, folder: Path) -> str:
    """Return FILE, FILE@INDEX or FILE@SLICE with the file found as `data_path` does."""
    from ase.io.formats import parse_filename  # takes half a second

    file, index = parse_filename(name)
    return data_path(file, folder) + ("" if index is None else name[len(file) :])


def matching_paths(name: str, folder: Path) -> list[str]:
    """Return the absolute paths that a pattern means in `folder`, or here, in order.

    A name without `*`, `?` or `[`, or of a file that is there, means itself, and so does a pattern
    without a match, which is reported where it is read.
    """
    if any(sign in name for sign in "*?[") and find_file(name, folder) is None:
        for place in (folder, Path()):
            found = sorted(glob.glob(str(place / name), recursive=True))
            if found:
                return [os.path.normpath(Path(path).absolute()) for path in found]
    return [data_path(name, folder)]


def _find_files(data: DataConfig, folder: Path) -> DataConfig:
    """Return `data` with absolute paths, patterns replaced by what matches them."""

    def find(name: str) -> str:
        return data_path(name, folder)

    def find_entries(entries: Sequence[str | DataFile]) -> Iterator[str | DataFile]:
        for entry in entries:
            if isinstance(entry, DataFile):
                paths = matching_paths(entry.file, folder)
                yield from (dataclasses.replace(entry, file=path) for path in paths)
            else:
                yield from matching_paths(entry, folder)

    lone = data.isolated_atoms
    return dataclasses.replace(
        data,
        train=tuple(find_entries(data.train)),
        valid=tuple(find_entries(data.valid)),
        isolated_atoms=find(lone) if isinstance(lone, str) else lone,
    )
