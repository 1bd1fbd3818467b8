# SPDX-License-Identifier: MIT
"""Source archive and wheel: what is in them, and a wheel at work in an environment of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

import ase.io
import pytest
import torch
from ase.build import bulk
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from pyictp import __version__
from train_toys import changed, make_config, write_yaml

# What the backend adds, and what it takes of the checkout: all of these, and nothing else.
SOURCES = {
    "PKG-INFO", "LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "pyproject.toml",
    "constraints.txt", "CMakeLists.txt", "cmake", "pair_ictp", "python",
}  # fmt: skip
COMPILED = {f"pyictp/lib/{name}.so" for name in ("libictp_ops", "libictp_pair", "ictpplugin")}


def run(command: Sequence[object], folder: Path, **environment: str) -> str:
    """Run a program; return what it printed, which is shown where it fails."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def test_pinned_packages_take_the_oldest_python_of_the_project(root: Path) -> None:
    """pip would search for ever where constraints.txt names what Debian 12's Python cannot have."""
    needed = tomllib.loads((root / "pyproject.toml").read_text())["project"]["requires-python"]
    oldest = next(iter(SpecifierSet(needed))).version
    pins = [Requirement(line) for line in (root / "constraints.txt").read_text().splitlines()
            if line and not line.startswith("#")]  # fmt: skip
    installed = {d.metadata["Name"].lower().replace("_", "-"): d for d in distributions()}
    found = {pin.name: installed.get(pin.name.lower().replace("_", "-")) for pin in pins}
    wanted = {name: d.metadata["Requires-Python"] for name, d in found.items() if d is not None}
    assert len(wanted) > 0.9 * len(pins)
    assert {n: w for n, w in wanted.items() if w and oldest not in SpecifierSet(w)} == {}


@pytest.fixture(scope="module")
def clean_copy(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the files that git has or would take."""
    folder = tmp_path_factory.mktemp("copy") / "pair_ictp"
    options = ["--cached", "--others", "--exclude-standard", "-z"]
    for name in run(["git", "ls-files", *options], root).split("\0"):
        if name and (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, folder / name)
    return folder


def test_a_release_has_one_version_in_all_files(clean_copy: Path, tmp_path: Path) -> None:
    """And nothing else of them is changed by the script that sets it."""
    folder = tmp_path / "pair_ictp"
    shutil.copytree(clean_copy, folder)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    run([*git, "init", "-q"], folder)
    run([*git, "add", "-A"], folder)
    run([*git, "commit", "-qm", "Begin"], folder)
    names = {"GIT_AUTHOR_NAME": "a", "GIT_COMMITTER_NAME": "a"}
    run([".ci/release", "9.8.7"], folder, **names, EMAIL="a@b.c")
    change = run(["git", "show", "--format=%s", "-U0"], folder).splitlines()
    assert change[0] == "Release 9.8.7"
    lines = [line for line in change if re.match(r"[+-][^+-]", line)]
    old = [
        line.replace("+", "-", 1).replace("9.8.7", __version__) for line in lines if line[0] == "+"
    ]
    assert sum("9.8.7" in line for line in lines) == 6  # five files, and the changelog's heading
    assert [line for line in old if "## [" not in line] == [x for x in lines if x[0] == "-"]
    assert run(["git", "status", "--porcelain"], folder) == ""


@pytest.fixture(scope="module")
def sdist(clean_copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a source archive, made by the backend as pip has it do."""
    pytest.importorskip("scikit_build_core.build", reason="the build backend: make setup")
    folder = tmp_path_factory.mktemp("sdist")
    code = "import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])"
    run([sys.executable, "-c", code, folder], clean_copy)
    (archive,) = folder.iterdir()
    return archive


def test_the_sdist_has_what_a_build_needs_and_nothing_else(sdist: Path, clean_copy: Path) -> None:
    with tarfile.open(sdist) as archive:
        top = sdist.name.removesuffix(".tar.gz")
        names = {name.removeprefix(f"{top}/") for name in archive.getnames()}
        metadata = archive.extractfile(f"{top}/PKG-INFO").read().decode()
    assert {name.split("/")[0] for name in names} == SOURCES
    for part in ("cmake", "pair_ictp", "python"):
        paths = [path for path in (clean_copy / part).rglob("*") if path.is_file()]
        files = {str(path.relative_to(clean_copy)) for path in paths if path.suffix != ".pyc"}
        assert files <= names
    assert not {name for name in names if re.search(r"__pycache__|\.so$|\.o$|tests", name)}
    assert "Dynamic: Requires-Dist" in metadata
    assert "Requires-Dist: torch==" not in metadata  # that is for the wheel to say


@pytest.fixture(scope="module")
def wheel(sdist: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel that pip has built from the source archive alone."""
    folder = tmp_path_factory.mktemp("wheel")
    probe = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, "shtab"]
    if subprocess.run([*map(str, probe)], check=False, capture_output=True).returncode:
        pytest.skip("no package index can be reached")
    limits = {"PIP_CONSTRAINT": str(root / "constraints.txt"), "CMAKE_BUILD_PARALLEL_LEVEL": "1"}
    run([sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, sdist], folder, **limits)
    (built,) = folder.glob("pair_ictp-*.whl")
    return built


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_wheel_holds_the_package_alone(wheel: Path, root: Path, tmp_path: Path) -> None:
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert re.fullmatch(rf"pair_ictp-[\d.]+-{tag}-{tag}-linux_\w+\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path)
    assert {re.sub(r"-[\d.]+\.dist-info", "", name.split("/")[0]) for name in names} == {
        "pyictp",
        "pair_ictp",
    }
    libraries = {name for name in names if name.endswith(".so")}
    assert libraries - COMPILED == {name for name in names if "_native" in name}
    assert len(libraries) == len(COMPILED) + 1
    assert not {name for name in names if re.search(r"__pycache__|test_|\.(o|a|cpp|h)$", name)}
    (info,) = tmp_path.glob("*.dist-info")
    for licence in ("LICENSE", "pair_ictp/LICENSE"):
        text = (info / "licenses" / licence).read_text()
        assert text == (root / licence).read_text()
    for name in libraries:
        assert_relocatable(tmp_path / name)
    lines = (info / "METADATA").read_text().splitlines()
    required = [line.removeprefix("Requires-Dist: ") for line in lines if "Requires-Dist" in line]
    series = ".".join(torch.__version__.split(".")[:2])
    assert f"torch=={series}.*" in required
    assert {Requirement(item).name for item in required} >= {"torch", "lammps", "mpich", "ase"}


def assert_relocatable(library: Path) -> None:
    """Refuse paths of the building machine in a library."""
    dynamic = run(["readelf", "-d", library], library.parent)
    (paths,) = re.findall(r"(?:RUNPATH|RPATH).*\[(.*)\]", dynamic)
    assert all(path.startswith("$ORIGIN") for path in paths.split(":")), paths
    assert not re.findall(r"NEEDED.*\[/.*\]", dynamic)
    assert not re.findall(rb"/(?:tmp|home|root|work)/[\w./-]+", library.read_bytes())


ENERGY = """
import ase.io
from pyictp import ICTPCalculator
atoms = ase.io.read("cell.extxyz")
atoms.calc = ICTPCalculator("model.pt", device="cpu")
print(atoms.get_potential_energy())
"""
DECK = """
units metal
boundary p p p
read_data cell.data
pair_style ictp device cpu
pair_coeff * * model.pt Cu Ni
mass * 60.0
run 0
variable e equal pe
print "energy $(v_e:%.12g)"
"""


@pytest.mark.long
@pytest.mark.lammps
@pytest.mark.timeout(3600)
def test_the_wheel_works_in_an_empty_environment(wheel: Path, root: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    programs, work = tmp_path / "env" / "bin", tmp_path / "work"
    limits = ["-c", root / "constraints.txt"]
    run([programs / "python", "-m", "pip", "install", "-q", *limits, wheel], tmp_path)
    work.mkdir()
    path = {"PATH": f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin", "OMP_NUM_THREADS": "1"}

    text = run(["ictp", "--version"], work, **path)
    assert f"(torch {torch.__version__}, lammps " in text
    assert str(tmp_path) in run(["ictp", "plugin-path"], work, **path)
    found = json.loads(run(["ictp", "doctor", "--json"], work, **path))
    assert found["problems"] == 0

    write_yaml(changed(make_config(work), output="run", max_epochs=2), work / "config.yaml")
    run(["ictp", "train", "config.yaml"], work, **path)
    run(["ictp", "export", "run", "-o", "model.pt", "--dtype", "float64"], work, **path)
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.symbols[::3] = "Ni"
    atoms.rattle(0.1, seed=1)
    atoms.positions = atoms.positions.round(6)  # the digits of either file
    ase.io.write(work / "cell.extxyz", atoms)
    ase.io.write(work / "cell.data", atoms, format="lammps-data", specorder=["Cu", "Ni"])
    (work / "in.energy").write_text(DECK)
    expected = float(run(["python", "-c", ENERGY], work, **path))
    # no `plugin load`, no LAMMPS_PLUGIN_PATH: by the entry point lammps.plugins
    for start in (["lmp"], ["mpiexec", "-n", "2", "lmp"]):
        log = run([*start, "-in", "in.energy", "-log", "none"], work, **path)
        energy = float(re.search(r"^energy (\S+)", log, re.MULTILINE)[1])
        assert energy == pytest.approx(expected, rel=1e-9)


def test_the_ranges_end_where_the_listed_versions_are(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())
    ranges = {item.name: item for item in map(Requirement, project["project"]["dependencies"])}
    for name, upper in (("constraints.txt", True), ("requirements-oldest.txt", False)):
        pins = dict(re.findall(r"^([\w-]+)(?:\[mpi\])?==(\S+)$", (root / name).read_text(), re.M))
        pins = {key.lower(): value for key, value in pins.items()}
        for package, item in ranges.items():
            assert pins[package] in item.specifier, f"{name}: {package}"
            if not upper:
                (lower,) = [part.version for part in item.specifier if part.operator == ">="]
                assert f"{pins[package]}.".startswith(f"{lower}."), f"{name}: {package}"
    required = {item.name: item for item in map(Requirement, project["build-system"]["requires"])}
    for package in ("torch", "lammps", "mpich"):
        assert required[package] == ranges[package]
