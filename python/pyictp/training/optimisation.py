# SPDX-License-Identifier: MIT
"""Optimiser, learning-rate schedules and the average of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pyictp.config.load import TrainConfig
from pyictp.training.muon import Muon, as_matrices

STATES = {"Adam": {"step", "exp_avg", "exp_avg_sq"}, "Muon": {"momentum"}}


class Optimizers:
    """Several optimisers, each of parameters of its own, used as one."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = list(parts)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Return the groups of all, whose learning rates a schedule sets."""
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)

    def step(self) -> None:
        """Do one step."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values."""
        return {type(part).__name__: part.state_dict() for part in self.parts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`.

        Raises:
            ValueError: the state of a parameter is not that of its optimiser.
        """
        for part in self.parts:
            options = [group.keys() for group in part.param_groups]
            part.load_state_dict(state[type(part).__name__])
            if [group.keys() for group in part.param_groups] != options:
                raise ValueError(f"options of {type(part).__name__}")
            wanted = STATES[type(part).__name__]
            if part.param_groups[0].get("amsgrad"):
                wanted = wanted | {"max_exp_avg_sq"}
            for parameter, values in part.state.items():
                own = {name: torch.as_tensor(value) for name, value in values.items()}
                if own.keys() != wanted or not all(v.isfinite().all() for v in own.values()):
                    raise ValueError(f"{type(part).__name__} of a parameter {(*parameter.shape,)}")


def make_optimizer(model: nn.Module, config: TrainConfig) -> Optimizers:
    """Return the optimisers of all parameters that are trained.

    adam: Adam on all; weight_decay is added to the gradient (L2), as published. muon: Muon on the
    matrices that mix channels, Adam on embedding, path weights and readouts.
    """
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    matrices: list[nn.Parameter] = []
    if config.optimizer == "muon":
        matrices = [
            p for name, p in trained if name != "node_embedding" and as_matrices(p) is not None
        ]
    mixing = {id(p) for p in matrices}
    rest = [p for _, p in trained if id(p) not in mixing]
    parts: list[torch.optim.Optimizer] = []
    if matrices:
        parts.append(Muon(matrices, config.learning_rate, weight_decay=config.matrix_decay))
    if rest:
        parts.append(
            torch.optim.Adam(
                rest,
                lr=config.learning_rate,
                weight_decay=config.weight_decay,
                amsgrad=config.amsgrad,
                fused=rest[0].device.type in ("cpu", "cuda"),
            )
        )
    return Optimizers(parts)


def cosine_factor(progress: float, warmup_fraction: float, final_fraction: float) -> float:
    """Return learning rate / highest learning rate at a fraction of the whole training.

    With p the progress, w the warm-up and f the final fraction:
    p < w: max(p/w, f);  else f + (1 - f) (1 + cos(pi q)) / 2 with q = (p - w) / (1 - w).

    Args:
        progress: 0 at the start, 1 at the end; more counts as 1.
        warmup_fraction: part of the training over which the rate rises.
        final_fraction: the factor at the end, and the least factor of the warm-up.

    Source:
        arXiv:1608.03983, equation 5, without restarts.
    """
    if progress < warmup_fraction:
        return max(progress / warmup_fraction, final_fraction)
    rest = max(1.0 - warmup_fraction, 1e-12)
    phase = min((progress - warmup_fraction) / rest, 1.0)
    return final_fraction + (1.0 - final_fraction) * 0.5 * (1.0 + math.cos(math.pi * phase))


class Schedule:
    """The learning rate: lowered on plateaus of the validation loss, or a cosine over the training.

    Plateau: after more than `patience` validations in a row without a lower loss the factor is
    multiplied by `plateau_factor` and the count starts again.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self.factor = 1.0  # of the plateau
        self.best = math.inf
        self.num_bad = 0

    def learning_rate(self, progress: float) -> float:
        """Return the rate of the next step; `progress` is the fraction of the training behind."""
        config = self._config
        if config.schedule == "plateau":
            return config.learning_rate * self.factor
        factor = cosine_factor(progress, config.warmup_fraction, config.final_fraction)
        return config.learning_rate * factor

    def after_validation(self, loss: float) -> None:
        """Take note of a validation loss."""
        if loss < self.best:
            self.best, self.num_bad = loss, 0
            return
        self.num_bad += 1
        if self.num_bad > self._config.plateau_patience:
            self.factor *= self._config.plateau_factor
            self.num_bad = 0

    def state_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {"factor": self.factor, "best": self.best, "num_bad": self.num_bad}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self.factor, self.best, self.num_bad = state["factor"], state["best"], state["num_bad"]


class WeightAverage:
    """Exponential moving average of a model's parameters, held in a second model.

    After step n = 1, 2, ...: average += (1 - d_n) (weights - average),
    d_n = min(decay, (1 + n) / (10 + n)): the ramp forgets the random start within a few steps.
    """

    def __init__(self, model: nn.Module, average: nn.Module, decay: float) -> None:
        self.decay = decay
        self.num_updates = 0
        self._weights = [parameter.detach() for parameter in model.parameters()]
        self._averages = [parameter.detach() for parameter in average.parameters()]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after one optimiser step."""
        self.num_updates += 1
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        average_weights(self._averages, self._weights, decay)


def average_weights(averages: list[Tensor], weights: list[Tensor], decay: float) -> None:
    """Move `averages` towards `weights` by 1 - decay, in place."""
    torch.optim.swa_utils.get_ema_multi_avg_fn(decay)(averages, weights, None)
