# SPDX-License-Identifier: MIT
"""Many labels: one file for every structure done, so that a killed labelling goes on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

from ase import Atoms

from pyictp.common.extxyz import load_structure, save_structures
from pyictp.common.files import atomic_path
from pyictp.data.frames import from_atoms
from pyictp.data.magnitudes import find_doubts
from pyictp.errors import UserError
from pyictp.labelling.settings import WHO, LabellerConfig
from pyictp.labelling.slurm import ARRAY, check_slurm, label_by_jobs
from pyictp.labelling.workers import Handler, Workers

SIGNATURE = "labeller.json"  # whose labels are in a folder


def label_structures(
    structures: Sequence[Atoms],
    settings: LabellerConfig,
    folder: Path,
    progress: Callable[[], None] | None = None,
    believed: Collection[str] = (),
) -> tuple[list[Atoms], list[tuple[int, str]]]:
    """Return the labelled structures, and number and reason of those that could not be.

    What `folder` holds of an earlier call is not labelled again, so a killed one goes on; labels
    of another labeller are.

    Args:
        structures: to label, the same at every call with this folder.
        settings: of the labeller.
        folder: gets NNNN.extxyz for each structure, or NNNN.failed with the reason.
        progress: called after each structure.
        believed: labels that must be possible; a structure with one that no matter has failed.

    Raises:
        UserError: the labeller does not start: no such program, calculator, function or package.
        UnderWay: jobs of Slurm have been submitted, and nobody wants to wait for them.
    """
    prepare(folder, settings)

    def missing() -> list[int]:
        numbers = range(len(structures))
        return [i for i in numbers if not any(p.exists() for p in files_of(folder, i))]

    if missing():
        if settings.slurm:
            fail = partial(_fail, folder)
            label_by_jobs(structures, settings, folder, missing, fail, progress)
        else:
            _label_here(structures, settings, folder, missing(), progress)
    labelled, failed = [], []
    for index in range(len(structures)):
        done, note = files_of(folder, index)
        if done.exists() and (reason := _impossible(load_structure(done), believed)):
            write_note(note, reason)
            done.unlink()
        if done.exists():
            labelled.append(load_structure(done))
        else:
            failed.append((index, note.read_text().strip()))
    return labelled, failed


def _label_here(
    structures: Sequence[Atoms],
    settings: LabellerConfig,
    folder: Path,
    todo: list[int],
    progress: Callable[[], None] | None,
) -> None:
    """Label in processes of this machine."""
    with _workers(settings, min(settings.processes, len(todo))) as workers:

        def ask(index: int) -> None:
            answer = workers.ask((structures[index], files_of(folder, index)[0]))
            reason = answer.problem or answer.value
            if reason is not None:
                _fail(folder, index, reason)

        for _ in workers.work(todo, ask):
            if progress is not None:
                progress()


def start_labeller(settings: LabellerConfig) -> None:
    """Start a process that labels, and end it; of jobs of Slurm see that there is a Slurm.

    Raises:
        UserError: it does not start: no such program, calculator, function or package.
    """
    if settings.slurm:
        check_slurm(settings)
        return
    with _workers(settings, 1) as workers:
        workers.wait_until_ready()


def forget_failures(folder: Path) -> None:
    """Let structures that failed be labelled again."""
    for note in folder.glob("*.failed"):
        note.unlink()
    (folder / ARRAY).unlink(missing_ok=True)


def files_of(folder: Path, index: int) -> tuple[Path, Path]:
    """Return the file of a label, and that which says why there is none."""
    return folder / f"{index:04}.extxyz", folder / f"{index:04}.failed"


def _fail(folder: Path, index: int, reason: str) -> None:
    write_note(files_of(folder, index)[1], reason)


def write_note(note: Path, reason: str) -> None:
    """Write why there is no label."""
    with atomic_path(note) as temporary:
        temporary.write_text(reason + "\n")


def _impossible(atoms: Atoms, believed: Collection[str]) -> str | None:
    """Return what is wrong with a label that no matter has, as training would refuse it."""
    for doubt, _ in find_doubts(from_atoms([atoms])):
        if doubt.impossible and doubt.label in believed:
            advice = "if it is right set data.check_labels to false"
            return f"labeller: {doubt.label}: {doubt.text}; {advice}"
    return None


def prepare(folder: Path, settings: LabellerConfig) -> None:
    """Make the folder; remove what is another labeller's, and what killed processes left."""
    signature = folder / SIGNATURE
    text = json.dumps({key: getattr(settings, key) for key in WHO}, indent=1)
    if signature.exists() and signature.read_text() != text:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(signature) as temporary:
        temporary.write_text(text)
    for leftover in () if settings.slurm else folder.glob("*.work.*"):  # of jobs they may be alive
        shutil.rmtree(leftover, ignore_errors=True)


def _workers(settings: LabellerConfig, number: int) -> Workers:
    return Workers(partial(_start, settings), number, settings.timeout, "labeller")


def _start(settings: LabellerConfig) -> Handler:
    """Return what labels a structure, in a worker process."""
    from pyictp.labelling.labellers import make_labeller

    labeller = make_labeller(settings)
    return lambda task, _: label(labeller, *task)


def label(labeller: Callable[[Atoms, Path], Atoms], atoms: Atoms, target: Path) -> str | None:
    """Write the label of a structure; return why there is none, the files of the attempt kept."""
    folder = target.with_name(f"{target.stem}.work.{os.getpid()}")
    folder.mkdir()
    try:
        labelled = labeller(atoms, folder)
        save_structures(target, [labelled])
        shutil.rmtree(folder)
        return None
    except UserError as error:
        reason = str(error)
    except Exception as error:  # labellers raise whatever they like, and the loop goes on
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    kept = target.with_name(f"{target.stem}_failed")
    shutil.rmtree(kept, ignore_errors=True)
    folder.rename(kept)
    reason = reason.replace(str(folder), str(kept))
    return reason if str(kept) in reason or not any(kept.iterdir()) else f"{reason} (see '{kept}')"
