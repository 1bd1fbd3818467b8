# SPDX-License-Identifier: MIT
"""MACE-torch, eager, random weights: energy, forces and stress of a graph that is built before.

Runs in the virtual environment of the peer. The neighbor list is outside the timing, which favours
the peer: ours has it inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers
from e3nn import o3
from mace import data, modules, tools
from mace.tools import torch_geometric
from protocol import MakeStep, Step, serve


def build(case: dict[str, Any]) -> MakeStep:
    """Build the model of a case; return what makes a step of structures."""
    torch.set_num_threads(case["threads"])
    torch.set_default_dtype(getattr(torch, case["dtype"]))
    torch.manual_seed(0)
    numbers = sorted(atomic_numbers[element] for element in case["elements"])
    model = make_model(case, numbers)
    if case.get("save"):
        torch.save(model, case["save"])
    if case["training"]:
        return lambda structures: training_step(model, structures, numbers)
    model.requires_grad_(False)
    return lambda structures: evaluation(model, structures, numbers)


def make_model(case: dict[str, Any], numbers: list[int]) -> torch.nn.Module:
    """Return the case's architecture; blocks as MACE's own training script chooses them."""
    irreps = [f"{case['channels']}x{rank}{'eo'[rank % 2]}" for rank in range(3)]
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    return modules.ScaleShiftMACE(
        r_max=case["r_cut"],
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=2,
        num_elements=len(numbers),
        hidden_irreps=o3.Irreps(" + ".join(irreps[: case["l_max_hidden"] + 1])),
        MLP_irreps=o3.Irreps("16x0e"),
        radial_MLP=[64, 64, 64],
        gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(len(numbers)),
        avg_num_neighbors=case["avg_num_neighbors"],
        atomic_numbers=numbers,
        correlation=3,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )


def make_batch(model: torch.nn.Module, structures: list[dict[str, Any]], numbers: list[int]) -> Any:
    """Return the graphs of some structures as one batch, labels zero."""
    table = tools.AtomicNumberTable(numbers)
    graphs = []
    for structure in structures:
        atoms = Atoms(**structure)
        properties = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}
        config = data.Configuration(
            atomic_numbers=atoms.numbers,
            positions=atoms.positions,
            properties=properties,
            property_weights={"energy": 1.0, "forces": 1.0},
            cell=np.array(atoms.cell),
            pbc=tuple(atoms.pbc),
        )
        graphs.append(data.AtomicData.from_config(config, table, float(model.r_max)))
    loader = torch_geometric.dataloader.DataLoader(graphs, batch_size=len(graphs), shuffle=False)
    return next(iter(loader))


def evaluation(
    model: torch.nn.Module, structures: list[dict[str, Any]], numbers: list[int]
) -> Step:
    """Return a function that computes energy, forces and stress."""
    batch = make_batch(model, structures, numbers)
    return lambda: model(batch.to_dict(), compute_force=True, compute_stress=True)


def training_step(
    model: torch.nn.Module, structures: list[dict[str, Any]], numbers: list[int]
) -> Step:
    """Return a function that does one step: energy and force loss, Adam with amsgrad."""
    batch = make_batch(model, structures, numbers)
    loss_of = modules.WeightedEnergyForcesLoss(energy_weight=1.0, forces_weight=10.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=5e-7, amsgrad=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        output = model(batch.to_dict(), training=True, compute_force=True)
        loss_of(pred=output, ref=batch).backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    serve(build)
