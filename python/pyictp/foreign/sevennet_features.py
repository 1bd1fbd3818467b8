# SPDX-License-Identifier: MIT
"""The kinds of features of SevenNet's layers: ranks, with or without parity, and their order."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise, product
from typing import Any

from pyictp.errors import UserError
from pyictp.foreign.records import irreps
from pyictp.model.products import Irrep

MAX_LAYERS = 100
MAX_RANK = 3  # of harmonics and features: what the signs of couplings were looked at for

Features = Mapping[Irrep, int]  # the channels of each kind of feature, in the file's order
FilePath = tuple[Irrep, int, Irrep]  # feature, rank of the harmonics, result


def e3nn_order(irrep: Irrep) -> tuple[int, int]:
    """Return where e3nn has a kind of feature among others: by rank, then by parity."""
    return irrep.rank, (-1) ** (irrep.rank + irrep.pseudo)


def paths_of(features: Features, l_max_edge: int, l_max: int, is_parity: bool) -> list[FilePath]:
    """Return the paths from features to results of ranks up to l_max, in sevenn's order."""
    return [
        (x, l2, Irrep(l3, is_parity and x.pseudo ^ bool((x.rank + l2 + l3) % 2)))
        for x, l2 in product(features, range(l_max_edge + 1))
        for l3 in range(abs(x.rank - l2), min(x.rank + l2, l_max) + 1)
    ]


def gated(features: Features) -> Features:
    """Return what the gate takes for features: the gates of tensors are among the scalars."""
    gates = sum(n for irrep, n in features.items() if irrep.rank > 0)
    return {irrep: n + (gates if irrep == Irrep(0) else 0) for irrep, n in features.items()}


def read_features(config: Mapping[str, Any], is_parity: bool) -> tuple[Features, ...]:
    """Return the features before the first layer and after each.

    Raises:
        UserError: some are not supported.
    """
    num_layers, manual = int(config["num_convolution_layer"]), config.get("irreps_manual", False)
    if not 1 <= num_layers <= MAX_LAYERS:
        raise UserError(f"{num_layers} layers are not supported, only 1 to {MAX_LAYERS}")
    l_max_edge, l_max_node = highest(config, "lmax_edge"), highest(config, "lmax_node")
    if manual is not False:
        rows = [_stored_features(text, is_parity) for text in manual]
    else:
        channels = int(config["channel"])
        rows = [{Irrep(0): channels}]
        for _ in range(num_layers - 1):
            paths = paths_of(rows[-1], l_max_edge, l_max_node, is_parity)
            reached = sorted({path[2] for path in paths}, key=e3nn_order)
            rows.append(dict.fromkeys(reached, channels))
        rows.append({Irrep(0): channels})
    if len(rows) != num_layers + 1 or any(set(row) != {Irrep(0)} for row in (rows[0], rows[-1])):
        raise UserError("its features (irreps_manual) do not begin and end with scalars")
    if max(irrep.rank for row in rows for irrep in row) > l_max_edge:
        raise UserError("features of higher rank than the harmonics are not supported")
    for before, after in pairwise(rows):
        l_max = max(irrep.rank for irrep in after)
        if set(after) - {path[2] for path in paths_of(before, l_max_edge, l_max, is_parity)}:
            raise UserError("features (irreps_manual) that no messages reach are not supported")
    return tuple(rows)


def _stored_features(text: Any, is_parity: bool) -> Features:
    """Return the channels of irreps: ranks 0, 1, ..., once each, and pseudo tensors if there are.

    Raises:
        UserError: others, or tensors before scalars.
    """
    slots = irreps(text)
    found = {Irrep(slot.rank, is_parity and not slot.is_natural): slot.channels for slot in slots}
    natural = [irrep.rank for irrep in found if not irrep.pseudo]
    ranks = [slot.rank for slot in slots]
    is_even = is_parity or all(slot.parity == 1 for slot in slots)
    if (
        len(found) != len(slots)
        or natural != list(range(len(natural)))
        or not natural
        or ranks != sorted(ranks)
        or not is_even
    ):
        raise UserError(f"features {text} are not supported, only ranks 0, 1, ..., once each")
    return found


def highest(config: Mapping[str, Any], key: str) -> int:
    """Return a highest rank: `lmax`, unless the key says another one."""
    own = int(config.get(key, -1))
    rank = own if own > 0 else int(config["lmax"])
    if not 0 <= rank <= MAX_RANK:
        raise UserError(f"ranks up to {rank} are not supported, only up to {MAX_RANK}")
    return rank


def channels_row(features: Features, pseudo: bool) -> tuple[int, ...]:
    """Return the channels of the true or pseudo tensors of ranks 0, 1, ... up to the highest."""
    ranks = {irrep.rank: n for irrep, n in features.items() if irrep.pseudo == pseudo}
    return tuple(ranks.get(rank, 0) for rank in range(max(ranks, default=-1) + 1))
