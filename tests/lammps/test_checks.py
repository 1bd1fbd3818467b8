# SPDX-License-Identifier: MIT
"""What the pair style looks at during a run: lists that are narrowed, masses, IDs, distances."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deck import Deck, Structure, pair_lines, run, run_here, run_many, run_processes, write_deck
from pyictp.native import plugin_path
from structures import STRUCTURES
from toys import MessageToy

pytestmark = pytest.mark.lammps
BULK = STRUCTURES["bulk"]
RIGHT_MASSES = ["mass 1 180.95", "mass 2 50.94", "mass 3 183.84"]
BONDED = "needs bonded neighbors in its neighbor list: a weight of 0 removes them"
MOLECULE = "1 2 atoms\n\nCoords\n\n1 0 0 0\n2 1.1 0.2 0\n\nTypes\n\n1 1\n2 2\n"


def start(path: Path, processes: int) -> None:
    """Run a deck in this process or with mpiexec; the log is beside it."""
    if processes:
        run_processes(path, path.parent / "log", processes)
    else:
        run_here(path, path.parent / "log")


def warnings(log: str) -> list[str]:
    return re.findall(r"WARNING: (?:Pair style ictp.*)", log)


# -- bonded neighbors that a weight of 0 takes out of the list ---------------------------------


def molecular_deck(folder: Path, model: Path, commands: Sequence[str]) -> Path:
    """Return a deck with room for bonds, a molecule of two atoms with a bond, one without."""
    bonds = "\nBonds\n\n1 1 1 2\n"
    (folder / "bonded.mol").write_text(
        "#\n\n2 atoms\n1 bonds\n" + MOLECULE.split("\n", 1)[1] + bonds
    )
    (folder / "plain.mol").write_text("#\n\n2 atoms\n" + MOLECULE.split("\n", 1)[1])
    path = folder / "in.lammps"
    lines = [
        "units metal",
        "atom_style full",
        f"plugin load {plugin_path()}",
        "region box block 0 14 0 14 0 14",
        "create_box 3 box bond/types 1 extra/bond/per/atom 2 extra/special/per/atom 6",
        *RIGHT_MASSES,
        f"molecule bonded {folder / 'bonded.mol'}",
        f"molecule plain {folder / 'plain.mol'}",
        "bond_style zero nocoeff",
        "bond_coeff 1",
        *pair_lines(model),
        "comm_modify cutoff 8",
        "neigh_modify delay 0 every 1 check no",
        "thermo 1",
        "thermo_style custom step atoms bonds pe",
        *commands,
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


DEPOSIT = [
    "timestep 0.0005",
    "fix nve all nve",
    "region middle block 5 9 5 9 5 9",
    "fix in all deposit 1 0 1 12345 region middle mol bonded near 1.0",
    "run 2",
]
CREATE_BOND = [
    "create_atoms 0 single 5 5 5 mol plain 4711",
    "fix bonds all bond/create 1 1 2 1.3 1",
    "run 3",
]


@pytest.mark.parametrize("commands", [DEPOSIT, CREATE_BOND], ids=["deposit", "bond/create"])
@pytest.mark.parametrize("processes", [0, 2])
def test_bonds_that_come_during_a_run(commands, processes, export, tmp_path):
    path = molecular_deck(tmp_path, export(MessageToy), commands)

    with pytest.raises(RuntimeError, match=BONDED):
        start(path, processes)
    path.write_text(
        path.read_text().replace("pair_style", "special_bonds lj/coul 1 1 1\npair_style")
    )
    start(path, processes)
    rows = re.findall(r"^ +\d+ +2 +(\d) +(\S+) *$", (tmp_path / "log").read_text(), re.MULTILINE)
    assert rows[-1][0] == "1"
    assert len({energy for _, energy in rows}) == 1 or commands is DEPOSIT


def test_bonds_whose_weights_are_changed_between_runs(export, tmp_path):
    commands = [
        "create_atoms 0 single 5 5 5 mol bonded 4711",
        "special_bonds lj/coul 1 1 1",
        "run 0",
    ]
    path = molecular_deck(tmp_path, export(MessageToy), commands)
    run_here(path, tmp_path / "log")
    path.write_text(path.read_text() + "special_bonds lj/coul 1 0 1\nrun 0\n")
    run_here(path, tmp_path / "log")  # there is no neighbor of a neighbor
    path.write_text(path.read_text() + "special_bonds lj/coul 0 1 1\nrun 0\n")
    with pytest.raises(RuntimeError, match=BONDED):
        run_here(path, tmp_path / "log")


# -- settings that narrow lists ----------------------------------------------------------------


@pytest.mark.parametrize("processes", [0, 3])
@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "neigh_modify include mobile",
            "with neigh_modify include the model would see only atoms of",
        ),
        (
            "comm_modify group mobile",
            "with comm_modify group the model would see only atoms of the",
        ),
    ],
)
def test_lists_of_a_group_are_refused(line, text, processes, export, tmp_path):
    before = ["group mobile id 1:30", "atom_modify first mobile"]
    pair = [*before, *pair_lines(export(MessageToy))]
    path = write_deck(tmp_path, BULK, Deck(pair, modify=[line], processes=processes))
    with pytest.raises(RuntimeError, match=text):
        start(path, processes)


EXCLUSIONS = {
    "exclude type 1 2": "neighbors between atom types 1 and 2: neigh_modify exclude type takes",
    "exclude group some other": "between groups some and other: neigh_modify exclude group",
    "exclude group some some": "between groups some and some: neigh_modify exclude group",
    "exclude group some all": None,
    "exclude type 2 2": None,  # of a type that is NULL
}


def test_exclusions_are_warned_of(export, tmp_path):
    pair = ["pair_style hybrid/overlay ictp device cpu zero 4.0", *RIGHT_MASSES]
    pair += [f"pair_coeff * * ictp {export(MessageToy)} Ta NULL W", "pair_coeff * * zero"]
    groups = ["group some id 1:20", "group other id 21:30"]
    cases = {}
    for line in EXCLUSIONS:
        mapped = [word.replace("NULL", "V") for word in pair] if "1 2" in line else pair
        cases[line] = (BULK, Deck(mapped, modify=[*groups, f"neigh_modify {line}"]))
    cases["molecule"] = (BULK, Deck(pair, modify=["neigh_modify delay 0"]))
    answers = run_many(tmp_path, cases, 0)
    found = {line: warnings(answer.log) for line, answer in answers.items()}
    for line, text in EXCLUSIONS.items():
        assert all(text and text in warning for warning in found[line]), line
        assert bool(found[line]) == (text is not None), line
    assert found["molecule"] == []


@pytest.mark.parametrize("kind", ["intra", "inter"])
def test_exclusions_of_molecules_are_warned_of(kind, export, tmp_path):
    create = ["create_atoms 0 single 5 5 5 mol plain 1", "create_atoms 0 single 7 5 5 mol plain 2"]
    commands = [*create, f"neigh_modify exclude molecule/{kind} all", "run 0"]
    run_here(molecular_deck(tmp_path, export(MessageToy), commands), tmp_path / "log")
    name = {"intra": "one molecule", "inter": "different molecules"}[kind]
    (warning,) = warnings((tmp_path / "log").read_text())[:1]
    text = f"between atoms of {name} in group all: neigh_modify exclude molecule/{kind} takes them"
    assert text in warning


# -- a list that is too old --------------------------------------------------------------------


OLD = "the neighbor list is older than it is good for"
MOVE = ["velocity all create 20000 5 loop geom", "fix nve all nve"]


@pytest.mark.parametrize("processes", [0, 2])
def test_an_old_list_is_warned_of(processes, export, tmp_path):
    pair = [*pair_lines(export(MessageToy)), *RIGHT_MASSES, "neighbor 0.5 bin"]
    press = "fix box all deform 1 x erate {} remap x"
    cases = {
        "once": (["neigh_modify once yes", *MOVE], True),
        "check no": (["neigh_modify delay 0 every 60 check no", *MOVE], True),
        "late": (["neigh_modify delay 60 every 1 check yes", *MOVE], True),
        "often": (["neigh_modify delay 0 every 1 check yes", *MOVE], False),
        "still": (["neigh_modify once yes", "fix nve all nve"], False),
        "pressed": (["neigh_modify once yes", press.format(-4), "fix nve all nve"], True),
        "pressed a little": (["neigh_modify once yes", press.format(-0.5)], False),
        "stretched": (["neigh_modify once yes", press.format(4)], False),
    }
    decks = {
        name: (BULK, Deck(pair, modify=lines, run=["run 50"])) for name, (lines, _) in cases.items()
    }
    for name, answer in run_many(tmp_path, decks, processes).items():
        assert len([w for w in warnings(answer.log) if OLD in w]) == cases[name][1], name


MOVES = ["displace_atoms all random 0.2 0.2 0.2 1", "delete_atoms group gone"]


@pytest.mark.parametrize("processes", [0, 3])
@pytest.mark.parametrize("move", MOVES)
def test_atoms_moved_before_a_run_without_setup(move, processes, export, tmp_path):
    """These commands send atoms to other processes and leave no ghosts; the old list stays."""
    run_line = ["group gone id 7 8", "run 0", move, "run 1 pre no"]
    modify = ["neighbor 0.5 bin", "neigh_modify delay 5 every 1"]
    pair = pair_lines(export(MessageToy))
    deck = Deck(pair, modify=modify, run=run_line, processes=processes)
    with pytest.raises(RuntimeError, match="since the neighbor list of step 0 was made: use run"):
        run(tmp_path, BULK, deck)


# -- masses ------------------------------------------------------------------------------------


def test_masses_that_contradict_the_elements(export, tmp_path):
    model = export(MessageToy)
    masses = {
        "right": RIGHT_MASSES,
        "isotope": ["mass 1 200", *RIGHT_MASSES[1:]],
        "swapped": [RIGHT_MASSES[0], "mass 2 183.84", "mass 3 50.94"],
    }
    decks = {name: (BULK, Deck([*lines, *pair_lines(model)])) for name, lines in masses.items()}
    found = {name: warnings(answer.log) for name, answer in run_many(tmp_path, decks, 0).items()}
    assert found["right"] == found["isotope"] == []
    assert (
        "atom type 2 has mass 183.84, but V, its element in pair_coeff, has 50.94"
        in found["swapped"][0]
    )
    assert (
        "atom type 3 has mass 50.94, but W, its element in pair_coeff, has 183.8"
        in found["swapped"][1]
    )


@pytest.mark.parametrize("processes", [0, 2])
def test_masses_of_atoms(processes, export, tmp_path):
    """atom_style sphere has a mass per atom; it may change between two lists."""
    path = write_deck(
        tmp_path,
        BULK,
        Deck(pair_lines(export(MessageToy)), run=["run 0", "set atom 7 mass 12", "run 0"]),
    )
    text = path.read_text().replace("plugin load", "atom_style hybrid atomic sphere\nplugin load")
    create = "region box block 0 8.7 0 8.7 0 8.7\ncreate_box 3 box\nlattice bcc 2.9\n"
    create += "create_atoms 3 box\nset type 3 mass 183.84"
    text = re.sub("read_data .*", create, text)
    path.write_text(text)
    start(path, processes)
    (warning,) = set(warnings((tmp_path / "log").read_text()))
    assert "atom 7 has mass 12, but W, its element in pair_coeff, has 183.8" in warning


# -- IDs ---------------------------------------------------------------------------------------


@pytest.mark.mpi
def test_two_atoms_with_one_id_on_two_processes(export, tmp_path):
    """Each process sees its own atom only; the other's ghost would be taken for it."""
    positions = np.array([[4.0, 5, 5], [6.0, 5.1, 5], [2.4, 5, 5.2], [7.8, 5, 5]])
    structure = Structure(
        positions, np.array([1, 2, 3, 1]), np.eye(3) * 10, ids=np.array([7, 7, 8, 9])
    )
    deck = Deck(pair_lines(export(MessageToy)), setup=["processors 2 1 1"], processes=2)
    with pytest.raises(RuntimeError, match="two atoms have the ID 7: atom IDs must be unique"):
        run(tmp_path, structure, deck)
    run(tmp_path / "right", replace(structure, ids=np.array([7, 6, 8, 9])), deck)


# -- files -------------------------------------------------------------------------------------


@pytest.mark.mpi
def test_processes_that_find_different_files_under_one_name(export, tmp_path):
    """A stale copy on a node: all take that of the first process."""
    models = [export(MessageToy), export(MessageToy, r_cut=2.5, num_layers=2)]
    folders = []
    for number, model in enumerate(models):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "model.pt").write_bytes(model.read_bytes())
        folders.append(folder)
    deck = write_deck(tmp_path, BULK, Deck(pair_lines(Path("model.pt"))))
    texts = []
    for places in ([folders[0]] * 2, folders):
        run_programs(deck, places)
        texts.append((tmp_path / "result.txt").read_text())
    (folders[1] / "model.pt").unlink()
    run_programs(deck, folders)
    texts.append((tmp_path / "result.txt").read_text())
    assert texts[0] == texts[1] == texts[2]


def run_programs(deck: Path, folders: Sequence[Path]) -> None:
    """Run one LAMMPS of several processes, each in a folder of its own."""
    programs = Path(sys.executable).parent
    command: list[str] = [str(programs / "mpiexec")]
    for number, folder in enumerate(folders):
        part = ["-n", "1", "-wdir", str(folder), str(programs / "lmp"), "-in", str(deck)]
        command += [*([":"] if number else []), *part, "-log", "none"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
