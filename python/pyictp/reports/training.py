# SPDX-License-Identifier: MIT
"""The report of a training on its validation frames: at its end, and again by `ictp report`."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from pyictp.common.files import atomic_path
from pyictp.common.progress import say as show
from pyictp.config.data_files import as_data_file
from pyictp.config.load import Config, load_config
from pyictp.config.run_fields import as_in_run
from pyictp.data.frames import Frame
from pyictp.errors import UserError
from pyictp.potential.checkpoint import load_checkpoint
from pyictp.potential.load import load_model
from pyictp.reports.evaluate import labelled_frames, predict
from pyictp.reports.metrics import metrics
from pyictp.training.prepare import read_split
from pyictp.training.run_folder import RunFolder

logger = logging.getLogger("pyictp")


def report_run(
    run: str | Path,
    data: Sequence[str],
    output: Path | None,
    command: str,
    device: torch.device,
    batch_size: int,
    say: Callable[[str], None],
    quiet: bool = False,
) -> Path:
    """Write the report of a training; return where.

    Args:
        run: training folder.
        data: files of labelled structures; none: those the training has validated on.
        output: HTML file; None: report.html of the run.
        command: makes the report again.
        device: where to compute.
        batch_size: structures per evaluation.
        say: takes lines on how files are read.
        quiet: show no progress.

    Raises:
        UserError: as `labelled_frames`, `validation_frames` and `make_report`; the folder holds no
            training that has validated once.
    """
    from pyictp.reports.page import check_report_path

    folder = RunFolder(run)
    output = output or folder.path / "report.html"
    check_report_path(output)
    for name in ("config.yaml", "best.pt"):
        if not (folder.path / name).is_file():
            raise UserError(
                f"'{folder.path}' holds no {name}: expected a training folder that has validated "
                "once"
            )
    config = load_config(folder.path / "config.yaml")
    if data:
        files, section, lines = as_in_run(data, config.data, {})
        for line in lines:
            say(line)
        frames = labelled_frames(files, section, f"data.*_key in '{folder.path}'", say)
        names = ", ".join(Path(name).name for name in data)
        about = (f"frames of {names}", tuple(data))
    else:
        frames, about = validation_frames(folder, config), ("validation frames", ())
    output.parent.mkdir(parents=True, exist_ok=True)
    make_report(folder, output, frames, about, command, device, batch_size, quiet)
    return output


def validation_frames(folder: RunFolder, config: Config) -> list[Frame]:
    """Return the frames that a training has validated on, read again.

    Raises:
        UserError: a data file is not there any more, or the files hold other numbers of frames.
    """
    advice = f"name labelled structures: ictp report {shlex.quote(str(folder.path))} DATA"
    files = [as_data_file(entry) for entry in (*config.data.train, *config.data.valid)]
    gone = [file.file for file in files if file.weight > 0 and not Path(file.file).exists()]
    if gone or not files:
        what = f"'{gone[0]}' is not there" if gone else "config.yaml names no data"
        more = f" (nor are {len(gone) - 1} other files)" if len(gone) > 1 else ""
        raise UserError(
            f"the validation frames of '{folder.path}' cannot be read again: {what}{more}: {advice}"
        )
    train, valid, _ = read_split(config)
    provenance = load_checkpoint(folder.best).get("provenance", {})
    for name, number in (("num_train", len(train)), ("num_valid", len(valid))):
        if provenance.get(name, number) != number:
            raise UserError(
                f"the data of '{folder.path}' have changed: {name} was {provenance[name]} and is "
                f"{number} now: {advice}"
            )
    return valid


def make_report(
    folder: RunFolder,
    output: Path,
    frames: Sequence[Frame],
    about: tuple[str, Sequence[str]],
    command: str,
    device: torch.device,
    batch_size: int,
    quiet: bool = False,
) -> None:
    """Write a report of best.pt on some frames: HTML, and JSON beside it.

    Args:
        folder: of the training.
        output: the HTML file.
        frames: labelled structures.
        about: the frames in words, and files that may be among the training data.
        command: makes the report again.
        device: where to compute.
        batch_size: structures per evaluation.
        quiet: show no progress.

    Raises:
        UserError: as `predict`; a file cannot be written.
    """
    from pyictp.reports.page import Subject, report_numbers, write_report

    parity = predict(load_model(folder.best, device), frames, batch_size, not quiet)
    result = metrics(parity)
    again = ["ictp", "train", str(folder.path / "config.yaml"), "training.output=again"]
    start = load_checkpoint(folder.best).get("provenance", {}).get("finetuned_from")
    again += ["--finetune", start] if start else []
    subject = Subject(folder.path, about[0], (shlex.join(again), command), tuple(about[1]))
    write_report(output, subject, parity, result)
    with atomic_path(output.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(report_numbers(subject, result), indent=2) + "\n")


def write_training_report(
    folder: RunFolder, frames: Sequence[Frame], device: torch.device, batch_size: int, quiet: bool
) -> None:
    """Write RUN/report.html and RUN/report.json; a warning if that fails, never an error.

    Args:
        folder: of the training; nothing is done without a best.pt, or if another process writes.
        frames: the validation frames.
        device: where to compute.
        batch_size: structures per evaluation.
        quiet: show no progress.
    """
    if not (folder.is_writer and folder.best.is_file()):
        return
    output = folder.path / "report.html"
    command = shlex.join(["ictp", "report", str(folder.path)])
    try:
        about = ("validation frames", ())
        make_report(folder, output, frames, about, command, device, batch_size, quiet)
    except (Exception, KeyboardInterrupt) as error:  # the training is done and saved
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        reason = str(error) if isinstance(error, UserError) else reason
        logger.warning("no report: %s; the training is saved; try again: %s", reason, command)
        return
    folder.note(f"report: '{output}'")
    show(f"report: '{output}'")
