# SPDX-License-Identifier: MIT
"""Which candidates to label: far from what is known, and from each other, in the model's eyes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms

from pyictp.common.arrays import FloatArray
from pyictp.curation.checks import find_close_atoms
from pyictp.curation.descriptors import farthest_first
from pyictp.data.frames import Frame, from_atoms
from pyictp.data.samples import make_sample
from pyictp.explore.settings import FARTHEST, SelectionConfig
from pyictp.graph.graph import collate
from pyictp.graph.packing import BATCH_EDGES, pack
from pyictp.model.ictp import ICTPModel
from pyictp.potential.distances import Watch, core_distances
from pyictp.potential.extrapolation import ExtrapolationGrade


@dataclass(frozen=True)
class Selection:
    """Indices of the chosen candidates, and what became of the others."""

    chosen: list[int]
    distances: list[float]  # of each chosen one from what was known before it
    too_close: int  # candidates with atoms too close for any matter
    closer: int  # others with atoms closer than in the training data
    near: int  # near duplicates
    surplus: int  # beyond max_frames


def select(
    candidates: Sequence[Atoms],
    known: Sequence[Atoms],
    model: ICTPModel,
    grade: ExtrapolationGrade,
    settings: SelectionConfig,
    seed: int = 0,
    provenance: Mapping[str, Any] | None = None,
) -> Selection:
    """Choose candidates, each the farthest from all training frames and those chosen before.

    `settings.method` random draws as many of the same, near duplicates left out too.

    Args:
        candidates: structures to choose from.
        known: training frames of the model.
        model: on the CPU.
        grade: of the model; its whitening makes the distances.
        settings: how many, how far.
        seed: of what is drawn at random.
        provenance: of the model; it knows the shortest distances of the training data.
    """
    frames = from_atoms(candidates)
    close = settings.closest
    usable = [i for i, frame in enumerate(frames) if not find_close_atoms([frame], close)]
    too_close = len(frames) - len(usable)
    are_closer = _closer_than_known([frames[i] for i in usable], model, provenance or {})
    usable = [i for i, is_closer in zip(usable, are_closer, strict=True) if not is_closer]
    closer = len(frames) - too_close - len(usable)
    if not usable:
        return Selection([], [], too_close, closer, 0, 0)
    ours = latent_vectors([frames[i] for i in usable], model, grade)
    theirs = latent_vectors(from_atoms(known), model, grade)
    origin = theirs.mean(axis=0)
    scale = max(float(np.linalg.norm(theirs - origin, axis=1).max()), np.finfo(float).tiny)
    order = farthest_first((ours - origin) / scale, (theirs - origin) / scale)
    far = [(index, distance) for index, distance in order if distance > settings.min_distance]
    taken = far[: settings.max_frames]
    if settings.method != FARTHEST:
        drawn = np.random.default_rng(seed).permutation(len(far))[: settings.max_frames]
        taken = [far[k] for k in sorted(drawn)]
    return Selection(
        chosen=[usable[index] for index, _ in taken],
        distances=[distance for _, distance in taken],
        too_close=too_close,
        closer=closer,
        near=len(usable) - len(far),
        surplus=len(far) - len(taken),
    )


def latent_vectors(
    frames: Sequence[Frame], model: ICTPModel, grade: ExtrapolationGrade
) -> FloatArray:
    """Return mean and standard deviation of each element's atoms, in what the readout sees.

    Atoms count as whitened scalars W_s (f - m_s) of the last layer: the vector whose length is the
    extrapolation grade.

    Args:
        frames: K structures.
        model: of S elements and C channels, on the CPU.
        grade: of the model.

    Returns:
        (K, 2*S*C), dimensionless; zero for an element that a frame has not.
    """
    num_species = len(model.config.elements)
    graphs = (make_sample(f, model.config.elements, model.config.r_cut).graph for f in frames)
    vectors = []
    for batch in pack(graphs, lambda graph: graph.num_edges, None, BATCH_EDGES):
        graph = collate(batch)
        with torch.no_grad():
            found = model.energies_and_features(
                graph.species, graph.edge_index, graph.edge_vectors, graph.num_local
            )
        shifted = found[1].to(torch.float64) - grade.center[graph.species]  # (N, C)
        white = torch.einsum("nc,ncd->nd", shifted, grade.whitening[graph.species])
        for number in range(len(batch)):
            own = graph.structure_index == number
            vectors.append(_moments(white[own], graph.species[own], num_species))
    return torch.stack(vectors).numpy()


def _moments(values: torch.Tensor, species: torch.Tensor, num_species: int) -> torch.Tensor:
    """Return (2*S*C,) of values (N, C)."""
    moments = values.new_zeros(num_species, 2, values.shape[1])
    for s in species.unique().tolist():
        own = values[species == s]
        moments[s, 0], moments[s, 1] = own.mean(0), own.std(0, correction=0)
    return moments.flatten()


def _closer_than_known(
    frames: Sequence[Frame], model: ICTPModel, provenance: Mapping[str, Any]
) -> list[bool]:
    """Return which structures have atoms in each other's core, where the model is no network.

    That is more than 0.1 A below the shortest distance of such a pair in the training data: what
    dynamics saw there are the nuclei's repulsion and whatever led into it, not matter.
    """
    elements, r_cut = tuple(model.config.elements), model.r_cut
    core = core_distances(provenance, elements)
    if core is None:
        return [False] * len(frames)
    watch = Watch(core.numpy(), elements, r_cut)
    graphs = (make_sample(frame, elements, r_cut).graph for frame in frames)
    return [watch.find(graph) is not None for graph in graphs]
