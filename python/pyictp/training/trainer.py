# SPDX-License-Identifier: MIT
"""The training loop and everything it must remember to be continued bit for bit."""

from __future__ import annotations

import copy
import math
import sys
import time
from collections.abc import Sequence
from typing import Any, TextIO

import torch
from torch import Tensor, nn

from pyictp.common.interrupt import StopRequest
from pyictp.common.progress import Progress, say
from pyictp.config.load import TrainConfig, from_dict
from pyictp.data.frames import Frame
from pyictp.errors import UserError
from pyictp.graph.derivatives import evaluate_graph
from pyictp.model.ictp import ICTPModel
from pyictp.potential.checkpoint import load_checkpoint, save_checkpoint
from pyictp.training.batches import Batch, BatchPlan
from pyictp.training.curves import plot_learning_curve
from pyictp.training.divergence import Diverged, LossWatch, describe, save_failed
from pyictp.training.loss import ErrorSums, LossWeights, describe_errors, squared_errors
from pyictp.training.optimisation import Schedule, WeightAverage, make_optimizer
from pyictp.training.parallel import SINGLE, Processes
from pyictp.training.position import Clock, Outcome, Position
from pyictp.training.run_folder import FAILED, RunFolder

PICTURE_INTERVAL = 300.0  # s between two drawings of the learning curve
MAX_ROLLBACKS = 3


class Trainer:
    """Model, average of its weights, optimiser, schedule and position; `run` is the loop.

    With several processes each has its own, and all do the same but for their share of the
    structures; methods called collective must be called by all.
    """

    def __init__(
        self,
        model: ICTPModel,
        train: Sequence[Batch],
        valid: Sequence[Batch],
        config: TrainConfig,
        folder: RunFolder,
        processes: Processes = SINGLE,
        quiet: bool = False,
    ) -> None:
        """Take batches of one structure each, on the model's device, the same on each process.

        A quiet one shows no progress.
        """
        self.quiet = quiet
        self.model, self.config, self.folder, self.processes = model, config, folder, processes
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.device = self.parameters[0].device
        self.train_batches = list(train)
        self.frames: Sequence[Frame] = ()  # of the training structures, to name those that diverge
        self.batches = BatchPlan(self.train_batches, config, processes)
        self.valid_batches = BatchPlan(valid, config, processes).in_order()
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
        self.clock = Clock(config, self.position, processes)
        self.watch = LossWatch(self.weight_tensor, config.divergence_factor, self.device, processes)
        self.extras: dict[str, Any] = {}  # further entries of every checkpoint
        self.first_step = 0  # of this session
        self._plan = self.batches.epoch(0)
        self._used: list[bool] | None = None  # parameters that get a gradient
        self._pictured = time.monotonic()

    # -- the loop ---------------------------------------------------------------------------------

    def run(self, stop: StopRequest) -> Outcome:
        """Train until the end, a signal or the end of this session's time; save the state.

        Collective.

        Raises:
            UserError: the loss diverged, or a file cannot be written.
        """
        self.first_step = self.position.step
        self.clock.start()
        hidden = self.quiet or not self.processes.is_first
        bar = Progress(self.clock.total, self._done(), self.clock.in_seconds, hidden)
        try:
            outcome = None
            while outcome is None and not self.clock.is_finished():
                try:
                    outcome = self._run_epoch(stop, bar)
                except Diverged as error:
                    self._recover(error)
        finally:
            bar.close()
        with self.processes.together():
            self.save_last()
            self.draw()
        return outcome or Outcome.FINISHED

    def _run_epoch(self, stop: StopRequest, bar: Progress) -> Outcome | None:
        """Do the rest of the epoch under way; return why it was left early, if it was."""
        outcome = self._train_epoch(stop, bar)
        self.watch.look()
        self.clock.tick(stop)
        if outcome is not None and outcome is not Outcome.FINISHED:
            return outcome
        trained_seconds = self.position.epoch_seconds
        errors = self._validate(stop)
        if errors is None:
            return Outcome.SIGNAL
        if not math.isfinite(errors.get("loss", 0.0)):
            raise Diverged("validation loss became NaN or infinite", self.watch.last_steps)
        with self.processes.together():
            bar.show(self._end_epoch(errors, trained_seconds))
            # what last.pt holds must be good to come back to
            if self.position.epoch % self.config.save_every == 0 and not self.watch.num_high:
                self.save_last()
            if time.monotonic() - self._pictured > PICTURE_INTERVAL:
                self.draw()
        return None

    def _train_epoch(self, stop: StopRequest, bar: Progress) -> Outcome | None:
        position = self.position
        self.model.train()
        while position.batch < len(self._plan):
            self.clock.tick(stop)
            reason = self.clock.reason_to_stop()
            if reason is not None:
                return reason
            chosen = self._plan[position.batch]
            sums = self._step(self.batches.own(chosen))
            position.batch += 1
            position.step += 1
            self.watch.add(sums, position.step, chosen)
            bar.move_to(self._done(), self._first_steps())
            self.clock.warn_of_few_epochs(len(self._plan))
        return None

    def _first_steps(self) -> str:
        """Return a line on the epoch under way, before a validation says more."""
        position = self.position
        return "" if position.epoch else f"epoch 1: {position.batch} of {len(self._plan)} steps"

    def _step(self, batch: Batch | None) -> Tensor:
        """Do a step; return this process' (3,) sums of squared errors, on the device."""
        rate = self.schedule.learning_rate(self.clock.progress(len(self._plan)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * self.position.rate_factor
        self.optimizer.zero_grad(set_to_none=True)
        sums = torch.zeros(3, dtype=torch.float64, device=self.device)
        with self.processes.together():
            if batch is not None:
                prediction = evaluate_graph(self.model, batch.graph, training=True)
                sums = squared_errors(prediction, batch)
                # Named inputs: nothing is spent on second derivatives with respect to edge vectors.
                (self.weight_tensor @ sums).backward(inputs=self.parameters)
        self._sum_gradients()
        if self.config.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm)
        self.optimizer.step()
        if self.average_model is not self.model:
            self.average.update()
        return sums.detach()

    def _sum_gradients(self) -> None:
        if self.processes.size == 1:
            return
        if self._used is None:  # by the architecture alone: the same in every step
            flags = self.processes.largest(*[float(p.grad is not None) for p in self.parameters])
            self._used = [bool(flag) for flag in flags]
        self.processes.sum_gradients(self.parameters, self._used)

    def _validate(self, stop: StopRequest) -> dict[str, float] | None:
        """Return the errors of the averaged weights, {} if none are due, None if a signal came."""
        is_due = (self.position.epoch + 1) % self.config.valid_every == 0
        if not (is_due or self.clock.is_last_epoch()):
            return {}
        self.average_model.eval()
        sums = ErrorSums(self.device)
        with self.processes.together():
            for batch in self.valid_batches:
                if stop.signal_number is not None:
                    break
                sums.add(evaluate_graph(self.average_model, batch.graph), batch)
        self.clock.tick(stop)
        if self.clock.is_signalled:
            return None
        self.processes.sum_attributes(sums)
        return sums.result(self.weights)

    # -- ends of epochs ---------------------------------------------------------------------------

    def _end_epoch(self, errors: dict[str, float], trained_seconds: float) -> str:
        """Log the epoch, keep the best weights, adapt the learning rate; return a line on it."""
        position = self.position
        row = self._row(errors, trained_seconds)
        position.epoch, position.batch, position.epoch_seconds = position.epoch + 1, 0, 0.0
        self.watch.end_epoch()
        self._plan = self.batches.epoch(position.epoch)
        text = f"epoch {position.epoch}: training loss {row['train_loss']:.4g}"
        if errors:
            self._judge(errors)
            text += f", validation {errors['loss']:.4g}, {describe_errors(errors)}"
        text += (
            f"; {row['epoch_seconds']:.3g} s, {row['epoch_samples_per_second']:.4g} structures/s"
        )
        self.folder.append_row(row)
        self.folder.note(text)
        return text

    def _judge(self, errors: dict[str, float]) -> None:
        loss, position = errors["loss"], self.position
        self.schedule.after_validation(loss)
        position.num_bad += 1
        if loss < position.best_loss:
            position.best_loss, position.best_epoch, position.num_bad = loss, position.epoch, 0
            extras = {**self.extras, "validation": errors, "epoch": position.epoch}
            if self.folder.is_writer:
                save_checkpoint(self.folder.best, self.average_model, **extras)

    def _row(self, errors: dict[str, float], trained_seconds: float) -> dict[str, Any]:
        position = self.position
        num_samples = sum(len(chosen) for chosen in self._plan[: position.batch])
        parts = (self.watch.epoch_sums * self.weights.as_tensor / max(num_samples, 1)).tolist()
        num_seen = position.epoch * len(self.train_batches) + num_samples
        names = ("train_loss_energy", "train_loss_forces", "train_loss_stress")
        return {
            "epoch": position.epoch + 1,
            "step": position.step,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": sum(parts),
            **dict(zip(names, parts, strict=True)),
            **{f"valid_{name}": value for name, value in errors.items()},
            "seconds": round(position.seconds, 3),
            "samples_per_second": round(num_seen / max(position.seconds, 1e-9), 3),
            "epoch_seconds": round(position.epoch_seconds, 3),
            "epoch_samples_per_second": round(num_samples / max(trained_seconds, 1e-9), 3),
        }

    def _done(self) -> float:
        return self.clock.done(len(self._plan))

    # -- divergence -------------------------------------------------------------------------------

    def _recover(self, error: Diverged) -> None:
        """Save the structures that may have done it; go back to last.pt if told so, or end."""
        with self.processes.together():
            text = f"the {error.reason} in epoch {self.position.epoch + 1}"
            if error.suspects:
                text += f", {describe(error, self.frames)}: see '{self.folder.path / FAILED}'"
                if self.folder.is_writer:
                    save_failed(self.folder.path / FAILED, error, self.frames)
            is_last = self.position.num_rollbacks >= MAX_ROLLBACKS
            if self.config.on_divergence == "stop" or is_last:
                raise UserError(self._advice(text))
            self._roll_back(text)

    def _advice(self, text: str) -> str:
        tried = self.position.num_rollbacks
        text += f"; {tried} rollbacks did not help" if tried else ""
        self.folder.note(text)
        return (
            f"{text}; lower training.learning_rate, set training.max_grad_norm"
            + ("" if tried else " or training.on_divergence to rollback")
            + f"; '{self.folder.path}' keeps what was saved before"
        )

    def _roll_back(self, text: str) -> None:
        """Continue from last.pt with a lower learning rate."""
        failed = self.position
        payload = load_checkpoint(self.folder.last)
        self.load_state(payload["model_state"], payload["training_state"])
        position = self.position
        position.seconds = failed.seconds  # that time is spent
        if failed.best_loss < position.best_loss:  # best.pt stays
            position.best_loss, position.best_epoch = failed.best_loss, failed.best_epoch
        position.num_rollbacks = failed.num_rollbacks + 1
        position.rate_factor = failed.rate_factor * self.config.rollback_factor
        self.folder.drop_rows_after(position.epoch)
        self.folder.note(
            f"{text}; back to epoch {position.epoch}, step {position.step}, with "
            f"{position.rate_factor:g} of the learning rate "
            f"(rollback {position.num_rollbacks} of at most {MAX_ROLLBACKS})"
        )
        self.save_last()

    # -- state ------------------------------------------------------------------------------------

    def say(self, text: str, file: TextIO | None = None) -> None:
        """Note a line in ictp.log and print it, once for all processes."""
        self.folder.note(text)
        if self.processes.is_first and (file is sys.stderr or not self.quiet):
            say(text, file)

    def draw(self) -> None:
        """Draw the learning curve of log.csv."""
        if self.folder.is_writer:
            plot_learning_curve(self.folder.read_rows(), self.folder.picture)
        self._pictured = time.monotonic()

    def save_last(self) -> None:
        """Write last.pt: everything `load_state` needs."""
        if self.folder.is_writer:
            state = self.state_dict()
            save_checkpoint(self.folder.last, self.model, **self.extras, training_state=state)

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values."""
        state = {
            "position": dict(vars(self.position)),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "average": self.average_model.state_dict(),
            "num_updates": self.average.num_updates,
            **self.watch.state_dict(),
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
        self.position = self.clock.position = from_dict(Position, state["position"], "position")
        self.watch.load_state_dict(state)
        self._plan = self.batches.epoch(self.position.epoch)
        torch.set_rng_state(state["random_state"].cpu())
        if self.device.type == "cuda" and "cuda_random_state" in state:
            torch.cuda.set_rng_state(state["cuda_random_state"].cpu(), self.device)
