# SPDX-License-Identifier: MIT
"""The exported file (contract: export/FORMAT.md): everything TorchScript on the Python side."""

from __future__ import annotations

import argparse
import copy
import json
import time
import warnings
import zipfile
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pyictp import __version__
from pyictp.arguments import examples
from pyictp.checkpoint import build_model, is_exported, load_checkpoint, resolve_path
from pyictp.config import to_dict
from pyictp.derivatives import Prediction, evaluate_graph
from pyictp.errors import UserError
from pyictp.files import atomic_path
from pyictp.graph import Graph, build_graph
from pyictp.model import ICTPModel
from pyictp.native import load_operators
from pyictp.tabulate import tabulate_radial

SCHEMA_VERSION = 1
# Largest deviation allowed on the reference structure, relative to the largest force [eV/A] or
# interaction energy [eV].
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}


class ExportedModule(nn.Module):
    """A model with the attributes that a reader of the file needs."""

    def __init__(self, model: ICTPModel, dtype: str, graph: Graph, reference: Prediction) -> None:
        """Join the model and its reference structure; `reference` in float64."""
        super().__init__()
        self.model = model
        self.schema_version = SCHEMA_VERSION
        self.elements = list(model.config.elements)
        self.r_cut = float(model.config.r_cut)
        self.num_layers = int(model.config.num_layers)
        self.dtype = dtype
        self.reference_tolerance = _tolerance(model, dtype, graph, reference)
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
        """Return the energies of the local nodes, as `ICTPModel.forward`."""
        return self.model(species, edge_index, edge_vectors, num_local)


def _tolerance(model: ICTPModel, dtype: str, graph: Graph, reference: Prediction) -> float:
    """Return the deviation to allow: in scale with the model, above the rounding of energies."""
    interaction = reference.node_energies - model.shift[graph.species]
    largest = max(interaction.abs().max().item(), reference.forces.abs().max().item(), 1e-3)
    return TOLERANCE[dtype] * largest + 1e-14 * reference.node_energies.abs().max().item()


ATTRIBUTES = ("schema_version", "elements", "r_cut", "num_layers", "dtype", "reference_tolerance")
REFERENCE = ("species", "edge_index", "edge_vectors", "node_energies", "forces", "virial")


class ExportedPotential:
    """An exported file in Python: a callable like `ICTPModel.forward`."""

    def __init__(self, module: torch.jit.ScriptModule, metadata: dict[str, Any]) -> None:
        """Wrap a loaded archive."""
        self.module = module
        self.metadata = metadata
        self.elements: tuple[str, ...] = tuple(module.elements)
        self.r_cut: float = module.r_cut
        self.dtype: torch.dtype = getattr(torch, module.dtype)

    def __call__(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> Tensor:
        """Return (num_local,) float64 node energies [eV]."""
        # The number of edges changes at every call: never specialise.
        with torch.jit.optimized_execution(False):
            return self.module(species, edge_index, edge_vectors, num_local)


def export_model(
    model: ICTPModel,
    path: str | Path,
    dtype: str = "float32",
    provenance: Mapping[str, Any] | None = None,
    portable: bool = False,
    radial: str = "auto",
) -> float:
    """Write a model as the file LAMMPS reads, reload and compare; return the deviation found.

    Args:
        model: on the CPU; not changed.
        path: the file to write; it appears only after the comparison.
        dtype: arithmetic of the file, float32 or float64.
        provenance: what is known of the training, plain values; `shortest_edge` [A] says from
            where on tables must be exact.
        portable: use no compiled operator but the exchange between processes.
        radial: the radial functions as `network`, as `table` (within 1e-6 of their largest value,
            much faster), or `auto`: tables in float32.

    Returns:
        The largest deviation of node energies [eV] and forces [eV/A] from the float64 model on the
        reference structure.

    Raises:
        UserError: the file cannot be written, or does not reproduce the model.
    """
    exact = build_model(
        {"model_config": to_dict(model.config), "model_state": model.state_dict()}, torch.float64
    )
    graph = reference_graph(model)
    reference = evaluate_graph(exact, graph)
    rounded = copy.deepcopy(exact).to(getattr(torch, dtype)).eval().requires_grad_(False)
    rounded.use_operators(not portable)
    tables = []
    if radial == "table" or (radial == "auto" and dtype == "float32"):
        tables = tabulate_radial(rounded, exact, (provenance or {}).get("shortest_edge", 0.0))
    module = ExportedModule(rounded, dtype, graph, reference)
    metadata = _metadata(module, provenance or {}) | {
        "radial_tables": [
            {"intervals": t.table.num_intervals, "error": t.value_error, "slopes": t.slope_error}
            for t in tables
        ]
    }
    with atomic_path(path) as temporary:
        _save(module, temporary, metadata)
        deviation = check_reference(load_exported(temporary))
        if not deviation <= module.reference_tolerance:
            raise UserError(
                f"export to '{path}': the reloaded model deviates by {deviation:.1e} eV or eV/A "
                f"from the trained one, allowed are {module.reference_tolerance:.1e}: "
                "try --dtype float64"
            )
    return deviation


def reference_graph(model: ICTPModel) -> Graph:
    """Return a small cluster with every element: a jittered cubic lattice with spacing r_cut/2."""
    num_species = len(model.config.elements)
    side = next(n for n in (2, 3, 5) if n**3 >= num_species)
    sites = torch.tensor(list(product(range(side), repeat=3)), dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    jitter = 0.2 * (torch.rand(sites.shape, generator=generator, dtype=torch.float64) - 0.5)
    positions = 0.5 * model.config.r_cut * (sites + jitter)
    species = torch.arange(len(sites)) % num_species
    return build_graph(
        positions.numpy(), torch.zeros(3, 3).numpy(), False, species.numpy(), model.config.r_cut
    )


def check_reference(potential: ExportedPotential) -> float:
    """Return the largest deviation [eV, eV/A] from the reference values in the file."""
    stored = {name: getattr(potential.module, f"reference_{name}") for name in REFERENCE}
    num_nodes = stored["species"].shape[0]
    index = torch.zeros(num_nodes, dtype=torch.int64, device=stored["species"].device)
    graph = Graph(
        stored["species"], stored["edge_index"], stored["edge_vectors"], num_nodes, index, 1
    )
    found = evaluate_graph(potential, graph)
    energies = (found.node_energies - stored["node_energies"]).abs().max()
    forces = (found.forces - stored["forces"]).abs().max()
    return max(energies.item(), forces.item())


def _save(module: ExportedModule, path: Path, metadata: Mapping[str, Any]) -> None:
    load_operators()
    with warnings.catch_warnings():
        # TorchScript is deprecated upstream; it is our file format today.
        warnings.simplefilter("ignore", DeprecationWarning)
        preserved = [*ATTRIBUTES, *(f"reference_{name}" for name in REFERENCE)]
        frozen = torch.jit.freeze(torch.jit.script(module.eval()), preserved_attrs=preserved)
        extra_files = {"metadata.json": json.dumps(metadata, indent=1)}
        with path.open("wb") as file:  # given a name, torch hides why it cannot write
            torch.jit.save(frozen, file, _extra_files=extra_files)


def _metadata(module: ExportedModule, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the file says of itself, for people and for `ictp info`."""
    model = module.model
    return {
        "format": "ictp",
        **{name: getattr(module, name) for name in ATTRIBUTES},
        "units": {"energy": "eV", "length": "Angstrom", "forces": "eV/Angstrom"},
        "e0": dict(zip(module.elements, model.e0.tolist(), strict=True)),
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "model": to_dict(model.config),
        "provenance": dict(provenance),
        "exported": time.strftime("%Y-%m-%d"),
        "pyictp": __version__,
        "torch": torch.__version__,
    }


def load_exported(
    path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> ExportedPotential:
    """Return the potential of an exported file.

    Args:
        path: the file.
        device: where it shall compute.
        dtype: None, or what the file must have been exported with.

    Raises:
        UserError: not an exported file, a later schema, or another dtype.
    """
    metadata = read_metadata(path)
    load_operators()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            module = torch.jit.load(str(path), map_location=device)
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"exported file '{path}' does not load: {reason}; export it again"
            ) from error
    potential = ExportedPotential(module, metadata)
    if dtype is not None and dtype != potential.dtype:
        wanted = str(dtype).removeprefix("torch.")
        raise UserError(
            f"'{path}' was exported in {module.dtype}, asked for {wanted}: "
            f"export it with --dtype {wanted}"
        )
    return potential


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Return the metadata of an exported file without loading the model.

    Raises:
        UserError: not an exported file, or a later schema.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"'{path}' not found: expected a file written by export/export_model.py")
    if not is_exported(path):
        raise UserError(
            f"'{path}' is no exported model, or is truncated: write it with export/export_model.py"
        )
    with zipfile.ZipFile(path) as archive:
        found = [name for name in archive.namelist() if name.endswith("/extra/metadata.json")]
        metadata = json.loads(archive.read(found[0])) if found else {}
    if metadata.get("format") != "ictp":
        raise UserError(
            f"'{path}' is a TorchScript archive, but no ICTP model: "
            "write it with export/export_model.py"
        )
    if metadata["schema_version"] > SCHEMA_VERSION:
        raise UserError(
            f"model '{path}' has schema {metadata['schema_version']}, "
            f"this package reads {SCHEMA_VERSION}: export it again with export/export_model.py"
        )
    return metadata


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `ictp export`; returns its parser."""
    parser = subparsers.add_parser(
        "export",
        description="Write the one file that pair_style ictp, the ASE calculator and the other "
        "commands read. It is read again and compared with the trained model before this says that "
        "it is done.",
    )
    parser.add_argument("model", metavar="RUN", help="training folder or checkpoint")
    parser.add_argument(
        "-o", "--output", default="model.pt", help="file to write (default: model.pt)"
    )
    parser.add_argument(
        "--dtype", choices=tuple(TOLERANCE), default="float32", help="default: float32"
    )
    parser.add_argument(
        "--portable", action="store_true", help="use plain PyTorch instead of compiled operators"
    )
    parser.add_argument(
        "--radial",
        choices=("auto", "table", "network"),
        default="auto",
        help="radial functions as a table (fast, within 1e-6) or as the network (default: table in "
        "float32, network in float64)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    examples(
        parser,
        "ictp export run -o model.pt",
        "ictp export run -o precise.pt --dtype float64",
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Export as the command line says."""
    source = resolve_path(args.model)
    if is_exported(source):
        raise UserError(
            f"'{source}' is an exported file already: expected a training folder or a checkpoint"
        )
    payload = load_checkpoint(source)
    deviation = export_model(
        build_model(payload),
        args.output,
        args.dtype,
        payload.get("provenance"),
        args.portable,
        args.radial,
    )
    size = Path(args.output).stat().st_size
    if args.json:
        values = {"file": args.output, "bytes": size, "dtype": args.dtype, "deviation": deviation}
        print(json.dumps(values))  # deviation in eV or eV/A
        return 0
    print(
        f"wrote '{args.output}' ({size / 1e6:.1f} MB, {args.dtype}): reloaded, "
        f"at most {deviation:.1e} eV or eV/A from the trained model"
    )
    elements = " ".join(payload["model_config"]["elements"])
    print(f"in LAMMPS:  pair_style ictp  and  pair_coeff * * {args.output} {elements}")
    return 0
