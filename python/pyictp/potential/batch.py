# SPDX-License-Identifier: MIT
"""Many structures at once: packed into batches of about as many edges each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor, nn

from pyictp.common.arrays import FloatArray
from pyictp.data.samples import species_of
from pyictp.errors import UserError
from pyictp.graph.derivatives import Prediction, assemble, stress_from_virial
from pyictp.graph.graph import Graph, build_graph, collate
from pyictp.graph.packing import BATCH_EDGES, pack
from pyictp.potential.distances import CloseAtoms, Watch
from pyictp.potential.interface import Potential
from pyictp.potential.load import as_potential, resolve_device
from pyictp.potential.uncertainty import UncertainPrediction, evaluate_uncertain


@dataclass(frozen=True)
class Result:
    """What a model says of one structure; constraints of the structure are not applied.

    The last three are None if not asked for, or if the model cannot tell.
    """

    energy: float  #: eV
    energies: FloatArray  #: (N,) eV, per atom
    forces: FloatArray | None  #: (N, 3) eV/A; None if not asked for
    stress: FloatArray | None  #: (3, 3) eV/A^3, ASE's sign; None without a cell or if not asked for
    energy_deviation: float | None = None  #: eV, standard deviation over the models of an ensemble
    force_deviation: FloatArray | None = None  #: (N,) eV/A, ``sqrt(mean |F - <F>|^2)``
    grade: FloatArray | None = None  #: (N,), 1 is the farthest training atom


def evaluate_batch(
    model: str | Path | nn.Module | Potential,
    structures: Iterable[Atoms],
    *,
    batch_edges: int = BATCH_EDGES,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | str | None = None,
    forces: bool = True,
    stress: bool = True,
    uncertainty: bool = False,
    closest: str = "warn",
) -> list[Result]:
    """Return energies, forces and stresses of structures, in their order.

    Structures may differ in size, elements, cell and boundary conditions.

    Args:
        model: training folder, checkpoint, exported file, or a model in memory.
        structures: what ASE's calculators take.
        batch_edges: atom pairs (both directions) evaluated together; bounds the memory.
        device: cpu, cuda, cuda:1 or auto.
        dtype: float32 or float64; None keeps the model's own.
        forces: whether to return forces.
        stress: whether to return stresses; with neither the gradient is not computed.
        uncertainty: whether to return what the model can tell of deviations and grades.
        closest: what to do when atoms are closer than in the training data: `warn` of the worst
            structure, raise an `error` at the first, or `ignore`.

    Raises:
        UserError: the model cannot be loaded; `structures` is a single one; one of them has an
            element that is not in the model, two atoms on one spot or pbc without a cell; the
            model cannot tell its uncertainty; atoms are too close with `closest` error.
    """
    if isinstance(structures, Atoms):
        raise UserError("structures: expected a list of ase.Atoms, got a single one: give [atoms]")
    if batch_edges < 1:
        raise UserError(f"batch_edges: expected 1 or more, got {batch_edges}")
    potential = as_potential(model, resolve_device(device), dtype)
    if uncertainty and potential.num_models == 1 and not potential.has_grade:
        raise UserError(
            "uncertainty: expected several models or a grade, this is a single model without: "
            "let its training end, or ictp export run1 run2 ... -o ensemble.pt"
        )
    elements, r_cut = potential.elements, potential.r_cut
    chosen = list(structures)
    watch = Watch(potential.shortest_distances, elements, r_cut, closest)
    close: dict[int, CloseAtoms] = {}
    graphs = _watched(
        (_graph(index, atoms, elements, r_cut) for index, atoms in enumerate(chosen)), watch, close
    )
    predictions = evaluate_graphs(
        potential, graphs, batch_edges, None, forces or stress, uncertainty
    )
    results = [
        Result(
            energy=prediction.energies.item(),
            energies=prediction.node_energies.numpy(),
            forces=prediction.forces.numpy() if forces else None,
            stress=structure_stress(prediction.virials, atoms) if stress else None,
            **_uncertainty(prediction),
        )
        for atoms, prediction in zip(chosen, predictions, strict=True)
    ]
    if close:
        worst = min(close, key=lambda index: close[index].ratio)
        number = f"{len(close)} of {len(chosen)} structures, the worst is {worst}: "
        watch.tell(close[worst], number)
    return results


def _watched(
    graphs: Iterable[Graph], watch: Watch, close: dict[int, CloseAtoms]
) -> Iterator[Graph]:
    """Yield graphs, note those with atoms too close by their index."""
    for index, graph in enumerate(graphs):
        found = watch.find(graph)
        if found is not None:
            close[index] = found
            if watch.closest == "error":
                watch.tell(found, f"structure {index}: ")
        yield graph


def evaluate_graphs(
    potential: Potential,
    graphs: Iterable[Graph],
    batch_edges: int | None = BATCH_EDGES,
    batch_size: int | None = None,
    gradients: bool = True,
    uncertainty: bool = False,
) -> Iterator[Prediction]:
    """Yield the prediction of each graph on the CPU, in their order.

    Args:
        potential: what says the energies.
        graphs: one structure each, on the CPU; built as they are needed.
        batch_edges: edges evaluated together; None: any number.
        batch_size: structures evaluated together; None: any number.
        gradients: False: energies only; forces, virials and edge gradients are zero.
        uncertainty: yield `UncertainPrediction`, with gradients in any case.
    """
    for batch in pack(graphs, lambda graph: graph.num_edges, batch_size, batch_edges):
        graph = collate(batch).to(potential.device)
        if uncertainty:
            prediction: Prediction = evaluate_uncertain(potential, graph)
        else:
            prediction = potential.evaluate(graph) if gradients else _energies(potential, graph)
        yield from _split(prediction, batch)


def structure_stress(virial: Tensor, structure: Any) -> FloatArray | None:
    """Return the stress (3, 3) [eV/A^3] in ASE's sign, None where it is not defined.

    Args:
        virial: (1, 3, 3) in eV, LAMMPS' sign, on the CPU.
        structure: has `cell` and `pbc`; without volume or any repetition there is no stress.
    """
    volume = abs(float(np.linalg.det(np.array(structure.cell))))
    if not (np.any(structure.pbc) and volume > 0):
        return None
    return stress_from_virial(virial, virial.new_tensor([volume]))[0].numpy()


def _graph(index: int, atoms: Atoms, elements: Sequence[str], r_cut: float) -> Graph:
    if not isinstance(atoms, Atoms):
        raise UserError(f"structure {index}: expected ase.Atoms, got {type(atoms).__name__}")
    try:
        species = species_of(atoms.numbers, elements)
        return build_graph(atoms.positions, np.array(atoms.cell), atoms.pbc, species, r_cut)
    except UserError as error:
        raise UserError(f"structure {index}: {error}") from error


def _energies(potential: Potential, graph: Graph) -> Prediction:
    """Return a prediction without derivatives."""
    return assemble(graph, potential.energies(graph), torch.zeros_like(graph.edge_vectors))


def _split(prediction: Prediction, graphs: Sequence[Graph]) -> Iterator[Prediction]:
    """Yield the parts of a prediction that belong to each of the graphs it was made of."""
    structures = [1] * len(graphs)
    nodes = [graph.num_nodes for graph in graphs]
    edges = [graph.num_edges for graph in graphs]
    sizes = {"energies": structures, "virials": structures, "energy_deviations": structures}
    sizes |= {"edge_gradients": edges}  # all else is of nodes
    parts = {
        name: value.cpu().split(sizes.get(name, nodes))
        for name, value in vars(prediction).items()
        if value is not None
    }
    for values in zip(*parts.values(), strict=True):
        yield replace(prediction, **dict(zip(parts, values, strict=True)))


def _uncertainty(prediction: Prediction) -> dict[str, Any]:
    """Return the fields of a result that an `UncertainPrediction` of one structure fills."""
    if not isinstance(prediction, UncertainPrediction):
        return {}
    energy, forces = prediction.energy_deviations, prediction.force_deviations
    return {
        "energy_deviation": None if energy is None else energy.item(),
        "force_deviation": None if forces is None else forces.numpy(),
        "grade": None if prediction.grades is None else prediction.grades.numpy(),
    }
