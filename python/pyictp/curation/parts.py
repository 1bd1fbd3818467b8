# SPDX-License-Identifier: MIT
"""Which frames go to training, validation and test: at random, by whole groups, or spread out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from pyictp.curation.descriptors import farthest_points, structure_vectors
from pyictp.data.frames import Frame
from pyictp.data.samples import elements_of
from pyictp.errors import UserError

PARTS = ("train", "valid", "test")
Parts = dict[str, list[int]]  # indices of frames by part


def is_free_atom(frame: Frame) -> bool:
    """Return whether this is one atom alone: marked as isolated, or without pbc."""
    return frame.is_isolated_atom or (len(frame.atomic_numbers) == 1 and not frame.pbc.any())


def split_sizes(total: int, wanted: Mapping[str, str | None]) -> dict[str, int]:
    """Return how many of `total` frames each part gets.

    Args:
        total: frames there are.
        wanted: by part a number ("450"), a fraction ("0.8") or None: for train all that remain,
            for another part none.

    Raises:
        UserError: a text is neither, more frames are asked for than there are, a part that was
            asked for would be empty.
    """
    sizes = {p: _number(p, text, total) for p, text in wanted.items() if text is not None}
    others = sum(size for part, size in sizes.items() if part != "train")
    sizes.setdefault("train", total - others)
    asked = ", ".join(f"{sizes[part]} for {part}" for part in PARTS if part in sizes)
    if min(sizes.values()) < 1 or sum(sizes.values()) > total:
        raise UserError(
            f"split: {total} frames cannot give {asked}: change --train, --valid and --test"
        )
    return {part: sizes.get(part, 0) for part in PARTS}


def _number(part: str, text: str, total: int) -> int:
    """Return a number of frames from "450" or "0.8"."""
    try:
        number = int(text)
    except ValueError:
        try:
            fraction = float(text)
        except ValueError:
            fraction = -1.0
        if not 0 < fraction <= 1:
            raise UserError(
                f"--{part}: expected a number of frames or a fraction above 0 and up to 1, "
                f"got '{text}'"
            ) from None
        number = max(round(fraction * total), 1)
    return number


def split_random(total: int, sizes: Mapping[str, int], seed: int) -> Parts:
    """Return parts drawn at random."""
    order = np.random.default_rng(seed).permutation(total).tolist()
    parts = {}
    for part in PARTS:
        parts[part], order = sorted(order[: sizes[part]]), order[sizes[part] :]
    return parts


def split_farthest(frames: Sequence[Frame], sizes: Mapping[str, int], seed: int) -> Parts:
    """Return training frames spread over the space of structures, the others drawn at random."""
    vectors = structure_vectors(frames, elements_of(frames))
    chosen = sorted(farthest_points(vectors, sizes["train"]))
    rest = sorted(set(range(len(frames))) - set(chosen))
    others = split_random(len(rest), {**sizes, "train": 0}, seed)
    return {"train": chosen, **{part: [rest[i] for i in others[part]] for part in PARTS[1:]}}


def split_groups(groups: Sequence[str], sizes: Mapping[str, int], seed: int) -> Parts:
    """Return parts of whole groups, as near to the sizes as whole groups come.

    The largest group goes first, each to the part that lacks most; groups of one size are in
    random order. A group for which no part has room is left out.

    Raises:
        UserError: there are fewer groups than parts.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    missing = {part: size for part, size in sizes.items() if size > 0}
    if len(members) < len(missing):
        raise UserError(
            f"split: {len(members)} groups ({', '.join(members)}) cannot fill {len(missing)} "
            "parts: choose another --group-key or another --method"
        )
    names = sorted(members)
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    order.sort(key=lambda name: -len(members[name]))  # stable: ties stay in random order
    parts: Parts = {part: [] for part in PARTS}
    for position, name in enumerate(order):
        empty = [part for part in missing if not parts[part]]
        open_parts = empty if len(empty) >= len(order) - position else list(missing)
        part = max(open_parts, key=lambda part: missing[part])
        if missing[part] > 0:
            parts[part] += members[name]
            missing[part] -= len(members[name])
    return {part: sorted(indices) for part, indices in parts.items()}
