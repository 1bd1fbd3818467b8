# SPDX-License-Identifier: MIT
"""The training loop and everything it must remember to be continued bit for bit."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from pyictp.batches import Batch, chunks, epoch_order, join
from pyictp.checkpoint import save_checkpoint
from pyictp.config import TrainConfig
from pyictp.derivatives import evaluate_graph
from pyictp.errors import UserError
from pyictp.interrupt import StopRequest
from pyictp.loss import ErrorSums, LossWeights, describe_errors, squared_errors
from pyictp.optimisation import Schedule, WeightAverage, make_optimizer
from pyictp.plots import plot_learning_curve
from pyictp.progress import Progress
from pyictp.run_folder import RunFolder

PICTURE_INTERVAL = 300.0  # s between two drawings of the learning curve
CHECK_INTERVAL = 50  # steps between two looks for NaN: looking waits for the device


class Outcome(Enum):
    """Why a training ended."""

    FINISHED = "finished"
    SIGNAL = "stopped by a signal"
    PAUSED = "training.max_minutes of this session are over"


@dataclass
class Position:
    """Where a training stands."""

    epoch: int = 0  # complete epochs
    batch: int = 0  # batches done of the epoch under way
    step: int = 0
    seconds: float = 0.0  # of training in all sessions
    best_epoch: int = 0
    best_loss: float = math.inf
    num_bad: int = 0  # validations since the best


class Trainer:
    """Model, average of its weights, optimiser, schedule and position; `run` is the loop."""

    def __init__(
        self,
        model: nn.Module,
        train: Sequence[Batch],
        valid: Sequence[Batch],
        config: TrainConfig,
        folder: RunFolder,
    ) -> None:
        """Take batches of one structure each, on the model's device."""
        self.model, self.config, self.folder = model, config, folder
        self.parameters = list(model.parameters())
        self.device = self.parameters[0].device
        self.train_batches = list(train)
        self.valid_batches = chunks(valid, config.batch_size)
        self.num_batches = math.ceil(len(self.train_batches) / config.batch_size)
        self.weights = LossWeights(config.energy_weight, config.forces_weight, config.stress_weight)
        self.weight_tensor = self.weights.as_tensor.to(self.device)
        self.optimizer = make_optimizer(model, config)
        self.schedule = Schedule(config)
        self.average_model = model
        if config.ema_decay is not None:
            self.average_model = copy.deepcopy(model).requires_grad_(False)
        decay = 0.0 if config.ema_decay is None else config.ema_decay
        self.average = WeightAverage(model, self.average_model, decay)
        self.position = Position()
        self.epoch_sums = torch.zeros(3, dtype=torch.float64, device=self.device)
        self.extras: dict[str, Any] = {}  # further entries of every checkpoint
        self.first_step = 0  # of this session
        self._clock = self._started = time.monotonic()
        self._pictured = time.monotonic()

    # -- the loop ---------------------------------------------------------------------------------

    def run(self, stop: StopRequest) -> Outcome:
        """Train until the end, a signal or the end of this session's time; save the state."""
        total = 60 * self.config.max_minutes if self.config.time_limited else self.config.max_epochs
        self.first_step = self.position.step
        self._clock = self._started = time.monotonic()
        bar = Progress(total, self._done(), self.config.time_limited)
        try:
            outcome = self._run(stop, bar)
        finally:
            bar.close()
        self._check_finite()
        self.save_last()
        self.draw()
        return outcome

    def _run(self, stop: StopRequest, bar: Progress) -> Outcome:
        while not self._is_finished():
            interrupted = self._train_epoch(stop, bar)
            if interrupted is not None and interrupted is not Outcome.FINISHED:
                return interrupted
            errors = self._validate(stop)
            if errors is None:
                return Outcome.SIGNAL
            bar.show(self._end_epoch(errors))
            if self.position.epoch % self.config.save_every == 0:
                self.save_last()
            if time.monotonic() - self._pictured > PICTURE_INTERVAL:
                self.draw()
        return Outcome.FINISHED

    def _train_epoch(self, stop: StopRequest, bar: Progress) -> Outcome | None:
        """Do the rest of the epoch under way; return why it was left early, if it was."""
        size, position = self.config.batch_size, self.position
        order = epoch_order(len(self.train_batches), self.config.seed, position.epoch)
        self.model.train()
        while position.batch < self.num_batches:
            reason = self._reason_to_stop(stop)
            if reason is not None:
                return reason
            chosen = order[position.batch * size : (position.batch + 1) * size]
            self._step(join([self.train_batches[index] for index in chosen]))
            position.batch += 1
            position.step += 1
            self._tick()
            bar.move_to(self._done())
            if position.step % CHECK_INTERVAL == 0:
                self._check_finite()
        return None

    def _step(self, batch: Batch) -> None:
        rate = self.schedule.learning_rate(self._progress())
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        prediction = evaluate_graph(self.model, batch.graph, training=True)
        sums = squared_errors(prediction, batch)
        # Named inputs: nothing is spent on second derivatives with respect to edge vectors.
        (self.weight_tensor @ sums).backward(inputs=self.parameters)
        if self.config.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        self.optimizer.step()
        if self.average_model is not self.model:
            self.average.update()
        self.epoch_sums += sums.detach()

    def _validate(self, stop: StopRequest) -> dict[str, float] | None:
        """Return the errors of the averaged weights, {} if none are due, None if a signal came."""
        is_due = (self.position.epoch + 1) % self.config.valid_every == 0
        if not (is_due or self._ends_with_this_epoch()):
            return {}
        self.average_model.eval()
        sums = ErrorSums(self.device)
        for batch in self.valid_batches:
            if stop.signal_number is not None:
                return None
            sums.add(evaluate_graph(self.average_model, batch.graph), batch)
        return sums.result(self.weights)

    def _end_epoch(self, errors: dict[str, float]) -> str:
        """Log the epoch, keep the best weights, adapt the learning rate; return a line on it."""
        self._check_finite()
        self._tick()
        row = self._row(errors)
        position = self.position
        position.epoch, position.batch = position.epoch + 1, 0
        self.epoch_sums.zero_()
        text = f"epoch {position.epoch}: training loss {row['train_loss']:.4g}"
        if errors:
            self._judge(errors)
            text += f", validation {errors['loss']:.4g}, {describe_errors(errors)}"
        self.folder.append_row(row)
        self.folder.note(text)
        return text

    def _judge(self, errors: dict[str, float]) -> None:
        loss, position = errors["loss"], self.position
        if not math.isfinite(loss):
            raise UserError(self._not_finite("validation loss"))
        self.schedule.after_validation(loss)
        position.num_bad += 1
        if loss < position.best_loss:
            position.best_loss, position.best_epoch, position.num_bad = loss, position.epoch, 0
            extras = {**self.extras, "validation": errors, "epoch": position.epoch}
            save_checkpoint(self.folder.best, self.average_model, **extras)

    def _row(self, errors: dict[str, float]) -> dict[str, Any]:
        position, size = self.position, self.config.batch_size
        num_samples = min(position.batch * size, len(self.train_batches))
        sums = self.epoch_sums.cpu()
        parts = (sums * self.weights.as_tensor / max(num_samples, 1)).tolist()
        num_seen = position.epoch * len(self.train_batches) + num_samples
        return {
            "epoch": position.epoch + 1,
            "step": position.step,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": sum(parts),
            **dict(
                zip(
                    ("train_loss_energy", "train_loss_forces", "train_loss_stress"),
                    parts,
                    strict=True,
                )
            ),
            **{f"valid_{name}": value for name, value in errors.items()},
            "seconds": round(position.seconds, 3),
            "samples_per_second": round(num_seen / max(position.seconds, 1e-9), 3),
        }

    # -- time and ends ----------------------------------------------------------------------------

    def _tick(self) -> None:
        now = time.monotonic()
        self.position.seconds += now - self._clock
        self._clock = now

    def _time_fraction(self) -> float:
        return (
            self.position.seconds / (60 * self.config.max_minutes)
            if self.config.time_limited
            else 0.0
        )

    def _progress(self) -> float:
        """Return the fraction of the whole training that lies behind."""
        return max(
            self._time_fraction(), self.position.step / (self.config.max_epochs * self.num_batches)
        )

    def _done(self) -> float:
        """Return the progress in the unit of the bar."""
        if self.config.time_limited:
            return self.position.seconds
        return self.position.epoch + self.position.batch / self.num_batches

    def _reason_to_stop(self, stop: StopRequest) -> Outcome | None:
        if stop.signal_number is not None:
            return Outcome.SIGNAL
        if self._time_fraction() >= 1:
            return Outcome.FINISHED
        limit = None if self.config.time_limited else self.config.max_minutes
        if limit is not None and time.monotonic() - self._started >= 60 * limit:
            return Outcome.PAUSED
        return None

    def _is_finished(self) -> bool:
        patience = self.config.early_stopping_patience
        return (
            self.position.epoch >= self.config.max_epochs
            or (self._time_fraction() >= 1 and self.position.batch == 0)
            or (patience is not None and self.position.num_bad >= patience)
        )

    def _ends_with_this_epoch(self) -> bool:
        return self.position.epoch + 1 >= self.config.max_epochs or self._time_fraction() >= 1

    def _check_finite(self) -> None:
        if not bool(torch.isfinite(self.epoch_sums).all()):
            raise UserError(self._not_finite("training loss"))

    def _not_finite(self, what: str) -> str:
        return (
            f"the {what} became NaN or infinite in epoch {self.position.epoch + 1}: lower "
            "training.learning_rate or set training.max_grad_norm; "
            f"'{self.folder.path}' keeps what was saved before"
        )

    # -- state ------------------------------------------------------------------------------------

    def draw(self) -> None:
        """Draw the learning curve of log.csv."""
        plot_learning_curve(self.folder.read_rows(), self.folder.picture)
        self._pictured = time.monotonic()

    def save_last(self) -> None:
        """Write last.pt: everything `load_state` needs."""
        save_checkpoint(
            self.folder.last, self.model, **self.extras, training_state=self.state_dict()
        )

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values."""
        state = {
            "position": dict(vars(self.position)),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "average": self.average_model.state_dict(),
            "num_updates": self.average.num_updates,
            "epoch_sums": self.epoch_sums,
            "random_state": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["cuda_random_state"] = torch.cuda.get_rng_state(self.device)
        return state

    def load_state(self, model_state: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Continue where `state_dict()` was taken."""
        self.model.load_state_dict(model_state)
        self.average_model.load_state_dict(state["average"])
        self.average.num_updates = state["num_updates"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.position = Position(**state["position"])
        self.epoch_sums.copy_(state["epoch_sums"])
        torch.set_rng_state(state["random_state"].cpu())
        if self.device.type == "cuda" and "cuda_random_state" in state:
            torch.cuda.set_rng_state(state["cuda_random_state"].cpu(), self.device)
