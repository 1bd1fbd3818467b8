# SPDX-License-Identifier: MIT
"""Ours in Python: the ASE calculator on an exported file, and the training step of `ictp train`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ase import Atoms
from protocol import MakeStep, Step, serve
from pyictp.config.load import ModelConfig, TrainConfig, from_dict
from pyictp.data.frames import Frame
from pyictp.data.samples import make_sample
from pyictp.graph.derivatives import evaluate_graph
from pyictp.model.ictp import ICTPModel
from pyictp.potential.calculator import ICTPCalculator
from pyictp.training.batches import join, single
from pyictp.training.loss import LossWeights, squared_errors
from pyictp.training.optimisation import WeightAverage, make_optimizer


def build(case: dict[str, Any]) -> MakeStep:
    """Take the exported file of a case, or build its model for training."""
    torch.set_num_threads(case["threads"])
    if not case["training"]:
        return lambda structures: evaluation(case, structures)
    torch.manual_seed(0)
    model = ICTPModel(from_dict(ModelConfig, case["model_config"], "model"))
    model.to(getattr(torch, case["dtype"]))
    return lambda structures: training_step(model, structures)


def evaluation(case: dict[str, Any], structures: list[dict[str, Any]]) -> Step:
    """Return a function that moves the atoms a little and computes everything again."""
    atoms = Atoms(**structures[0])
    calculator = ICTPCalculator(case["model"], device=case["device"])
    generator = np.random.default_rng(0)
    start = atoms.positions.copy()

    def step() -> None:
        atoms.positions = start + generator.uniform(-0.01, 0.01, start.shape)
        calculator.calculate(atoms)

    return step


def training_step(model: ICTPModel, structures: list[dict[str, Any]]) -> Step:
    """Return a function that does what the trainer does per step: loss, Adam, weight average."""
    config = TrainConfig(learning_rate=1e-4)
    batches = [
        single(make_sample(_frame(s), model.config.elements, model.r_cut)) for s in structures
    ]
    average = ICTPModel(model.config).to(model.node_embedding.dtype).requires_grad_(False)
    weight_average = WeightAverage(model, average, config.ema_decay or 0.0)
    weights = LossWeights(config.energy_weight, config.forces_weight, 0.0).as_tensor
    parameters = list(model.parameters())
    optimizer = make_optimizer(model, config)

    def step() -> None:
        batch = join(batches)
        optimizer.zero_grad(set_to_none=True)
        prediction = evaluate_graph(model, batch.graph, training=True)
        (weights @ squared_errors(prediction, batch)).backward(inputs=parameters)
        optimizer.step()
        weight_average.update()

    return step


def _frame(structure: dict[str, Any]) -> Frame:
    atoms = Atoms(**structure)
    return Frame(
        atomic_numbers=atoms.numbers,
        positions=atoms.positions,
        cell=np.array(atoms.cell),
        pbc=atoms.pbc,
        energy=0.0,
        forces=np.zeros((len(atoms), 3)),
    )


if __name__ == "__main__":
    serve(build)
