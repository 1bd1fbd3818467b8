# SPDX-License-Identifier: MIT
"""Operators, graph builder, model files and the pair style under GCC's sanitizers."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from pyictp.doctor.machine import instruction_set
from sanitized import ROOT, build, run_tests

pytestmark = [
    pytest.mark.sanitize,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the instruction sets of x86-64"),
]
OPERATORS = [
    "tests/python/test_operators.py",
    "tests/python/test_product_operator.py",
    "tests/python/test_interpolation.py",
    "tests/python/test_opcheck.py",
]
FILES = [
    "tests/cpp/test_graph_builder.py",
    "tests/cpp/test_hostile_files.py",
    "tests/cpp/test_native_model.py",
    "tests/lammps/test_ictp_model.py",
    "tests/lammps/test_model_files.py",
]
DECKS = [
    "tests/lammps/test_checks.py",
    "tests/lammps/test_closest.py",
    "tests/lammps/test_closed_form.py",
    "tests/lammps/test_neighbor_fields.py",
]
SETS = ["baseline", "AVX2", "AVX-512"]


@pytest.fixture(scope="module")
def address() -> Path:
    return build("address")


@pytest.fixture(scope="module")
def thread() -> Path:
    return build("thread")


def assert_clean(kind: str, tests: list[str], site: Path, **more: str) -> None:
    """Let tests pass without a word from the sanitizer."""
    outcome = run_tests(kind, [*tests, "-o", "timeout=1500"], site, **more)
    assert not outcome.reports, outcome.reports[:6000]
    assert outcome.returncode == 0, outcome.output[-6000:]


@pytest.mark.parametrize(
    ("kind", "call"), [("address", b"__asan_report_load"), ("thread", b"__tsan_read")]
)
def test_libraries_are_instrumented(kind, call, request):
    site = request.getfixturevalue(kind)
    for name in ("libictp_ops.so", "ictpplugin.so"):
        assert call in (site / "pyictp" / "lib" / name).read_bytes()


@pytest.mark.parametrize("instructions", SETS)
def test_operators(instructions, address):
    best = instruction_set(environment={})
    if SETS.index(best) < SETS.index(instructions):
        pytest.skip(f"this machine has {best}")
    asked = instructions.lower().replace("-", "")
    assert_clean("address", OPERATORS, address, ICTP_INSTRUCTION_SET=asked)


def test_graphs_and_model_files(address):
    assert_clean("address", [path for path in FILES if (ROOT / path).exists()], address)


def test_decks(address):
    assert_clean("address", DECKS, address)


def test_operators_on_two_threads(thread):
    assert_clean("thread", OPERATORS, thread, OMP_NUM_THREADS="2")
