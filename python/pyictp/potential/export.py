# SPDX-License-Identifier: MIT
"""Trained models to the file that LAMMPS reads (contract: export/FORMAT.md)."""

import copy
import time
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from ase.data import atomic_masses, atomic_numbers
from torch import Tensor, nn

from pyictp import __version__
from pyictp.common.arrays import FloatArray
from pyictp.common.files import atomic_path
from pyictp.config.load import to_dict
from pyictp.errors import UserError
from pyictp.graph.derivatives import Prediction, evaluate_graph
from pyictp.graph.graph import Graph, build_graph
from pyictp.model.ictp import ICTPModel
from pyictp.model.kernels import use_operators
from pyictp.model.mace import MaceModel
from pyictp.model.nequip import NequipModel
from pyictp.model.nequip_tables import tabulate_ranks
from pyictp.model.pair_tables import tabulate_pairs
from pyictp.model.reduction import reduce_paths
from pyictp.model.tabulate import Tabulated, tabulate_radial
from pyictp.native import load_operators
from pyictp.potential.checkpoint import build_model
from pyictp.potential.distances import distance_table
from pyictp.potential.exported import (
    ATTRIBUTES,
    REFERENCE,
    SCHEMA_VERSION,
    check_reference,
    open_exported,
    torchscript,
    write_archive,
)
from pyictp.potential.extrapolation import ExtrapolationGrade

# Largest deviation allowed on the reference structure, relative to the largest force [eV/A] or
# interaction energy [eV].
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
TABLES_TOLERANCE = {"float32": 1e-4, "float64": 1e-8}  # several slopes of tables make a force


class ExportedModule(nn.Module):
    """Models with the attributes that a reader of the file needs; several are an ensemble."""

    num_models: Final[int]
    shortest_distances: list[float]
    masses: list[float]

    def __init__(
        self,
        models: Sequence[ICTPModel],
        grade: ExtrapolationGrade | None,
        dtype: str,
        distances: FloatArray,
    ) -> None:
        """Join models of the same elements and cutoff radius.

        Args:
            models: one or several.
            grade: of the first.
            dtype: of their arithmetic.
            distances: (S, S) shortest ones of the training data [A], 0: nothing is known.
        """
        super().__init__()
        self.models = nn.ModuleList(models)
        self.grade = grade
        self.schema_version = SCHEMA_VERSION
        self.elements = list(models[0].config.elements)
        self.r_cut = float(models[0].config.r_cut)
        self.num_layers = max(int(model.config.num_layers) for model in models)
        self.num_models = len(models)
        self.has_grade = grade is not None
        self.dtype = dtype
        self.shortest_distances = distances.ravel().tolist()
        numbers = [atomic_numbers[element] for element in self.elements]
        self.masses = atomic_masses[numbers].tolist()

    def add_reference(self, graph: Graph, reference: Prediction, tolerance: float) -> None:
        """Keep a structure and what the models say of it in float64, on average.

        Args:
            graph: the structure.
            reference: what the models say of it.
            tolerance: relative to the largest force [eV/A] or interaction energy [eV].
        """
        shift = torch.stack([model.get_buffer("shift") for model in self.models]).mean(0)
        interaction = (reference.node_energies - shift[graph.species]).abs().max().item()
        largest = max(interaction, reference.forces.abs().max().item(), 1e-3)
        # in scale with the model, above the rounding of energies
        rounding = 1e-14 * reference.node_energies.abs().max().item()
        self.reference_tolerance = tolerance * largest + rounding
        for name, values in (
            ("species", graph.species),
            ("edge_index", graph.edge_index),
            ("edge_vectors", graph.edge_vectors),
            ("node_energies", reference.node_energies),
            ("forces", reference.forces),
            ("virial", reference.virials[0]),
        ):
            self.register_buffer(f"reference_{name}", values.detach().clone())

    def forward(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> Tensor:
        """Return the energies of the local nodes, as `ICTPModel.forward`; the mean of several."""
        energies = torch.zeros(num_local, dtype=torch.float64, device=species.device)
        for model in self.models:
            energies = energies + model(species, edge_index, edge_vectors, num_local)
        return energies / self.num_models

    @torch.jit.export
    def member(
        self,
        index: int,
        graded: bool,
        species: Tensor,
        edge_index: Tensor,
        edge_vectors: Tensor,
        num_local: int,
    ) -> tuple[Tensor, Tensor]:
        """Return the energies of one model and, if asked for, the grades (N,) of the first.

        Grades are empty if they are not asked for, not there, or another model's.
        """
        energies = torch.zeros(num_local, dtype=torch.float64, device=species.device)
        grades = energies[:0]
        for i, model in enumerate(self.models):
            if i == index:
                energies, features = model.energies_and_features(  # type: ignore[operator]
                    species, edge_index, edge_vectors, num_local
                )
                if i == 0 and graded and self.grade is not None:
                    grades = self.grade(features.detach(), species[:num_local])
        return energies, grades


def export_model(
    model: ICTPModel | Sequence[ICTPModel],
    path: str | Path,
    dtype: str = "float32",
    provenance: Mapping[str, Any] | Sequence[Mapping[str, Any] | None] | None = None,
    portable: bool = False,
    radial: str = "table",
    grade: ExtrapolationGrade | None = None,
) -> float:
    """Write a model, or several as an ensemble, as the file LAMMPS reads, reload and compare.

    Args:
        model: on the CPU; not changed. Several need the same elements and cutoff radius.
        path: the file to write; it appears only after the comparison.
        dtype: arithmetic of the file, float32 or float64.
        provenance: what is known of each training, plain values; `shortest_edge` [A] says from
            where on tables must be exact, `shortest_distances` [A] below what a run is warned of.
        portable: use no compiled operator but the exchange between processes.
        radial: the radial functions as `table` (within 1e-6 of their largest value, in float64
            1e-10), or as `network`, much slower.
        grade: how far atoms are from the training data of the first model, if that is known.

    Returns:
        The largest deviation of node energies [eV] and forces [eV/A] from the float64 models on
        the reference structure.

    Raises:
        UserError: the file cannot be written, does not reproduce the model, models differ in what
            an ensemble must share, or two of them are the same.
    """
    models = [model] if isinstance(model, ICTPModel) else list(model)
    several = provenance if isinstance(provenance, Sequence) else [provenance] * len(models)
    provenances = [dict(one or {}) for one in several]
    _check_members(models)
    exact = [
        build_model(
            {
                "model_config": to_dict(one.config),
                "model_state": one.state_dict(),
                "provenance": known,
            },
            torch.float64,
        )
        for one, known in zip(models, provenances, strict=True)
    ]
    tables = radial != "network"
    rounded, errors = [], []
    for one, known in zip(exact, provenances, strict=True):
        lean = copy.deepcopy(one).eval().requires_grad_(False)
        lean.use_operators(False)
        reduce_paths(lean)
        rounded.append(lean.to(getattr(torch, dtype)))
        rounded[-1].use_operators(not portable)
        edge = known.get("shortest_edge", 0.0)
        errors.append(_tabulate(rounded[-1], one, edge) if tables else [])
    distances = _largest(exact, provenances)
    grade = copy.deepcopy(grade)
    if grade is not None:
        use_operators(grade, not portable)
    module = ExportedModule(rounded, grade, dtype, distances)
    edges = [known.get("shortest_edge", 0.0) for known in provenances]
    graph = reference_graph(exact[0], max(edges))
    trained = ExportedModule(exact, None, dtype, distances)
    tolerance = (TABLES_TOLERANCE if tables else TOLERANCE)[dtype]
    module.add_reference(graph, evaluate_graph(trained, graph), tolerance)
    with atomic_path(path) as temporary:
        _save(module, temporary, _metadata(module, exact, provenances, errors))
        deviation = check_reference(open_exported(temporary))
        if not deviation <= module.reference_tolerance:
            raise UserError(
                f"export to '{path}': the reloaded model deviates by {deviation:.1e} eV or eV/A "
                f"from the trained one, allowed are {module.reference_tolerance:.1e}: "
                f"try --{'dtype float64' if dtype == 'float32' else 'radial network'}"
            )
    return deviation


def _tabulate(model: ICTPModel, exact: ICTPModel, shortest_edge: float) -> list[Tabulated]:
    """Put tables in the place of radial functions; they hold from the shortest edge [A] on."""
    if isinstance(model, MaceModel) and isinstance(exact, MaceModel):
        return tabulate_pairs(model, exact, shortest_edge)
    if isinstance(model, NequipModel) and isinstance(exact, NequipModel):
        return tabulate_ranks(model, exact, shortest_edge)
    return tabulate_radial(model, exact, shortest_edge)


def _largest(models: Sequence[ICTPModel], provenances: Sequence[Mapping[str, Any]]) -> FloatArray:
    """Return the distances (S, S) [A] below which one of the models at least knows nothing."""
    tables = [
        distance_table(known, model.config.elements, model.config.r_cut)
        for model, known in zip(models, provenances, strict=True)
    ]
    return np.max(tables, axis=0)


def _check_members(models: Sequence[ICTPModel]) -> None:
    first = models[0].config
    for number, model in enumerate(models[1:], start=2):
        for name, written in (("elements", lambda value: f"[{', '.join(value)}]"), ("r_cut", str)):
            ours, theirs = (written(getattr(config, name)) for config in (first, model.config))
            if ours != theirs:
                raise UserError(
                    f"an ensemble shares one graph: expected {name} {ours} as of the first model, "
                    f"model {number} has {theirs}: train it with 'model.{name}={ours}'"
                )
    for (i, one), (j, other) in combinations(enumerate(models, start=1), 2):
        if _same_weights(one, other):
            raise UserError(
                f"an ensemble tells by how much its models differ: models {i} and {j} are the "
                "same: train one with another training.seed, or leave it out"
            )


def _same_weights(one: ICTPModel, other: ICTPModel) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(map(torch.equal, ours.values(), theirs.values()))


def reference_graph(model: ICTPModel, shortest_edge: float = 0.0) -> Graph:
    """Return a small cluster with every element: a jittered cubic lattice with spacing r_cut/2.

    It is wider, up to 3 r_cut/4, where atoms would be closer than `shortest_edge` [A]: tables are
    not exact there.
    """
    num_species = len(model.config.elements)
    side = next(n for n in (2, 3, 5) if n**3 >= num_species)
    sites = torch.tensor(list(product(range(side), repeat=3)), dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    sites += 0.2 * (torch.rand(sites.shape, generator=generator, dtype=torch.float64) - 0.5)
    wide = shortest_edge / torch.pdist(sites).min().item()
    positions = sites * min(max(0.5 * model.config.r_cut, wide), 0.75 * model.config.r_cut)
    species = torch.arange(len(sites)) % num_species
    return build_graph(
        positions.numpy(), torch.zeros(3, 3).numpy(), False, species.numpy(), model.config.r_cut
    )


def _save(module: ExportedModule, path: Path, metadata: dict[str, Any]) -> None:
    load_operators()
    with torchscript():
        preserved = ["member", *ATTRIBUTES, *(f"reference_{name}" for name in REFERENCE)]
        frozen = torch.jit.freeze(torch.jit.script(module.eval()), preserved_attrs=preserved)
        write_archive(frozen, path, metadata)


def _metadata(
    module: ExportedModule,
    models: Sequence[ICTPModel],
    provenances: Sequence[Mapping[str, Any]],
    tables: Sequence[Sequence[Tabulated]],
) -> dict[str, Any]:
    """Return what the file says of itself; `models` are as trained, without tables."""
    members = [
        {
            "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
            "model": to_dict(model.config),
            "provenance": dict(provenance),
            "radial_tables": [
                {"intervals": table.num_intervals, "error": value_error, "slopes": slope_error}
                for table, value_error, slope_error in layers
            ],
        }
        for model, provenance, layers in zip(models, provenances, tables, strict=True)
    ]
    return {
        "format": "ictp",
        **{name: getattr(module, name) for name in ATTRIBUTES},
        "units": {"energy": "eV", "length": "Angstrom", "forces": "eV/Angstrom"},
        "e0": dict(zip(module.elements, models[0].e0.tolist(), strict=True)),
        **members[0],
        "other_models": members[1:],
        "exported": time.strftime("%Y-%m-%d"),
        "pyictp": __version__,
        "torch": torch.__version__,
    }
