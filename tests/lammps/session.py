# SPDX-License-Identifier: MIT
"""A LAMMPS of the Python module that tests talk to, and its state against the model in Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deck import Answer, Structure, write_data
from pyictp.graph.derivatives import evaluate_graph
from pyictp.graph.graph import build_graph
from pyictp.model.ictp import ICTPModel
from pyictp.native import plugin_path
from structures import graph
from toys import evaluate


@contextmanager
def lammps_session(folder: Path, *arguments: str) -> Iterator[Any]:
    """Yield a LAMMPS without atoms that knows the plugin; its log is folder/log.lammps."""
    import lammps

    command = ["-screen", "none", "-log", str(folder / "log.lammps"), *arguments]
    lmp = lammps.lammps(cmdargs=command)
    try:
        lmp.command(f"plugin load {plugin_path()}")
        yield lmp
    finally:
        lmp.close()


def set_up(
    lmp: Any,
    folder: Path,
    structure: Structure,
    pair: Iterable[str],
    before: Iterable[str] = (),
    units: str = "metal",
) -> None:
    """Give a LAMMPS a structure and a potential."""
    write_data(folder / "structure.data", structure)
    boundary = " ".join("p" if periodic else "f" for periodic in structure.pbc)
    lines = [f"units {units}", "atom_modify map array", f"boundary {boundary}", *before]
    lines += [f"read_data {folder / 'structure.data'}", *pair, "neighbor 0.5 bin"]
    lines += ["neigh_modify delay 0 every 1 check yes", "thermo_modify norm no"]
    lmp.commands_list(lines)


@dataclass(frozen=True)
class State:
    """The atoms of a LAMMPS on one process, sorted by ID."""

    ids: np.ndarray
    structure: Structure
    velocities: np.ndarray
    forces: np.ndarray
    energy: float


def state_of(lmp: Any) -> State:
    """Return a copy of what a LAMMPS holds."""
    num = lmp.extract_global("nlocal")
    arrays = {k: np.array(lmp.numpy.extract_atom(k)[:num]) for k in ("id", "type", "x", "v", "f")}
    order = np.argsort(arrays["id"])
    arrays = {k: v[order] for k, v in arrays.items()}
    low, high, xy, yz, xz, periodic, _ = lmp.extract_box()
    lx, ly, lz = np.subtract(high, low)
    cell = np.array([[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]])
    pbc = tuple(bool(p) for p in periodic)
    structure = Structure(arrays["x"] - low, arrays["type"], cell, pbc)
    energy = lmp.get_thermo("pe")
    return State(arrays["id"], structure, arrays["v"], arrays["f"], energy)


def assert_as_python(lmp: Any, toy: torch.nn.Module, tolerance: float = 1e-9) -> State:
    """Compare energy and forces of the last step with the model in Python; returns the state."""
    state = state_of(lmp)
    tensors = map(torch.as_tensor, graph(state.structure, toy.r_cut))
    energies, forces, _, _ = evaluate(toy, *tensors)
    np.testing.assert_allclose(state.energy, energies.sum(), atol=tolerance * len(state.ids))
    np.testing.assert_allclose(state.forces, forces, atol=tolerance)
    return state


def assert_agrees(answer: Answer, model: ICTPModel, structure: Structure, tolerance: float) -> None:
    """Compare energies, forces and virials of LAMMPS with the model in Python."""
    species = structure.types - 1
    pbc = np.array(structure.pbc)
    graph = build_graph(structure.positions, structure.cell, pbc, species, model.config.r_cut)
    expected = evaluate_graph(model, graph)
    np.testing.assert_allclose(answer.node_energies, expected.node_energies, atol=tolerance)
    np.testing.assert_allclose(answer.forces, expected.forces, atol=tolerance)
    virial = expected.virials[0].numpy()[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    np.testing.assert_allclose(answer.virial, virial, atol=20 * tolerance)
    np.testing.assert_allclose(answer.atom_virials.sum(0), answer.virial, atol=1e-7)
