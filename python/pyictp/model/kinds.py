# SPDX-License-Identifier: MIT
"""The model that a configuration asks for."""

from pyictp.config.load import ModelConfig
from pyictp.model.ictp import ICTPModel
from pyictp.model.mace import MaceModel
from pyictp.model.nequip import NequipModel


def new_model(config: ModelConfig) -> ICTPModel:
    """Return a model of a configuration with random weights."""
    if config.nequip is not None:
        return NequipModel(config)
    return ICTPModel(config) if config.mace is None else MaceModel(config)
