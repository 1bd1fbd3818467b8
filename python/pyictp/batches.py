# SPDX-License-Identifier: MIT
"""Samples joined to batches on the device, in an order fixed by the seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pyictp.dataset import Sample
from pyictp.graph import Graph, collate


@dataclass(frozen=True)
class Batch:
    """B structures with N atoms; labels that are missing are 0 and marked False."""

    graph: Graph
    num_atoms: Tensor  # (B,) float64, to divide by
    energies: Tensor  # (B,) float64 [eV]
    forces: Tensor  # (N, 3) float64 [eV/A]
    stresses: Tensor  # (B, 3, 3) float64 [eV/A^3], ASE sign
    volumes: Tensor  # (B,) float64 [A^3], 1 where there is none
    has_energy: Tensor  # (B,) bool
    has_forces: Tensor  # (B,) bool
    has_stress: Tensor  # (B,) bool

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on a device."""
        return replace(self, **{name: value.to(device) for name, value in vars(self).items()})


def single(sample: Sample) -> Batch:
    """Return one sample as a batch."""

    def real(value: float | Tensor | None, shape: tuple[int, ...], missing: float = 0.0) -> Tensor:
        if value is None:
            return torch.full(shape, missing, dtype=torch.float64)
        return torch.as_tensor(value).to(torch.float64).reshape(shape)

    num_atoms = sample.graph.num_nodes
    return Batch(
        graph=sample.graph,
        num_atoms=real(float(num_atoms), (1,)),
        energies=real(sample.energy, (1,)),
        forces=real(sample.forces, (num_atoms, 3)),
        stresses=real(sample.stress, (1, 3, 3)),
        volumes=real(sample.volume, (1,), missing=1.0),
        has_energy=torch.tensor([sample.energy is not None]),
        has_forces=torch.tensor([sample.forces is not None]),
        has_stress=torch.tensor([sample.stress is not None]),
    )


def join(batches: Sequence[Batch]) -> Batch:
    """Return several batches as one, on the same device; a lone one comes back as it is."""
    if len(batches) == 1:
        return batches[0]
    tensors = {
        name: torch.cat([getattr(batch, name) for batch in batches])
        for name, value in vars(batches[0]).items()
        if isinstance(value, Tensor)
    }
    return Batch(graph=collate([batch.graph for batch in batches]), **tensors)


def chunks(batches: Sequence[Batch], size: int) -> list[Batch]:
    """Return the batches joined `size` at a time, in their order."""
    return [join(batches[start : start + size]) for start in range(0, len(batches), size)]


def epoch_order(num_samples: int, seed: int, epoch: int) -> list[int]:
    """Return the order of the samples in an epoch: a function of seed and epoch alone.

    So a resumed training needs no stored state of a shuffling generator, and the order is the same
    whatever else draws random numbers.
    """
    digest = hashlib.sha256(f"{seed} {epoch}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
    return torch.randperm(num_samples, generator=generator).tolist()
