# SPDX-License-Identifier: MIT
"""Import of other programs' models, whatever the format; told apart by content."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from pyictp.errors import UserError
from pyictp.foreign.choice import Choice, choose
from pyictp.foreign.imported import Imported, described
from pyictp.foreign.installed import RELEASED, installed_model
from pyictp.foreign.mace import check_model, model_config
from pyictp.foreign.mace_embedding import embedded_state
from pyictp.foreign.mace_options import described as options_of
from pyictp.foreign.mace_radial import CHEBYSHEV, frequency_deviation
from pyictp.foreign.pickles import Record, read_records
from pyictp.foreign.records import get, kind
from pyictp.foreign.sevennet import is_checkpoint
from pyictp.foreign.sevennet_import import import_sevennet
from pyictp.foreign.upstream import find_checkpoint, import_checkpoint
from pyictp.foreign.weights import fill
from pyictp.model.ictp import ICTPModel
from pyictp.model.kinds import new_model


class Wanted(NamedTuple):
    """What a user asks of a file."""

    head: str | None = None
    elements: Sequence[str] | None = None
    charge: int | None = None
    spin: int | None = None


def import_model(
    path: str | Path,
    head: str | None = None,
    elements: Sequence[str] | None = None,
    charge: int | None = None,
    spin: int | None = None,
) -> Imported:
    """Return the model of MACE, of SevenNet, or of a checkpoint of the reference implementation.

    Args:
        path: a .model file of MACE, a checkpoint of SevenNet, a folder with one of the reference
            implementation, or the name of a model that comes with an installed package.
        head: of a file with several heads or methods; None where there is one.
        elements: those to keep; None: all.
        charge: of every structure, for a model of MACE that sees it; None: 0.
        spin: the same, as the model's training data give it (2S+1, mostly); None: 1.

    Raises:
        UserError: nothing readable there, or a model that this package cannot compute.
    """
    path = Path(path)
    if not path.exists():
        path = installed_model(str(path)) or path
    wanted = Wanted(head, elements, charge, spin)
    if path.is_file():
        return _import_file(path, wanted)
    if head is not None or elements is not None:
        raise UserError(f"'{path}': --head and --elements are for files of MACE and SevenNet")
    _refuse_state(wanted)
    if not path.exists():
        raise UserError(
            f"'{path}' not found: expected a .model file of MACE, a checkpoint of SevenNet, a "
            f"checkpoint folder, or one of {', '.join(RELEASED)}"
        )
    source = find_checkpoint(path)
    return Imported(import_checkpoint(source), {"imported_from": source.name})


def _refuse_state(wanted: Wanted) -> None:
    """Refuse a charge or spin of what is no model of MACE.

    Raises:
        UserError: one is wanted.
    """
    if wanted.charge is not None or wanted.spin is not None:
        raise UserError("--charge and --spin are for models of MACE that see them")


def _import_file(path: Path, wanted: Wanted) -> Imported:
    """Return the model of a file of MACE or SevenNet; every complaint names the file."""
    _refuse_torchscript(path)
    file = read_records(path)
    try:
        if is_checkpoint(file):
            _refuse_state(wanted)
            return import_sevennet(path, file, wanted.head, wanted.elements)
        check_model(file)
        state = embedded_state(file, wanted.charge, wanted.spin)
        choice = replace(choose(file, wanted.head, wanted.elements), state=state)
        model = new_model(model_config(file, choice)).double()
        fill(model, file, choice)
        notes, dtype = _notes(model, file, choice), _weights_of(file).dtype
        return described(model, path, choice, file.origin, dtype, notes)
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


def _notes(model: ICTPModel, file: Record, choice: Choice) -> list[str]:
    """Return what was read and changed, for people."""
    config = model.config
    dtype = str(_weights_of(file).dtype).removeprefix("torch.")
    notes = [
        f"read: {kind(file)} in {dtype}, {config.num_layers} layers, {config.num_channels} "
        f"channels, ranks up to {config.l_max_hidden} (edges {config.l_max_edge}), correlation "
        f"{config.correlation}, r_cut {config.r_cut:g} A; head {choice.head_name} of "
        f"{', '.join(choice.heads)}",
        "changed: spherical into Cartesian tensors, contractions into path weights; energies and "
        "forces are the same",
    ]
    if config.mace is not None:
        notes.append(f"with: {', '.join(options_of(config.mace))}")
    if config.mace is not None and config.mace.nonlinear and not config.mace.cutoff_last:
        notes.append(
            "mind: its radial functions do not end with the cutoff (apply_cutoff), in mace-torch "
            "neither: energies jump where an atom comes within r_cut"
        )
    if config.mace is not None and config.mace.basis == "chebyshev":
        notes.append(CHEBYSHEV)
    if choice.state:
        values = " and ".join(f"{name} {value}" for name, value in choice.state.items())
        options = ", ".join(f"--{name}" for name in choice.state)
        notes.append(
            f"fixed: every structure has {values}, which its energies depend on ({options})"
        )
    rounding = frequency_deviation(get(get(file, "radial_embedding"), "bessel_fn"))
    if rounding > 1e-14 and not (config.mace and config.mace.frequencies):
        notes.append(
            f"changed: Bessel frequencies, rounded by {rounding:.0e} in the file, to n pi/r_max"
        )
    return notes


def _weights_of(file: Record) -> Tensor:
    """Return some weights of a file, in its dtype."""
    return get(get(get(file, "node_embedding"), "linear"), "weight")
