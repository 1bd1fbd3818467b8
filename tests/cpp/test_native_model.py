# SPDX-License-Identifier: MIT
"""The C++ model and the exchange operator, without LAMMPS."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pyictp import _native
from pyictp.native import load_operators
from structures import STRUCTURES, graph
from toys import ELEMENTS, MessageToy, PairToy, evaluate, export_toy


@pytest.fixture(scope="module", autouse=True)
def operators():
    load_operators()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
@pytest.mark.parametrize("toy", [PairToy, MessageToy])
@pytest.mark.parametrize("name", ["bulk", "one atom, periodic", "lone atom", "no atoms"])
def test_same_as_python(name, toy, dtype, tolerance, tmp_path):
    reference = toy(dtype=dtype)
    model = _native.Model(str(export_toy(tmp_path / "toy.pt", reference)))
    arrays = graph(STRUCTURES[name], 3.0)
    for _ in range(3):  # an executor that optimises would change the code it runs here
        energies, gradients = model.evaluate(*arrays, len(arrays[0]))
    expected = evaluate(reference, *map(torch.as_tensor, arrays))
    np.testing.assert_allclose(energies, expected[0], atol=tolerance)
    np.testing.assert_allclose(gradients, expected[3], atol=tolerance)


def test_attributes(tmp_path):
    toy = MessageToy(r_cut=3.5, num_layers=2, dtype="float32")
    model = _native.Model(str(export_toy(tmp_path / "toy.pt", toy)), "cpu")
    assert model.elements == ELEMENTS
    assert (model.r_cut, model.num_layers, model.dtype, model.device) == (3.5, 2, "float32", "cpu")


def test_wrong_shapes_are_named(tmp_path):
    model = _native.Model(str(export_toy(tmp_path / "toy.pt", PairToy())))
    with pytest.raises(ValueError, match=r"edge_vectors: expected \(E, 3\)"):
        model.evaluate([0, 0], [[0], [1]], np.zeros((2, 3)), 2)


def test_exchange_is_the_identity_when_every_node_is_local():
    features = torch.rand(4, 3, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(torch.ops.ictp.exchange(features, 4), features)
    assert torch.autograd.gradcheck(lambda x: torch.ops.ictp.exchange(x, 4), features)


def test_exchange_refuses_ghosts_outside_lammps():
    with pytest.raises(RuntimeError, match="6 nodes but 4 rows of features: ghost nodes need"):
        torch.ops.ictp.exchange(torch.rand(4, 3), 6)
    with pytest.raises(RuntimeError, match=r"expected features \(num_local, width\)"):
        torch.ops.ictp.exchange(torch.rand(4), 4)


@pytest.mark.parametrize(
    ("species", "edge_index", "num_local", "text"),
    [
        ([0, 0], [[0, 2], [1, 0]], 2, "edge_index: expected centers below num_local"),
        ([0, 0], [[0, 1], [1, 0]], 1, "edge_index: expected centers below num_local"),
        ([0, 0], [[0, 1], [1, -1]], 2, "edge_index: expected centers below num_local"),
        ([0, 0], [[1, 0], [0, 1]], 2, "edge_index: expected ascending centers"),
        ([0, 3], [[0, 1], [1, 0]], 2, "species: expected indices of the model's elements"),
        ([0, 0], [[0, 1], [1, 0]], 3, "num_local: expected 0 to the number of species"),
    ],
)
def test_wrong_indices_are_refused(species, edge_index, num_local, text, tmp_path):
    model = _native.Model(str(export_toy(tmp_path / "toy.pt", PairToy())))
    with pytest.raises(ValueError, match=text):
        model.evaluate(species, edge_index, np.ones((2, 3)), num_local)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"offsets": torch.tensor([0, 3])},
            r"expected offsets \(centers\+1\) that rise from 0 and end with 2",
        ),
        (
            {"neighbors": torch.zeros(2, dtype=torch.int32)},
            r"expected neighbors \(int64\) below the 1 rows of the features",
        ),
        ({"radial": torch.ones(2, 1, device="meta")}, "expected all operands on cpu, got meta"),
    ],
)
def test_convolution_refuses(changes, text):
    arguments = {
        "features": torch.ones(1, 1, 1),
        "harmonics": torch.ones(2, 1),
        "radial": torch.ones(2, 1),
        "neighbors": torch.zeros(2, dtype=torch.int64),
        "offsets": torch.tensor([0, 2]),
        "paths": torch.tensor([[0, 1, 1, 0, 0, 0]]),
        "rows": torch.tensor([0, 1]),
        "terms": torch.zeros(1, 2, dtype=torch.int64),
        "values": torch.ones(1, dtype=torch.float64),
    }
    with pytest.raises(RuntimeError, match=text):
        torch.ops.ictp.edge_convolution(*(arguments | changes).values())
