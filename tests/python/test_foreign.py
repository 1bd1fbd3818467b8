# SPDX-License-Identifier: MIT
"""Bases, contractions and the reader that runs nothing."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mace_files import unpack
from pyictp.cli.main import main
from pyictp.config.load import ModelConfig
from pyictp.errors import UserError
from pyictp.foreign.bases import coupling_ratio, harmonics_scale, real_harmonics, to_cartesian
from pyictp.foreign.contraction import path_coordinates, path_tensors, symmetrised
from pyictp.foreign.importer import import_model
from pyictp.foreign.pickles import Record, read_records
from pyictp.foreign.records import Slot, irreps, number
from pyictp.model.cartesian import cartesian_harmonics, harmonics_recursion
from pyictp.model.product_basis import ProductBasis
from pyictp.model.products import Irrep, coupling
from sevennet_files import unpack as unpack_sevennet
from test_fuzz import damaged, draws

# -- bases -----------------------------------------------------------------------------------------


def directions(number: int) -> torch.Tensor:
    torch.manual_seed(1)
    vectors = torch.randn(number, 3, dtype=torch.float64)
    return vectors / vectors.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("rank", range(5))
def test_an_orthogonal_map_between_harmonics(rank: int) -> None:
    n, q = directions(30), to_cartesian(rank)
    recursion = [harmonics_recursion(lower) for lower in range(1, rank + 1)]
    ours = cartesian_harmonics(n, recursion)[:, rank * rank :]
    theirs = real_harmonics(n, rank)
    torch.testing.assert_close(theirs.square().sum(1), torch.full((30,), 2.0 * rank + 1).double())
    torch.testing.assert_close(ours, harmonics_scale(rank) * theirs @ q.T, atol=1e-13, rtol=0)
    torch.testing.assert_close(q @ q.T, torch.eye(2 * rank + 1).double(), atol=1e-13, rtol=0)


def test_harmonics_in_the_order_and_with_the_signs_of_e3nn() -> None:
    x, y, z = (n := directions(5)).unbind(1)
    expected = [3**0.5 * x, 3**0.5 * y, 3**0.5 * z]
    torch.testing.assert_close(real_harmonics(n, 1), torch.stack(expected, 1))
    root = 15**0.5
    middle = 5**0.5 * (y * y - (x * x + z * z) / 2)
    expected = [root * x * z, root * x * y, middle, root * y * z, root / 2 * (z * z - x * x)]
    torch.testing.assert_close(real_harmonics(n, 2), torch.stack(expected, 1))


def test_couplings_to_scalars() -> None:
    """w3j(l, l, 0) is the unit matrix over the root of 2l+1 in any orthonormal basis."""
    for rank in range(4):
        kappa, table = coupling_ratio(rank, rank, 0), coupling(rank, rank, 0)[0]
        unit = torch.eye(2 * rank + 1).double() / (2 * rank + 1) ** 0.5
        torch.testing.assert_close(kappa * table, unit, atol=1e-14, rtol=0)


# -- contractions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("correlation", [1, 2, 3])
def test_path_tensors_are_the_product_basis(correlation: int) -> None:
    config = ModelConfig(elements=("H",), num_channels=1, correlation=correlation, l_max_edge=2)
    irreps_a = [Irrep(rank) for rank in range(3)]
    basis = ProductBasis(config, irreps_a, 1).double()
    torch.manual_seed(2)
    a = [torch.randn(1, irrep.dim, 1).double() for irrep in irreps_a]
    flat = torch.cat(a, dim=1).flatten()
    paths = path_tensors(config, 1)
    found = basis(a, torch.zeros(1, dtype=torch.int64))
    weights = torch.cat(basis.weights(), dim=2)[0, 0]
    expected, used = [torch.zeros(2 * rank + 1).double() for rank in range(2)], 0
    for power, of_power in enumerate(paths, start=1):
        for rank in range(2):
            tensors = of_power[rank]
            for _ in range(power):
                tensors = tensors @ flat
            expected[rank] += weights[used : used + len(tensors)] @ tensors
            used += len(tensors)
    assert used == len(weights)
    for rank in range(2):
        torch.testing.assert_close(found[rank].flatten(), expected[rank])


def test_what_is_not_in_the_span_is_refused() -> None:
    config = ModelConfig(elements=("H",), correlation=2, l_max_edge=1)
    paths = path_tensors(config, 0)[1][0]
    torch.manual_seed(0)
    within = torch.einsum("kp,p...->k...", torch.randn(3, len(paths)).double(), paths)
    x = path_coordinates(within, paths, 1e-12)
    again = torch.einsum("pk,p...->k...", x, symmetrised(paths, 2))
    torch.testing.assert_close(again, symmetrised(within, 2))
    with pytest.raises(UserError, match="contraction of order 2 is not in the span of the paths"):
        path_coordinates(torch.randn(3, 1, 4, 4).double(), paths, 1e-12)


# -- the reader ------------------------------------------------------------------------------------


def saved(path: Path, payload: bytes, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {"data.pkl": payload, **members}.items():
            archive.writestr(f"archive/{name}", data)
    return path


class Payload:
    """Would make a file, if anything of a pickle ran."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return (os.mkdir, (str(self.marker),))


def test_nothing_of_a_pickle_runs(tmp_path: Path, capsys) -> None:
    marker, path = tmp_path / "marker", tmp_path / "bad.model"
    payload = pickle.dumps({"model": [Payload(marker)]})
    record = read_records(saved(path, payload))["model"][0]
    assert (record.origin, record.args) == ("posix.mkdir", (str(marker),))
    saved(path, pickle.dumps(Payload(marker)))
    assert main(["import", str(path), "-o", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err == (
        f"error: '{path}': mkdir is not supported, only MACE and ScaleShiftMACE\n"
    )
    assert not marker.exists()
    pickle.loads(pickle.dumps(Payload(marker)))
    assert marker.exists()  # it would have


def test_nothing_runs_within_a_whole_model(tmp_path: Path) -> None:
    """A call in the place of a setting is a record, too."""
    marker = tmp_path / "marker"
    call = pickle.dumps(Payload(marker), protocol=2)[2:-1]  # neither header nor stop
    whole = zipfile.ZipFile(unpack("one_layer", tmp_path))
    members = {name.partition("/")[2]: whole.read(name) for name in whole.namelist()}
    payload = members.pop("data.pkl")
    assert payload.startswith(b"\x80\x02")
    path = saved(tmp_path / "bad.model", payload[:2] + call + b"0" + payload[2:], **members)
    assert import_model(path).model.config.num_layers == 1
    assert not marker.exists()


@pytest.mark.parametrize(
    "value", [np.float64(2.5), np.float32(2.5), 2.5, torch.tensor(2.5), torch.tensor([2.5])]
)
def test_numbers_of_several_kinds(value: object, tmp_path: Path) -> None:
    module = torch.nn.Module()
    module.value = value
    torch.save(module, tmp_path / "module.pt")
    record = read_records(tmp_path / "module.pt")
    assert isinstance(record, Record)
    assert number(record, "value") == 2.5
    with pytest.raises(UserError, match="Module lacks 'other'"):
        number(record, "other")


def test_tensors_as_pytorch_reads_them(tmp_path: Path) -> None:
    base = torch.arange(24, dtype=torch.float64).view(2, 3, 4)
    tensors = OrderedDict(view=base[:, 1:, ::2], turned=base.mT, number=torch.tensor(3))
    tensors |= {"empty": torch.empty(0, 3), "bits": torch.tensor([True, False])}
    torch.save(tensors, tmp_path / "tensors.pt")
    found = read_records(tmp_path / "tensors.pt")
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert torch.equal(found[name], value)


def test_text_of_irreps() -> None:
    assert irreps("4x0e+3x1o") == [Slot(4, 0, 1), Slot(3, 1, -1)]
    with pytest.raises(UserError, match="expected irreps of e3nn, got str"):
        irreps("4x0")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged or another kind of file"),
        (b"hello", r"File is not a zip file\): expected one of torch\.save"),
        (pickle.dumps(1), "damaged or another kind of file"),
    ],
)
def test_other_files(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "file.model").write_bytes(content)
    with pytest.raises(UserError, match=message):
        import_model(tmp_path / "file.model")


def test_other_contents(tmp_path: Path) -> None:
    path = tmp_path / "file.model"
    torch.save({"model": OrderedDict(a=torch.ones(2)), "epoch": 3}, path)
    with pytest.raises(UserError, match="weights without the model they are of"):
        import_model(path)
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(UserError, match="Linear is not supported, only MACE and ScaleShiftMACE"):
        import_model(path)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    with pytest.raises(UserError, match="is TorchScript, compiled for another program"):
        import_model(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b", b"")
    with pytest.raises(UserError, match=r"holds no data\.pkl"):
        import_model(path)


def test_a_tensor_larger_than_its_storage(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(torch.zeros(2).expand(3, 2), buffer)
    (tmp_path / "file.model").write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match="a tensor is larger than its storage"):
        read_records(tmp_path / "file.model")


FILES = {"MACE": partial(unpack, "one_layer"), "SevenNet": partial(unpack_sevennet, "rank3")}


@pytest.mark.parametrize("program", FILES)
def test_damaged_models(program: str, tmp_path: Path, capsys) -> None:
    """Bits flipped, bytes lost or cut off: the whole model comes out, or one line."""
    whole = FILES[program](tmp_path)
    data, expected = whole.read_bytes(), import_model(whole).model.state_dict()
    path, run = tmp_path / "damaged.model", tmp_path / "run"
    refused = 0
    for rng in draws(60):
        path.write_bytes(damaged(data, rng))
        status = main(["import", str(path), "-o", str(run), "--overwrite"])
        said = capsys.readouterr().err
        assert "report it" not in said
        refused += status
        if status:
            assert status == 1
            assert said.startswith("error: ")
            assert len(said.splitlines()) == 1
        else:
            found = import_model(path).model.state_dict()
            assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert refused > 0


@pytest.mark.parametrize("program", FILES)
def test_damaged_pickles(program: str, tmp_path: Path, capsys) -> None:
    """With check sums that are right: what is damaged is the pickle itself."""
    archive = zipfile.ZipFile(FILES[program](tmp_path))
    members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    payload, path = members.pop("data.pkl"), tmp_path / "damaged.model"
    for rng in draws(60):
        saved(path, damaged(payload, rng), **members)
        status = main(["import", str(path), "-o", str(tmp_path / "run"), "--overwrite"])
        said = capsys.readouterr().err
        assert "report it" not in said, said
        assert status in (0, 1)
        assert len(said.splitlines()) == status
