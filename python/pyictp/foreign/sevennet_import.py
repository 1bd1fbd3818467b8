# SPDX-License-Identifier: MIT
"""Import of checkpoints of SevenNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyictp.foreign.choice import choice_of
from pyictp.foreign.imported import Imported, described
from pyictp.foreign.sevennet import SevenNet, check_sizes, model_config, read_settings
from pyictp.foreign.sevennet_weights import Taken, fill
from pyictp.model.nequip import NequipModel


def import_sevennet(
    path: Path, file: Mapping[str, Any], head: str | None, elements: Sequence[str] | None
) -> Imported:
    """Return the model of a checkpoint.

    Args:
        path: of the file.
        file: its contents, as records.
        head: of the methods it knows, if there are several.
        elements: those to keep; None: all.

    Raises:
        UserError: a model that this package cannot compute, or not what is named is in it.
    """
    settings = read_settings(file)
    choice = choice_of(settings.modals or ("Default",), settings.numbers, head, elements)
    check_sizes(settings)
    model = NequipModel(model_config(settings, choice.elements)).double()
    fill(model, Taken(settings, choice.species, choice.head))
    return described(
        model,
        path,
        choice,
        origin=f"sevenn.{file['config']['_model_type']}",
        dtype=settings.tensors["onehot_to_feature_x.linear.weight"].dtype,
        notes=_notes(settings, choice.head_name),
    )


def _notes(settings: SevenNet, head: str) -> list[str]:
    """Return what was read and changed, for people."""
    most = max(settings.features, key=len)
    channels = " + ".join(
        f"{n} of {'pseudo ' * irrep.pseudo}rank {irrep.rank}" for irrep, n in most.items()
    )
    several = f"; method {head} of {', '.join(settings.modals)}" if settings.modals else ""
    notes = [
        f"read: a checkpoint of SevenNet {'.'.join(map(str, settings.version))}, "
        f"{len(settings.features) - 1} layers, channels {channels} (edges {settings.l_max_edge}), "
        f"r_cut {settings.r_cut:g} A{several}",
        "changed: spherical into Cartesian tensors; energies and forces are the same",
    ]
    if settings.is_parity:
        notes.append("with: true and pseudo tensors told apart; what no energy depends on left out")
    if settings.cutoff_on is not None:
        notes.append(f"with: an XPLOR cutoff from {settings.cutoff_on:g} A")
    return notes
