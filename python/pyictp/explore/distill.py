# SPDX-License-Identifier: MIT
"""The end of a distillation: the student, one small model, beside the teacher that labelled."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from ase.calculators.calculator import all_changes

from pyictp.common.extxyz import load_structures
from pyictp.errors import UserError
from pyictp.explore.frames import to_frames
from pyictp.explore.loop import TEST, Exploration
from pyictp.explore.retrain import export_committee
from pyictp.explore.settings import ExploreConfig
from pyictp.labelling.teacher import make_teacher
from pyictp.potential.calculator import ICTPCalculator
from pyictp.potential.exported import load_exported
from pyictp.reports.evaluate import evaluate_frames

STUDENT = "student.pt"
SECONDS = 30.0  # after so long no further structure is timed
KEYS = ("energy_rmse_mev_per_atom", "force_rmse_mev_per_a", "stress_rmse_gpa")


def check_distillation(config: ExploreConfig) -> None:
    """Refuse what could not be compared at the end.

    Raises:
        UserError: no structures are held back, or the teacher works in jobs of Slurm.
    """
    if not config.explore.test:
        raise UserError(
            "explore.test: expected structures held back, on which student and teacher are "
            "compared, got none"
        )
    if config.labeller.slurm:
        raise UserError(
            "labeller.slurm: the teacher is timed beside the student, in one process: leave it "
            "out, and run ictp distill itself as a job"
        )


def compare(exploration: Exploration, cycle: int) -> dict[str, Any]:
    """Export the first model of a cycle as the student; return how far and how fast it is.

    Errors are those of the student against the teacher's labels on the structures held back; times
    are of energy and forces of the same structures by both, in turns, as calculators of ASE.

    Args:
        exploration: done up to that cycle.
        cycle: the last one.
    """
    folder = exploration.folder.resolve()
    student = folder / STUDENT
    export_committee([folder / f"cycle_{cycle}" / "member_0"], student)
    structures = load_structures(folder / TEST)
    errors = evaluate_frames(load_exported(student), to_frames(structures))
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        teacher = make_teacher(exploration.config.labeller, Path(scratch))
        timed = _time(structures, [teacher, ICTPCalculator(student)])
    return {
        "file": str(exploration.folder / STUDENT),
        "frames": len(structures),
        **{key: errors[key] for key in KEYS if errors.get(key) is not None},
        **timed,
    }


def _time(structures: Sequence[Atoms], both: Sequence[Any]) -> dict[str, Any]:
    """Return the times of teacher and student for one atom [ms] and how they compare."""
    bare = [Atoms(a.numbers, a.positions, cell=a.cell, pbc=a.pbc) for a in structures]
    for calculator in both:
        _seconds(bare[0], calculator)  # what is loaded and compiled at the first call
    spent, atoms = [0.0, 0.0], 0
    for structure in bare:
        for who, calculator in enumerate(both):
            spent[who] += _seconds(structure, calculator)
        atoms += len(structure)
        if sum(spent) > SECONDS:
            break
    teacher, student = (1000 * seconds / atoms for seconds in spent)
    return {
        "teacher_ms_per_atom": teacher,
        "student_ms_per_atom": student,
        "times_faster": teacher / student,
        "threads": torch.get_num_threads(),
    }


def _seconds(structure: Atoms, calculator: Any) -> float:
    """Return the time of energy and forces [s]; nothing known from before is used."""
    start = time.perf_counter()
    calculator.calculate(structure.copy(), ["energy", "forces"], all_changes)
    return time.perf_counter() - start


def describe(found: dict[str, Any]) -> list[str]:
    """Return a comparison as lines for people."""
    units = dict(
        zip(
            KEYS,
            ("energy {:.2f} meV/atom", "forces {:.1f} meV/A", "stress {:.3f} GPa"),
            strict=True,
        )
    )
    errors = ", ".join(units[key].format(found[key]) for key in KEYS if key in found)
    return [
        f"student '{found['file']}' beside its teacher: RMSE on {found['frames']} frames held "
        f"back: {errors}",
        f"energy and forces in Python, {found['threads']} threads: teacher "
        f"{found['teacher_ms_per_atom']:.3g} ms/atom, student "
        f"{found['student_ms_per_atom']:.3g} ms/atom: {found['times_faster']:.1f} times faster",
    ]
