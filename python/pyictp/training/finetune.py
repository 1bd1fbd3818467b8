# SPDX-License-Identifier: MIT
"""Fine-tuning: a model that learned from other data, new elements, another energy zero.

So that a model does not forget what it knew, mix frames of its former training data into the new
ones, with a lower weight if there are many:

    data: {train: [new.xyz, {file: old.xyz, weight: 0.2}]}

and lower `training.learning_rate`; few new frames need few free parameters (`training.trainable`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from ase.data import atomic_numbers
from torch import Tensor

from pyictp.common.arrays import FloatArray
from pyictp.config.load import Config
from pyictp.errors import UserError
from pyictp.model.ictp import ICTPModel
from pyictp.model.kinds import new_model
from pyictp.model.layers import SpeciesLinear
from pyictp.potential.checkpoint import build_model
from pyictp.training.batches import Batch, join

if TYPE_CHECKING:
    from pyictp.training.trainer import Trainer

SAME_METHOD = 0.01  # eV, of energies of one isolated atom by one method
NOBLE_GASES = (0, 2, 10, 18, 36, 54, 86, 118)
FAR = 10.0  # energies this many times nearer after new shifts have another zero
BATCH_SIZE = 16


def starting_model(
    start: Mapping[str, Any], elements: Sequence[str], e0: FloatArray, dtype: torch.dtype
) -> ICTPModel:
    """Return the model of a checkpoint, extended to `elements` if there are more than it knows.

    Args:
        start: the checkpoint.
        elements: those of the checkpoint first.
        e0: (S,) isolated-atom energies in eV; only those of new elements are looked at.
        dtype: of the parameters.
    """
    model = build_model(start, dtype)
    num_known = len(model.config.elements)
    if len(elements) == num_known:
        return model
    model = extend_model(model, elements)
    given = torch.from_numpy(e0[num_known:])
    model.shift[num_known:] += given - model.e0[num_known:]
    model.e0[num_known:] = given
    return model


def extend_model(model: ICTPModel, elements: Sequence[str]) -> ICTPModel:
    """Return a model of more elements, equal to the old one wherever only old elements are.

    A new element begins as a copy of the most similar old one: its weights work together, as those
    of a mean over elements would not (independent weights average out to weak ones). Elements need
    no noise to become different: what they learn from differs.

    Args:
        model: of S elements.
        elements: those of the model in its order, then the new ones.
    """
    known = model.config.elements
    source = torch.tensor(
        [known.index(e if e in known else most_similar(e, known)) for e in elements]
    )
    config, mace = model.config, model.config.mace
    extended = None if mace is None else mace.extended(elements)
    larger = new_model(replace(config, elements=tuple(elements), mace=extended))
    larger.to(model.node_embedding.dtype)
    # these weights are divided by sqrt(S) where they are used
    divided = {f"{n}.weight" for n, m in larger.named_modules() if isinstance(m, SpeciesLinear)}
    divided.add("node_embedding")
    growth = math.sqrt(len(elements) / len(known))
    state, shapes = model.state_dict(), larger.state_dict()
    for name, values in state.items():
        pairs = zip(values.shape, shapes[name].shape, strict=True)
        axes = [axis for axis, (size, new_size) in enumerate(pairs) if size != new_size]
        for axis in axes:  # the species, if there are any
            state[name] = values.cpu().index_select(axis, source)
        if name in divided:
            state[name] = state[name] * growth
    larger.load_state_dict(state)
    return larger


def most_similar(element: str, known: Sequence[str]) -> str:
    """Return the nearest of some elements in the periodic table: by group, period, number."""
    group, period = _place(element)

    def distance(other: str) -> tuple[int, int, int]:
        place = _place(other)
        number = abs(atomic_numbers[other] - atomic_numbers[element])
        return abs(place[0] - group), abs(place[1] - period), number

    return min(known, key=distance)


def _place(element: str) -> tuple[int, int]:
    """Return group (1 to 18; 3 for lanthanides and actinides) and period of an element."""
    number = atomic_numbers[element]
    period = next(p for p, last in enumerate(NOBLE_GASES) if number <= last)
    before, last = NOBLE_GASES[period - 1], NOBLE_GASES[period]
    from_left, from_right = number - before, last - number
    if from_left <= 2 and number != 2:
        return from_left, period
    return max(18 - from_right, 3), period


def prepare_finetuning(
    trainer: Trainer, config: Config, known: Sequence[str], isolated: Mapping[str, float]
) -> list[str]:
    """Set the energy shifts of a model to fine-tune; return what there is to say of the start.

    Args:
        trainer: with a model of `starting_model`.
        config: of the new training.
        known: elements of the model before it was extended.
        isolated: energies of isolated atoms that the new data give [eV].

    Raises:
        UserError: as `adopt_isolated`.
    """
    models = [trainer.model, trainer.average_model]
    new = trainer.model.config.elements[len(known) :]
    batches = trainer.train_batches
    trained = {known[s] for b in batches for s in b.graph.species.unique() if s < len(known)}
    atoms = adopt_isolated(models, {e: isolated[e] for e in known if e in isolated}, trained)
    copies = ", ".join(f"{element} of {most_similar(element, known)}" for element in new)
    refit = config.training.refit_shift
    shifts = refit_shifts(models, batches, len(known), refit, isolated)
    elements = f"new elements begin as copies: {copies}" if new else ""
    return [text for text in (elements, atoms, shifts) if text]


def adopt_isolated(
    models: Sequence[ICTPModel], given: Mapping[str, float], trained: Collection[str]
) -> str:
    """Take over isolated-atom energies of new labels; shifts move by what theirs differ.

    So energies relative to isolated atoms begin as they were, whatever the method's zero is. Where
    the model knows no isolated atom its shift is left to `refit_shifts`.

    Args:
        models: with the same weights.
        given: energies [eV] of elements of the model.
        trained: elements of the model that the new training frames have.

    Returns:
        What was done, for people; empty if the method is the same.

    Raises:
        UserError: they are of another method, and not there for all elements that need them.
    """
    elements = models[0].config.elements
    own = dict(zip(elements, models[0].e0.tolist(), strict=True))
    other = {e: v for e, v in given.items() if own[e] != 0 and abs(v - own[e]) > SAME_METHOD}
    told = ", ".join(f"{e} {v:.6g} eV (the model's {own[e]:.6g})" for e, v in other.items())
    missing = sorted(e for e in trained if own[e] != 0 and e not in given)
    if other and missing:
        raise UserError(
            f"--finetune: isolated atoms of another method than the start model's: {told}; "
            f"expected those of all elements, {' '.join(missing)} is missing: add it, or leave all "
            "out, and training.refit_shift finds the zero of the energies"
        )
    for model in models:
        for element, energy in given.items():
            index = elements.index(element)
            model.shift[index] += energy - own[element] if element in other else 0.0
            model.e0[index] = energy
    return f"isolated atoms of another method, energy shifts move with them: {told}" * bool(other)


class ShiftFit(NamedTuple):
    """A change of energy shifts and what it leaves."""

    change: Tensor  # (S,) [eV]
    rmse: float  # eV/atom, of K energies with K - rank degrees of freedom; inf without any


def refit_shifts(
    models: Sequence[ICTPModel],
    batches: Sequence[Batch],
    num_known: int,
    refit: bool | str,
    isolated: Collection[str] = (),
) -> str:
    """Move the energy shifts of models with the same weights to fit labelled energies.

    The least squares of the loss, sum_s w_s (dE_s)^2 / N_s, the change of least norm. Shifts of new
    elements are always fitted; the others for labels of another method, whose energies have
    another zero: `refit` says whether, "auto" looks whether that brings the energies FAR nearer.
    Isolated-atom energies of the former method are forgotten then.

    Args:
        models: the first one is evaluated, all get its new shift.
        batches: of one structure each.
        num_known: the first elements, whose shifts have been trained.
        refit: True, False or "auto".
        isolated: elements whose isolated-atom energies are of the method of the labels.

    Returns:
        What was done, for people; empty if nothing was.
    """
    model = models[0]
    labelled = [batch for batch in batches if bool(batch.has_energy.all())]
    if not labelled or (refit is False and num_known == len(model.shift)):
        return ""
    counts, residuals, weights = _residuals(model, labelled)
    fit_new = _fit(counts, residuals, weights, num_known)
    fit_all = _fit(counts, residuals, weights, 0)
    is_far = fit_new.rmse > FAR * fit_all.rmse
    whole = is_far if refit == "auto" else bool(refit)
    shift = model.shift + (fit_all if whole else fit_new).change.to(model.shift.device)
    for each in models:
        each.shift.copy_(shift)
        for index, element in enumerate(each.config.elements[:num_known]):
            if is_far and whole and element not in isolated:
                each.e0[index] = 0.0
    kept = "kept" if num_known == len(model.shift) else "kept for the elements it knew"
    return (
        f"energies before training: RMSE {_as_text(fit_new)} with the model's energy shifts, "
        f"{_as_text(fit_all)} with shifts fitted to the training frames; "
        f"{'fitted ones are used' if whole else kept} (training.refit_shift: "
        f"{refit if isinstance(refit, str) else str(refit).lower()})"
    )


def _as_text(fit: ShiftFit) -> str:
    return f"{1000 * fit.rmse:.1f} meV/atom" if math.isfinite(fit.rmse) else "unknown (few frames)"


@torch.no_grad()
def _residuals(model: ICTPModel, batches: Sequence[Batch]) -> tuple[Tensor, Tensor, Tensor]:
    """Return counts (K, S), E_label - E_model (K,) [eV] and weights (K,) of K structures."""
    num_species = len(model.shift)
    counts = [torch.bincount(b.graph.species, minlength=num_species).cpu() for b in batches]
    residuals = []
    for start in range(0, len(batches), BATCH_SIZE):
        batch = join(batches[start : start + BATCH_SIZE])
        graph = batch.graph
        nodes = model(graph.species, graph.edge_index, graph.edge_vectors, graph.num_local)
        energies = torch.zeros_like(batch.energies).index_add(0, graph.structure_index, nodes)
        residuals.append((batch.energies - energies).cpu())
    weights = torch.cat([batch.weights[:, 0].cpu() for batch in batches])
    return torch.stack(counts).to(torch.float64), torch.cat(residuals), weights


def _fit(counts: Tensor, residuals: Tensor, weights: Tensor, first: int) -> ShiftFit:
    """Fit the shifts of the species from `first` on."""
    num_atoms = counts.sum(dim=1)
    change, rank = residuals.new_zeros(counts.shape[1]), 0
    if first < counts.shape[1]:
        factors = (weights / num_atoms).sqrt().unsqueeze(1)
        matrix, target = counts[:, first:] * factors, residuals.unsqueeze(1) * factors
        solution = torch.linalg.lstsq(matrix, target, driver="gelsd")
        change[first:], rank = solution.solution[:, 0], int(solution.rank)
    freedom = len(residuals) - rank
    left = ((residuals - counts @ change) / num_atoms).square().sum()
    return ShiftFit(change, math.sqrt(left / freedom) if freedom > 0 else math.inf)
