#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What one training step takes, and what interpolated radial functions and Muon have to do with it.

Steps of the models in `models/` on frames of their training files: as shipped, with the radial
networks evaluated for every edge (training.radial_knots null), with Adam instead of Muon. Beside
that the optimisers alone on the matrices that Muon moves. All of a table take turns, so that a busy
machine is busy for all; compare within one run.

    python benchmarks/training_step.py --output benchmarks/results/training_step.json
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import machine
import report
import torch
from measure import take_turns
from pyictp.config.load import ModelConfig, TrainConfig, from_dict, load_config
from pyictp.graph.derivatives import evaluate_graph
from pyictp.model.ictp import ICTPModel
from pyictp.potential.checkpoint import build_model, load_checkpoint
from pyictp.training.batches import Batch, join, single
from pyictp.training.loss import LossWeights, squared_errors
from pyictp.training.muon import Muon, as_matrices
from pyictp.training.optimisation import WeightAverage, make_optimizer
from pyictp.training.prepare import TrainingData, prepare_data
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
BATCH_SIZES = {"acac": 5, "water": 1}
WIDTHS = (32, 64)  # channels of the optimisers' table
LEARNING_RATE = 1e-5  # what is timed shall stay the trained model
SETTINGS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "networks on every edge": {"radial_knots": None},
    "adam": {"optimizer": "adam"},
}
NOTES = {
    "steps": "loss, its gradient, optimiser and average of the weights, one thread; seconds and "
    "cpu_seconds (processor time, which other programs disturb less): the least of all samples",
    "step_ratio": "cpu_seconds / those of `as shipped` in the same run",
    "optimisers": "a step of the optimiser alone, on copies of the matrices that Muon moves, with "
    "gradients drawn at random; torch.optim.Muon gets each matrix as a parameter of two axes",
    "optimiser_ratio": "cpu_seconds / those of ours in the same run",
    "interpolation": "forces with interpolated radial functions less those with the networks, "
    "float64: largest and root mean square over all components, over the same of the forces",
}


class Timed:
    """A function to call again and again, as `take_turns` wants it."""

    def __init__(self, run: Callable[[], object], calls: int) -> None:
        self.run, self.calls = run, calls
        run()

    def seconds(self) -> list[tuple[float, float]]:
        """Return wall and processor seconds of some calls."""
        samples = []
        for _ in range(self.calls):
            start, processor = time.perf_counter(), time.process_time()
            self.run()
            samples.append((time.perf_counter() - start, time.process_time() - processor))
        return samples

    def memory(self) -> None:
        """Return nothing: memory is not measured."""

    def close(self) -> None:
        """Nothing is held."""


def main() -> None:
    """Print the tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("training_step.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    steps, deviations, optimisers = [], [], []
    for name, batch_size in BATCH_SIZES.items():
        model, data = trained(name, batch_size)
        steps += time_steps(name, model, data, args.rounds)
        deviations.append({"set": name, **deviation(model, data)})
    for channels in WIDTHS:
        optimisers += time_optimisers(channels, args.rounds)
    print(table(steps, "setting", "step_ratio"))
    print(table(optimisers, "optimiser", "optimiser_ratio"))
    for row in deviations:
        print(f"{row['set']}: forces change by {row['rms']:.1e} of their size (interpolation)")
    results = {"steps": steps, "interpolation": deviations, "optimisers": optimisers}
    report.write(args.output, {**machine.describe(), **results}, NOTES)


def trained(name: str, batch_size: int) -> tuple[ICTPModel, TrainingData]:
    """Return a model of models/ and a batch of what it was trained on."""
    overrides = [f"data.num_train={batch_size}", "data.num_valid=1", "data.isolated_atoms=null"]
    overrides += [f"training.batch_size={batch_size}"]
    config = load_config(ROOT / "configs" / f"{name}.yaml", overrides)
    model = build_model(load_checkpoint(ROOT / "models" / name / "best.pt"), torch.float32)
    model_config = dataclasses.replace(config.model, elements=model.config.elements)
    return model, prepare_data(dataclasses.replace(config, model=model_config), progress=False)


def time_steps(
    name: str, model: ICTPModel, data: TrainingData, rounds: int
) -> list[dict[str, Any]]:
    """Return a row per setting."""
    batch = join([single(sample) for sample in data.train])
    shipped = load_config(ROOT / "configs" / f"{name}.yaml").training
    timed = {}
    for setting, changes in SETTINGS.items():
        config = dataclasses.replace(shipped, learning_rate=LEARNING_RATE, **changes)
        timed[setting] = Timed(training_step(copy.deepcopy(model), batch, config, data), calls=2)
    about = {"set": name, "structures": len(data.train), "atoms": batch.graph.num_local}
    return rows(take_turns(timed, rounds), about, "setting", "step_ratio", "as shipped")


def training_step(
    model: ICTPModel, batch: Batch, config: TrainConfig, data: TrainingData
) -> Callable[[], None]:
    """Return a function that does what the trainer does in a step."""
    if config.radial_knots is not None:
        model.interpolate_radial(data.train.shortest_edge, config.radial_knots)
    model.train().requires_grad_(True)
    average = copy.deepcopy(model).requires_grad_(False)
    weight_average = WeightAverage(model, average, config.ema_decay or 0.0)
    weights = LossWeights(config.energy_weight, config.forces_weight, config.stress_weight)
    optimizer, parameters = make_optimizer(model, config), list(model.parameters())

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        prediction = evaluate_graph(model, batch.graph, training=True)
        (weights.as_tensor @ squared_errors(prediction, batch)).backward(inputs=parameters)
        optimizer.step()
        weight_average.update()

    return step


def deviation(model: ICTPModel, data: TrainingData) -> dict[str, float]:
    """Return how much interpolation changes forces, in units of their size."""
    model = copy.deepcopy(model).double()
    model.interpolate_radial(data.train.shortest_edge, TrainConfig().radial_knots)
    graph = join([single(sample) for sample in data.train]).graph
    exact = evaluate_graph(model.eval(), graph).forces
    change = evaluate_graph(model.train(), graph).forces - exact
    return {
        "largest": (change.abs().max() / exact.abs().max()).item(),
        "rms": (change.norm() / exact.norm()).item(),
    }


def time_optimisers(channels: int, rounds: int) -> list[dict[str, Any]]:
    """Return a row per optimiser, all on the matrices of a model of acac's kind."""
    known = load_checkpoint(ROOT / "models" / "acac" / "best.pt")["model_config"]
    model = ICTPModel(from_dict(ModelConfig, {**known, "num_channels": channels}, "model"))
    muon, *_ = make_optimizer(model, TrainConfig()).parts
    parameters = muon.param_groups[0]["params"]
    matrices = [matrix for parameter in parameters for matrix in as_matrices(parameter.detach())]
    timed = {
        "ours": optimiser_step(Muon, parameters),
        "torch.optim.Muon": optimiser_step(torch.optim.Muon, matrices),
        "torch.optim.Adam, fused": optimiser_step(torch.optim.Adam, parameters, fused=True),
    }
    about = {"channels": channels, "parameters": len(parameters), "matrices": len(matrices)}
    return rows(take_turns(timed, rounds), about, "optimiser", "optimiser_ratio", "ours")


def optimiser_step(kind: type, parameters: Sequence[torch.Tensor], **options: Any) -> Timed:
    """Return the step of an optimiser on copies of parameters."""
    copies = [nn.Parameter(parameter.detach().clone()) for parameter in parameters]
    for parameter in copies:
        parameter.grad = torch.randn_like(parameter)
    return Timed(kind(copies, lr=LEARNING_RATE, **options).step, calls=10)


def rows(
    results: dict[str, dict[str, Any]], about: dict[str, Any], key: str, ratio: str, base: str
) -> list[dict[str, Any]]:
    """Return the results of one table as rows."""
    for result in results.values():
        del result["kb_per_atom"]
        result[ratio] = result["cpu_seconds"] / results[base]["cpu_seconds"]
    return [{**about, key: name, **result} for name, result in results.items()]


def table(rows: Sequence[dict[str, Any]], key: str, ratio: str) -> str:
    """Return rows as a table for people."""
    lines = [f"| | {key} | ms | processor ms | ratio |", "|---|---|---|---|---|"]
    for row in rows:
        what = row.get("set") or f"{row['channels']} channels"
        times = f"{1e3 * row['seconds']:.2f} | {1e3 * row['cpu_seconds']:.2f}"
        lines.append(f"| {what} | {row[key]} | {times} | {row[ratio]:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
