# SPDX-License-Identifier: MIT
"""What a user reads after a mistake, and the ways a plugin is loaded."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from deck import Deck, pair_lines, run, run_here, run_processes, write_deck
from pyictp.native import plugin_path
from structures import STRUCTURES
from toys import MessageToy, PairToy

pytestmark = pytest.mark.lammps
ATOM = STRUCTURES["lone atom"]


def assert_refused(tmp_path, deck: Deck, text: str) -> None:
    with pytest.raises(RuntimeError, match=re.escape(text)):
        run(tmp_path, ATOM, deck)


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("ictp devise cpu", "keyword: devise (expected closest, device, drive or uncertainty)"),
        ("ictp device", "Illegal pair_style ictp device command: missing argument(s)"),
        ("ictp device gpu", "pair_style ictp device: expected auto, cpu or cuda, got gpu"),
        (
            "ictp closest maybe",
            "pair_style ictp closest: expected warn, error or ignore, got maybe",
        ),
    ],
)
def test_settings(style, text, export, tmp_path):
    assert_refused(tmp_path, Deck(pair_lines(export(PairToy), style=style)), text)


@pytest.mark.parametrize(
    ("coeff", "text"),
    [
        ("* *", "expected * * model.pt and an element (or NULL) for each atom type"),
        ("1 1 {} Ta V W", "Pair_coeff must start with * * for pair style ictp"),
        ("* * {} Ta V", "expected 3 elements (or NULL), one for each atom type, got 2"),
        ("* * {} Ta V ta", "element ta of atom type 3 is not in the model, which knows Ta V W"),
        ("* * {} Ta V W W", "expected 3 elements (or NULL), one for each atom type, got 4"),
        ("* * {} Ta V Xe", "element Xe of atom type 3 is not in the model, which knows Ta V W"),
        ("* * missing.pt Ta V W", "model 'missing.pt': file not found or not readable"),
    ],
)
def test_coeff(coeff, text, export, tmp_path):
    lines = ["pair_style ictp device cpu", f"pair_coeff {coeff.format(export(PairToy))}"]
    assert_refused(tmp_path, Deck(lines), text)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_asked_for_but_absent(export, tmp_path):
    pair = pair_lines(export(PairToy), style="ictp device cuda")
    assert_refused(tmp_path, Deck(pair), "device cuda: no CUDA device is visible to PyTorch (")


@pytest.mark.parametrize(
    ("setup", "text"),
    [
        (["newton off"], "Pair style ictp requires newton pair on"),
        (["units lj"], "Pair style ictp requires units metal or real, got lj"),
        (["units si"], "Pair style ictp requires units metal or real, got si"),
        (["newton off on"], "Pair style ictp requires newton pair on"),
        (["atom_modify id no"], "Pair style ictp requires atom IDs"),
    ],
)
def test_init(setup, text, export, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    path = write_deck(folder, ATOM, Deck(pair_lines(export(PairToy)), setup=setup))
    if "atom_modify" in setup[0]:  # a data file needs IDs: make the atoms here
        box = "region box block 0 10 0 10 0 10\ncreate_box 3 box\nmass * 50\n"
        box += "create_atoms 1 single 5 5 5"
        path.write_text(re.sub("read_data .*", box, path.read_text()))
    with pytest.raises(RuntimeError, match=re.escape(text)):
        run_here(path, folder / "log")


def test_bonded_pairs_removed_by_special_bonds(export, tmp_path):
    path = write_deck(tmp_path, ATOM, Deck(pair_lines(export(PairToy))))
    box = (
        "atom_style bond\nregion box block 0 10 0 10 0 10\n"
        "create_box 3 box bond/types 1 extra/bond/per/atom 2 extra/special/per/atom 4\nmass * 50\n"
        "create_atoms 1 single 5 5 5\ncreate_atoms 1 single 6 5 5\n"
        "bond_style zero\nbond_coeff *\ncreate_bonds single/bond 1 1 2"
    )
    path.write_text(re.sub("read_data .*", box, path.read_text()))
    with pytest.raises(RuntimeError, match="use special_bonds lj/coul 1 1 1"):
        run_here(path, tmp_path / "log")
    full_weight = "special_bonds lj/coul 1 1 1\npair_style"
    path.write_text(path.read_text().replace("pair_style", full_weight))
    run_here(path, tmp_path / "log")
    # with weights between 0 and 1 the list's entries carry special-bond bits, which change nothing
    result = (tmp_path / "result.txt").read_text()
    path.write_text(path.read_text().replace("lj/coul 1 1 1", "lj/coul 0.5 0.5 0.5"))
    run_here(path, tmp_path / "log")
    assert (tmp_path / "result.txt").read_text() == result


def test_two_atoms_with_one_id(export, tmp_path):
    structure = STRUCTURES["bulk"]
    path = write_deck(tmp_path, structure, Deck(pair_lines(export(PairToy))))
    atoms = tmp_path / "structure.data"
    header, rows = atoms.read_text().split("Atoms # atomic")
    atoms.write_text(f"{header}Atoms # atomic" + rows.replace("\n2 ", "\n1 "))
    with pytest.raises(RuntimeError, match="two atoms have the ID 1: atom IDs must be unique"):
        run_here(path, tmp_path / "log")


def test_null_needs_another_style(export, tmp_path):
    assert_refused(
        tmp_path, Deck(pair_lines(export(PairToy), "Ta NULL W")), "All pair coeffs are not set"
    )


def test_a_cell_too_small_for_tiled_communication(export, tmp_path):
    # brick serves any cell and any domain; tiled asks for one cutoff per cell and says so itself
    structure = STRUCTURES["cell below the cutoff"]
    deck = Deck(pair_lines(export(PairToy)), setup=["comm_style tiled"])
    text = "Communication cutoff for comm_style tiled cannot exceed periodic box length"
    with pytest.raises(RuntimeError, match=text):
        run(tmp_path, structure, replace(deck, processes=2))


@pytest.mark.mpi
def test_plugin_path_variable(export, tmp_path):
    path = write_deck(tmp_path, ATOM, Deck(pair_lines(export(PairToy))))
    path.write_text(re.sub("plugin load .*\n", "", path.read_text()))
    output = run_processes(path, tmp_path / "log", 1, LAMMPS_PLUGIN_PATH=str(plugin_path().parent))
    assert "Loaded 1 plugins from" in output


def test_clear_and_run_again(export, tmp_path):
    path = write_deck(tmp_path, STRUCTURES["bulk"], Deck(pair_lines(export(MessageToy))))
    first = path.read_text()
    path.write_text(f"{first}clear\n" + first.replace("plugin load", "# "))
    run_here(path, tmp_path / "log")
    run_here(path, tmp_path / "log")


def test_timings_and_log(export, tmp_path):
    answer = run(tmp_path, ATOM, Deck(pair_lines(export(MessageToy, dtype="float32"))))
    assert "pair ictp: 3 layers, r_cut 3 A, float32, device cpu" in answer.log
    names = ("graph", "forward", "backward", "exchange", "scatter")
    pattern = "pair ictp: 1 evaluations, ms each, .*" + ".*".join(rf"{n} \d+\.\d+" for n in names)
    assert re.search(pattern, answer.log)
