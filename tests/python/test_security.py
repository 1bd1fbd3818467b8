# SPDX-License-Identifier: MIT
"""Files of strangers run nothing: payloads that would write a file, in every kind of file read."""

from __future__ import annotations

import html
import io
import json
import os
import pickle
import sqlite3
import struct
import zipfile
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write
from model_toys import make_model
from pyictp import _native
from pyictp.cli.main import main
from pyictp.errors import UserError
from pyictp.potential.archive import DENIED, LIBRARIES
from pyictp.potential.checkpoint import FORMAT, save_checkpoint
from pyictp.potential.export import export_model
from pyictp.potential.exported import load_exported
from train_toys import emt_frames


class Payload:
    """A pickle of this makes a file when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return (os.mkdir, (str(self.target),))


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    """Return the path that payloads would make; after the test it is still absent."""
    path = tmp_path / "harm"
    yield path
    assert not path.exists()


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Return the one line with which a command refuses its input."""
    assert main([str(argument) for argument in arguments]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "report it" not in lines[0]
    return lines[0]


def test_the_payload_works(tmp_path: Path) -> None:
    """Else the other tests would say nothing."""
    pickle.loads(pickle.dumps(Payload(tmp_path / "harm")))
    assert (tmp_path / "harm").is_dir()


# -- pickles and YAML ------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["info", "export", "evaluate"])
def test_checkpoints(command, target, tmp_path, capsys) -> None:
    path = tmp_path / "best.pt"
    torch.save({"format": FORMAT, "schema_version": 1, "model_config": Payload(target)}, path)
    more = {"export": ["-o", tmp_path / "model.pt"], "evaluate": [path]}.get(command, [])
    assert "is not a checkpoint of ictp train" in refused(capsys, command, path, *more)


def test_old_pickles_that_pytorch_still_reads(target, tmp_path, capsys) -> None:
    path = tmp_path / "best.pt"
    contents = {"format": FORMAT, "x": Payload(target)}
    torch.save(contents, path, _use_new_zipfile_serialization=False)
    assert "is not a checkpoint of ictp train" in refused(capsys, "info", path)


def test_fine_tuning_from_a_stranger(target, tmp_path, capsys) -> None:
    torch.save({"format": FORMAT, "x": Payload(target)}, tmp_path / "best.pt")
    (tmp_path / "config.yaml").write_text("data: {train: x.xyz}")
    command = ("train", tmp_path / "config.yaml", "--finetune", tmp_path / "best.pt")
    assert "is not a checkpoint" in refused(capsys, *command)


@pytest.mark.parametrize("kind", ["params", "storage"])
def test_checkpoints_of_the_reference_implementation(kind, target, tmp_path, capsys) -> None:
    """Also one that hides a second pickle in the bytes of a tensor's storage."""
    folder = tmp_path / "ckpt_1"
    folder.mkdir()
    settings = "atomic_types: [H]\nr_cutoff: 5.0\nn_interactions: 2\n"
    (folder / "config.yaml").write_text(settings)
    content: object = {"weight": Payload(target)}
    if kind == "storage":
        inner = io.BytesIO()
        torch.save(Payload(target), inner)
        content = Hidden(inner.getvalue())
    (folder / "params.pkl").write_bytes(pickle.dumps(content))
    names = ("hidden_feats", "product_feats", "basis", "polynomial_cutoff")
    more = {f"n_{name}": 2 for name in names} | {"l_max_edge_attrs": 1, "l_max_hidden_feats": 1}
    more |= {"correlation": 2, "symmetric_product": True, "coupled_product_feats": False}
    more |= {"radial_MLP": [4], "readout_MLP": [4], "avg_n_neighbors": 5.0}
    (folder / "config.yaml").write_text(settings + "\n".join(f"{k}: {v}" for k, v in more.items()))
    assert "params.pkl' is " in refused(capsys, "import", folder, "-o", tmp_path / "run")


class Hidden:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> tuple:
        return (torch.storage._load_from_bytes, (self.data,))


@pytest.mark.parametrize("command", ["train", "init", "explore"])
def test_configurations(command, target, tmp_path, capsys) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"model: !!python/object/apply:os.mkdir ['{target}']\n")
    more = ["-o", tmp_path / "run"] if command == "init" else []
    assert "is not valid YAML" in refused(capsys, command, path, *more)


def test_overrides(target, tmp_path, capsys) -> None:
    (tmp_path / "config.yaml").write_text("model: {elements: [H]}")
    override = f"model.r_cut=!!python/object/apply:os.mkdir ['{target}']"
    assert "is not a valid YAML value" in refused(
        capsys, "init", tmp_path / "config.yaml", override, "-o", tmp_path / "run"
    )


# -- structures ------------------------------------------------------------------------------------


def labelled() -> Atoms:
    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.8]])
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((2, 3)))
    return atoms


def test_arrays_of_objects(target, tmp_path, capsys) -> None:
    path = tmp_path / "data.npz"
    content = {"z": np.array([1, 1]), "R": np.zeros((1, 2, 3)), "F": np.zeros((1, 2, 3))}
    np.savez(path, E=np.array([Payload(target)], dtype=object), **content)
    assert str(path) in refused(capsys, "stats", path)


def test_comment_lines_of_extended_xyz(target, tmp_path, capsys) -> None:
    """What looks like Python or JSON there stays a text."""
    path = tmp_path / "data.xyz"
    write(path, [labelled()] * 3, format="extxyz")
    harm = f"__import__('os').mkdir('{target}')"
    text = path.read_text().replace(
        "pbc=", f'x="{harm}" y="_JSON {json.dumps(harm)!s}" {{"__class__": 1}} pbc='
    )
    path.write_text(text)
    main(["stats", str(path)])
    assert "report it" not in capsys.readouterr().err


@pytest.mark.parametrize("column", ["data", "key_value_pairs", "constraints"])
def test_databases(column, target, tmp_path, capsys) -> None:
    """ASE makes objects of some entries of its databases; none may be of another class."""
    path = tmp_path / "data.db"
    with connect(path) as database:
        database.write(labelled())
    harm = {"__ase_objtype__": "os.mkdir", "name": str(target), "__class__": "os.mkdir"}
    value = json.dumps([harm] if column == "constraints" else {"x": harm})
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE systems SET {column} = ?", (value,))
    connection.close()
    main(["stats", str(path)])
    assert "report it" not in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["xyz", "db", "npz", "yaml"])
def test_names_are_no_commands(suffix, tmp_path, monkeypatch, capsys) -> None:
    """No shell sees the name of a file."""
    monkeypatch.chdir(tmp_path)
    for name in (f"a; touch harm;.{suffix}", f"$(touch harm).{suffix}", f"|touch harm.{suffix}"):
        Path(name).write_text("nothing")
        for command in (["stats", name], ["info", name], ["train", name], ["explore", name]):
            assert main(command) == 1
            assert "report it" not in capsys.readouterr().err
    assert not Path("harm").exists()


# -- code of exported files ------------------------------------------------------------------------


class Saving(torch.nn.Module):
    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, self.target)
        return x


def same(text: str) -> str:
    return text


TRICKS: dict[str, tuple[Callable[[str], str], Callable[[str], str]]] = {
    "plain": (same, same),
    "as an operator": (same, lambda code: code.replace("torch.save", "ops.aten.save")),
    "by another name": (same, lambda code: code.replace("torch.save", "t = torch\n    t.save")),
    "with a space": (same, lambda code: code.replace("torch.save", "torch. save")),
    "a module in between": (same, lambda code: code.replace("torch.save", "torch.autograd.save")),
    "in brackets": (same, lambda code: code.replace("torch.save", "(torch).save")),
    "folder in capital letters": (lambda name: name.replace("/code/", "/CODE/"), same),
    "name in capital letters": (lambda name: name.replace(".py", ".PY"), same),
}


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.pt"
    export_model(make_model(elements=("H", "O")), path)
    return path


def metadata_of(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read("archive/extra/metadata.json")


def hostile(name: str, target: Path, path: Path, model_file: Path) -> None:
    """Write an archive that says that it is a model, whose code saves a tensor."""
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(Saving(str(target))), buffer)
    rename, rewrite = TRICKS[name]
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.namelist():
            data = old.read(member)
            if member.endswith(".py"):
                data = rewrite(data.decode()).encode()
            if not member.endswith(".debug_pkl"):
                new.writestr(rename(member), data)
        new.writestr("archive/extra/metadata.json", metadata_of(model_file))


@pytest.mark.parametrize("name", TRICKS)
def test_code_that_writes_files(name, model_file, target, tmp_path) -> None:
    path = tmp_path / "model.pt"
    hostile(name, target, path, model_file)
    torch.jit.load(path)(torch.zeros(1))  # PyTorch runs it, so there is something to refuse
    assert target.exists()
    target.unlink()
    with pytest.raises(UserError, match=r"its code \(code/.*\) has .*, which no exported model"):
        load_exported(path)
    with pytest.raises(RuntimeError, match=r"its code \(code/.*\) has .*, which no exported model"):
        _native.Model(str(path))


def test_two_members_of_one_name(model_file, target, tmp_path) -> None:
    """One reader might take the first, another the second."""
    path = tmp_path / "model.pt"
    hostile("plain", target, path, model_file)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/Version", "4")
    with pytest.raises(UserError, match=r"damaged, or no archive of PyTorch \(two members are"):
        load_exported(path)
    with pytest.raises(RuntimeError, match=r"two members of the name version"):
        _native.Model(str(path))


def appended(path: Path, before: bytes, shift: int = 0) -> bytes:
    """Return an archive after other bytes; places in it are `shift` less than they are."""
    buffer = io.BytesIO(bytes(len(before) - shift))
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w") as new:
        for member in old.namelist():
            new.writestr(member, old.read(member))
    return before + buffer.getvalue()[len(before) - shift :]


@pytest.mark.parametrize("kind", ["record of large archives", "gap before the end"])
def test_two_directories(kind, model_file, target, tmp_path) -> None:
    """PyTorch reads the hostile half of a file; who looks at the harmless half does not load it."""
    path, half = tmp_path / "model.pt", tmp_path / "half.pt"
    hostile("plain", target, half, model_file)
    with zipfile.ZipFile(half, "a") as bad, zipfile.ZipFile(model_file) as good:
        bad.writestr("archive/filling", bytes(model_file.stat().st_size))
        for number in range(len(good.namelist()) - len(bad.namelist())):
            bad.writestr(f"archive/{number}", b"")
        count, start = len(bad.namelist()), bad.start_dir
    whole = half.read_bytes()
    if kind == "gap before the end":  # Python counts from the end, PyTorch from the start
        plain = appended(model_file, whole[:-22])
        end = int.from_bytes(plain[-6:-2], "little")
        both = appended(model_file, whole[:-22], end - start)
        both = both[:-6] + start.to_bytes(4, "little") + both[-2:]
    else:
        both = appended(model_file, whole[:-22])
        numbers = (44, 45, 45, 0, 0, count, count, len(whole) - 22 - start, start)
        far = b"PK\6\6" + struct.pack("<Q2H2I4Q", *numbers)
        far += b"PK\6\7" + struct.pack("<IQI", 0, len(both) - 22, 1)
        both = both[:-22] + far + both[-22:]
    path.write_bytes(both)
    torch.jit.load(path)(torch.zeros(1))
    assert target.exists()
    target.unlink()
    with pytest.raises(RuntimeError, match="is damaged: copy it or export it again"):
        _native.Model(str(path))
    if kind == "gap before the end":
        assert load_exported(path).elements == ("H", "O")  # of the members that were looked at
    else:
        with pytest.raises(UserError, match="is no exported model, or is truncated"):
            load_exported(path)


def test_operators_of_other_libraries(model_file, tmp_path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(model_file) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.namelist():
            data = old.read(member)
            if member.endswith(".py"):
                data = data.replace(b"ops.prim.", b"ops.debugprims.", 1)
            new.writestr(member, data)
    with pytest.raises(UserError, match=r"has ops\.debugprims\.\w+, which no exported model needs"):
        load_exported(path)


def test_operators_that_reach_out_are_known() -> None:
    """A newer PyTorch may have more of them, by the words of a name or by an argument."""
    words = {"save", "load", "file", "rpc", "open", "read", "write", "exec", "system", "path"}
    found = set()
    for schema in torch._C._jit_get_all_schemas():
        library, _, name = schema.name.partition("::")
        arguments = {argument.name for argument in schema.arguments if str(argument.type) == "str"}
        named = {*name.split("_")} | (arguments & {"filename", "file", "path"})
        if library in LIBRARIES and named & (words | {"filename"}):
            found.add(name)
    assert found == {"save", "from_file", "rpc_sync", "rpc_async", "rpc_remote"}
    assert found < {*DENIED}


# -- pages -----------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """Counts tags and attributes, as a browser sees them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag, *(name for name, _ in attrs)}


def test_reports_show_texts_of_the_data_as_texts(tmp_path, monkeypatch) -> None:
    """Names of groups and files, with tags and with what a plot would take for a formula."""
    monkeypatch.chdir(tmp_path)
    harm = "<script src=x onerror=alert(1)>"
    frames = emt_frames(4)
    for number, atoms in enumerate(frames):
        atoms.info["config_type"] = (harm, "$\\frac{")[number % 2]
    data, model = f"{harm} $x_{{.xyz", "m <script onload=x> $x_{.pt"
    write(data, frames, format="extxyz")
    save_checkpoint(model, make_model(elements=("Ni", "Cu"), r_cut=3.5))
    files = ("--report", "report.html", "--plot", "p $x_{.png", "--json", "numbers.json")
    assert main(["evaluate", model, data, *files]) == 0
    page, tags = Path("report.html").read_text(), Tags()
    tags.feed(page)
    assert {"table", "img"} < tags.found
    assert not {"script", "onerror", "onload"} & tags.found
    assert html.escape(harm) in page
    assert html.escape(data) in page
    assert html.escape(model) in page


def test_checkpoints_that_are_whole_are_read(tmp_path, capsys) -> None:
    """The other tests refuse for the right reason."""
    save_checkpoint(tmp_path / "best.pt", make_model(elements=("H", "O")))
    assert main(["info", str(tmp_path)]) == 0
    assert "H O" in capsys.readouterr().out
