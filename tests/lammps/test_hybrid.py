# SPDX-License-Identifier: MIT
"""pair_style hybrid: sums of the parts, and types that the model leaves alone."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch
from deck import Deck, pair_lines, run
from structures import STRUCTURES, graph
from toys import MessageToy, evaluate

pytestmark = pytest.mark.lammps
QUANTITIES = ("energy", "forces", "node_energies", "virial", "atom_virials", "centroid_virials")


def test_overlay_is_the_sum_of_its_parts(export, tmp_path):
    structure = STRUCTURES["triclinic"]
    model = export(MessageToy)
    zbl = ["pair_style zbl 1.0 2.5", *(f"pair_coeff {t} {t} {t}.0 {t}.0" for t in (1, 2, 3))]
    both = ["pair_style hybrid/overlay ictp device cpu zbl 1.0 2.5"]
    both += [f"pair_coeff * * ictp {model} Ta V W"]
    both += [f"pair_coeff {t} {t} zbl {t}.0 {t}.0" for t in (1, 2, 3)]
    mixed = [f"pair_coeff {a} {b} zbl {a}.0 {b}.0" for a, b in ((1, 2), (1, 3), (2, 3))]
    both += mixed
    parts = [
        run(tmp_path, structure, Deck(pair_lines(model))),
        run(tmp_path, structure, Deck(zbl)),
    ]
    total = run(tmp_path, structure, Deck(both))
    assert abs(parts[1].energy) > 0.01
    for name in QUANTITIES:
        expected = getattr(parts[0], name) + getattr(parts[1], name)
        np.testing.assert_allclose(getattr(total, name), expected, atol=1e-8, err_msg=name)


def test_null_types_do_not_exist_for_the_model(export, tmp_path):
    structure = STRUCTURES["bulk"]
    pair = ["pair_style hybrid/overlay ictp device cpu zero 4.0"]
    pair += [f"pair_coeff * * ictp {export(MessageToy)} W NULL Ta", "pair_coeff * * zero"]
    answer = run(tmp_path, structure, Deck(pair))
    kept = structure.types != 2
    positions, types = structure.positions[kept], np.where(structure.types[kept] == 1, 3, 1)
    part = dataclasses.replace(structure, positions=positions, types=types)
    energies, forces, _, _ = evaluate(MessageToy(), *map(torch.as_tensor, graph(part, 3.0)))
    np.testing.assert_allclose(answer.forces[kept], forces, atol=1e-10)
    np.testing.assert_allclose(answer.node_energies[kept], energies, atol=1e-10)
    assert not answer.forces[~kept].any()
    assert not answer.node_energies[~kept].any()


def test_two_models_for_two_groups_of_types(export, tmp_path):
    structure = STRUCTURES["bulk"]
    pair = ["pair_style hybrid/overlay ictp device cpu ictp device cpu zero 4.0"]
    pair += [f"pair_coeff * * ictp 1 {export(MessageToy)} Ta NULL NULL"]
    pair += [f"pair_coeff * * ictp 2 {export(MessageToy, num_layers=2)} NULL V W"]
    pair += ["pair_coeff * * zero"]
    answer = run(tmp_path, structure, Deck(pair))
    first = structure.types == 1
    for kept, num_layers in ((first, 3), (~first, 2)):
        part = dataclasses.replace(
            structure, positions=structure.positions[kept], types=structure.types[kept]
        )
        tensors = map(torch.as_tensor, graph(part, 3.0))
        energies, forces, _, _ = evaluate(MessageToy(num_layers=num_layers), *tensors)
        np.testing.assert_allclose(answer.forces[kept], forces, atol=1e-10)
        np.testing.assert_allclose(answer.node_energies[kept], energies, atol=1e-10)


@pytest.mark.parametrize("style", ["hybrid", "hybrid/overlay"])
def test_pair_given_to_another_style(style, export, tmp_path):
    pair = [f"pair_style {style} ictp device cpu lj/cut 3.0"]
    pair += [f"pair_coeff * * ictp {export(MessageToy)} Ta V W", "pair_coeff 1 2 lj/cut 0.1 1.0"]
    log = run(tmp_path, STRUCTURES["bulk"], Deck(pair)).log
    text = "Pair style ictp does not see neighbors between atom types {} and {}"
    assert (text.format(1, 2) in log) == (style == "hybrid")
    assert text.format(1, 1) not in log


def test_null_atoms_cannot_become_elements_between_two_lists(export, tmp_path):
    pair = ["pair_style hybrid/overlay ictp device cpu zero 4.0"]
    pair += [f"pair_coeff * * ictp {export(MessageToy)} Ta NULL W", "pair_coeff * * zero"]
    atom = int(np.flatnonzero(STRUCTURES["bulk"].types == 2)[0]) + 1
    change = [f"set atom {atom} type 1", "run 1 pre no"]
    text = f"atom {atom} changed from type 2 to 1 between two neighbor lists, but the list has no"
    with pytest.raises(RuntimeError, match=text):
        run(tmp_path, STRUCTURES["bulk"], Deck(pair, run=["run 1", *change]))
    run(tmp_path, STRUCTURES["bulk"], Deck(pair, run=["run 1", change[0], "run 1"]))


@pytest.mark.parametrize("processes", [0, 3])
@pytest.mark.parametrize("elements", ["Ta V W", "Ta NULL W"])
def test_types_changed_between_two_lists(elements, processes, export, tmp_path):
    """LAMMPS sends the types of ghosts with a new list only."""
    pair = ["pair_style hybrid/overlay ictp device cpu zero 4.0"]
    pair += [f"pair_coeff * * ictp {export(MessageToy)} {elements}", "pair_coeff * * zero"]
    change = ["run 1", "set atom 1*20 type 2", "run 1 pre no"]
    answer = run(
        tmp_path,
        STRUCTURES["bulk"],
        Deck(pair, run=[*change, 'print "changed $(pe:%.17g)"'], processes=processes),
    )
    changed = float(re.search(r"^changed (.*)$", answer.log, re.MULTILINE)[1])
    assert changed == pytest.approx(answer.energy, abs=1e-10)
