# SPDX-License-Identifier: MIT
"""An exported ICTP model in LAMMPS against the same model in Python."""

from __future__ import annotations

import pytest
import torch
from deck import Deck, pair_lines, run
from pyictp.config.load import SIZES, ModelConfig
from pyictp.model.ictp import ICTPModel
from pyictp.potential.export import export_model
from session import assert_agrees
from structures import STRUCTURES

pytestmark = pytest.mark.lammps
NAMES = ["bulk", "triclinic", "cell below the cutoff", "slab", "lone atom", "no atoms"]


ARCHITECTURES = {"three layers": {"num_layers": 3, "num_channels": 4}, "one layer": SIZES["fast"]}


@pytest.fixture(scope="module", params=ARCHITECTURES.values(), ids=list(ARCHITECTURES))
def model(request: pytest.FixtureRequest) -> ICTPModel:
    torch.manual_seed(0)
    config = ModelConfig(
        elements=("Ta", "V", "W"), r_cut=3.5, avg_num_neighbors=20.0, **request.param
    )
    return ICTPModel(config).to(torch.float64)


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    paths = {dtype: folder / f"{dtype}.pt" for dtype in ("float64", "float32")}
    for dtype, path in paths.items():
        export_model(model, path, dtype=dtype)
    return paths


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 2e-5)])
@pytest.mark.parametrize("name", NAMES)
def test_same_as_python(name, dtype, tolerance, model, files, tmp_path):
    answer = run(tmp_path, STRUCTURES[name], Deck(pair_lines(files[dtype])))
    assert_agrees(answer, model, STRUCTURES[name], tolerance)


@pytest.mark.mpi
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 2e-5)])
@pytest.mark.parametrize("name", ["triclinic", "slab", "lone atom"])
def test_same_on_two_processes(name, dtype, tolerance, model, files, tmp_path):
    deck = Deck(pair_lines(files[dtype]), processes=2)
    assert_agrees(run(tmp_path, STRUCTURES[name], deck), model, STRUCTURES[name], tolerance)
