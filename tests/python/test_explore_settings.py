# SPDX-License-Identifier: MIT
"""The configuration of `ictp explore`: defaults that depend on others, files found, mistakes."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ase.io import write
from explore_toys import write_loop
from pyictp.cli.main import main
from pyictp.common.files import locked
from pyictp.config.reader import from_dict
from pyictp.errors import UserError
from pyictp.explore.settings import (
    load_settings,
    retraining,
)
from pyictp.explore.state import State
from pyictp.labelling.settings import METHODS, LabellerConfig, _find_in_line
from pyictp.md.lammps import lammps_command
from train_toys import emt_frames

DOCS = Path(__file__).parents[2] / "docs"


def test_files_beside_the_configuration_are_found(tmp_path):
    (tmp_path / "label.py").write_text("def label(atoms):\n    return atoms\n")
    function = {"calculator": None, "function": "label.py:label"}
    config = load_settings(write_loop(tmp_path, labeller=function))
    assert config.labeller.function == f"{tmp_path / 'label.py'}:label"
    assert config.dynamics.structures == (str(tmp_path / "cell.extxyz"),)
    assert config.explore.test == (str(tmp_path / "test.extxyz"),)
    command = {"calculator": None, "command": "python label.py {input} 'a b'"}
    config = load_settings(write_loop(tmp_path, labeller=command))
    assert config.labeller.command == f"python {tmp_path / 'label.py'} '{{input}}' 'a b'"
    (tmp_path / "python").symlink_to(sys.executable)  # as in a virtual environment
    command = {"calculator": None, "command": "./python label.py"}
    config = load_settings(write_loop(tmp_path, labeller=command))
    assert config.labeller.command == f"{tmp_path / 'python'} {tmp_path / 'label.py'}"
    lines = {"calculator": None, "lammps": ["pair_style eam", "pair_coeff * * my.eam"]}
    (tmp_path / "my.eam").touch()
    config = load_settings(write_loop(tmp_path, labeller=lines))
    assert config.labeller.lammps == (
        "pair_style eam",
        f"pair_coeff * * {tmp_path / 'my.eam'}",
    )


@pytest.mark.parametrize("name", ["a b", "#1", "$x", "x&", 'a"b', "a'b", "a'b\"c d"])
def test_a_file_of_the_labeller_is_one_word_to_lammps(name, tmp_path):
    """LAMMPS itself reads the words that the name is put into."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / "value").write_text("7\n")
    line = _find_in_line("variable v file value", folder)
    assert shown_by_lammps([line, 'print "v is $v"'], tmp_path) == "v is 7"


def shown_by_lammps(lines, folder):
    (folder / "in.lammps").write_text("\n".join(lines) + "\n")
    words = [lammps_command(None, 1)[0], "-in", "in.lammps", "-log", "none"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    return next(x for x in done.stdout.splitlines() if x.startswith("v is"))


def test_defaults_follow_the_committee(tmp_path):
    path = write_loop(tmp_path, uncertainty={"low": None, "high": None})
    wanted = load_settings(path).uncertainty
    assert (wanted.by, wanted.low, wanted.high) == ("deviation", 0.1, 0.5)
    wanted = load_settings(path, ["explore.committee=1"]).uncertainty
    assert (wanted.by, wanted.low, wanted.high) == ("grade", 1.0, 5.0)


def test_retraining_replaces_keys_of_training(tmp_path):
    config = load_settings(write_loop(tmp_path), ["retraining.learning_rate=1e-3"])
    later = retraining(config)
    assert (config.training.max_epochs, later.max_epochs) == (3, 2)
    assert (later.learning_rate, later.batch_size, later.report) == (1e-3, 4, False)


MISSING = (
    "data file '{folder}/no.xyz' not found (a relative path in a configuration is looked up "
    "beside it, then in the current folder)"
)
MISTAKES = {
    "labeler: {xtb: GFN2-xTB}": "unknown config key 'labeler': did you mean 'labeller'?",
    "labeller.calculator=null": "labeller: expected one of lammps, calculator, xtb, command, "
    "function, got none",
    "labeller.xtb=GFN2-xTB": "labeller: calculator and xtb are given: expected one of them",
    "explore.committee=1 uncertainty.by=deviation": "uncertainty.by is deviation, but "
    "explore.committee is 1: one model deviates from nothing; take 2 or more, or uncertainty.by: "
    "grade",
    "uncertainty.low=2 uncertainty.high=1": "uncertainty: expected low < high, got low 2 and "
    "high 1",
    "uncertainty.by=devi": "uncertainty.by: expected auto or deviation or grade, got 'devi'",
    "retraining.epochs=3": "unknown config key 'retraining.epochs': did you mean 'max_epochs'?",
    "training.output=x": "training.output: the folder is explore.output, leave it out here",
    "dynamics.every=30": "dynamics.every is 30, above dynamics.steps 20: lower it",
    "dynamics.structures=[]": "dynamics.structures: expected one or more files, got none",
    "dynamics.structures=no.cif": "structure '{folder}/no.cif' not found",
    "dynamics.temperatures=[-3]": "dynamics.temperatures: expected above 0, got -3.0",
    "data.train=[]": "data.train: expected a file with labelled structures to begin with",
    "data.train=no.xyz": MISSING,
    "data.num_valid=2": "data.num_train, data.num_valid: explore takes all frames: leave them out",
    "explore.test=no.xyz": MISSING,
    "labeller.calculator=null labeller.xtb=GFN9-xTB": "labeller.xtb: expected GFN2-xTB or "
    "GFN1-xTB or IPEA1-xTB, got 'GFN9-xTB'",
    "labeller.calculator=null labeller.function=label": "labeller.function: expected module:name "
    "or file.py:name, got 'label'",
}


@pytest.mark.parametrize(("words", "message"), MISTAKES.items(), ids=str)
def test_a_mistake_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = write_loop(tmp_path)
    if "=" not in words:
        path.write_text(path.read_text() + f"\n{words}\n")
        words = ""
    assert main(["explore", str(path), "--dry-run", *words.split()]) == 1
    assert capsys.readouterr().err == f"error: {message.replace('{folder}', str(tmp_path))}\n"
    assert not (tmp_path / "loop").exists()


@pytest.mark.lammps
def test_a_dry_run_says_what_would_be_done(tmp_path, capsys):
    path = write_loop(tmp_path)
    bare = [atoms.copy() for atoms in emt_frames(3)]  # without labels
    write(tmp_path / "bare.extxyz", bare)
    words = ["data.train=[start.extxyz, bare.extxyz]", "data.valid=bare.extxyz"]
    assert main(["explore", str(path), *words, "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert (
        "start      12 frames (9 with labels), 3 frames (0 with labels) to validate, "
        "4 frames (4 with labels) held back to test\n"
    ) in text
    assert "2 runs of 20 steps in each of up to 1 cycles, a look every 4" in text
    assert "deviation between 0 and 1000 eV/A" in text
    assert not (tmp_path / "loop").exists()


def test_a_dry_run_has_no_results_to_write(tmp_path, capsys):
    words = ["--dry-run", "--json", str(tmp_path / "plan.json")]
    assert main(["explore", str(write_loop(tmp_path)), *words]) == 1
    assert capsys.readouterr() == (
        "",
        "error: --json writes results, --dry-run has none: leave out one of them\n",
    )


def test_a_folder_of_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "thesis.tex").touch()
    path = write_loop(tmp_path)
    for option in ([], ["--overwrite"]):
        assert main(["explore", str(path), *option]) == 1
        error = capsys.readouterr().err
        assert "holds no exploration" in error
        assert error.count("\n") == 1
    assert (tmp_path / "loop" / "thesis.tex").exists()


def test_a_stage_is_done_once_and_another_loop_is_refused(tmp_path):
    config = load_settings(write_loop(tmp_path))
    folder = tmp_path / "loop"
    calls = []
    first = State(folder, config)
    assert first.stage("one", lambda: calls.append(1) or {"a": 1}) == {"a": 1}
    again = State(folder, config)
    assert again.stage("one", lambda: calls.append(2)) == {"a": 1}
    assert calls == [1]
    State(folder, load_settings(tmp_path / "loop.yaml", ["explore.cycles=9", "dynamics.steps=50"]))
    other = load_settings(tmp_path / "loop.yaml", ["explore.committee=3"])
    with pytest.raises(UserError, match=r"begun with explore.committee 2, now it is 3: set it"):
        State(folder, other)
    (folder / "state.json").write_text("{")
    with pytest.raises(UserError, match=r"is no state of an exploration"):
        State(folder, config)


def test_one_process_at_a_time_and_a_killed_one_leaves_no_lock(tmp_path):
    code = "import sys, time; from pathlib import Path; from pyictp.common.files import locked\n"
    code += "with locked(Path(sys.argv[1]), 'an ictp explore'): "
    code += "print('in', flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "in\n"
        message = rf"an ictp explore \(process {other.pid} on {socket.gethostname()}\) works in it"
        with pytest.raises(UserError, match=message), locked(tmp_path, "two"):
            pass
        other.kill()
        other.wait()
        with locked(tmp_path, "two"):
            pass


def test_the_page_has_the_example_and_labellers_that_are_read():
    page = (DOCS / "explore.md").read_text()
    example = DOCS / "explore" / "silicon.yaml"
    assert f"```yaml\n{example.read_text()}```" in page
    wanted = ["dynamics.structures=silicon.in", "data.train=silicon.in", "explore.test=[]"]
    assert load_settings(example, wanted).labeller.method == "lammps"
    lines = re.findall(r"^labeller: .*$", page, re.MULTILINE)
    labellers = [from_dict(LabellerConfig, yaml.safe_load(x)["labeller"], "") for x in lines]
    assert sorted(labeller.method for labeller in labellers) == sorted(METHODS)
