# SPDX-License-Identifier: MIT
"""Which candidates are chosen, which frames a member trains on, what the results say."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.io import write
from pyictp.common.extxyz import load_structures, save_structures
from pyictp.config.data_files import DataFile
from pyictp.config.load import DataConfig
from pyictp.curation.descriptors import farthest_first, farthest_points
from pyictp.data.frames import from_atoms
from pyictp.data.samples import make_sample
from pyictp.errors import UserError
from pyictp.explore import results
from pyictp.explore.frames import read_sources, split_batches
from pyictp.explore.select import latent_vectors, select
from pyictp.explore.settings import DynamicsConfig, SelectionConfig, UncertaintyConfig
from pyictp.explore.simulate import plan_runs
from pyictp.graph.graph import collate
from pyictp.model.ictp import ICTPModel
from pyictp.potential.export import export_model
from pyictp.potential.exported import load_exported
from pyictp.potential.extrapolation import fit_grade
from pyictp.reports.evaluate import predict
from train_toys import MODEL, emt_frames


@pytest.fixture(scope="module")
def known():
    return emt_frames(8)


@pytest.fixture(scope="module")
def model_and_grade(known):
    torch.manual_seed(0)
    model = ICTPModel(replace(MODEL, elements=("Ni", "Cu"), avg_num_neighbors=12.0))
    model.double()  # directions that eight frames hardly have make float32's rounding large
    graphs = [make_sample(f, ("Ni", "Cu"), MODEL.r_cut).graph for f in from_atoms(known)]
    return model, fit_grade(model, graphs)


def rattled(scale: float, seed: int = 0) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.symbols[1] = "Ni"
    atoms.rattle(scale, seed=seed)
    return atoms


def test_vectors_are_those_of_the_grade(known, model_and_grade):
    """Of a structure with one atom of an element the mean's length is that atom's grade."""
    model, grade = model_and_grade
    frames = from_atoms(known)
    vectors = latent_vectors(frames, model, grade).reshape(len(frames), 2, 2, -1)
    graph = collate([make_sample(f, ("Ni", "Cu"), MODEL.r_cut).graph for f in frames])
    with torch.no_grad():
        features = model.energies_and_features(
            graph.species, graph.edge_index, graph.edge_vectors, graph.num_local
        )[1]
    grades = grade(features, graph.species).numpy()
    nickel = graph.species.numpy() == 0
    assert nickel.sum() == len(frames)
    np.testing.assert_allclose(np.linalg.norm(vectors[:, 0, 0], axis=1), grades[nickel], rtol=1e-6)
    np.testing.assert_allclose(vectors[:, 0, 1], 0, atol=1e-6)  # one atom has no spread


def test_vectors_do_not_depend_on_order_or_rotation(model_and_grade):
    atoms = rattled(0.1)
    turned = atoms.copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    one, two, three = latent_vectors(
        from_atoms([atoms, turned, atoms[[3, 1, 0, 2]]]), *model_and_grade
    )
    np.testing.assert_allclose(two, one, atol=1e-3 * np.abs(one).max())
    np.testing.assert_allclose(three, one, atol=1e-3 * np.abs(one).max())
    other = latent_vectors(from_atoms([rattled(0.1, seed=1)]), *model_and_grade)[0]
    assert np.abs(other - one).max() > 0.05 * np.abs(one).max()


def test_the_farthest_are_taken_and_copies_are_not(known, model_and_grade):
    far, farther = rattled(0.15, 1), rattled(0.25, 2)
    squeezed = rattled(0.1)
    squeezed.positions[1] = squeezed.positions[0] + [1.0, 0, 0]
    candidates = [known[0].copy(), far, far.copy(), squeezed, farther, known[3].copy()]
    found = select(candidates, known, *model_and_grade, SelectionConfig(max_frames=9))
    assert found.chosen[0] == 4
    assert sorted(found.chosen) in ([1, 4], [2, 4])
    assert (found.too_close, found.near, found.surplus) == (1, 3, 0)
    assert found.distances == sorted(found.distances, reverse=True)
    assert found.distances[-1] > 0.1
    one = select(candidates, known, *model_and_grade, SelectionConfig(max_frames=1))
    assert (one.chosen, one.surplus) == ([4], 1)
    everything = SelectionConfig(max_frames=9, min_distance=1e-3, closest=0.01)
    assert 3 in select(candidates, known, *model_and_grade, everything).chosen
    only_close = select([squeezed], known, *model_and_grade, SelectionConfig())
    assert (only_close.chosen, only_close.too_close) == ([], 1)


def test_random_frames_are_no_near_duplicates_and_depend_on_the_seed(known, model_and_grade):
    candidates = [known[0].copy(), *(rattled(0.2, seed) for seed in range(8))]
    settings = SelectionConfig(method="random", max_frames=3)
    drawn = [select(candidates, known, *model_and_grade, settings, seed) for seed in range(20)]
    assert all(len(set(found.chosen)) == 3 and 0 not in found.chosen for found in drawn)
    assert len({tuple(sorted(found.chosen)) for found in drawn}) > 5
    assert {index for found in drawn for index in found.chosen} == set(range(1, 9))
    assert select(candidates, known, *model_and_grade, settings, 4) == drawn[4]
    assert all(found.surplus == 5 for found in drawn)


def test_farthest_first_against_all_distances():
    rng = np.random.default_rng(0)
    vectors, known = rng.normal(size=(30, 4)), rng.normal(size=(5, 4))
    order = list(farthest_first(vectors, known))
    assert sorted(index for index, _ in order) == list(range(30))
    chosen = list(known)
    for index, distance in order:
        gaps = np.linalg.norm(vectors[:, None] - np.array(chosen)[None], axis=2).min(axis=1)
        assert distance == pytest.approx(gaps[index], abs=1e-6)
        assert gaps[index] == pytest.approx(gaps.max(), abs=1e-6)
        chosen.append(vectors[index])
    assert farthest_points(vectors, 30)[0] == np.square(vectors - vectors.mean(0)).sum(1).argmin()


def test_members_hold_back_other_frames_and_keep_holding_them_back():
    batches = [emt_frames(12), emt_frames(6), emt_frames(2)]
    for batch, name in zip(batches, "abc", strict=True):
        for number, atoms in enumerate(batch):
            atoms.info["name"] = f"{name}{number}"
    free = Atoms("Cu", info={"config_type": "isolated_atom", "name": "free"})
    batches[0].append(free)

    def names(structures):
        return [atoms.info["name"] for atoms in structures]

    held = []
    for member in range(3):
        train, valid = split_batches(batches, 0.25, 7, member)
        assert sorted(names(train + valid)) == sorted(names(chain(*batches)))
        assert "free" in names(train)
        assert [sum(n[0] == b for n in names(valid)) for b in "abc"] == [3, 2, 0]
        before = names(split_batches(batches[:1], 0.25, 7, member)[1])
        assert before == names(valid)[:3]
        held.append(tuple(names(valid)))
    assert len(set(held)) == 3
    assert split_batches(batches, 0.0, 7, 0)[1] == []
    with pytest.raises(UserError, match=r"expected two or more frames besides isolated atoms"):
        split_batches([[batches[0][0], free]], 0.1, 0, 0)


def test_sources_keep_units_names_and_weights(tmp_path):
    (labelled,) = emt_frames(1)
    atoms = labelled.copy()
    atoms.info |= {"REF_energy": labelled.get_potential_energy() / 27.211386, "config_weight": 3.0}
    atoms.arrays["REF_forces"] = labelled.get_forces() / 27.211386
    write(tmp_path / "x.extxyz", atoms)
    entry = DataFile(
        str(tmp_path / "x.extxyz"),
        weight=2.0,
        energy_key="REF_energy",
        forces_key="REF_forces",
        energy_unit="Hartree",
    )
    save_structures(tmp_path / "y.extxyz", read_sources([entry], DataConfig()))
    (frame,) = from_atoms(load_structures(tmp_path / "y.extxyz"))
    assert frame.energy == pytest.approx(labelled.get_potential_energy(), abs=1e-4)
    np.testing.assert_allclose(frame.forces, labelled.get_forces(), atol=1e-5)
    assert frame.weights == (6.0, 6.0, 6.0)


def test_the_table_and_the_picture(tmp_path):
    test = {"force_rmse_mev_per_a": 200.0, "energy_rmse_mev_per_atom": 5.0, "largest_grade": 4.0}
    run = {"name": "0", "looks": 20, "below": 10, "between": 9, "halted": True, "largest": 6.0}
    stages = {
        "0 train": {"frames": 10, "members": []},
        "0 measure": test,
        "1 dynamics": {"runs": [run, {**run, "halted": False, "largest": 2.0}]},
        "1 select": {"candidates": 18, "selected": 5},
        "1 label": {"added": 5, "failed": 0},
        "1 train": {"frames": 15, "members": []},
        "1 measure": {**test, "force_rmse_mev_per_a": 100.0, "largest_grade": 2.0},
        "2 dynamics": {"runs": [run]},
    }
    found = results.collect(stages, UncertaintyConfig("grade", 1.0, 5.0), "two cycles")
    assert [row["cycle"] for row in found["cycles"]] == [0, 1]
    assert found["cycles"][1]["dynamics"]["largest"] == 6.0
    rows = [line.split() for line in results.table(found)[2:]]
    assert rows[0] == ["0", "10", "200.0", "5.00", "4"]
    assert rows[1] == ["1", "15", "100.0", "5.00", "2", "50%", "45%", "1/2"]
    results.write(found, tmp_path)
    assert (tmp_path / "results.png").stat().st_size > 5000
    (tmp_path / "results.png").unlink()
    untested = {k: ({} if "measure" in k else v) for k, v in stages.items()}
    found = results.collect(untested, UncertaintyConfig("grade", 1.0, 5.0), "two cycles")
    assert results.table(found)[2].split() == ["0", "10", "-", "-", "-"]
    results.write(found, tmp_path)
    first = {name: value for name, value in untested.items() if name.startswith("0 ")}
    found = results.collect(first, UncertaintyConfig("grade", 1.0, 5.0), "cycle 0 is done")
    results.write(found, tmp_path)  # nothing to draw yet: no warning either
    assert (tmp_path / "results.png").exists()


@pytest.mark.parametrize(("above", "expected"), [(0.099, 0), (0.101, 1), (None, 0)])
def test_candidates_closer_than_the_training_data(above, expected, known, model_and_grade):
    """By more than 0.1 A, where a model is no network: left out and counted."""
    one = rattled(0.15, 1)
    distances = one.get_all_distances(mic=True)
    copper = one.numbers == 29
    closest = distances[copper][:, copper]
    shortest = closest[closest > 0].min()
    other = rattled(0.01)
    told = {} if above is None else {"Ni-Ni": 1.0, "Ni-Cu": 1.0, "Cu-Cu": shortest + above}
    provenance = {"shortest_distances": told} if told else {}
    settings = SelectionConfig(min_distance=0.0)
    found = select([one, other], known, *model_and_grade, settings, 0, provenance)
    assert (found.closer, found.too_close) == (expected, 0)
    assert (0 in found.chosen, 1 in found.chosen) == (not expected, True)
    alone = select([one], known, *model_and_grade, settings, 0, provenance)
    assert (alone.chosen, alone.closer) == ([] if expected else [0], expected)


def test_all_frames_of_a_file_are_run_and_each_has_its_number(tmp_path):
    frames = [rattled(0.1, seed) for seed in range(3)]
    write(tmp_path / "many.extxyz", frames)
    write(tmp_path / "one.extxyz", frames[1])

    def planned(*names):
        files = tuple(str(tmp_path / name) for name in names)
        runs = plan_runs(DynamicsConfig(structures=files, temperatures=(300, 600)), 0, 1)
        assert len({run.seed for run in runs}) == len({run.name for run in runs}) == len(runs)
        return [(run.atoms.positions[0, 0], run.temperature) for run in runs]

    places = [atoms.positions[0, 0] for atoms in frames]
    for names, numbers in (
        (("many.extxyz",), (0, 1, 2)),
        (("many.extxyz@-1", "one.extxyz"), (2, 1)),
        (("many.extxyz@:2",), (0, 1)),
    ):
        expected = [(places[number], t) for number in numbers for t in (300, 600)]
        np.testing.assert_allclose(planned(*names), expected, atol=1e-7)
    with pytest.raises(UserError, match=r"many.extxyz@5:' names no frame"):
        planned("many.extxyz@5:")


@pytest.mark.parametrize("count", [1, 3])
def test_each_model_is_evaluated_once_for_each_structure(count, known, model_and_grade, tmp_path):
    """Energies, deviations and grades of a frame cost one evaluation of each model."""
    model, grade = model_and_grade
    members = [model]
    for seed in range(1, count):
        torch.manual_seed(seed)
        members.append(ICTPModel(model.config).double())
    export_model(members, tmp_path / "models.pt", dtype="float64", grade=grade)
    potential = load_exported(tmp_path / "models.pt")
    calls = []

    class Counting(torch.nn.Module):
        """Passes calls on."""

        num_models, has_grade = count, True

        def forward(self, *arguments):
            calls.append("mean")
            return module(*arguments)

        def member(self, index, *arguments):
            calls.append(index)
            return module.member(index, *arguments)

        reference_species = torch.zeros(0)

    module, potential.module = potential.module, Counting()
    frames = from_atoms(known)[:2]
    parity = predict(potential, frames, batch_size=1)
    assert calls == 2 * list(range(count))
    potential.module = module
    graphs = [make_sample(f, ("Ni", "Cu"), MODEL.r_cut).graph for f in frames]
    grades = torch.cat([potential.grades(graph) for graph in graphs])
    np.testing.assert_allclose(parity.grades, grades, rtol=1e-9)


@pytest.mark.parametrize("by", ["deviation", "grade"])
@pytest.mark.parametrize("cycles", [0, 1])
def test_pictures_of_one_cycle_and_of_none(cycles, by, tmp_path, monkeypatch):
    """Points, ticks and labels are where the numbers are, inside the frame."""
    test = {"force_rmse_mev_per_a": 200.0, "energy_rmse_mev_per_atom": 5.0, f"largest_{by}": 4.0}
    run = {"name": "0", "looks": 20, "below": 10, "between": 9, "halted": True, "largest": 6.0}
    stages = {"0 train": {"frames": 10, "members": []}, "0 measure": test}
    stages |= {
        "1 dynamics": {"runs": [run]},
        "1 select": {},
        "1 label": {},
        "1 train": {"frames": 15, "members": []},
    }
    stages |= {"1 measure": {**test, "force_rmse_mev_per_a": 100.0}} if cycles else {}
    found = results.collect(stages, UncertaintyConfig(by, 1.0, 5.0), "done")
    drawn = []
    monkeypatch.setattr(results, "save", lambda figure, _: drawn.append(figure))
    results.write(found, tmp_path)
    errors, unsure = drawn[0].axes
    drawn[0].draw_without_rendering()
    assert errors.lines[0].get_xydata().tolist() == [[0, 200], [1, 100]][: cycles + 1]
    assert unsure.lines[0].get_xydata().tolist() == [[0, 4], [1, 4]][: cycles + 1]
    assert (len(unsure.lines) == 4) == bool(cycles)  # the dynamics with the models of cycle 0
    left, right = unsure.get_xlim()
    ticks = [float(t) for t in unsure.get_xticks() if left <= t <= right]
    assert ticks == list(range(cycles + 1))
    for axes in (errors, unsure):
        box = axes.get_window_extent()
        for text in axes.texts:
            words = text.get_window_extent()
            assert box.x0 <= words.x0 < words.x1 <= box.x1
            assert box.y0 <= words.y0 < words.y1 <= box.y1
        assert axes.get_ylim()[0] == 0
        assert max(np.max(line.get_ydata()) for line in axes.lines) < axes.get_ylim()[1]
