# SPDX-License-Identifier: MIT
"""Structures cut into batches of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
BATCH_EDGES = 20_000  # on a CPU more is not faster, only larger; a GPU may want more


def pack(
    items: Iterable[Item],
    num_edges: Callable[[Item], int],
    max_structures: int | None,
    max_edges: int | None,
) -> Iterator[list[Item]]:
    """Yield structures cut into batches, in their order: each is as large as the bounds allow.

    Args:
        items: structures, or what stands for them; taken as they are needed.
        num_edges: of a structure.
        max_structures: in one batch; None: any number.
        max_edges: in one batch; None: any number. A structure with more is a batch of its own.
    """
    batch: list[Item] = []
    edges = 0
    for item in items:
        more = num_edges(item)
        too_large = max_edges is not None and edges + more > max_edges
        if batch and (too_large or len(batch) == max_structures):
            yield batch
            batch, edges = [], 0
        batch.append(item)
        edges += more
    if batch:
        yield batch
