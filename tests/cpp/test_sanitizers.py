# SPDX-License-Identifier: MIT
"""Operators, graph builder, model files and the pair style under GCC's sanitizers."""

from __future__ import annotations

import platform

import pytest
from pyictp.doctor.machine import instruction_set
from sanitized import build, run_tests

pytestmark = [
    pytest.mark.sanitize,
    pytest.mark.timeout(3600),
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
    "tests/lammps/test_model_files.py",
]
DECKS = [
    "tests/lammps/test_checks.py",
    "tests/lammps/test_closest.py",
    "tests/lammps/test_closed_form.py",
]
MORE_DECKS = [
    "tests/lammps/test_commands.py",
    "tests/lammps/test_decks.py",
    "tests/lammps/test_dispersion.py",
    "tests/lammps/test_errors.py",
    "tests/lammps/test_failures.py",
    "tests/lammps/test_heat_flux.py",
    "tests/lammps/test_hybrid.py",
    "tests/lammps/test_ictp_model.py",
    "tests/lammps/test_open_systems.py",
    "tests/lammps/test_partitions.py",
    "tests/lammps/test_processes.py",
    "tests/lammps/test_repulsion.py",
    "tests/lammps/test_stress.py",
    "tests/lammps/test_uncertainty.py",
]
SETS = ["baseline", "AVX2", "AVX-512"]


def assert_clean(kind: str, tests: list[str], **more: str) -> None:
    """Let tests pass without a word from the sanitizer."""
    outcome = run_tests(kind, [*tests, "-o", "timeout=1500"], build(kind), **more)
    assert not outcome.reports, outcome.reports[:6000]
    assert outcome.returncode == 0, outcome.output[-6000:]


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "call"), [("address", b"__asan_report_load"), ("thread", b"__tsan_read")]
)
def test_libraries_are_instrumented(kind, call):
    for name in ("libictp_ops.so", "libictp_pair.so"):
        assert call in (build(kind) / "pyictp" / "lib" / name).read_bytes()


@pytest.mark.long
def test_operators():
    """With the best instruction set of the machine."""
    assert_clean("address", ["-n", "2", *OPERATORS])


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the instruction sets of x86-64")
@pytest.mark.parametrize("instructions", SETS[:-1])
def test_operators_of_a_lesser_instruction_set(instructions):
    best = instruction_set(environment={})
    if SETS.index(best) <= SETS.index(instructions):
        pytest.skip(f"this machine has {best}")
    asked = instructions.lower().replace("-", "")
    assert_clean("address", ["-n", "2", *OPERATORS], ICTP_INSTRUCTION_SET=asked)


@pytest.mark.parametrize("mutations", [pytest.param("20", marks=pytest.mark.long), "300"])
def test_graphs_and_model_files(mutations):
    tests = FILES if mutations == "20" else ["tests/cpp/test_hostile_files.py"]
    assert_clean("address", ["-n", "2", *tests], ICTP_MUTATIONS=mutations)


@pytest.mark.long
def test_decks():
    assert_clean("address", ["-n", "2", *DECKS])


def test_more_decks():
    assert_clean("address", ["-n", "2", *MORE_DECKS])


@pytest.mark.long
def test_operators_on_two_threads():
    assert_clean("thread", [*OPERATORS, "-k", "not one_thread"], OMP_NUM_THREADS="2")
