# SPDX-License-Identifier: MIT
"""Each sanitizer finds a fault of its kind: silence of the others says something."""

from __future__ import annotations

import pytest
from planted import Fault, plant
from sanitized import build, run_tests

pytestmark = [pytest.mark.sanitize, pytest.mark.long, pytest.mark.timeout(3600)]
KERNELS = "pair_ictp/ops/interpolation_kernels.cpp"
STYLE = "pair_ictp/pair_ictp_compute.cpp"
OPERATOR = "tests/python/test_interpolation.py::test_operator_and_its_derivatives"
DECK = "tests/lammps/test_checks.py::test_masses_of_atoms"


def run_with(fault: Fault, kind: str, test: str, folder, **more: str):
    """Run a test with a fault in the package."""
    planted = plant(fault, build(kind), folder)
    return run_tests(kind, [test], planted, ICTP_INSTRUCTION_SET="baseline", **more)


@pytest.mark.parametrize("kind", ["address", "thread"])
def test_the_same_tests_pass_without_a_fault(kind):
    tests = [OPERATOR] if kind == "thread" else [OPERATOR, DECK]
    more = {"ICTP_INSTRUCTION_SET": "baseline", "OMP_NUM_THREADS": "2" if kind == "thread" else "1"}
    outcome = run_tests(kind, tests, build(kind), **more)
    assert not outcome.reports
    assert outcome.returncode == 0, outcome.output


REPORTED = {
    "read past the end of an operand": (
        Fault(
            KERNELS,
            {"k < num_points; ++k) to[c] +=": "k <= num_points; ++k) to[c] +="},
            "libictp_ops.so",
        ),
        OPERATOR,
        ["heap-buffer-overflow", "READ of size", "to_values"],
    ),
    "write past the end of an operand": (
        Fault(
            KERNELS,
            {"c < num_columns; ++c) rest(c)": "c <= num_columns; ++c) rest(c)"},
            "libictp_ops.so",
        ),
        OPERATOR,
        ["heap-buffer-overflow", "interpolation_kernels.cpp"],
    ),
    "types read after a reallocation": (
        Fault(
            STYLE,
            {
                "impl->model_types = impl->types;": "impl->model_types = impl->types;\n"
                "const int *kept = impl->model_types.data();\n"
                "std::vector<int>(impl->types).swap(impl->model_types);",
                "impl->model_types.data(), impl->tags.data()": "kept, impl->tags.data()",
            },
            "libictp_pair.so",
        ),
        f"{DECK}[2]",
        ["heap-use-after-free", "GraphBuilder::add_node", "PairICTP::build_graph"],
    ),
    "a counter beyond its last number": (
        Fault(
            STYLE,
            {
                "++impl->num_evaluations;": "impl->num_evaluations = 9223372036854775807;\n"
                "++impl->num_evaluations;"
            },
            "libictp_pair.so",
        ),
        f"{DECK}[0]",
        ["signed integer overflow: 9223372036854775807 + 1", "pair_ictp_compute.cpp"],
    ),
    "a number at an odd address": (
        Fault(
            "pair_ictp/ictp_tally.cpp",
            {
                "unit * result.forces[3 * node + k];": "*reinterpret_cast<const double *>("
                "reinterpret_cast<const char *>(result.forces + 3 * node + k) + 4);"
            },
            "libictp_pair.so",
        ),
        f"{DECK}[0]",
        ["load of misaligned address", "ictp_tally.cpp"],
    ),
}


@pytest.mark.parametrize("name", REPORTED)
def test_faults_that_are_reported(name, tmp_path):
    fault, test, texts = REPORTED[name]
    outcome = run_with(fault, "address", test, tmp_path)
    assert outcome.returncode != 0
    for text in texts:
        assert text in outcome.reports


UNSET = {
    "a variable": {"T total = 0;": "T total;"},
    "memory": {"to[c] = 0;": ""},
}


@pytest.mark.parametrize("name", UNSET)
def test_what_is_not_set_makes_results_wrong(name, tmp_path):
    fault = Fault(KERNELS, UNSET[name], "libictp_ops.so")
    outcome = run_with(fault, "address", OPERATOR, tmp_path)
    assert outcome.returncode == 1
    assert "Tensor-likes are not close" in outcome.output


def test_a_data_race_is_reported(tmp_path):
    fault = Fault(KERNELS, {"T total = 0;": "static T total;\ntotal = 0;"}, "libictp_ops.so")
    outcome = run_with(fault, "thread", OPERATOR, tmp_path, OMP_NUM_THREADS="2")
    assert outcome.returncode != 0
    assert "WARNING: ThreadSanitizer: data race" in outcome.reports
    assert "to_weights" in outcome.reports


def test_a_fault_needs_its_place(tmp_path):
    with pytest.raises(ValueError, match=r"expected once, got 0 of 'no such text'"):
        plant(Fault(KERNELS, {"no such text": ""}, "libictp_ops.so"), tmp_path, tmp_path)
