# SPDX-License-Identifier: MIT
"""The commands of README.md and docs/ run as they stand there, or tests/blocks.py says why not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
import slurm_stand_in
import stand_ins
from ase.calculators.emt import EMT
from ase.io import read, write
from blocks import BLOCKS, COMMANDS, ELSEWHERE, LANGUAGES, NOT_RUN, ROOT, SCRIPTS, Block
from mace_files import unpack
from pyictp.config.load import load_config
from pyictp.potential.exported import read_metadata
from sevennet_files import install_small
from stages import STAGES
from train_toys import emt_frames

FILE_NAME = re.compile(r"# ([\w./-]+\.\w+)\n")  # first line of a block that is a file
RUN_BLOCK = """import runpy, sys
names = runpy.run_path("prelude.py")
exec(compile(sys.stdin.read(), "block", "exec"), names)"""
TUTORIAL = "docs/tutorial.md"
# What is shortened, and nothing else: the words of the page, and those that run.
SHORTER = {
    "source .venv/bin/activate": ":",
    "max_minutes: 30": "max_epochs: 2",
    "--temperature 300 --time 10 ": "--temperature 300 --time 0.02 ",
    "--temperature 300 --time 6 ": "--temperature 300 --time 0.02 ",
}
# Blocks that are alternatives: each line in a folder of its own.
ALTERNATIVES = ("ictp train config.yaml",)


def mine(pages: Callable[[str], bool]) -> list[Block]:
    """Return the blocks of some pages that no other test runs."""
    return [block for block in COMMANDS if pages(block.page) and block.owner is None]


def run_shell(script: str, folder: Path) -> str:
    """Run lines as a user's shell would; they end with the first that fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": path, "OMP_NUM_THREADS": "1", "MPIR_CVAR_CH4_PROGRESS_THROTTLE": "1"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def run_page(page: str, folder: Path, shorter: Mapping[str, str] | None = None) -> str:
    """Write the files of a page and run its commands, from top to bottom; return the output.

    Args:
        page: its name.
        folder: to run in.
        shorter: words of the page, and those that run in their place; each must be there.
    """
    output, unused = [], set(shorter or {})
    for block in mine(lambda name: name == page):
        text = block.text
        for words, fewer in (shorter or {}).items():
            unused -= {words} if words in text else set()
            text = text.replace(words, fewer)
        if name := FILE_NAME.match(text):
            (folder / name[1]).write_text(text)
        else:
            assert block.language == "bash", f"{block}: a file begins with '# its-name'"
            output.append(run_shell(text, folder))
    assert not unused
    return "\n".join(output)


def numbers(pattern: str, text: str) -> list[float]:
    """Return all numbers behind a word."""
    return [float(number) for number in re.findall(rf"{pattern}\s+(-?\d[\d.e+-]*)", text)]


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the folder after the tutorial, and what it printed."""
    folder = tmp_path_factory.mktemp("tutorial")
    return folder, run_page(TUTORIAL, folder)


@pytest.fixture
def after_tutorial(tutorial: tuple[Path, str], tmp_path: Path) -> Path:
    """Return a copy of the tutorial's folder."""
    return shutil.copytree(tutorial[0], tmp_path / "tutorial")


@pytest.mark.slow
@pytest.mark.lammps
@pytest.mark.timeout(900)
def test_tutorial(tutorial: tuple[Path, str]) -> None:
    folder, text = tutorial
    assert re.search(r"energy and forces, frames.xyz: slope (0\.[89]|1\.[012])", text)
    (force_error,) = numbers("force RMSE", text)[:1]
    assert force_error < 50  # meV/A; the page has half of it
    errors = re.findall(r"^forces (\S+) of (\S+) meV/A$", text, re.MULTILINE)
    assert len(errors) == 5
    for error, size in errors:
        assert float(error) < 0.1 * float(size)
    for name in ("run/report.html", "parity.png", "md/rdf.png", "model.pt"):
        assert (folder / name).stat().st_size > 1000


@pytest.mark.long
@pytest.mark.timeout(900)
def test_fine_tuning(after_tutorial: Path, tutorial: tuple[Path, str]) -> None:
    silver, before = numbers("force RMSE", run_page("docs/howto/finetune.md", after_tutorial))[::2]
    assert silver < 100
    assert before < 3 * numbers("force RMSE", tutorial[1])[0]


@pytest.mark.slow
@pytest.mark.lammps
@pytest.mark.timeout(900)
def test_repulsion(after_tutorial: Path) -> None:
    text = run_page("docs/howto/zbl.md", after_tutorial)
    shortest = numbers(r"shortest \w+-\w+", text)
    places, energies = np.array(re.findall(r"(\S+) A: (\S+) eV", text), float).T
    assert len(places) == 17
    assert (np.diff(energies[places <= max(shortest)]) > 0).all()
    assert energies[-1] > 1000  # Cu and Au half an Angstrom apart
    assert "closer than any such pair in the training data" in text  # between rows of the table
    text = re.sub(r"WARNING: .*\n", "", text)
    table = re.search(r"Step +Time +Temp.*\n((?: +[\d. +-e]+\n)+)", text)[1]
    rows = np.array([[float(word) for word in line.split()] for line in table.splitlines()])
    assert np.ptp(rows[:, 3]) > 10.0  # eV, a collision
    assert np.ptp(rows[:, 4]) < 1.0


@pytest.mark.long
@pytest.mark.lammps
@pytest.mark.timeout(900)
def test_uncertainty(after_tutorial: Path) -> None:
    text = run_page("docs/uncertainty.md", after_tutorial)
    for name in ("force deviation", "grade"):
        assert min(numbers(f"\n{name}: rank correlation with errors", text)) > 0.2
    assert "Fix halt condition for fix-id unsure met on step" in text
    dump = np.loadtxt(after_tutorial / "last.lammpstrj", skiprows=9)
    assert dump[:, 5].min() > 0  # eV/A
    assert (
        dump[:, 6].max() > 2.5
    )  # the limit of the page: in the middle of a run no structure has it
    asked = text.splitlines()[-18:]
    assert len({line for line in asked if len(line.split()) == 3}) == 18  # frames of the test file


@pytest.mark.slow
@pytest.mark.lammps
@pytest.mark.timeout(900)
def test_heat_flux(after_tutorial: Path) -> None:
    text = run_page("docs/howto/heat_flux.md", after_tutorial)
    (kappa,) = numbers("conductivity", text)
    assert 0.05 < kappa < 20  # W/(m K): a number of the right kind
    check_conductivity(kappa, after_tutorial)


def check_conductivity(kappa: float, folder: Path) -> None:
    """Compare with the integral of the correlation functions in the file, in SI units."""
    rows = [line.split() for line in (folder / "flux.dat").read_text().splitlines()]
    last = [row for row in rows if len(row) == 6][-100:]  # index, time, count, three functions
    assert [row[0] for row in (last[0], last[-1])] == ["1", "100"]
    correlation = [sum(map(float, row[3:6])) for row in last]
    integral = sum(correlation) - 0.5 * (correlation[0] + correlation[-1])
    unit = 1.602176634e-19 * 1e-10 / 1e-12  # J m/s of a flux
    volume, step = (3 * 3.86e-10) ** 3, 4 * 0.002e-12
    expected = integral * unit**2 * step / (3 * volume * 1.380649e-23 * 300**2)
    assert kappa == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_import(tmp_path: Path) -> None:
    unpack("one_layer", tmp_path).rename(tmp_path / "mace.model")
    unpack("charge_spin", tmp_path).rename(tmp_path / "omol.model")
    text = run_page("docs/howto/import.md", tmp_path)
    assert "read: ScaleShiftMACE in float64" in text
    assert read_metadata(tmp_path / "model.pt")["elements"] == ["H", "C", "O", "V", "Nb", "Ta"]
    assert read_metadata(tmp_path / "model64.pt")["dtype"] == "float64"
    assert load_config(tmp_path / "tav" / "config.yaml").model.elements == ("V", "Ta")


@pytest.mark.long
@pytest.mark.lammps
def test_sevennet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a small checkpoint in the place of SevenNet-0, in a package that cannot be imported."""
    monkeypatch.setenv("PYTHONPATH", str(install_small("manual", tmp_path / "site")))
    text = run_page("docs/howto/sevennet.md", tmp_path)
    assert "read: a checkpoint of SevenNet" in text
    assert "us_per_atom_and_step" in text
    assert load_config(tmp_path / "tav" / "config.yaml").model.elements == ("Ta", "V")
    assert read_metadata(tmp_path / "universal.pt")["num_layers"] == 3
    assert read_metadata(tmp_path / "tav.pt")["elements"] == ["Ta", "V"]


@pytest.mark.long
@pytest.mark.lammps
@pytest.mark.timeout(1800)
def test_distill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a small checkpoint in the place of SevenNet-0; fewer frames, steps and epochs."""
    monkeypatch.setenv("PYTHONPATH", str(install_small("manual", tmp_path / "site")))
    shorter = {
        "dynamics: 40": "dynamics: 10, equilibration: 5, every: 2",
        "max_minutes: 20": "max_epochs: 3",
        "max_minutes: 5": "max_epochs: 2",
        "cycles: 3": "cycles: 1",
        "steps: 2000": "steps: 40",
        "--time 10": "--steps 4",
    }
    text = run_page("docs/howto/distill.md", tmp_path, shorter)
    assert "compared" not in text
    student = json.loads((tmp_path / "distilled" / "results.json").read_text())["student"]
    assert (student["file"], student["frames"]) == ("distilled/student.pt", 4)
    assert f"forces {student['force_rmse_mev_per_a']:.1f} meV/A" in text
    assert f"{student['times_faster']:.1f} times faster" in text


@pytest.mark.long
@pytest.mark.lammps
@pytest.mark.timeout(1800)
def test_dft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With programs in the places of VASP and Slurm; fewer steps and epochs."""
    programs = stand_ins.install(tmp_path / "bin")
    slurm_stand_in.install(programs)
    (tmp_path / "queue").mkdir()
    monkeypatch.setenv("STAND_IN_SLURM", str(tmp_path / "queue"))
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("VASP_PP_PATH", str(stand_ins.potentials(tmp_path, "Cu", "Ni")))
    folder = tmp_path / "user"
    folder.mkdir()
    write(folder / "start.extxyz", [atoms.copy() for atoms in emt_frames(4)])
    words = "vasp.yaml training.max_epochs=2 retraining.max_epochs=1 training.max_minutes=null "
    words += "retraining.max_minutes=null explore.cycles=1 explore.committee=1 dynamics.steps=20 "
    words += "model.num_channels=4 uncertainty.low=0 uncertainty.high=1000 selection.max_frames=2 "
    words += "dynamics.temperatures=300"
    text = run_page(
        "docs/howto/dft.md", folder, {"ictp explore vasp.yaml": f"ictp explore {words}"}
    )
    assert text.count("labeller   calculator: works") == 2
    assert text.count("1 cycles are done; newest models") == 3  # the last command finds all done
    added = read(folder / "exploration" / "cycle_1" / "added.extxyz", ":")
    for atoms in added:
        energy = atoms.get_potential_energy()
        atoms.calc = EMT()
        assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-5)
    assert len(added) == 2
    assert len(list((tmp_path / "queue").glob("*.json"))) == 3  # check, start, cycle 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_published(shared_dir: Path, tmp_path: Path) -> None:
    case = shared_dir / "fixtures" / "upstream" / "organic_symmetric_l2"
    shutil.copytree(next(case.glob("ckpt_*")), tmp_path / "ckpt_100")
    labelled = (case / "reference.extxyz").read_text().replace("ref_", "")
    (tmp_path / "labelled_by_the_other_code.xyz").write_text(labelled)
    text = run_page("docs/howto/published.md", tmp_path)
    assert max(numbers("force RMSE", text)[:1]) < 1e-4  # meV/A
    assert read_metadata(tmp_path / "old.pt")["dtype"] == "float32"
    assert read_metadata(tmp_path / "old64.pt")["dtype"] == "float64"


SINGLE = mine(lambda page: not page.startswith(SCRIPTS))
RUNNABLE = [
    pytest.param(block, marks=[pytest.mark.long] if block.text.startswith(ALTERNATIVES) else [])
    for block in SINGLE
    if block.language != "yaml"
]


@pytest.mark.slow
@pytest.mark.parametrize("block", RUNNABLE, ids=str)
def test_block(block: Block, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    stage, text = STAGES[block.page], block.text
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    if block.language == "python":
        stage(tmp_path, request)
        command = [sys.executable, "-c", RUN_BLOCK]
        subprocess.run(command, cwd=tmp_path, input=text, text=True, check=True)
        return
    if block.language == "console":
        text = "".join(line.removeprefix("$ ") for line in commands_of(text))
    alternatives = text.startswith(ALTERNATIVES)
    for number, script in enumerate(text.splitlines() if alternatives else [text]):
        folder = tmp_path / str(number)
        folder.mkdir()
        stage(folder, request)
        run_shell(script, folder)


def commands_of(console: str) -> Iterable[str]:
    """Return the lines of a session that were typed."""
    return (line for line in console.splitlines(keepends=True) if line.startswith("$ "))


@pytest.mark.parametrize("block", [b for b in SINGLE if b.language == "yaml"], ids=str)
def test_configuration(block: Block, tmp_path: Path) -> None:
    (tmp_path / "some.yaml").write_text(block.text)
    assert load_config(tmp_path / "some.yaml").data.train


def test_every_block_has_a_language_and_a_test() -> None:
    for block in BLOCKS:
        known = block.language == "text" or block.language in LANGUAGES
        assert known, f"{block}: unknown language '{block.language}'"
        if block.page != "README.md":
            assert block.language != "indented", f"{block}: put it between ``` and name a language"
        if block.language == "text":
            typed = re.match(r"(\$|ictp|python|lmp|mpiexec) ", block.text)
            assert not typed, f"{block}: is it bash?"
    for block in SINGLE:
        assert block.page in STAGES, f"{block}: neither run nor listed in tests/blocks.py"
    here = Path(__file__).read_text()
    for page in {b.page for b in COMMANDS if b.page.startswith(SCRIPTS)}:
        assert f'"{page}"' in here, f"{page}: add a test that runs it"


def test_no_line_of_the_lists_is_idle() -> None:
    for page, start, owner in ELSEWHERE + NOT_RUN:
        found = [b for b in COMMANDS if b.page == page and b.text.startswith(start)]
        assert found, f"{page} has no block '{start}'"
        if owner.endswith(".py"):
            assert (ROOT / owner).is_file()
    text = "".join(block.text for block in SINGLE)
    for words in (*SHORTER, *ALTERNATIVES):
        assert words in text, f"no page says '{words}'"
