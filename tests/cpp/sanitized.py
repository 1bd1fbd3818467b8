# SPDX-License-Identifier: MIT
"""Tests with compiled parts that sanitizers look into. GCC's own are needed, as g++ brings them.

By hand: .venv/bin/python tests/cpp/sanitized.py address tests/python/test_operators.py -k rank4
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
SUPPRESSIONS = Path(__file__).with_name("sanitizers.supp")
KINDS = {"address": "address,undefined", "thread": "thread"}
UNSET = "malloc_fill_byte=255:max_malloc_fill_size=1000000000"
# An editable install puts its finder before PYTHONPATH; run at the start of every Python, this does
# away with it.
WITHOUT_EDITABLE = """import sys
sys.meta_path[:] = [f for f in sys.meta_path if "_editable" not in type(f).__module__]
"""


@dataclass(frozen=True)
class Outcome:
    """What pytest printed, how it ended, and what sanitizers wrote of any process it started."""

    returncode: int
    output: str
    reports: str


def call(command: Sequence[object], folder: Path = ROOT) -> str:
    """Run a program of the build; return what it printed, an error if it fails."""
    done = subprocess.run(
        [*map(str, command)], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


@functools.cache
def build(kind: str) -> Path:
    """Compile for `kind`; return a folder for PYTHONPATH with the package and these libraries."""
    folder = ROOT / "build" / "sanitize" / kind
    folder.mkdir(parents=True, exist_ok=True)
    site = folder / f"site-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
    with (folder / "build.lock").open("w") as lock:  # tests that run side by side share the folder
        fcntl.flock(lock, fcntl.LOCK_EX)
        _build(kind, folder, site)
    return site


def _build(kind: str, folder: Path, site: Path) -> None:
    pybind = call([sys.executable, "-m", "pybind11", "--cmakedir"]).strip()
    settings = {
        "ICTP_SANITIZE": KINDS[kind],
        "ICTP_CUDA": "OFF",
        "CMAKE_BUILD_TYPE": "None",
        "CMAKE_CXX_FLAGS": "-O1",
        "CMAKE_MAKE_PROGRAM": BIN / "ninja",
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind,
    }
    defines = [f"-D{key}={value}" for key, value in settings.items()]
    call([BIN / "cmake", "-S", ROOT, "-B", folder, "-G", "Ninja", *defines])
    call([BIN / "cmake", "--build", folder, "--parallel", os.cpu_count()])
    shutil.rmtree(site, ignore_errors=True)
    call([BIN / "cmake", "--install", folder / ".", "--prefix", site])
    (site / "sitecustomize.py").write_text(WITHOUT_EDITABLE)


def link_package(site: Path) -> None:
    """Link the package's sources as they are now: some may have come or gone since the build."""
    sources, links = ROOT / "python" / "pyictp", site / "pyictp"
    for link in links.iterdir():
        if link.is_symlink() and not link.exists():
            link.unlink()
    for path in sources.iterdir():
        if not (links / path.name).is_symlink():
            (links / path.name).symlink_to(path)


def environment(kind: str, site: Path | None, log: Path) -> dict[str, str]:
    """Return the environment in which programs load the libraries of `site`; None: as installed."""
    found = os.environ | ({"PYTHONPATH": str(site)} if site else {})
    if kind not in KINDS:
        return found
    names = ("libtsan.so",) if kind == "thread" else ("libasan.so", "libstdc++.so")
    preload = [call(["g++", f"-print-file-name={name}"]).strip() for name in names]
    common = f"log_path={log}:exitcode=99:halt_on_error=1:suppressions={SUPPRESSIONS}"
    return found | {
        "LD_PRELOAD": ":".join(preload),
        # Python and PyTorch end without freeing; tests ask for more memory than there is; memory
        # that nobody has set holds NaN
        "ASAN_OPTIONS": f"{common}:detect_leaks=0:allocator_may_return_null=1:{UNSET}",
        "UBSAN_OPTIONS": f"{common}:print_stacktrace=1",
        "TSAN_OPTIONS": f"{common}:ignore_noninstrumented_modules=1",
    }


def run_tests(
    kind: str, arguments: Sequence[object], site: Path | None = None, **more: str
) -> Outcome:
    """Run pytest in the environment of `kind`, with more variables."""
    if site:
        link_package(site)
    # the memory map of GCC's ThreadSanitizer does not bear addresses as random as newer kernels'
    start = ["setarch", "-R"] if kind == "thread" else []
    command = [*start, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "reports" / "of"
        log.parent.mkdir()
        done = subprocess.run(
            [*map(str, command), f"--basetemp={folder}/tests"],
            cwd=ROOT,
            env=environment(kind, site, log) | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        reports = [path.read_text(errors="replace") for path in sorted(log.parent.iterdir())]
    return Outcome(done.returncode, done.stdout, "\n".join(reports))


if __name__ == "__main__":
    outcome = run_tests(sys.argv[1], sys.argv[2:], build(sys.argv[1]))
    print(outcome.output, outcome.reports, sep="\n")
    sys.exit(outcome.returncode or bool(outcome.reports))
