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
