# SPDX-License-Identifier: MIT
"""What a file of MACE says: whether an ICTP model can be the same, and its settings.

Covered are models of residual layers with Bessel functions of the distance itself: the convolution
is the same in another basis, and so is the symmetric contraction (see `contraction`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ase.data import chemical_symbols
from torch import Tensor

from pyictp.config.load import ModelConfig
from pyictp.errors import UserError
from pyictp.foreign.pickles import Record
from pyictp.foreign.records import (
    check_natural,
    expect,
    get,
    has,
    instructions,
    irreps,
    kind,
    linear_matrices,
    number,
    parts,
    tensor,
)

KINDS = ("MACE", "ScaleShiftMACE")
# parts and settings of a model that change what it computes, and what they are to people
FURTHER = {
    "pair_repulsion": "repulsion of nuclei (pair_repulsion, ZBL)",
    "joint_embedding": "an embedding of charge, spin or the like (joint_embedding)",
    "embedding_readout": "a readout of the embedding (embedding_readout)",
    "use_so3": "features without parity (use_so3)",
    "edge_irreps": "other channels on the edges than on the atoms (edge_irreps)",
}
KNOWN_PARTS = {
    "node_embedding",
    "radial_embedding",
    "spherical_harmonics",
    "atomic_energies_fn",
    "interactions",
    "products",
    "readouts",
    "scale_shift",
}
MAX_ELL = 3  # of the harmonics: what spans were looked at for
FREQUENCY_TOLERANCE = 1e-6  # relative; float32 rounds to 6e-8, training moves them by far more


@dataclass(frozen=True)
class Choice:
    """What of a file is taken: one head, and some of its elements."""

    head: int
    head_name: str
    heads: tuple[str, ...]
    all_elements: tuple[str, ...]
    species: tuple[int, ...]  # of those kept, in the file

    @property
    def elements(self) -> tuple[str, ...]:
        """Return the elements kept, in the order of the file."""
        return tuple(self.all_elements[i] for i in self.species)


def check_model(model: Any) -> None:
    """Refuse what is no MACE model, or of a kind that an ICTP model cannot be.

    Raises:
        UserError: names what is not supported.
    """
    if isinstance(model, dict):
        raise UserError(
            "it holds weights without the model they are of (a checkpoint of a training): give the "
            ".model file that mace_run_train writes"
        )
    if not isinstance(model, Record) or kind(model) not in KINDS:
        raise UserError(f"{kind(model)} is not supported, only {' and '.join(KINDS)}")
    for name, description in FURTHER.items():
        if get(model, name, None):
            raise UserError(f"{description} is not supported")
    unknown = get(model, "_modules").keys() - KNOWN_PARTS
    if unknown:
        raise UserError(f"its part '{min(unknown)}' is not supported")
    _check_radial(get(model, "radial_embedding"))
    for i, interaction in enumerate(parts(get(model, "interactions"))):
        where = "first interaction" if i == 0 else f"interaction {i + 1}"
        expect(interaction, "RealAgnosticResidualInteractionBlock", where)
        expect(get(interaction, "conv_tp"), "TensorProduct", where)
        _check_irreps(interaction, where)
    for product in parts(get(model, "products")):
        expect(product, "EquivariantProductBasisBlock", "product")
        expect(get(product, "symmetric_contractions"), "SymmetricContraction", "product")
        if not get(product, "use_sc", True):
            raise UserError("a layer without skip connection (use_sc false) is not supported")


def _check_irreps(interaction: Record, where: str) -> None:
    """Refuse features that are not ranks 0, 1, ... of natural parity and one number of channels."""
    for way in ("node_feats_irreps", "target_irreps", "hidden_irreps", "edge_irreps"):
        if way == "edge_irreps" and not has(interaction, way):  # files before 2025
            continue
        slots = irreps(get(interaction, way))
        check_natural(slots, where)
        counts = {slot.count for slot in slots}
        if len(counts) != 1 or [slot.rank for slot in slots] != list(range(len(slots))):
            raise UserError(
                f"{where} has features {'+'.join(map(str, slots))} ({way}): not supported, only "
                "ranks 0, 1, ... with one number of channels"
            )


def _check_radial(radial: Any) -> None:
    """Refuse radial functions that are not Bessel's of the distance times the cutoff."""
    expect(radial, "RadialEmbeddingBlock")
    if has(radial, "distance_transform"):
        transform = kind(get(radial, "distance_transform"))
        raise UserError(f"distance transform {transform} is not supported")
    basis = get(radial, "bessel_fn")
    if kind(basis) == "ChebychevBasis":
        raise UserError(
            "radial functions ChebychevBasis are not supported, only BesselBasis; mind that "
            "mace-torch's forces of such a model lack their part, in training too"
        )
    expect(basis, "BesselBasis", "radial functions")
    expect(get(radial, "cutoff_fn"), "PolynomialCutoff", "cutoff")
    if not get(radial, "apply_cutoff", True):
        raise UserError("a cutoff after the radial network (apply_cutoff false) is not supported")
    r_max, frequencies = number(basis, "r_max"), tensor(basis, "bessel_weights")
    for n, frequency in enumerate(frequencies.flatten().tolist(), start=1):
        if abs(frequency * r_max / (n * math.pi) - 1.0) > FREQUENCY_TOLERANCE:
            raise UserError(
                f"trained Bessel frequencies are not supported: the one of function {n} is "
                f"{frequency:.6g}, not {n} pi/r_max"
            )


def choose(model: Record, head: str | None, elements: Sequence[str] | None) -> Choice:
    """Return which head and elements of a file are taken.

    Raises:
        UserError: there are several heads and none is named, or it has not what is named.
    """
    heads = get(model, "heads", None) or ["Default"]
    if not all(isinstance(name, str) for name in heads):
        raise UserError("its heads are no names: the file is damaged")
    if head is None and len(heads) > 1:
        raise UserError(f"it has several heads: choose one with --head: {', '.join(heads)}")
    if head is not None and head not in heads:
        raise UserError(f"it has no head '{head}': expected one of {', '.join(heads)}")
    numbers = [int(z) for z in tensor(model, "atomic_numbers").tolist()]
    if not numbers or not all(0 < z < len(chemical_symbols) for z in numbers):
        raise UserError("its atomic numbers are none: the file is damaged")
    known = tuple(chemical_symbols[z] for z in numbers)
    missing = [element for element in elements or () if element not in known]
    if missing:
        raise UserError(f"--elements {missing[0]}: it knows only {' '.join(known)}")
    species = tuple(i for i, e in enumerate(known) if elements is None or e in elements)
    name = heads[0] if head is None else head
    return Choice(heads.index(name), name, tuple(heads), known, species)


def model_config(model: Record, choice: Choice) -> ModelConfig:
    """Return the settings of the ICTP model.

    Raises:
        UserError: layers differ in what an ICTP model has once.
    """
    interactions, products = (parts(get(model, name)) for name in ("interactions", "products"))
    if not interactions or len(products) != len(interactions):
        raise UserError("its layers are not whole: the file is damaged")
    first = interactions[0]
    num_channels = irreps(get(first, "node_feats_irreps"))[0].count
    _check_sizes(model, first, num_channels, len(choice.all_elements))
    l_max_edge = max(slot.rank for slot in irreps(get(first, "target_irreps")))
    if l_max_edge > MAX_ELL:
        raise UserError(f"harmonics of rank {l_max_edge} are not supported, only up to {MAX_ELL}")
    hidden = irreps(get(interactions[min(1, len(interactions) - 1)], "node_feats_irreps"))
    radial = get(model, "radial_embedding")
    return ModelConfig(
        elements=choice.elements,
        r_cut=number(model, "r_max"),
        num_layers=len(interactions),
        num_channels=num_channels,
        l_max_edge=l_max_edge,
        l_max_hidden=max(slot.rank for slot in hidden),
        correlation=_shared(
            [_correlation(p) for p in products], "correlation differs between layers"
        ),
        num_radial=tensor(get(radial, "bessel_fn"), "bessel_weights").numel(),
        cutoff_power=_cutoff_power(get(radial, "cutoff_fn")),
        radial_hidden=_shared([_radial_widths(i) for i in interactions], "radial networks differ"),
        readout_hidden=_readout_widths(model, len(choice.heads)),
        avg_num_neighbors=_shared(
            [number(i, "avg_num_neighbors") for i in interactions], "avg_num_neighbors differs"
        ),
    )


def _check_sizes(model: Record, first: Record, num_channels: int, num_species: int) -> None:
    """Refuse more channels and species than there are weights of, before a model has them.

    Raises:
        UserError: the file is damaged.
    """
    embedding = linear_matrices(get(get(model, "node_embedding"), "linear"))[0]
    skip = tensor(get(first, "skip_tp"), "weight").numel()
    if embedding.shape != (num_species, num_channels) or skip != num_species * num_channels**2:
        raise UserError("its weights are of other sizes than it says: the file is damaged")


def _shared(values: list, complaint: str) -> Any:
    if any(value != values[0] for value in values):
        shown = ", ".join(str(value) for value in values)
        raise UserError(f"{complaint} ({shown}): not supported")
    return values[0]


def _correlation(product: Record) -> int:
    contractions = parts(get(get(product, "symmetric_contractions"), "contractions"))
    orders = [int(number(contraction, "correlation")) for contraction in contractions]
    correlation = _shared(orders, "correlation differs between ranks")
    if not 1 <= correlation <= 3:
        raise UserError(f"correlation {correlation} is not supported, only 1 to 3")
    return correlation


def _cutoff_power(cutoff: Record) -> int:
    power = number(cutoff, "p")
    if power != int(power):
        raise UserError(f"a cutoff of power {power:g} is not supported, only whole numbers")
    return int(power)


def _radial_widths(interaction: Record) -> tuple[int, ...]:
    network = get(interaction, "conv_tp_weights")
    expect(network, "FullyConnectedNet", "radial network")
    return tuple(tensor(layer, "weight").shape[1] for layer in parts(network)[:-1])


def _readout_widths(model: Record, num_heads: int) -> tuple[int, ...]:
    readouts = parts(get(model, "readouts"))
    if not readouts:
        raise UserError("it has no readout: the file is damaged")
    last = readouts[-1]
    if kind(last) == "LinearReadoutBlock":
        return ()
    expect(last, "NonLinearReadoutBlock", "last readout")
    if num_heads > 1 and get(last, "num_heads", 1) != num_heads:
        raise UserError("its heads share the last readout: not supported")
    (slot,) = irreps(get(get(last, "linear_1"), "irreps_out"))
    return (slot.count // num_heads,)


def atomic_energies(model: Record, choice: Choice) -> Tensor:
    """Return the energies of lone atoms of the head, (S,) float64 [eV]."""
    energies = tensor(get(model, "atomic_energies_fn"), "atomic_energies")
    rows = energies.reshape(-1, len(choice.all_elements))
    return rows[choice.head if len(rows) > 1 else 0][list(choice.species)]


def scale_and_shift(model: Record, choice: Choice) -> tuple[float, float]:
    """Return factor and shift [eV] of the head; plain MACE has 1 and 0."""
    if kind(model) == "MACE":
        return 1.0, 0.0
    values = [tensor(get(model, "scale_shift"), name).flatten() for name in ("scale", "shift")]
    scale, shift = (v[choice.head if len(v) > 1 else 0].item() for v in values)
    return scale, shift


def convolution_paths(interaction: Record) -> list[tuple[tuple[int, int, int], float]]:
    """Return (l1, l2, l3) and factor of the convolution's paths, in the order of their weights.

    Of one l3 this is also the order in which the linear layer after it has them.
    """
    product = get(interaction, "conv_tp")
    ranks = [
        [slot.rank for slot in irreps(get(product, f"irreps_{end}"))]
        for end in ("in1", "in2", "out")
    ]
    found, last = [], -1
    for x, y, z, mode, has_weight, path_weight, _ in instructions(product):
        if mode != "uvu" or not has_weight or z <= last:
            raise UserError("its convolution has paths in another order: not supported")
        found.append(((ranks[0][x], ranks[1][y], ranks[2][z]), float(path_weight)))
        last = z
    return found
