# SPDX-License-Identifier: MIT
"""Import of other programs' models, whatever the format; told apart by content."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pyictp.errors import UserError
from pyictp.foreign.choice import Choice, choose
from pyictp.foreign.licences import licence_notice
from pyictp.foreign.mace import check_model, model_config
from pyictp.foreign.mace_options import described
from pyictp.foreign.pickles import Record, read_records
from pyictp.foreign.records import get, kind, number, tensor
from pyictp.foreign.upstream import find_checkpoint, import_checkpoint
from pyictp.foreign.weights import fill
from pyictp.model.ictp import ICTPModel
from pyictp.model.mace import new_model

TABLES_FROM = 0.5  # A, where tolerances of exported tables begin: training data are not known


@dataclass(frozen=True)
class Imported:
    """A model of another program, float64, and what is known of it."""

    model: ICTPModel
    provenance: dict[str, Any]  # plain values
    notes: list[str] = field(default_factory=list)  # for people: what was read, and what changed


def import_model(
    path: str | Path, head: str | None = None, elements: Sequence[str] | None = None
) -> Imported:
    """Return the model of a MACE file, or of a checkpoint of the reference implementation.

    Args:
        path: a .model file, or a folder with a checkpoint.
        head: of a file with several heads; None where there is one.
        elements: those to keep; None: all.

    Raises:
        UserError: nothing readable there, or a model that this package cannot compute.
    """
    path = Path(path)
    if path.is_file():
        return _import_mace(path, head, elements)
    if head is not None or elements is not None:
        raise UserError(f"'{path}': --head and --elements are for files of MACE")
    if not path.exists():
        raise UserError(
            f"'{path}' not found: expected a .model file of MACE or a checkpoint folder"
        )
    source = find_checkpoint(path)
    return Imported(import_checkpoint(source), {"imported_from": source.name})


def _import_mace(path: Path, head: str | None, elements: Sequence[str] | None) -> Imported:
    """Return the model of a MACE file; every complaint names the file."""
    _refuse_torchscript(path)
    file = read_records(path)
    try:
        check_model(file)
        choice = choose(file, head, elements)
        model = new_model(model_config(file, choice)).double()
        fill(model, file, choice)
        return _described(model, path, file, choice)
    except UserError as error:
        raise UserError(f"'{path}': {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # what a damaged record raises where something else was expected
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"'{path}' is damaged ({reason}): copy it again") from error


def _refuse_torchscript(path: Path) -> None:
    """Refuse compiled models by name: they hold no settings.

    Raises:
        UserError: it is one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # read_records says what is wrong
        return
    if any(name.endswith("/constants.pkl") for name in names):
        raise UserError(
            f"'{path}' is TorchScript, compiled for another program: give the .model file that it "
            "was made of"
        )


def _described(model: ICTPModel, path: Path, file: Record, choice: Choice) -> Imported:
    """Add provenance and notes."""
    embedding = get(get(get(file, "node_embedding"), "linear"), "weight")
    dtype = str(embedding.dtype).removeprefix("torch.")
    config = model.config
    notes = [
        f"read: {kind(file)} in {dtype}, {config.num_layers} layers, {config.num_channels} "
        f"channels, ranks up to {config.l_max_hidden} (edges {config.l_max_edge}), correlation "
        f"{config.correlation}, r_cut {config.r_cut:g} A; head {choice.head_name} of "
        f"{', '.join(choice.heads)}",
        "changed: spherical into Cartesian tensors, contractions into path weights; energies and "
        "forces are the same",
    ]
    if config.mace is not None:
        notes.append(f"with: {', '.join(described(config.mace))}")
    left_out = [e for e in choice.all_elements if e not in choice.elements]
    if left_out:
        notes.append(f"left out: elements {' '.join(left_out)}")
    rounding = _frequency_rounding(file)
    if rounding > 1e-14 and not (config.mace and config.mace.frequencies):
        notes.append(
            f"changed: Bessel frequencies, rounded by {rounding:.0e} in the file, to n pi/r_max"
        )
    licence = licence_notice(path.name, len(choice.all_elements))
    if licence:
        notes.append(f"licence: {licence}")
    provenance = {
        "imported_from": path.name,
        "shortest_edge": TABLES_FROM,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "imported_class": file.origin,
        "imported_dtype": dtype,
        "head": choice.head_name,
        "heads": list(choice.heads),
        "elements_of_file": list(choice.all_elements),
        "notes": "; ".join(notes),
    }
    if licence:
        provenance["licence"] = licence
    return Imported(model, provenance, notes)


def _frequency_rounding(file: Record) -> float:
    """Return the largest relative deviation of the Bessel frequencies from n pi/r_max."""
    basis = get(get(file, "radial_embedding"), "bessel_fn")
    found = tensor(basis, "bessel_weights").flatten()
    exact = torch.pi / number(basis, "r_max") * torch.arange(1, len(found) + 1).double()
    return (found / exact - 1.0).abs().max().item()
