# SPDX-License-Identifier: MIT
"""Schedules, averages and orders against closed forms."""

import numpy as np
import pytest
import torch
from pyictp.config.load import TrainConfig
from pyictp.training.batches import epoch_order
from pyictp.training.optimisation import Schedule, WeightAverage, cosine_factor
from torch import nn


def test_weight_average_follows_the_closed_form():
    model, average = nn.Linear(2, 1), nn.Linear(2, 1)
    average.load_state_dict(model.state_dict())
    ema = WeightAverage(model, average, decay=0.99)
    expected = model.weight.detach().numpy().copy()
    for n in range(1, 6):
        with torch.no_grad():
            model.weight.fill_(float(n))
        ema.update()
        decay = (1 + n) / (10 + n)  # below 0.99 for n < 890
        expected = decay * expected + (1 - decay) * n
    np.testing.assert_allclose(average.weight.detach(), expected, rtol=1e-6)


def test_weight_average_reaches_its_decay():
    model, average = nn.Linear(1, 1), nn.Linear(1, 1)
    ema = WeightAverage(model, average, decay=0.5)
    ema.num_updates = 1000
    with torch.no_grad():
        model.bias.fill_(3.0)
        average.bias.fill_(1.0)
    ema.update()
    assert average.bias.item() == 2.0


def test_cosine_factor():
    assert cosine_factor(0.0, 0.1, 0.01) == 0.01
    assert cosine_factor(0.05, 0.1, 0.01) == pytest.approx(0.5)
    assert cosine_factor(0.1, 0.1, 0.01) == 1.0
    assert cosine_factor(0.55, 0.1, 0.01) == pytest.approx(0.505)
    assert cosine_factor(1.0, 0.1, 0.01) == pytest.approx(0.01)
    assert cosine_factor(1.5, 0.1, 0.01) == pytest.approx(0.01)
    assert cosine_factor(0.0, 0.0, 0.0) == 1.0


def test_plateau_is_the_one_of_torch():
    settings = TrainConfig(
        schedule="plateau", learning_rate=0.5, plateau_patience=2, plateau_factor=0.8
    )
    schedule = Schedule(settings)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.8, patience=2, threshold=0.0
    )
    for loss in [5, 4, 4, 4, 4, 3, 3, 3, 3, 3, 3, 3, 2, 2.5, 2.5, 2.5, 2.5]:
        schedule.after_validation(loss)
        reference.step(loss)
        assert schedule.learning_rate(0.3) == pytest.approx(optimizer.param_groups[0]["lr"])


def test_order_depends_on_seed_and_epoch_alone():
    first = epoch_order(50, 0, 3)
    torch.rand(5)
    assert first == epoch_order(50, 0, 3)
    assert sorted(first) == list(range(50))
    assert first != epoch_order(50, 0, 4)
    assert first != epoch_order(50, 1, 3)
