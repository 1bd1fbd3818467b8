# SPDX-License-Identifier: MIT
"""Ensembles and extrapolation grades in LAMMPS, against their models one by one in Python."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from deck import Deck, Structure, pair_lines, run
from pyictp.graph.derivatives import evaluate_graph
from pyictp.graph.graph import Graph, build_graph
from pyictp.model.ictp import ICTPModel
from pyictp.potential.export import export_model
from pyictp.potential.extrapolation import ExtrapolationGrade, fit_grade
from structures import STRUCTURES
from toys import make_network

pytestmark = [pytest.mark.lammps, pytest.mark.slow]
ELEMENTS = ("Ta", "V", "W")
EV_TO_KCAL = 23.060549  # per mole; LAMMPS' constant


@pytest.fixture(scope="module")
def members() -> list[ICTPModel]:
    """Return models with different numbers of layers, so of exchanges between processes."""
    return [make_network(seed, layers) for seed, layers in ((1, 2), (2, 3), (3, 2))]


@pytest.fixture(scope="module")
def grade(members) -> ExtrapolationGrade:
    names = ("triclinic", "droplet")
    return fit_grade(members[0], [graph_of(STRUCTURES[name]) for name in names])


@pytest.fixture(scope="module")
def files(members, grade, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("ensemble")
    export_model(members, folder / "all.pt", "float64", grade=grade)
    export_model(members, folder / "all32.pt", "float32", grade=grade)
    export_model(members[0], folder / "graded.pt", "float64", grade=grade)
    export_model(members[0], folder / "plain.pt", "float64")
    export_model(members[1:], folder / "ungraded.pt", "float64")
    return {path.stem: path for path in folder.glob("*.pt")}


def graph_of(structure: Structure) -> Graph:
    pbc = np.array(structure.pbc)
    return build_graph(structure.positions, structure.cell, pbc, structure.types - 1, 3.5)


def expected(members, grade, structure) -> dict[str, np.ndarray]:
    """Return means, deviations and grades by the definitions."""
    graph = graph_of(structure)
    found = [evaluate_graph(model, graph) for model in members]
    forces = np.stack([one.forces.numpy() for one in found])
    energies = np.array([one.energies.item() for one in found])
    spread = np.linalg.norm(forces - forces.mean(0), axis=2)
    _, features = members[0].energies_and_features(
        graph.species, graph.edge_index, graph.edge_vectors, graph.num_local
    )
    shifted = features.detach().numpy() - grade.center.numpy()[graph.species]
    metric = np.einsum("sij,skj->sik", grade.whitening.numpy(), grade.whitening.numpy())
    grades = np.sqrt(np.einsum("ni,nij,nj->n", shifted, metric[graph.species], shifted))
    order = slice(None) if structure.ids is None else np.argsort(structure.ids)
    return {
        "forces": forces[:, order],
        "deviations": np.sqrt((spread**2).mean(0))[order],
        "energy_deviation": energies.std() / len(graph.species),
        "grades": grades[order],
    }


def sampled(
    folder: Path, structure: Structure, model: Path, style: str, processes: int = 0, **deck: object
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return forces, the vector of compute pair, and per atom deviation and grade."""
    name = folder / "uncertainty"
    answer = run(
        folder,
        structure,
        Deck(
            pair_lines(model, " ".join(ELEMENTS), f"ictp device cpu {style}"),
            modify=["compute u all pair ictp", "fix f all pair 1 ictp deviation 1 grade 1"],
            run=[
                "thermo_style custom step pe c_press[1] c_sum[1] c_sum[2] c_sum[3] c_u[*]",
                "run 0",
                f'print "$(c_u[1]:%.17g) $(c_u[2]:%.17g) $(c_u[3]:%.17g) $(c_u[4]:%.17g)" '
                f"file {name}.txt",
                f"write_dump all custom {name}.dump id f_f[1] f_f[2] "
                "modify format float %.17g sort id",
            ],
            processes=processes,
            **deck,
        ),
    )
    per_atom = np.loadtxt(f"{name}.dump", skiprows=9, ndmin=2)[:, 1:]
    return answer.forces, np.loadtxt(f"{name}.txt"), per_atom


def assert_as_defined(found, want, driven: np.ndarray, tolerance: float, unit: float = 1) -> None:
    forces, totals, per_atom = found
    np.testing.assert_allclose(forces, unit * driven, atol=unit * tolerance)
    np.testing.assert_allclose(per_atom[:, 0], unit * want["deviations"], atol=unit * tolerance)
    np.testing.assert_allclose(
        per_atom[:, 1], want["grades"], rtol=1e-3 * tolerance**0.5, atol=1e-7
    )
    totals_wanted = [unit * want["deviations"].max(), unit * want["deviations"].mean()]
    totals_wanted += [unit * want["energy_deviation"], want["grades"].max()]
    np.testing.assert_allclose(totals, totals_wanted, rtol=1e-5 if tolerance > 1e-6 else 1e-9)


@pytest.mark.parametrize("name", ["triclinic", "slab", "scrambled IDs", "cell below the cutoff"])
@pytest.mark.parametrize("drive", ["mean", "first"])
def test_as_the_models_one_by_one(name, drive, members, grade, files, tmp_path):
    want = expected(members, grade, STRUCTURES[name])
    driven = want["forces"].mean(0) if drive == "mean" else want["forces"][0]
    assert want["deviations"].max() > 1e-2
    found = sampled(tmp_path, STRUCTURES[name], files["all"], f"uncertainty 1 drive {drive}")
    assert_as_defined(found, want, driven, 1e-10)


@pytest.mark.mpi
@pytest.mark.parametrize(("processes", "drive"), [(2, "mean"), (3, "first"), (4, "mean")])
def test_on_several_processes(processes, drive, members, grade, files, tmp_path):
    structure = STRUCTURES["droplet"]  # with empty processes
    want = expected(members, grade, structure)
    driven = want["forces"].mean(0) if drive == "mean" else want["forces"][0]
    found = sampled(tmp_path, structure, files["all"], f"uncertainty 1 drive {drive}", processes)
    assert_as_defined(found, want, driven, 1e-10)


def test_units_real(members, grade, files, tmp_path):
    want = expected(members, grade, STRUCTURES["bulk"])
    found = sampled(tmp_path, STRUCTURES["bulk"], files["all"], "", units="real")
    unit = EV_TO_KCAL
    forces, _, per_atom = found
    np.testing.assert_allclose(forces, unit * want["forces"].mean(0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(per_atom[:, 0], unit * want["deviations"], rtol=1e-6)
    np.testing.assert_allclose(per_atom[:, 1], want["grades"], rtol=1e-9)


def test_single_precision(members, grade, files, tmp_path):
    want = expected(members, grade, STRUCTURES["bulk"])
    forces, totals, per_atom = sampled(tmp_path, STRUCTURES["bulk"], files["all32"], "")
    np.testing.assert_allclose(forces, want["forces"].mean(0), atol=1e-4)
    np.testing.assert_allclose(per_atom[:, 0], want["deviations"], atol=1e-4)
    np.testing.assert_allclose(totals[0], want["deviations"].max(), atol=1e-4)


def test_one_model_has_a_grade(members, grade, files, tmp_path):
    structure = STRUCTURES["slab"]
    want = expected(members[:1], grade, structure)
    answer = run(
        tmp_path,
        structure,
        Deck(
            pair_lines(files["graded"], " ".join(ELEMENTS), "ictp device cpu uncertainty 2"),
            modify=["compute u all pair ictp"],
            run=["run 0", f'print "$(c_u[1]) $(c_u[4]:%.17g)" file {tmp_path}/u.txt'],
        ),
    )
    deviation, largest = np.loadtxt(tmp_path / "u.txt")
    assert np.isnan(deviation)
    assert largest == pytest.approx(want["grades"].max(), rel=1e-9)
    np.testing.assert_allclose(answer.forces, want["forces"][0], atol=1e-10)


MOVING = ["velocity all create 3000 4711", "fix 1 all nve", "timestep 0.002"]


def test_sampling_does_not_disturb_the_run(files, tmp_path):
    ends = []
    for style in ("", "uncertainty 3"):
        pair = pair_lines(files["all"], " ".join(ELEMENTS), f"ictp device cpu drive first {style}")
        deck = Deck(pair, modify=MOVING, run=["run 20"])
        ends.append(run(tmp_path / f"run{style[:1]}", STRUCTURES["bulk"], deck))
    np.testing.assert_array_equal(ends[0].positions, ends[1].positions)
    np.testing.assert_array_equal(ends[0].forces, ends[1].forces)


def test_only_sampled_steps_see_all_models(files, tmp_path):
    pair = pair_lines(
        files["all"], " ".join(ELEMENTS), "ictp device cpu drive first uncertainty 10"
    )
    show = ["compute u all pair ictp", "thermo_style custom step c_u[1]", "thermo 1"]
    show += ["thermo_style custom step pe c_press[1] c_sum[1] c_sum[2] c_sum[3] c_u[1] c_u[4]"]
    log = run(tmp_path, STRUCTURES["bulk"], Deck(pair, modify=MOVING, run=[*show, "run 20"])).log
    rows = re.findall(r"^ +(\d+)(?: +\S+){5} +(\S+) +(\S+) *$", log, re.MULTILINE)
    values = {int(step): (deviation, grade) for step, deviation, grade in rows}
    assert len(values) == 21
    assert len(set(values.values())) == 3  # of steps 0, 10 and 20
    assert values[9] == values[0] != values[10] == values[19] != values[20]


def test_fix_halt_ends_the_run(files, tmp_path):
    pair = pair_lines(files["all"], " ".join(ELEMENTS), "ictp device cpu uncertainty 2")
    limit = ["compute u all pair ictp", "variable grade equal c_u[4]"]
    limit += ["fix stop all halt 2 v_grade > 1.5 error continue message yes"]
    # sums over atoms in the thermo output are not tallied on the step of the halt
    lines = ["thermo_style one", "run 200", "unfix stop"]
    lines += ["thermo_style custom step pe c_press[1] c_sum[1] c_sum[2] c_sum[3]"]
    hot = ["velocity all create 30000 4711", *MOVING[1:]]
    log = run(
        tmp_path,
        STRUCTURES["triclinic"],
        Deck(pair, modify=hot + limit, run=lines),
    ).log
    found = re.search(r"Fix halt condition for fix-id stop met on step (\d+) with value (\S+)", log)
    assert found
    assert 0 < int(found[1]) < 200
    assert float(found[2]) > 1.5


def test_fix_pair_alone_asks_for_samples(members, grade, files, tmp_path):
    want = expected(members, grade, STRUCTURES["bulk"])
    _, _, per_atom = sampled(tmp_path, STRUCTURES["bulk"], files["all"], "")
    np.testing.assert_allclose(per_atom[:, 0], want["deviations"], atol=1e-10)


def test_values_that_nobody_samples_are_nan(files, tmp_path):
    pair = pair_lines(files["all"], " ".join(ELEMENTS), "ictp device cpu")
    show = ["run 0", f'print "$(c_u[1]) $(c_u[4])" file {tmp_path}/u.txt']
    deck = Deck(pair, modify=["compute u all pair ictp"], run=show)
    log = run(tmp_path, STRUCTURES["bulk"], deck).log
    assert np.isnan(np.loadtxt(tmp_path / "u.txt")).all()
    assert "the values of compute u are nan, as nothing is sampled" in log
    deck.modify.append("fix f all pair 1 ictp deviation 1")
    log = run(tmp_path / "asked", STRUCTURES["bulk"], deck).log
    assert np.isfinite(np.loadtxt(tmp_path / "u.txt")).all()
    assert "as nothing is sampled" not in log


def test_fix_pair_reads_only_what_was_sampled_at_its_step(files, tmp_path):
    """Samples have the order of the atoms of their step, which sorting and exchange change."""
    pair = pair_lines(files["all"], " ".join(ELEMENTS), "ictp device cpu uncertainty 10")
    for every, ends in ((10, True), (5, False)):
        read = f"fix f all pair {every} ictp grade 0"
        deck = Deck(pair, modify=[*MOVING, read], run=["run 20"])
        if ends:
            run(tmp_path / "fits", STRUCTURES["bulk"], deck)
        else:
            with pytest.raises(Exception, match=r"has not sampled grade at step 5: .*'grade 1'"):
                run(tmp_path / "fits_not", STRUCTURES["bulk"], deck)


def test_minimisation_and_hybrid(files, tmp_path):
    pair = ["pair_style hybrid/overlay ictp device cpu uncertainty 1 zero 4.0"]
    pair += [f"pair_coeff * * ictp {files['all']} Ta V W", "pair_coeff * * zero"]
    show = ["thermo_style custom step pe c_press[1] c_sum[1] c_sum[2] c_sum[3] c_u[*]"]
    run_lines = [*show, "minimize 0 0 3 10"]
    deck = Deck(pair, modify=["compute u all pair ictp"], run=run_lines)
    log = run(tmp_path, STRUCTURES["bulk"], deck).log
    assert "3 models, driven by the mean" in log
    assert re.search(r"uncertainty [\d.]+ ", log)


@pytest.mark.parametrize(
    ("model", "style", "modify", "message"),
    [
        ("plain", "uncertainty 5", "", "has no extrapolation grade: export it again"),
        ("plain", "", "fix f all pair 1 ictp grade 1", "has no extrapolation grade"),
        ("graded", "", "fix f all pair 1 ictp deviation 1", "ictp export run1 run2"),
        ("ungraded", "", "fix f all pair 1 ictp grade 1", "has no extrapolation grade"),
        ("all", "drive last", "", "expected mean or first, got last"),
        ("all", "uncertainty -1", "", "expected a number of steps, got -1"),
        ("all", "uncertain 1", "", "expected closest, device, drive or uncertainty"),
        ("all", "uncertainty", "", "pair_style ictp uncertainty"),
    ],
)
def test_mistakes(model, style, modify, message, files, tmp_path):
    pair = pair_lines(files[model], " ".join(ELEMENTS), f"ictp device cpu {style}")
    with pytest.raises(Exception, match=re.escape(message)):
        run(tmp_path, STRUCTURES["bulk"], Deck(pair, modify=[modify]))


def test_an_ensemble_without_grade(members, grade, files, tmp_path):
    pair = pair_lines(files["ungraded"], " ".join(ELEMENTS), "ictp device cpu uncertainty 1")
    show = ["compute u all pair ictp", "run 0"]
    show += [f'print "$(c_u[1]:%.17g) $(c_u[4])" file {tmp_path}/u.txt']
    run(tmp_path, STRUCTURES["bulk"], Deck(pair, run=show))
    deviation, largest = np.loadtxt(tmp_path / "u.txt")
    want = expected(members[1:], grade, STRUCTURES["bulk"])
    assert deviation == pytest.approx(want["deviations"].max(), rel=1e-9)
    assert np.isnan(largest)
