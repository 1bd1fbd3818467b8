# SPDX-License-Identifier: MIT
"""Configuration and data to a trained model in a run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pyictp.common.interrupt import StopRequest, Terminated
from pyictp.config.load import Config, ModelConfig, to_dict
from pyictp.data.samples import Sample
from pyictp.errors import UserError
from pyictp.model.ictp import ICTPModel
from pyictp.model.kinds import new_model
from pyictp.potential.checkpoint import load_checkpoint, provide_core
from pyictp.potential.extrapolation import add_grade, grade_of
from pyictp.potential.load import resolve_device
from pyictp.reports.training import write_training_report
from pyictp.training.batches import Batch, single
from pyictp.training.continuation import check_finetune, check_resume, starting_checkpoint
from pyictp.training.finetune import prepare_finetuning, starting_model
from pyictp.training.freezing import select_trainable
from pyictp.training.loggers import check_installed, loggers
from pyictp.training.parallel import SINGLE, Processes
from pyictp.training.prepare import TrainingData, prepare_data
from pyictp.training.provenance import PRETRAINING, describe_training, inherit
from pyictp.training.run_folder import RunFolder
from pyictp.training.trainer import Outcome, Trainer

logger = logging.getLogger("pyictp")
REPORT_BATCH_SIZE = 16  # where training.batch_size is null


def train(
    config: Config,
    *,
    resume: bool = False,
    overwrite: bool = False,
    finetune: str | Path | None = None,
    given_model: Mapping[str, Any] | None = None,
    stop: StopRequest | None = None,
    processes: Processes = SINGLE,
    origin: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> tuple[Trainer, Outcome]:
    """Train a model and return the trainer with the reason why it ended.

    Args:
        config: everything there is to set.
        resume: continue the training in `config.training.output`.
        overwrite: replace it.
        finetune: run folder or checkpoint to take architecture, elements and weights from.
        given_model: model keys that must agree with the model to fine-tune.
        stop: tells afterwards which signal stopped the training.
        processes: which train together, all calling this with the same arguments.
        origin: what the model shall keep of where its labels are from, under `pretraining`.
        quiet: show no progress; the log has it.

    Raises:
        UserError: configuration, data and run folder do not go together, the loss diverged, or a
            file cannot be written.
    """
    check_installed(config.training.log_to)
    with contextlib.ExitStack() as held:  # of the run folder, to the end
        with processes.together():
            trainer, data, notes = _prepare(
                config, resume, overwrite, finetune, given_model or {}, processes, held, quiet
            )
        if origin is not None and not resume:
            trainer.extras["provenance"][PRETRAINING] = dict(origin)
        for model in (trainer.model, trainer.average_model):
            processes.copy_first(model)
        with processes.together():
            verb = "fine-tuning" if finetune else "continuing" if resume else "training"
            _open(trainer, config, resume, overwrite)
            _follow(trainer, config, held)
            _announce(trainer, data, verb)
            for text in notes:
                trainer.say(text)
        with stop or StopRequest() as request:
            outcome = trainer.run(request)
        if outcome is not Outcome.SIGNAL:
            _conclude(trainer, data)
    return trainer, outcome


def train_to_end(
    config: Config,
    finetune: Path | None = None,
    origin: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Train, go on with a training that was stopped, or do nothing where it has ended.

    Args:
        config: of the training.
        finetune: as `train`, here and below.
        origin: what the model keeps.
        quiet: show no progress.

    Returns:
        Epochs, seconds and the best validation loss.

    Raises:
        UserError: as `train`.
        KeyboardInterrupt, Terminated: a signal came; the state is saved.
    """
    run = RunFolder(config.training.output)
    if not _has_ended(run):
        stop, is_resumed = StopRequest(), run.last.exists()
        _, outcome = train(
            config,
            resume=is_resumed,
            overwrite=not is_resumed,
            finetune=None if is_resumed else finetune,
            stop=stop,
            origin=origin,
            quiet=quiet,
        )
        if outcome is Outcome.SIGNAL:
            raise KeyboardInterrupt if stop.exit_code == 130 else Terminated
    position = load_checkpoint(run.last)["training_state"]["position"]
    return {
        "epochs": position["epoch"],
        "seconds": round(position["seconds"], 1),
        "best_validation_loss": position["best_loss"],
    }


def _has_ended(run: RunFolder) -> bool:
    """Return whether a training ended: the grade is the last thing that it writes."""
    if not (run.best.exists() and run.last.exists()):
        return False
    return grade_of(load_checkpoint(run.best)) is not None


def _conclude(trainer: Trainer, data: TrainingData) -> None:
    """Add to the run folder what comes after the last step."""
    if trainer.processes.is_first and trainer.folder.best.is_file():
        add_grade(trainer.folder.best, (sample.graph for sample in data.train))
    if trainer.config.report:
        size = trainer.config.batch_size or REPORT_BATCH_SIZE
        write_training_report(
            trainer.folder, data.valid.frames, trainer.device, size, trainer.quiet
        )


def _prepare(
    config: Config,
    resume: bool,
    overwrite: bool,
    finetune: str | Path | None,
    given_model: Mapping[str, Any],
    processes: Processes,
    held: contextlib.ExitStack,
    quiet: bool,
) -> tuple[Trainer, TrainingData, list[str]]:
    """Return all there is before the first step; nothing is changed but that the folder is made.

    From then on no other training enters the folder, until `held` ends.
    """
    settings = config.training
    folder = RunFolder(settings.output, processes.is_first)
    if not processes.is_first:
        logger.setLevel(logging.ERROR)  # one warning is enough
    if resume and finetune:
        raise UserError("--finetune starts a new training: leave it out to --resume one")
    folder.check(resume, overwrite, keep=finetune)
    device = resolve_device(processes.device(settings.device))
    start: Mapping[str, Any] = {}
    architecture, known = config.model, tuple[str, ...]()
    if finetune:
        start = starting_checkpoint(finetune)
        architecture = check_finetune(given_model, start)
        known = tuple(start["model_config"]["elements"])
    held.enter_context(folder.held())  # before the long work: it may not be allowed
    folder.check(resume, overwrite, keep=finetune)  # another training may have ended just now
    folder.make()
    if resume:
        start = load_checkpoint(folder.last)
        architecture = check_resume(config, start)
        known = architecture.elements
    if settings.num_threads is not None:
        torch.set_num_threads(settings.num_threads)
    data = prepare_data(
        dataclasses.replace(config, model=architecture),
        progress=processes.is_first and not quiet,
        known=known,
        extend=bool(finetune),
    )
    provenance = describe_training(data, config)
    if finetune:
        provenance = inherit(provenance, start, Path(finetune))
    extras = {"config": to_dict(config), "provenance": provenance}
    trainer = _make_trainer(config, folder, data, start, extras, device, processes, quiet)
    if resume:
        _resume(trainer, start)
    notes = prepare_finetuning(trainer, config, known, data.isolated) if finetune else []
    return trainer, data, notes


def _open(trainer: Trainer, config: Config, resume: bool, overwrite: bool) -> None:
    """Make the run folder ready; from its first file on a killed training can be resumed."""
    folder = trainer.folder
    folder.open(overwrite)
    if not resume:
        trainer.save_last()
    folder.drop_rows_after(trainer.position.epoch)
    folder.write_config(dataclasses.replace(config, model=trainer.model.config))


def _follow(trainer: Trainer, config: Config, held: contextlib.ExitStack) -> None:
    """Hand each epoch to the programs of training.log_to, to the end of `held`."""
    folder = trainer.folder
    if folder.is_writer and config.training.log_to:
        plain = to_dict(dataclasses.replace(config, model=trainer.model.config))
        epoch = trainer.position.epoch
        folder.followers += held.enter_context(
            loggers(config.training.log_to, folder.path, plain, epoch)
        )


def _make_trainer(
    config: Config,
    folder: RunFolder,
    data: TrainingData,
    start: Mapping[str, Any],
    extras: dict[str, Any],
    device: torch.device,
    processes: Processes = SINGLE,
    quiet: bool = False,
) -> Trainer:
    if len(data.valid) == 0:
        raise UserError(
            "no validation frames: set data.valid, data.num_valid or data.valid_fraction"
        )
    dtype = getattr(torch, config.training.dtype)
    torch.manual_seed(config.training.seed)
    if not start:
        model = _new_model(config.model, data)
    else:
        model = starting_model(start, data.elements, data.statistics.e0, dtype)
    select_trainable(model, config.training.trainable)
    train_batches, valid_batches = _batches(data.train, device), _batches(data.valid, device)
    r_min, knots = data.train.shortest_edge, config.training.radial_knots
    if knots is not None and r_min < data.train.r_cut:
        model.interpolate_radial(r_min, knots)
    provide_core(model, extras["provenance"])
    model.to(device, dtype)
    trainer = Trainer(
        model, train_batches, valid_batches, config.training, folder, processes, quiet
    )
    trainer.extras = extras
    trainer.frames = data.train.frames
    return trainer


def _batches(samples: Sequence[Sample], device: torch.device) -> list[Batch]:
    return [single(sample).to(device) for sample in samples]


def _new_model(architecture: ModelConfig, data: TrainingData) -> ICTPModel:
    """Return a model with random weights and the statistics of the training data."""
    neighbors = architecture.avg_num_neighbors
    if neighbors is None:
        neighbors = data.statistics.avg_num_neighbors
    model = new_model(
        dataclasses.replace(architecture, elements=data.elements, avg_num_neighbors=neighbors)
    )
    for name in ("scale", "shift", "e0"):
        getattr(model, name).copy_(torch.from_numpy(getattr(data.statistics, name)))
    return model


def _resume(trainer: Trainer, start: Mapping[str, Any]) -> None:
    now = trainer.extras["provenance"]
    former = start["provenance"]
    for key in ("num_train", "num_valid"):
        number = former.get(key)
        if number != now[key]:
            raise UserError(
                f"--resume: {key} was {number} and is {now[key]} now: the data have changed"
            )
    if former.get("data_digest") != now["data_digest"]:
        raise UserError(
            "--resume: expected the structures and labels that the training was started with, got "
            "others: put the old data back, or start anew with another training.output"
        )
    try:
        trainer.load_state(start["model_state"], start["training_state"])
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"--resume: the state in '{trainer.folder.last}' is not that of such a training "
            f"({' '.join(str(error).split())[:200]}): put the old file back, or start anew with "
            "another training.output"
        ) from error
    trainer.extras["provenance"] = former


def _announce(trainer: Trainer, data: TrainingData, verb: str) -> None:
    model, settings = trainer.model, trainer.config
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    num_trained = sum(parameter.numel() for parameter in trainer.parameters)
    part = "" if num_trained == num_parameters else f" ({num_trained} of them trained)"
    text = (
        f"{verb} {' '.join(data.elements)} "
        f"in '{trainer.folder.path}': {len(data.train)} + {len(data.valid)} frames, "
        f"{num_parameters} parameters{part}, "
        f"{settings.dtype} on {trainer.device} ({torch.get_num_threads()} threads), "
        f"{model.config.avg_num_neighbors:.1f} neighbors per atom"
    )
    if settings.stress_weight == 0 and any(sample.stress is not None for sample in data.train):
        text += "; stresses are not trained: set training.stress_weight above 0 for that"
    if trainer.processes.size > 1:
        text += f", {trainer.processes.size} processes"
    trainer.say(text)
