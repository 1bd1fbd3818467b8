# SPDX-License-Identifier: MIT
"""The same numbers on a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from deck import Deck, pair_lines, run
from pyictp.config.load import ModelConfig
from pyictp.model.ictp import ICTPModel
from pyictp.potential.export import export_model
from structures import lattice, sheared

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.lammps,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device"),
]
TOLERANCE = {"float64": 1e-10, "float32": 5e-5}  # eV, eV/A


@pytest.fixture(scope="module")
def model() -> ICTPModel:
    torch.manual_seed(0)
    config = ModelConfig(
        elements=("Ta", "V", "W"),
        r_cut=4.0,
        num_layers=3,
        num_channels=16,
        radial_hidden=(16,),
        avg_num_neighbors=20.0,
        zbl=True,
    )
    return ICTPModel(config).double()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("processes", [1, 2])
def test_lammps_on_the_gpu(dtype: str, processes: int, model: ICTPModel, tmp_path: Path) -> None:
    export_model(model, tmp_path / "model.pt", dtype)
    structure = sheared(lattice((4, 4, 4), 3.1))
    answers = {}
    for device in ("cpu", "cuda"):
        pair = pair_lines(tmp_path / "model.pt", style=f"ictp device {device}")
        answers[device] = run(tmp_path / device, structure, Deck(pair, processes=processes))
    cpu, cuda = answers["cpu"], answers["cuda"]
    limit = TOLERANCE[dtype]
    assert "device cuda" in cuda.log
    shared = f"{processes} processes of a node share {torch.cuda.device_count()} GPU(s)"
    assert (shared in cuda.log) == (processes > torch.cuda.device_count())
    assert np.abs(cuda.node_energies - cpu.node_energies).max() < limit
    assert np.abs(cuda.forces - cpu.forces).max() < limit
    assert np.abs(cuda.virial - cpu.virial).max() < limit * len(cpu.forces)


def test_python_on_the_gpu(model: ICTPModel) -> None:
    from pyictp.graph.derivatives import evaluate_graph
    from pyictp.potential.export import reference_graph

    graph = reference_graph(model)
    expected = evaluate_graph(model, graph)
    found = evaluate_graph(model.to("cuda"), graph.to("cuda"))
    model.to("cpu")
    torch.testing.assert_close(found.forces.cpu(), expected.forces, atol=1e-11, rtol=0)
