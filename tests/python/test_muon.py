# SPDX-License-Identifier: MIT
"""Muon against torch.optim.Muon, which takes one matrix at a time, and against its definition."""

from __future__ import annotations

import pytest
import torch
from model_toys import make_model
from pyictp.config.load import TrainConfig
from pyictp.training.muon import Muon, as_matrices, orthogonalized
from pyictp.training.optimisation import make_optimizer
from torch import Tensor, nn


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_singular_vectors_stay_and_values_come_near_one() -> None:
    matrices = random(3, 12, 40)
    u, s, vh = torch.linalg.svd(matrices, full_matrices=False)
    inner = u.mT @ orthogonalized(matrices) @ vh.mT  # diagonal where the vectors are the same
    values = inner.diagonal(dim1=1, dim2=2)
    assert s.max() / s.min() > 3
    torch.testing.assert_close(inner, torch.diag_embed(values), rtol=0, atol=1e-10)
    assert 0.65 < values.min() <= values.max() < 1.25


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this PyTorch has no Muon")
@pytest.mark.parametrize("shape", [(8, 24), (10, 32), (40, 16)])
def test_steps_are_those_of_torch(shape: tuple[int, int]) -> None:
    ours, theirs = (nn.Parameter(random(*shape, seed=9)) for _ in range(2))
    settings = {"weight_decay": 0.5, "adjust_lr_fn": "match_rms_adamw", "momentum": 0.9}
    pairs = (
        (ours, Muon([ours], lr=0.03, momentum=0.9, weight_decay=0.5)),
        (theirs, torch.optim.Muon([theirs], lr=0.03, **settings)),
    )
    for step in range(4):
        for parameter, optimizer in pairs:
            parameter.grad = random(*shape, seed=step)
            optimizer.step()
    moved = (theirs - random(*shape, seed=9)).square().mean().sqrt()
    deviation = (ours - theirs).square().mean().sqrt()
    # torch orthogonalises in bfloat16, which small singular values (of square matrices) would show
    assert deviation < 0.02 * moved


def test_matrices_of_species_are_separate() -> None:
    """A stack (V, S, U) moves as its S matrices would, whatever else has their shape."""
    stack, other = nn.Parameter(random(16, 3, 16)), nn.Parameter(random(16, 16, seed=1))
    single = [nn.Parameter(stack.detach()[:, s].clone()) for s in range(3)]
    stack.grad, other.grad = random(16, 3, 16, seed=2), random(16, 16, seed=3)
    Muon([stack, other], lr=0.1).step()
    for s, parameter in enumerate(single):
        parameter.grad = random(16, 3, 16, seed=2)[:, s].clone()
        Muon([parameter], lr=0.1).step()
        torch.testing.assert_close(stack[:, s], parameter)


def test_what_is_no_matrix() -> None:
    assert as_matrices(random(3, 32, 15)) is None  # path weights: species, channels, paths
    assert as_matrices(random(1, 32)) is None
    assert as_matrices(random(64, 4)) is None
    assert as_matrices(random(40, 16)).shape == (1, 16, 40)


@pytest.mark.parametrize("name", ["muon", "adam"])
def test_every_trained_parameter_has_one_optimizer(name: str) -> None:
    model = make_model(num_channels=8)
    model.layers[0].requires_grad_(False)
    optimizer = make_optimizer(model, TrainConfig(optimizer=name))
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert len(optimizer.parts) == (2 if name == "muon" else 1)


def test_state_goes_on_where_it_was() -> None:
    runs = []
    for interrupted in (False, True):
        model = make_model(num_channels=8)
        optimizer = make_optimizer(model, TrainConfig())
        for step in range(4):
            if interrupted and step == 2:
                state = optimizer.state_dict()
                optimizer = make_optimizer(model, TrainConfig())
                optimizer.load_state_dict(state)
            for number, parameter in enumerate(model.parameters()):
                parameter.grad = random(*parameter.shape, seed=10 * step + number)
            optimizer.step()
        runs.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*runs)
