# SPDX-License-Identifier: MIT
"""The section `training` of a configuration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pyictp.config.reader import (
    Count,
    Fraction,
    NotNegative,
    Positive,
    Range,
    check_fields,
)
from pyictp.errors import UserError

# What `recipe: published` puts in the place of the defaults: arXiv:2405.14253, appendix (spec
# section 7).
PUBLISHED: dict[str, Any] = {
    "optimizer": "adam",
    "learning_rate": 0.01,
    "weight_decay": 5e-7,
    "amsgrad": True,
    "schedule": "plateau",
    "plateau_factor": 0.8,
    "plateau_patience": 50,
    "early_stopping_patience": 400,
    "ema_decay": 0.99,
    "batch_size": 5,
    "max_epochs": 2000,
    "energy_weight": 1.0,
    "forces_weight": 10.0,
    "radial_knots": None,
}

Dtype = Literal["float32", "float64"]
MAX_SEED = 2**63 - 1  # torch takes no more
NUM_EPOCHS = 500  # where neither epochs nor minutes say when a training ends


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation; the defaults are what paid in measurements (docs/accuracy.md).

    The loss is stated in loss.py, the schedules in optimisation.py.
    """

    recipe: Literal["default", "published"] = "default"  # what keys that the file does not set are;
    # in Python this changes nothing, TrainConfig(**PUBLISHED) does

    output: str = "run"  # the run folder, relative to the current folder
    seed: Annotated[int, Range(0, MAX_SEED)] = 0  # initial weights and the order of the batches
    dtype: Dtype = "float32"  # of the weights; energies are summed in float64 either way
    device: str = "auto"  # auto | cpu | cuda | cuda:0 ...
    num_threads: Count | None = None  # None: as torch decides
    # The loss is a sum over the structures of a batch: a step grows with their number, but Adam and
    # its like divide by the size of the gradient, so learning_rate need not follow a larger batch
    # (max_grad_norm, of the sum, and weight_decay, added to it, do depend on it).
    batch_size: Count | None = 5  # structures of a step, at most; null: batch_edges alone bounds it
    batch_edges: Count | None = None  # directed edges of a step, at most (one structure may have
    # more): steps of even work and memory for structures of unlike sizes; null: no bound
    max_epochs: Count | None = None  # passes over the training frames; null: max_minutes says
    # when it ends, without it 500 do
    max_minutes: Positive | None = None  # [min] of this session; by time: of all sessions
    energy_weight: NotNegative = 1.0  # of dE^2/N, N the number of atoms
    forces_weight: NotNegative = 10.0  # of dF^2, summed over components
    stress_weight: NotNegative = 0.0  # of dW^2/N, W the virial
    optimizer: Literal["muon", "adam"] = "muon"  # muon: on matrices, and adam on the rest
    learning_rate: Positive = 0.03  # the highest
    weight_decay: NotNegative = 0.0  # of Adam, added to the gradient
    matrix_decay: NotNegative = 0.003  # of Muon: a step first shrinks matrices by this times the
    # learning rate
    amsgrad: bool = False  # of Adam
    max_grad_norm: Positive | None = None  # None: gradients are not clipped
    schedule: Literal["plateau", "cosine"] = "cosine"  # of the learning rate
    schedule_by: Literal["auto", "epochs", "time"] = "auto"  # the cosine; auto: time if max_minutes
    # is set
    warmup_fraction: Fraction = 0.02  # of the cosine: linear rise to learning_rate
    final_fraction: Fraction = 0.01  # of the cosine: last learning rate / learning_rate
    plateau_factor: Fraction = 0.8  # of the plateau: what the learning rate is multiplied by
    plateau_patience: Count = 50  # of the plateau: validations without a lower loss before that
    ema_decay: Fraction | None = 0.99  # of the averaged weights; None: no average, but the last
    early_stopping_patience: Count | None = None  # validations without a lower validation loss
    radial_knots: Count | None = 256  # intervals in which training interpolates the radial networks
    # (interpolation.py); null: they are evaluated for every edge
    valid_every: Count = 1  # epochs between validations
    save_every: Count = 1  # epochs between writings of last.pt
    divergence_factor: Annotated[float, Range(2)] | None = 1000.0  # diverged: 5 steps in a row with
    # a loss this many times above the median of 50 before; null: only one that is NaN or infinite
    on_divergence: Literal["stop", "rollback"] = "stop"  # rollback: to last.pt, with a lower
    # learning rate, 3 times
    rollback_factor: Annotated[float, Range(0.01, 0.99)] = 0.5  # of the learning rate, each time
    refit_shift: bool | str = "auto"  # with --finetune: fit the energy shifts to the new energies;
    # auto: where that explains most of the mismatch, as with another method's energy zero
    report: bool = True  # write report.html and report.json into the run folder at the end
    log_to: tuple[Literal["tensorboard", "wandb"], ...] = ()  # what else gets the numbers of
    # log.csv: files in the run folder, or a server (training.md)
    trainable: tuple[str, ...] | None = None  # parts of the model, see freezing.py; null: all

    @property
    def time_limited(self) -> bool:
        """Return whether the cosine runs over max_minutes of all sessions, not over max_epochs."""
        return self.schedule == "cosine" and (
            self.schedule_by == "time"
            or (self.schedule_by == "auto" and self.max_minutes is not None)
        )

    @property
    def num_epochs(self) -> float:
        """Return the epoch that ends the training, infinity where max_minutes alone does."""
        if self.max_epochs is not None:
            return self.max_epochs
        by_epochs = self.schedule == "cosine" and not self.time_limited
        return NUM_EPOCHS if by_epochs or self.max_minutes is None else math.inf

    def __post_init__(self) -> None:
        """Refuse values no training can run with."""
        check_fields(self, "training")
        if not (self.energy_weight or self.forces_weight or self.stress_weight):
            raise UserError(
                "training: energy_weight, forces_weight, stress_weight are all 0: nothing to learn"
            )
        if self.batch_size is None and self.batch_edges is None:
            raise UserError("training: set batch_size or batch_edges, both are null")
        if self.refit_shift not in (True, False, "auto"):
            raise UserError(
                f"training.refit_shift: expected auto, true or false, got '{self.refit_shift}'"
            )
        if self.schedule_by == "time" and self.max_minutes is None:
            raise UserError("training.schedule_by is time: set training.max_minutes too")
