# SPDX-License-Identifier: MIT
"""An imported model of SevenNet in LAMMPS against the float64 model, on 1, 2 and 4 processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from deck import Deck, Structure, pair_lines, run
from pyictp.foreign.importer import Imported, import_model
from pyictp.potential.export import export_model
from session import assert_agrees
from sevennet_files import HEADS, matter, released_file, unpack
from structures import STRUCTURES

pytestmark = pytest.mark.lammps
ALLOY = ("V", "Nb", "Ta")
NAMES = ("manual", "rank3", "by_species", "methods", "old", "pseudo_scalars", "parity_manual")
TOLERANCES = {"float64": 1e-11, "float32": 1e-4}  # relative to the largest force
RADIAL = {
    "float64": "network",
    "float32": "table",
}  # without the error of tables to the last digits


@pytest.fixture(scope="module", params=NAMES)
def imported(request, tmp_path_factory) -> Imported:
    name = request.param
    path = unpack(name, tmp_path_factory.mktemp("sevennet"))
    return import_model(path, HEADS.get(name), ALLOY)


@pytest.fixture(scope="module")
def files(imported, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exported")
    paths = {dtype: folder / f"{dtype}.pt" for dtype in TOLERANCES}
    for dtype, path in paths.items():
        export_model(
            imported.model, path, dtype, provenance=imported.provenance, radial=RADIAL[dtype]
        )
    return paths


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("name", "dtype", "processes"),
    [
        ("triclinic", "float64", 1),
        ("slab", "float64", 4),
        ("cell below the cutoff", "float32", 2),
    ],
)
def test_as_the_float64_model(name, dtype, processes, imported, files, tmp_path) -> None:
    elements = " ".join(imported.model.config.elements)  # types are its species
    deck = Deck(pair_lines(files[dtype], elements), processes=processes)
    answer = run(tmp_path, STRUCTURES[name], deck)
    tolerance = TOLERANCES[dtype] * max(1.0, np.abs(answer.forces).max())
    assert_agrees(answer, imported.model, STRUCTURES[name], tolerance)


@pytest.mark.long
@pytest.mark.mpi
@pytest.mark.parametrize("name", ["alloy", "slab", "water"])
def test_sevennet_0(name: str, tmp_path: Path) -> None:
    """The released model on 1, 2 and 4 processes."""
    atoms = matter()[name]
    elements = sorted(set(atoms.get_chemical_symbols()))
    found = import_model(released_file("sevennet-0"), elements=elements)
    assert list(found.model.config.elements) == elements
    types = np.array([elements.index(element) + 1 for element in atoms.symbols])
    cell, turn = atoms.cell.standard_form()
    structure = Structure(atoms.positions @ turn.T, types, cell.array, num_types=len(elements))
    for dtype, tolerance in TOLERANCES.items():
        path = tmp_path / f"{dtype}.pt"
        export_model(found.model, path, dtype, provenance=found.provenance, radial=RADIAL[dtype])
        for processes in (1, 2, 4):
            deck = Deck(pair_lines(path, " ".join(elements)), processes=processes)
            answer = run(tmp_path, structure, deck)
            assert_agrees(answer, found.model, structure, tolerance * np.abs(answer.forces).max())
