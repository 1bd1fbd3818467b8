# SPDX-License-Identifier: MIT
"""From checkpoints of training runs to the one file that LAMMPS reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyictp.common.files import writing
from pyictp.graph.graph import Graph
from pyictp.potential.checkpoint import build_model
from pyictp.potential.distances import KEY, shortest_distances
from pyictp.potential.export import export_model
from pyictp.potential.extrapolation import fit_grade, grade_of


@dataclass(frozen=True)
class ExportedRuns:
    """What is known of a file that was written."""

    deviation: float  # from the trained models on the reference structure [eV, eV/A]
    has_grade: bool


def export_runs(
    payloads: Sequence[Mapping[str, Any]],
    path: str | Path,
    dtype: str = "float32",
    portable: bool = False,
    radial: str = "table",
    training: Sequence[Graph] = (),
) -> ExportedRuns:
    """Write the models of some checkpoints as one file; its grade is that of the first.

    Args:
        payloads: contents of the checkpoints.
        path: the file to write; its folder is made.
        dtype: as `export_model` has it.
        portable: as `export_model` has it.
        radial: as `export_model` has it.
        training: structures that the first model was trained on, for the grade; none: the one
            that the training has left, if it has.

    Raises:
        UserError: as `export_model`.
    """
    models = [build_model(payload) for payload in payloads]
    provenances = [dict(payload.get("provenance", {})) for payload in payloads]
    grade = grade_of(payloads[0])
    if training:
        grade = fit_grade(models[0], training)
        if KEY not in provenances[0]:
            provenances[0][KEY] = shortest_distances(training, models[0].config.elements)
    folder = Path(path).parent
    if not folder.exists():
        with writing(path):
            folder.mkdir(parents=True)
    deviation = export_model(models, path, dtype, provenances, portable, radial, grade)
    return ExportedRuns(deviation, grade is not None)
