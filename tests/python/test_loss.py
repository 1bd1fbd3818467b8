# SPDX-License-Identifier: MIT
"""The training loss and its error sums against numpy."""

import math

import numpy as np
import pytest
import torch
from pyictp.graph.derivatives import Prediction
from pyictp.graph.graph import build_graph
from pyictp.training.batches import Batch, join
from pyictp.training.loss import ErrorSums, LossWeights, describe_errors, squared_errors


def random_batch(num_atoms, seed, energy=True, forces=True, stress=True):
    generator = torch.Generator().manual_seed(seed)
    positions = 3 * torch.rand(num_atoms, 3, generator=generator).numpy()
    graph = build_graph(positions, 4 * np.eye(3), True, [0] * num_atoms, 2.0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return Batch(
        graph=graph,
        num_atoms=torch.tensor([num_atoms], dtype=torch.float64),
        energies=draw(1) * energy,
        forces=draw(num_atoms, 3) * forces,
        stresses=draw(1, 3, 3) * stress,
        volumes=torch.tensor([64.0 if stress else 1.0], dtype=torch.float64),
        has_energy=torch.tensor([energy]),
        has_forces=torch.full((num_atoms,), forces),
        has_stress=torch.tensor([stress]),
        weights=torch.ones(1, 3, dtype=torch.float64),
    )


def test_loss_and_errors_follow_the_formula_with_missing_labels():
    sizes = [2, 5, 3]
    batches = [
        random_batch(2, 1, stress=False),
        random_batch(5, 2, forces=False),
        random_batch(3, 3, energy=False),
    ]
    batch = join(batches)
    rng = np.random.default_rng(0)
    energies, forces, virials = (
        rng.normal(size=3),
        rng.normal(size=(10, 3)),
        rng.normal(size=(3, 3, 3)),
    )
    prediction = Prediction(
        *(torch.from_numpy(x) for x in (energies, np.zeros(10), forces, virials, np.zeros((0, 3))))
    )

    expected = np.zeros(3)
    energy_errors, force_errors, stress_errors = [], [], []
    for s, (one, n) in enumerate(zip(batches, sizes, strict=True)):
        rows_ = slice(sum(sizes[:s]), sum(sizes[: s + 1]))
        if s != 2:
            expected[0] += (energies[s] - one.energies.item()) ** 2 / n
            energy_errors.append((energies[s] - one.energies.item()) / n)
        if s != 1:
            expected[1] += ((forces[rows_] - one.forces.numpy()) ** 2).sum()
            force_errors.append(forces[rows_] - one.forces.numpy())
        if s != 0:
            virial = -one.stresses[0].numpy() * 64
            expected[2] += ((virials[s] - virial) ** 2).sum() / n
            stress_errors.append(-virials[s] / 64 - one.stresses[0].numpy())
    np.testing.assert_allclose(squared_errors(prediction, batch), expected, rtol=1e-13)

    sums = ErrorSums(torch.device("cpu"))
    sums.add(prediction, batch)
    result = sums.result(LossWeights(1.0, 10.0, 0.5))
    assert result["loss"] == pytest.approx(expected @ [1.0, 10.0, 0.5] / 3, rel=1e-13)
    for name, errors in (
        ("energy", np.array(energy_errors)),
        ("forces", np.concatenate(force_errors)),
        ("stress", np.array(stress_errors)),
    ):
        assert result[f"{name}_mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-13)
        assert result[f"{name}_rmse"] == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-13)


def test_errors_without_any_label_are_nan():
    sums = ErrorSums(torch.device("cpu"))
    batch = random_batch(2, 1, stress=False)
    zero = torch.zeros(1, 3, 3, dtype=torch.float64)
    sums.add(Prediction(batch.energies, zero[0, 0], batch.forces, zero, zero[0]), batch)
    result = sums.result(LossWeights(1.0, 1.0, 0.0))
    assert result["loss"] == 0
    assert math.isnan(result["stress_rmse"])
    assert describe_errors(result) == "RMSE E 0.00 meV/atom, F 0.00 meV/A"
