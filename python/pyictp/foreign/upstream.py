# SPDX-License-Identifier: MIT
"""Checkpoints of the published reference implementation.

A checkpoint is a folder `ckpt_<epoch>/` with `config.yaml` and `params.pkl`, a pickle of an ordered
dict of tensors. It is read with an unpickler that knows tensors and ordered dicts only.

Source: the parameter names and shapes of spec section 9.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from pyictp.config.load import ModelConfig
from pyictp.errors import UserError
from pyictp.foreign.pickles import TensorUnpickler
from pyictp.model.ictp import ICTPModel
from pyictp.model.products import Irrep


def import_checkpoint(folder: str | Path) -> ICTPModel:
    """Return the float64 model of a reference checkpoint.

    Args:
        folder: `ckpt_<epoch>/`, or a training folder that holds one or more under `best/`; the
            latest is taken.

    Raises:
        UserError: no checkpoint there, an unreadable file, or settings this package does not
            support.
    """
    folder = find_checkpoint(Path(folder))
    config, parameters = _read(folder)
    model = ICTPModel(config).double()
    state = {name: values.double() for name, values in _renamed(model, parameters, folder).items()}
    num_species = len(model.config.elements)
    state["e0"] = torch.zeros(num_species, dtype=torch.float64)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"checkpoint '{folder}': {' '.join(str(error).split())}") from error
    return model


def find_checkpoint(folder: Path) -> Path:
    """Return the folder that holds `params.pkl`, the latest epoch if there are several."""
    if (folder / "params.pkl").is_file():
        return folder
    found = [path.parent for path in folder.glob("**/ckpt_*/params.pkl")]
    found = [path for path in found if path.name.removeprefix("ckpt_").isdecimal()]
    best = [path for path in found if path.parent.name == "best"] or found
    if not best:
        raise UserError(
            f"'{folder}': expected a reference checkpoint (config.yaml and params.pkl), found none"
        )
    return max(best, key=lambda path: int(path.name.removeprefix("ckpt_")))


def _read(folder: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Return what the two files of a checkpoint say."""
    path = folder / "config.yaml"
    try:
        config = _model_config(yaml.safe_load(path.read_text()), folder)
        path = folder / "params.pkl"
        return config, _read_parameters(path)
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        raise UserError(f"'{path}' is no pickle of tensors only: {error}") from error
    except Exception as error:  # damaged files raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"'{path}' is missing or damaged: {reason}") from error


def _read_parameters(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        parameters = TensorUnpickler(file).load()
    if not isinstance(parameters, dict):
        raise UserError(f"'{path}': expected a dict of tensors, got {type(parameters).__name__}")
    return parameters


def _model_config(settings: Mapping[str, Any], folder: Path) -> ModelConfig:
    for term in ("repulsion", "electrostatics", "dispersion"):
        method = (settings.get(term) or {}).get("method")
        if method is not None:
            raise UserError(
                f"checkpoint '{folder}': {term} method '{method}' is not supported, only null"
            )
    try:
        return ModelConfig(
            core_repulsion=False,  # how close its training data came is not known
            elements=tuple(settings["atomic_types"]),
            r_cut=float(settings["r_cutoff"]),
            num_layers=settings["n_interactions"],
            num_channels=settings["n_hidden_feats"],
            num_product_channels=settings["n_product_feats"],
            l_max_edge=settings["l_max_edge_attrs"],
            l_max_hidden=settings["l_max_hidden_feats"],
            correlation=settings["correlation"],
            symmetric_product=settings["symmetric_product"],
            coupled_product=settings["coupled_product_feats"],
            num_radial=settings["n_basis"],
            cutoff_power=settings["n_polynomial_cutoff"],
            radial_hidden=tuple(settings["radial_MLP"]),
            readout_hidden=tuple(settings["readout_MLP"]),
            avg_num_neighbors=float(settings["avg_n_neighbors"]),
        )
    except KeyError as error:
        raise UserError(f"checkpoint '{folder}': config.yaml lacks the key {error}") from error


def _renamed(model: ICTPModel, parameters: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """Return the state of our model from the parameters of the checkpoint."""
    try:
        return {ours: parameters[theirs] for ours, theirs in _names(model).items()}
    except KeyError as error:
        raise UserError(f"checkpoint '{folder}': params.pkl lacks the parameter {error}") from error


def _names(model: ICTPModel) -> dict[str, str]:
    """Return for every parameter of our model its name in the checkpoint."""
    names = {
        "node_embedding": "representation.node_embedding.weight.0",
        "scale": "scale_shift.scale_params",
        "shift": "scale_shift.shift_params",
    }
    for t, layer in enumerate(model.layers):
        ours, theirs = f"layers.{t}", f"representation.interactions.{t}"
        for part, name in (("linear_in", "linear_first"), ("linear_out", "linear_second")):
            for rank in range(len(getattr(layer.interaction, part).maps)):
                names[f"{ours}.interaction.{part}.maps.{rank}.weight"] = (
                    f"{theirs}.{name}.weight.{rank}"
                )
        for i in range(len(layer.interaction.radial.layers)):
            names[f"{ours}.interaction.radial.layers.{i}.weight"] = (
                f"{theirs}.conv_tp_weights.{2 * i}.weight"
            )
        for i, rank in enumerate(layer.skip_target):
            names[f"{ours}.skip.{i}.weight"] = f"{theirs}.skip_tp.weight.{rank}"
        names.update(_product_names(model, t))
        if t == model.config.num_layers - 1:
            for i in range(len(layer.readout.layers)):
                names[f"{ours}.readout.layers.{i}.weight"] = f"readouts.{t}.{2 * i}.weight"
        else:
            names[f"{ours}.readout.weight"] = f"readouts.{t}.weight"
    return names


def _product_names(model: ICTPModel, t: int) -> dict[str, str]:
    """Return the names of the product basis of layer t; there T_2 is block 0, T_3 block 1."""
    product, names = model.layers[t].product, {}
    ours, theirs = f"layers.{t}.product", f"representation.products.{t}"

    def block(k: int) -> str:
        return (
            f"{theirs}.product_basis"
            + (f".blocks.{k - 2}" if k >= 2 else "")
            + ".weighted_sum.weight"
        )

    for i, rank in enumerate(product.first.target):
        names[f"{ours}.first.weights.{i}.weight"] = f"{block(1)}.{rank}"
    for k, step in enumerate(product.steps, start=2):
        for i, rank in enumerate(step.direct.target):
            names[f"{ours}.steps.{k - 2}.direct.weights.{i}.weight"] = f"{block(k)}.{rank}"
    for i, rank in enumerate(product.last_target):
        names[f"{ours}.last.{i}.weights.weight"] = f"{block(model.config.correlation)}.{rank}"
    for rank, irrep in enumerate(model.layers[t].irreps):
        assert irrep == Irrep(rank), "imported models have no pseudo tensors"
        names[f"layers.{t}.linear.maps.{rank}.weight"] = f"{theirs}.linear.weight.{rank}"
    return names
