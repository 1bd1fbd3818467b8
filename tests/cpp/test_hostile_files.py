# SPDX-License-Identifier: MIT
"""Model files that are damaged or made to do harm: one line each, and nothing runs."""

from __future__ import annotations

import json
import os
import re
import resource
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from pyictp import _native
from pyictp.config.load import ModelConfig
from pyictp.model.ictp import ICTPModel
from pyictp.potential.export import export_model
from pyictp.potential.exported import write_archive

MUTATIONS = int(os.environ.get("ICTP_MUTATIONS", "50"))
SEED = 20
SPARE = 4 << 30  # bytes for a test


@pytest.fixture(scope="module", params=["float32", "float64"])
def model_file(request, tmp_path_factory) -> Path:
    """Return an exported network; in float32 with tables, in float64 with the radial network."""
    torch.manual_seed(0)
    config = ModelConfig(
        elements=("H", "O"),
        r_cut=3.0,
        num_layers=2,
        num_channels=4,
        l_max_edge=2,
        correlation=2,
        radial_hidden=(8,),
        readout_hidden=(8,),
        avg_num_neighbors=10.0,
    )
    path = tmp_path_factory.mktemp("models") / f"{request.param}.pt"
    export_model(ICTPModel(config).double(), path, request.param)
    return path


def rewritten(path: Path, target: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """Write an archive with changed members and right check sums."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target


@pytest.fixture(autouse=True)
def _memory() -> Iterator[None]:
    """Refuse what no model needs: a changed number may ask for all memory of the machine."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if "LD_PRELOAD" not in os.environ:  # sanitizers take addresses as they like
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + SPARE, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


def answer(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return energies and gradients of a few atoms."""
    rng = np.random.default_rng(0)
    positions = rng.uniform(0, 4, size=(6, 3))
    center, neighbor = np.nonzero(~np.eye(6, dtype=bool))
    vectors = positions[neighbor] - positions[center]
    near = np.linalg.norm(vectors, axis=1) < 3.0
    edges = np.stack([center[near], neighbor[near]])
    model = _native.Model(str(path))
    return model.evaluate(np.arange(6) % 2, edges, vectors[near], 6)


def refusal(path: Path) -> str | None:
    """Return the line with which a file is refused; None if it is taken, and gives the answer."""
    try:
        energies, gradients = answer(path)
    except RuntimeError as error:
        text = str(error)
        assert text.startswith(f"model '{path}': "), text
        assert "\n" not in text
        return text
    assert np.isfinite(energies).all()
    assert np.isfinite(gradients).all()
    return None


def int_tables(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the members of an archive that are tensors of int64."""
    module = torch.jit.load(str(path))
    sizes = {
        value.numpy().tobytes(): tuple(value.shape)
        for graph in (module.forward.graph, module.member.graph)
        for node in graph.findAllNodes("prim::Constant")
        if isinstance(value := node.output().toIValue(), torch.Tensor)
        and value.dtype == torch.int64
        and value.numel() > 1
    }
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if "/constants/" in name]
        return {name: sizes[data] for name in members if (data := archive.read(name)) in sizes}


def test_tables_of_the_operators_are_not_trusted(model_file, tmp_path) -> None:
    """Kernels use the numbers as addresses: what is wrong is refused, or makes no difference."""
    tables = int_tables(model_file)
    assert len(tables) >= 4
    expected = answer(model_file)
    rng = np.random.default_rng(SEED)
    extremes = [-1, 2**31, 2**40, 2**62, -(2**62)]
    refused = 0
    for _ in range(MUTATIONS):
        chosen = list(tables)[rng.integers(len(tables))]
        place = rng.integers(np.prod(tables[chosen]))
        bit, far = rng.integers(63), rng.choice(extremes)
        is_flip = rng.random() < 0.5

        def change(
            name: str, data: bytes, chosen=chosen, place=place, bit=bit, far=far, flip=is_flip
        ) -> bytes:
            if name != chosen:
                return data
            values = np.frombuffer(data, dtype=np.int64).copy()
            values[place] = values[place] ^ (1 << int(bit)) if flip else far
            return values.tobytes()

        path = rewritten(model_file, tmp_path / "changed.pt", change)
        if refusal(path) is None:
            np.testing.assert_allclose(answer(path)[0], expected[0], rtol=1e-9)
        else:
            refused += 1
    assert refused > 0.5 * MUTATIONS  # the others are of parts that this file does not call


def test_flipped_bits_are_noticed(model_file, tmp_path) -> None:
    """The archive's check sums are read: no flip changes a number without a word."""
    expected = answer(model_file)
    whole = model_file.read_bytes()
    rng = np.random.default_rng(SEED)
    path = tmp_path / "flipped.pt"
    refused = 0
    for _ in range(MUTATIONS):
        place = int(rng.integers(len(whole)))
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(changed))
        if refusal(path) is None:
            np.testing.assert_array_equal(answer(path)[0], expected[0])
        else:
            refused += 1
    assert refused > 0.9 * MUTATIONS  # the others hit fields of the archive that nobody reads


def test_members_with_other_bytes(model_file, tmp_path) -> None:
    """Right check sums, anything inside: code, pickles, tables, names."""
    expected = answer(model_file)
    rng = np.random.default_rng(SEED)
    with zipfile.ZipFile(model_file) as archive:
        members = archive.namelist()
    first = [name for name in members if name.endswith((".pkl", ".py", ".json"))]
    for _ in range(MUTATIONS):
        names = first if rng.random() < 0.5 else members
        chosen = names[rng.integers(len(names))]
        places, values = rng.random(3), rng.integers(256, size=3)

        def change(name: str, data: bytes, chosen=chosen, places=places, values=values) -> bytes:
            if name != chosen or not data:
                return data
            changed = bytearray(data)
            for place, value in zip(places, values, strict=True):
                changed[int(place * len(data))] = int(value)
            return bytes(changed)

        path = rewritten(model_file, tmp_path / "changed.pt", change)
        if refusal(path) is None:  # a weight is another one: the self-check allows its tolerance
            assert np.abs(answer(path)[0] - expected[0]).max() < 10.0


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_bytes_that_are_missing_in_the_middle(model_file, kept, tmp_path) -> None:
    whole = model_file.read_bytes()
    path = tmp_path / "short.pt"
    path.write_bytes(whole[: int(kept * len(whole))] + whole[-2000:])
    assert refusal(path) is not None


# -- code that no model needs ------------------------------------------------------------------


class Saving(torch.nn.Module):
    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target
        self.schema_version = 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, self.target)
        return x


class Reading(Saving):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.from_file(self.target, False, 1, dtype=torch.float32)


class SavingAtLoad(Saving):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.target, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.target = state[0]
        self.training = state[1]
        torch.save(torch.zeros(1), self.target)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(Saving, "save"), (Reading, "from_file"), (SavingAtLoad, "__")],
)
def test_code_that_touches_files_is_refused(kind, name, tmp_path) -> None:
    target, path = tmp_path / "harm", tmp_path / "model.pt"
    write_archive(torch.jit.script(kind(str(target))), path, {})
    with pytest.raises(RuntimeError, match=r"its code .* which no exported model needs") as caught:
        _native.Model(str(path))
    assert name in str(caught.value)
    assert not target.exists()


# -- attributes --------------------------------------------------------------------------------


def changed_attributes(path: Path, target: Path, **values: object) -> Path:
    """Write a file with other attributes; their names in metadata.json follow."""
    extra = {"metadata.json": ""}
    module = torch.jit.load(str(path), _extra_files=extra)
    metadata = json.loads(extra["metadata.json"])
    for name, value in values.items():
        setattr(module, name, value)
        metadata[name] = value
    write_archive(module, target, metadata)
    return target


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"r_cut": float("nan")}, "expected r_cut above 0 and up to 100 A, got nan"),
        ({"r_cut": 1e9}, "expected r_cut above 0 and up to 100 A, got 1000000000.0"),
        ({"r_cut": -3.0}, "expected r_cut above 0 and up to 100 A, got -3.0"),
        ({"r_cut": 1.5}, "its reference structure has an edge beyond r_cut 1.5"),
        ({"elements": []}, "expected elements, each named once"),
        ({"elements": ["H", "H"]}, "expected elements, each named once"),
        (
            {"elements": ["H"], "masses": [1.0], "shortest_distances": [0.0]},
            "its reference structure is",
        ),
        ({"num_layers": 0}, "has 0 layers and 1 models, expected 1 to 100 and 1 to 1000"),
        ({"num_layers": 10**9}, "has 1000000000 layers and 1 models, expected 1 to 100"),
        ({"dtype": "float16"}, "expected dtype float32 or float64, got 'float16'"),
        ({"masses": [1.0]}, "expected masses, one per element"),
        ({"masses": [1.0, float("nan")]}, "expected masses, one per element"),
        (
            {"shortest_distances": [0.0]},
            "expected shortest_distances from 0 to r_cut, one per pair",
        ),
        (
            {"shortest_distances": [0.0, 9.0, 9.0, 0.0]},
            "expected shortest_distances from 0 to r_cut",
        ),
    ],
)
def test_attributes_out_of_range(values, text, model_file, tmp_path) -> None:
    found = refusal(changed_attributes(model_file, tmp_path / "changed.pt", **values))
    assert found is not None
    assert text in found
    assert found.endswith("export it again with `ictp export`")


@pytest.mark.parametrize("key", ["r_cut", "elements", "format"])
def test_attributes_that_are_not_those_of_the_metadata(key, model_file, tmp_path) -> None:
    def change(name: str, data: bytes) -> bytes:
        if not name.endswith("metadata.json"):
            return data
        metadata = json.loads(data)
        metadata[key] = {"r_cut": 3.25, "elements": ["O", "H"], "format": "another"}[key]
        return json.dumps(metadata).encode()

    found = refusal(rewritten(model_file, tmp_path / "changed.pt", change))
    assert found is not None
    assert re.search("elements or r_cut are not those of the metadata.json in the file", found)
