# SPDX-License-Identifier: MIT
"""What a file of MACE says: whether an ICTP model can be the same, and its settings.

The convolution is the same in another basis, and so is the symmetric contraction (see
`contraction`); what goes beyond an ICTP model is in `mace_options`.
"""

from __future__ import annotations

from typing import Any

from pyictp.config.load import ModelConfig
from pyictp.errors import UserError
from pyictp.foreign.choice import Choice
from pyictp.foreign.mace_embedding import check_embedding
from pyictp.foreign.mace_options import BLOCKS, READOUTS, mace_config, network_widths
from pyictp.foreign.mace_radial import check_radial, cutoff_power, num_radial
from pyictp.foreign.pickles import Record
from pyictp.foreign.records import (
    check_natural,
    expect,
    get,
    has,
    irreps,
    kind,
    linear_matrices,
    number,
    parts,
    same,
    tensor,
)

KINDS = ("MACE", "ScaleShiftMACE")
# parts and settings of a model that change what it computes, and what they are to people
FURTHER = {
    "use_so3": "features without parity (use_so3)",
}
KNOWN_PARTS = {
    "node_embedding",
    "joint_embedding",
    "embedding_readout",
    "radial_embedding",
    "spherical_harmonics",
    "atomic_energies_fn",
    "interactions",
    "products",
    "readouts",
    "scale_shift",
    "pair_repulsion_fn",
}
MAX_ELL = 3  # of the harmonics: what spans were looked at for


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
    check_radial(get(model, "radial_embedding"))
    check_embedding(model)
    _check_layers(parts(get(model, "interactions")), parts(get(model, "products")))


def _check_layers(interactions: list[Record], products: list[Record]) -> None:
    """Refuse interactions and products of other kinds than are known."""
    for i, interaction in enumerate(interactions):
        where = "first interaction" if i == 0 else f"interaction {i + 1}"
        if kind(interaction) not in BLOCKS:
            raise UserError(
                f"{where} {kind(interaction)} is not supported, only {', '.join(BLOCKS)}"
            )
        expect(get(interaction, "conv_tp"), "TensorProduct", where)
        _check_irreps(interaction, where)
    for interaction, product in zip(interactions, products, strict=False):
        expect(product, "EquivariantProductBasisBlock", "product")
        expect(get(product, "symmetric_contractions"), "SymmetricContraction", "product")
        if BLOCKS[kind(interaction)].has_skip and not get(product, "use_sc", True):
            raise UserError("a residual layer that does not use its skip connection: not supported")


def _check_irreps(interaction: Record, where: str) -> None:
    """Refuse features that are not ranks 0, 1, ... of natural parity and one number of channels."""
    for way in ("node_feats_irreps", "target_irreps", "hidden_irreps", "edge_irreps"):
        if way == "edge_irreps" and not has(interaction, way):  # files before 2025
            continue
        slots = irreps(get(interaction, way))
        check_natural(slots, where)
        counts = {slot.channels for slot in slots}
        if len(counts) != 1 or [slot.rank for slot in slots] != list(range(len(slots))):
            raise UserError(
                f"{where} has features {'+'.join(map(str, slots))} ({way}): not supported, only "
                "ranks 0, 1, ... with one number of channels"
            )
    if has(interaction, "edge_irreps"):
        atoms, edges = (irreps(get(interaction, f"{of}_irreps")) for of in ("node_feats", "edge"))
        if len(atoms) != len(edges):
            raise UserError(
                f"{where} has features {'+'.join(map(str, edges))} on edges (edge_irreps): not "
                f"supported, only ranks as on atoms, {'+'.join(map(str, atoms))}"
            )


def model_config(model: Record, choice: Choice) -> ModelConfig:
    """Return the settings of the ICTP model.

    Raises:
        UserError: layers differ in what an ICTP model has once.
    """
    interactions, products = (parts(get(model, name)) for name in ("interactions", "products"))
    if not interactions or len(products) != len(interactions):
        raise UserError("its layers are not whole: the file is damaged")
    first = interactions[0]
    num_channels = irreps(get(first, "node_feats_irreps"))[0].channels
    _check_sizes(model, first, num_channels, len(choice.all_elements))
    l_max_edge = max(slot.rank for slot in irreps(get(first, "target_irreps")))
    if l_max_edge > MAX_ELL:
        raise UserError(f"harmonics of rank {l_max_edge} are not supported, only up to {MAX_ELL}")
    hidden = irreps(get(interactions[min(1, len(interactions) - 1)], "node_feats_irreps"))
    radial = get(model, "radial_embedding")
    return ModelConfig(
        core_repulsion=False,  # how close its training data came is not known
        elements=choice.elements,
        r_cut=number(model, "r_max"),
        num_layers=len(interactions),
        num_channels=num_channels,
        l_max_edge=l_max_edge,
        l_max_hidden=max(slot.rank for slot in hidden),
        correlation=same([_correlation(p) for p in products], "correlation differs between layers"),
        num_radial=num_radial(get(radial, "bessel_fn")),
        cutoff_power=cutoff_power(get(radial, "cutoff_fn")),
        radial_hidden=same([_radial_widths(i) for i in interactions], "radial networks differ"),
        readout_hidden=_readout_widths(model, len(choice.heads)),
        avg_num_neighbors=same(
            [number(i, "avg_num_neighbors") for i in interactions], "avg_num_neighbors differs"
        ),
        mace=mace_config(model, choice),
    )


def _check_sizes(model: Record, first: Record, num_channels: int, num_species: int) -> None:
    """Refuse more channels and species than there are weights of, before a model has them.

    Raises:
        UserError: the file is damaged.
    """
    embedding = linear_matrices(get(get(model, "node_embedding"), "linear"))[0]
    block = BLOCKS[kind(first)]
    ranks = 1 if block.has_skip else len(irreps(get(first, "target_irreps")))
    skip = tensor(get(first, "skip_tp"), "weight").numel()
    expected = ranks * (1 if block.is_nonlinear else num_species) * num_channels**2
    if embedding.shape != (num_species, num_channels) or skip != expected:
        raise UserError("its weights are of other sizes than it says: the file is damaged")


def _correlation(product: Record) -> int:
    contractions = parts(get(get(product, "symmetric_contractions"), "contractions"))
    orders = [int(number(contraction, "correlation")) for contraction in contractions]
    correlation = same(orders, "correlation differs between ranks")
    if not 1 <= correlation <= 3:
        raise UserError(f"correlation {correlation} is not supported, only 1 to 3")
    return correlation


def _radial_widths(interaction: Record) -> tuple[int, ...]:
    network = get(interaction, "conv_tp_weights")
    if BLOCKS[kind(interaction)].is_nonlinear:
        return network_widths(network)
    expect(network, "FullyConnectedNet", "radial network")
    return tuple(tensor(layer, "weight").shape[1] for layer in parts(network)[:-1])


def _readout_widths(model: Record, num_heads: int) -> tuple[int, ...]:
    readouts = parts(get(model, "readouts"))
    if not readouts:
        raise UserError("it has no readout: the file is damaged")
    last = readouts[-1]
    if kind(last) == "LinearReadoutBlock":
        return ()
    if kind(last) not in READOUTS:
        names = ", ".join(["LinearReadoutBlock", *READOUTS])
        raise UserError(f"last readout {kind(last)} is not supported, only {names}")
    if num_heads > 1 and get(last, "num_heads", 1) != num_heads:
        raise UserError("its heads share the last readout: not supported")
    (slot,) = irreps(get(get(last, "linear_1"), "irreps_out"))
    return (slot.channels // num_heads,) * (len(READOUTS[kind(last)]) - 1)
