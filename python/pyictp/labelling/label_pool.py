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
from pyictp.labelling.workers import Handler, Workers


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
    """
    _prepare(folder, settings)
    todo = [i for i in range(len(structures)) if not any(p.exists() for p in _files(folder, i))]
    if todo:
        with _workers(settings, min(settings.processes, len(todo))) as workers:

            def label(index: int) -> None:
                done, note = _files(folder, index)
                answer = workers.ask((structures[index], done))
                reason = answer.problem or answer.value
                if reason is not None:
                    _write_note(note, reason)

            for _ in workers.work(todo, label):
                if progress is not None:
                    progress()
    labelled, failed = [], []
    for index in range(len(structures)):
        done, note = _files(folder, index)
        if done.exists() and (reason := _impossible(load_structure(done), believed)):
            _write_note(note, reason)
            done.unlink()
        if done.exists():
            labelled.append(load_structure(done))
        else:
            failed.append((index, note.read_text().strip()))
    return labelled, failed


def start_labeller(settings: LabellerConfig) -> None:
    """Start a process that labels, and end it.

    Raises:
        UserError: it does not start: no such program, calculator, function or package.
    """
    with _workers(settings, 1) as workers:
        workers.wait_until_ready()


def forget_failures(folder: Path) -> None:
    """Let structures that failed be labelled again."""
    for note in folder.glob("*.failed"):
        note.unlink()


def _files(folder: Path, index: int) -> tuple[Path, Path]:
    return folder / f"{index:04}.extxyz", folder / f"{index:04}.failed"


def _write_note(note: Path, reason: str) -> None:
    with atomic_path(note) as temporary:
        temporary.write_text(reason + "\n")


def _impossible(atoms: Atoms, believed: Collection[str]) -> str | None:
    """Return what is wrong with a label that no matter has, as training would refuse it."""
    for doubt, _ in find_doubts(from_atoms([atoms])):
        if doubt.impossible and doubt.label in believed:
            advice = "if it is right set data.check_labels to false"
            return f"labeller: {doubt.label}: {doubt.text}; {advice}"
    return None


def _prepare(folder: Path, settings: LabellerConfig) -> None:
    """Make the folder; remove what is another labeller's, and what killed processes left."""
    signature = folder / "labeller.json"
    text = json.dumps({key: getattr(settings, key) for key in WHO}, indent=1)
    if signature.exists() and signature.read_text() != text:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(signature) as temporary:
        temporary.write_text(text)
    for leftover in folder.glob("*.work.*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _workers(settings: LabellerConfig, number: int) -> Workers:
    return Workers(partial(_start, settings), number, settings.timeout, "labeller")


def _start(settings: LabellerConfig) -> Handler:
    """Return what labels a structure, in a worker process."""
    from pyictp.labelling.labellers import make_labeller

    labeller = make_labeller(settings)
    return lambda task, _: _label(labeller, *task)


def _label(labeller: Callable[[Atoms, Path], Atoms], atoms: Atoms, target: Path) -> str | None:
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
    return reason.replace(str(folder), str(kept))
