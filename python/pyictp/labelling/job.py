# SPDX-License-Identifier: MIT
"""A task of an array of Slurm: python -m pyictp.labelling.job FOLDER NAME labels one structure."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from ase import Atoms

from pyictp.common.extxyz import load_structures
from pyictp.config.reader import from_dict
from pyictp.errors import UserError
from pyictp.labelling.label_pool import SIGNATURE, files_of, label, write_note
from pyictp.labelling.labellers import make_labeller
from pyictp.labelling.settings import LabellerConfig
from pyictp.labelling.slurm import STRUCTURES, is_current, own_task


def main(folder: Path, name: str) -> None:
    """Label the structure of this task, or note why it cannot be; nothing for a former array."""
    index = own_task()
    if not is_current(folder, name):
        return
    target, note = files_of(folder, index)
    for leftover in folder.glob(f"{target.stem}.work.*"):  # of a job that Slurm began again
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        settings = from_dict(LabellerConfig, json.loads((folder / SIGNATURE).read_text()), "")
        labeller = make_labeller(settings)
    except UserError as error:
        write_note(note, str(error))
        return

    def if_current(atoms: Atoms, work: Path) -> Atoms:
        labelled = labeller(atoms, work)
        if not is_current(folder, name):
            raise SystemExit(f"'{folder}' was begun anew: this label is of no use")
        return labelled

    reason = label(if_current, load_structures(folder / STRUCTURES)[index], target)
    if reason is not None:
        write_note(note, reason)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
