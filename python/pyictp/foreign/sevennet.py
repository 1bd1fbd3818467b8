# SPDX-License-Identifier: MIT
"""What a checkpoint of SevenNet says: whether a model of ours can be the same, and its settings.

Source: sevenn 0.13.0, `model_build` and `scripts.backward_compatibility`, read for facts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor

from pyictp.config.load import ModelConfig
from pyictp.config.nequip import NequipConfig
from pyictp.errors import UserError
from pyictp.foreign.records import kind
from pyictp.foreign.sevennet_features import (
    Features,
    FilePath,
    channels_row,
    e3nn_order,
    gated,
    highest,
    paths_of,
    read_features,
)
from pyictp.model.products import Irrep

SORTED_FROM = (0, 11, 0)  # versions whose convolutions have their paths in the order of the result
# the only values that are supported, and those of files without the key
SUPPORTED: dict[str, tuple[Any, ...]] = {
    "_model_type": ("E3_equivariant_model", None),
    "interaction_type": ("nequip", "nequip"),
    "readout_as_fcn": (False, False),
    "act_radial": ("silu", "silu"),
    "optimize_by_reduce": (True, True),
}
OLD_NAMES = {
    "EdgeEmbedding": "edge_embedding",
    "reducing nn input to hidden": "reduce_input_to_hidden",
    "reducing nn hidden to energy": "reduce_hidden_to_energy",
}


@dataclass(frozen=True)
class SevenNet:
    """Settings and tensors of a checkpoint."""

    version: tuple[int, ...]
    numbers: tuple[int, ...]  # atomic numbers, in the order of the weights
    modals: tuple[str, ...]  # names of methods, none or several
    modal_parts: frozenset[str]  # of the model, that see the method
    is_parity: bool  # true and pseudo tensors are told apart
    features: tuple[Features, ...]  # before the layers and after each
    l_max_edge: int
    r_cut: float
    num_radial: int
    cutoff_power: int
    cutoff_on: float | None
    radial_hidden: tuple[int, ...]
    normalized: bool
    skip_by_species: bool
    biases: bool
    tensors: Mapping[str, Tensor]

    @property
    def elements(self) -> tuple[str, ...]:
        """Return the elements, in the order of the weights."""
        return tuple(chemical_symbols[z] for z in self.numbers)

    def paths(self, layer: int) -> list[FilePath]:
        """Return the paths of the convolution: to one result in the order of the linear map."""
        l_max = max(irrep.rank for irrep in self.features[layer + 1])
        paths = paths_of(self.features[layer], self.l_max_edge, l_max, self.is_parity)
        is_last = layer == len(self.features) - 2
        return [path for path in paths if not (is_last and path[2].pseudo)]

    def stored_paths(self, layer: int) -> list[FilePath]:
        """Return the same in the order of the radial network."""
        paths = self.paths(layer)
        return (
            sorted(paths, key=lambda p: e3nn_order(p[2])) if self.version >= SORTED_FROM else paths
        )

    def kept(self, number: int) -> Features:
        """Return which of the features before a layer, or after all, energies depend on."""
        if number == len(self.features) - 1:
            return self.features[number]
        later = self.kept(number + 1)
        seen = {*later, *(path[0] for path in self.paths(number) if path[2] in later)}
        return {irrep: n for irrep, n in self.features[number].items() if irrep in seen}

    def num_modals(self, part: str) -> int:
        """Return how many methods a part of the model sees: `use_modal_...`, see `modal_parts`."""
        return len(self.modals) if part in self.modal_parts else 0

    def tensor(self, name: str) -> Tensor:
        """Return a tensor in float64.

        Raises:
            UserError: it is not there, or not finite.
        """
        found = self.tensors.get(name)
        if not isinstance(found, Tensor):
            raise UserError(f"it lacks '{name}': the file is damaged, or of another version")
        if not torch.isfinite(found).all():
            raise UserError(f"'{name}' is NaN or infinite: copy the file again")
        return found.to(torch.float64)


def is_checkpoint(file: Any) -> bool:
    """Return whether the contents of a file are a checkpoint of SevenNet."""
    return (
        isinstance(file, Mapping)
        and isinstance(file.get("config"), Mapping)
        and "_model_type" in file["config"]
        and isinstance(file.get("model_state_dict"), Mapping)
    )


def read_settings(file: Mapping[str, Any]) -> SevenNet:
    """Return settings and tensors of a checkpoint.

    Raises:
        UserError: names what is not supported.
    """
    config = file["config"]
    _check(config)
    version = tuple(int(part) for part in re.findall(r"\d+", str(config.get("version")))[:3])
    radial, cutoff = config["radial_basis"], config["cutoff_function"]
    _expect("radial_basis", radial.get("radial_basis_name"), "bessel")
    is_xplor = cutoff.get("cutoff_function_name") == "XPLOR"
    if not is_xplor:
        _expect("cutoff_function", cutoff.get("cutoff_function_name"), "poly_cut", "or XPLOR")
    is_parity = config.get("is_parity", True)
    features = read_features(config, is_parity)
    tensors = {_new_name(key): value for key, value in file["model_state_dict"].items()}
    type_map = config["_type_map"]
    numbers = tuple(sorted(type_map, key=lambda z: type_map[z]))
    if sorted(type_map.values()) != list(range(len(numbers))) or not all(
        isinstance(z, int) and 0 < z < len(chemical_symbols) for z in numbers
    ):
        raise UserError("its elements are none: the file is damaged")
    skips = config.get("self_connection_type", "nequip")
    skips = set(skips if isinstance(skips, list) else [skips])
    if skips not in ({"linear"}, {"nequip"}):
        shown = ", ".join(sorted(map(str, skips)))
        raise UserError(f"self_connection_type {shown} is not supported, only linear or nequip")
    return SevenNet(
        version=version,
        numbers=numbers,
        modals=_modals(config),
        modal_parts=frozenset(k for k in config if k.startswith("use_modal_") and config[k]),
        is_parity=is_parity,
        features=features,
        l_max_edge=highest(config, "lmax_edge"),
        r_cut=float(config["cutoff"]),
        num_radial=int(radial.get("bessel_basis_num", 8)),
        cutoff_power=5 if is_xplor else int(cutoff.get("poly_cut_p_value", 6)),
        cutoff_on=float(cutoff["cutoff_on"]) if is_xplor else None,
        radial_hidden=tuple(int(n) for n in config["weight_nn_hidden_neurons"]),
        # files before version 0.10 that do not say so have harmonics of vectors in A
        normalized=bool(config.get("_normalize_sph", version >= (0, 10, 0))),
        skip_by_species=skips == {"nequip"},
        biases=bool(config.get("use_bias_in_linear", False)),
        tensors=tensors,
    )


def _check(config: Mapping[str, Any]) -> None:
    """Refuse settings of what our model has not.

    Raises:
        UserError: names the setting.
    """
    for key, (wanted, default) in SUPPORTED.items():
        _expect(key, config.get(key, default), wanted)
    for key in ("act_scalar", "act_gate"):
        _expect(key, config.get(key, {}).get("e"), "silu")
    if not isinstance(config.get("is_parity", True), bool):
        raise UserError("is_parity is neither True nor False: the file is damaged")
    if config.get("is_parity", True):
        _expect("act_scalar of pseudo scalars", config.get("act_scalar", {}).get("o"), "tanh")
    if config.get("cuequivariance_config", {}).get("use"):
        raise UserError("weights in the layout of cuEquivariance are not supported")


def _expect(key: str, found: Any, wanted: Any, further: str = "") -> None:
    if found != wanted or type(found) is not type(wanted):
        shown = found if isinstance(found, (str, bool, int, float)) else kind(found)
        raise UserError(f"{key} {shown} is not supported, only {wanted} {further}".rstrip())


def _modals(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the methods that a model knows, in the order of the weights."""
    if not config.get("use_modality", False):
        return ()
    modals = config.get("_modal_map", {})
    return tuple(sorted(modals, key=lambda name: modals[name]))


def _new_name(key: str) -> str:
    """Return the name of a tensor as files since April 2024 have it."""
    module, _, rest = key.partition(".")
    module = OLD_NAMES.get(module, module).replace(" ", "_")
    return f"{module}.{rest.replace('denumerator', 'denominator')}"


def check_sizes(settings: SevenNet) -> None:
    """Refuse more channels and species than there are weights of, before a model has them.

    Raises:
        UserError: the file is damaged.
    """
    features = settings.features
    expected = {
        "edge_embedding.basis_function.coeffs": settings.num_radial,
        "onehot_to_feature_x.linear.weight": features[0][Irrep(0)]
        * (len(settings.numbers) + settings.num_modals("use_modal_node_embedding")),
    }
    for t, (own, new) in enumerate(pairwise(features)):
        extra = settings.num_modals("use_modal_self_inter_intro")
        name = f"{t}_self_interaction_1.linear.weight"
        expected[name] = sum(n * n for n in own.values()) + extra * own[Irrep(0)]
        widths: dict[Irrep, int] = {}
        for source, _, result in settings.paths(t):
            widths[result] = widths.get(result, 0) + own[source]
        made = gated(new)
        extra = settings.num_modals("use_modal_self_inter_outro")
        expected[f"{t}_self_interaction_2.linear.weight"] = (
            sum(widths[irrep] * n for irrep, n in made.items()) + extra * made[Irrep(0)]
        )
        skips = sum(own[irrep] * n for irrep, n in made.items() if irrep in own)
        name = "fc_tensor_product" if settings.skip_by_species else "linear"
        expected[f"{t}_self_connection_intro.{name}.weight"] = skips * (
            len(settings.numbers) if settings.skip_by_species else 1
        )
        sizes = [settings.num_radial, *settings.radial_hidden, sum(widths.values())]
        for i, (a, b) in enumerate(pairwise(sizes)):
            expected[f"{t}_convolution.weight_nn.layer{i}.weight"] = a * b
    for name, size in expected.items():
        found = settings.tensor(name).numel()
        if found != size:
            raise UserError(f"{name}: expected {size} numbers, got {found}: the file is damaged")


def model_config(settings: SevenNet, elements: Sequence[str]) -> ModelConfig:
    """Return the settings of a model of some of the elements."""
    exact = torch.pi / settings.r_cut * torch.arange(1, settings.num_radial + 1).double()
    frequencies = settings.tensor("edge_embedding.basis_function.coeffs")
    trained = not torch.equal(frequencies.float(), exact.float())
    kept = [settings.kept(number) for number in range(1, len(settings.features))]
    return ModelConfig(
        core_repulsion=False,  # how close its training data came is not known
        elements=tuple(elements),
        r_cut=settings.r_cut,
        num_layers=len(settings.features) - 1,
        num_channels=settings.features[0][Irrep(0)],
        l_max_edge=settings.l_max_edge,
        l_max_hidden=max(irrep.rank for row in settings.features for irrep in row),
        odd_products=True,
        num_radial=settings.num_radial,
        cutoff_power=settings.cutoff_power,
        radial_hidden=settings.radial_hidden,
        avg_num_neighbors=settings.tensor("0_convolution.denominator").flatten()[0].item(),
        nequip=NequipConfig(
            channels=tuple(channels_row(features, pseudo=False) for features in kept),
            pseudo_channels=tuple(channels_row(features, pseudo=True) for features in kept)
            if settings.is_parity
            else (),
            frequencies=tuple(frequencies.tolist()) if trained else (),
            cutoff_on=settings.cutoff_on,
            normalized=settings.normalized,
            skip_by_species=settings.skip_by_species,
            biases=settings.biases or bool(settings.modals),
        ),
    )
