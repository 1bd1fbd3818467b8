# SPDX-License-Identifier: MIT
"""Samples joined to batches on the device, in an order fixed by the seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pyictp.config.load import TrainConfig
from pyictp.data.samples import Sample
from pyictp.graph.graph import Graph, collate
from pyictp.graph.packing import pack
from pyictp.training.parallel import SINGLE, Processes, shares


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
    has_forces: Tensor  # (N,) bool, of each atom
    has_stress: Tensor  # (B,) bool
    weights: Tensor  # (B, 3) float64, of the squared errors of energy, forces, stress

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on a device."""
        return replace(self, **{name: value.to(device) for name, value in vars(self).items()})


def single(sample: Sample) -> Batch:
    """Return one sample as a batch."""

    def real(value: float | Tensor | None, shape: tuple[int, ...], missing: float = 0.0) -> Tensor:
        if value is None:
            return torch.full(shape, missing, dtype=torch.float64)
        return torch.as_tensor(value, dtype=torch.float64).reshape(shape)

    num_atoms = sample.graph.num_nodes
    forces = real(sample.forces, (num_atoms, 3), missing=torch.nan)
    return Batch(
        graph=sample.graph,
        num_atoms=real(float(num_atoms), (1,)),
        energies=real(sample.energy, (1,)),
        forces=forces.nan_to_num(0.0),
        stresses=real(sample.stress, (1, 3, 3)),
        volumes=real(sample.volume, (1,), missing=1.0),
        has_energy=torch.tensor([sample.energy is not None]),
        has_forces=~forces.isnan().any(dim=1),
        has_stress=torch.tensor([sample.stress is not None]),
        weights=torch.tensor([sample.weights], dtype=torch.float64),
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


class BatchPlan:
    """Which samples make up each batch, and which of them are this process' share."""

    def __init__(
        self, samples: Sequence[Batch], config: TrainConfig, processes: Processes = SINGLE
    ) -> None:
        """Take batches of one structure each, the same on each process."""
        self.samples, self.config, self.processes = samples, config, processes
        self.num_edges = [sample.graph.num_edges for sample in samples]

    def epoch(self, epoch: int) -> list[list[int]]:
        """Return the samples of every batch of an epoch, in random order."""
        order = epoch_order(len(self.samples), self.config.seed, epoch)
        return self._pack(order)

    def own(self, chosen: Sequence[int]) -> Batch | None:
        """Return the part of a batch that is this process' share, None if it is empty.

        Joining takes 0.3 % of a training step on a CPU: nothing a thread beside it could win.
        """
        mine = self._own(chosen)
        return join([self.samples[index] for index in mine]) if mine else None

    def in_order(self) -> list[Batch]:
        """Return this process' share of all samples as batches, in their order."""
        plan = self._pack(self._own(range(len(self.samples))))
        return [join([self.samples[index] for index in chosen]) for chosen in plan]

    def _own(self, chosen: Sequence[int]) -> list[int]:
        costs = [self.num_edges[index] for index in chosen]
        return [chosen[item] for item in shares(costs, self.processes.size)[self.processes.index]]

    def _pack(self, order: Sequence[int]) -> list[list[int]]:
        bounds = self.config.batch_size, self.config.batch_edges
        return list(pack(order, self.num_edges.__getitem__, *bounds))


def epoch_order(num_samples: int, seed: int, epoch: int) -> list[int]:
    """Return the order of the samples in an epoch: a function of seed and epoch alone.

    So a resumed training needs no stored state of a shuffling generator, and the order is the same
    whatever else draws random numbers.
    """
    digest = hashlib.sha256(f"{seed} {epoch}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
    return torch.randperm(num_samples, generator=generator).tolist()
