# SPDX-License-Identifier: MIT
"""Tables that kernels are compiled for are those of files."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from model_toys import OperatorCalls, cluster_graph, make_cluster
from pyictp.graph.derivatives import evaluate_graph
from pyictp.potential.exported import load_exported

pytestmark = pytest.mark.usefixtures("compiled_parts")


@pytest.fixture(scope="module")
def known(root: Path) -> ModuleType:
    """Return the program that writes the tables."""
    spec = importlib.util.spec_from_file_location("known_tables", root / "cmake/known_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_header_is_what_the_program_writes(known: ModuleType, root: Path) -> None:
    header = (root / "pair_ictp/ops/known_tables.h").read_text()
    assert header == known.header(), "python cmake/known_tables.py writes another one"


@pytest.mark.parametrize(("name", "top"), [("cu_fast", 0), ("monbtaw", 1), ("organic", 2)])
def test_shipped_files_have_known_tables(
    known: ModuleType, root: Path, name: str, top: int
) -> None:
    potential = load_exported(root / "models" / name / "model.pt", "cpu")
    positions, species = make_cluster(5)
    with OperatorCalls() as calls:
        evaluate_graph(potential, cluster_graph(positions, 0 * species, 3.0))
    layers = [0, top] if top else [0]
    compare(calls.every["table_convolution_forward"], [known.convolution(3, k) for k in layers])
    compare(calls.every["product_basis_forward"], [known.products(3, k) for k in layers[::-1]])


def compare(found: list, expected: list) -> None:
    """Compare the polynomials of calls with those of parts."""
    assert len(found) == len(expected)
    for operands, part in zip(found, expected, strict=True):
        tables = operands[2][-3:]
        assert torch.equal(tables[0], part.offsets)
        assert torch.equal(tables[1], part.terms)
        torch.testing.assert_close(tables[2], part.values, rtol=1e-12, atol=0.0)
