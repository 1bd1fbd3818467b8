# SPDX-License-Identifier: MIT
"""Everything that can be set: one dataclass per section of a YAML file."""

from pyictp.config.data_files import DataFile
from pyictp.config.load import Config, DataConfig, ModelConfig, find_file, load_config, read_tree
from pyictp.config.reader import from_dict, to_dict
from pyictp.config.training import TrainConfig

__all__ = [
    "Config",
    "DataConfig",
    "DataFile",
    "ModelConfig",
    "TrainConfig",
    "find_file",
    "from_dict",
    "load_config",
    "read_tree",
    "to_dict",
]
