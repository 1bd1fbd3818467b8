# SPDX-License-Identifier: MIT
"""An imported MACE model in LAMMPS against the float64 model, on one process and on two."""

from __future__ import annotations

from pathlib import Path

import pytest
from deck import Deck, pair_lines, run
from mace_files import HEADS, STATES, unpack
from pyictp.foreign.importer import Imported, import_model
from pyictp.potential.export import export_model
from session import assert_agrees
from structures import STRUCTURES

pytestmark = pytest.mark.lammps
ALLOY = ("V", "Nb", "Ta")
NAMES = (
    "rank1_ell3",
    "rank2_layers3",
    "agnostic_zbl",
    "density_agnesi",
    "density_soft",
    "nonlinear_heads",
    "nonlinear_layers3",
    "bias_heads",
    "gaussian_agnesi",
    "chebyshev_agnesi",
    "mixed_last",
    "charge_spin",
)
ACCURACY = {"float64": 1e-10, "float32": 2e-5}


@pytest.fixture(scope="module", params=NAMES)
def imported(request, tmp_path_factory) -> Imported:
    name = request.param
    path = unpack(name, tmp_path_factory.mktemp("mace"))
    return import_model(path, HEADS.get(name), ALLOY, **STATES.get(name, {}))


@pytest.fixture(scope="module")
def files(imported, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exported")
    paths = {dtype: folder / f"{dtype}.pt" for dtype in ACCURACY}
    for dtype, path in paths.items():
        radial = "network" if dtype == "float64" else "table"  # to the last digits
        export_model(imported.model, path, dtype, provenance=imported.provenance, radial=radial)
    return paths


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("name", "dtype", "processes"),
    [
        ("triclinic", "float64", 1),
        ("slab", "float64", 2),
        ("cell below the cutoff", "float32", 1),
        ("triclinic", "float32", 2),
    ],
)
def test_as_the_float64_model(name, dtype, processes, imported, files, tmp_path) -> None:
    tolerance = ACCURACY[dtype]
    deck = Deck(pair_lines(files[dtype], " ".join(ALLOY)), processes=processes)
    answer = run(tmp_path, STRUCTURES[name], deck)
    if dtype == "float32" and imported.model.config.l_max_hidden == 2:
        tolerance *= 5  # the soft transform is steep
    assert_agrees(answer, imported.model, STRUCTURES[name], tolerance)
