# SPDX-License-Identifier: MIT
"""What of a MACE file goes beyond an ICTP model: densities, transforms, repulsion of nuclei."""

from __future__ import annotations

from typing import NamedTuple

from ase.data import atomic_numbers

from pyictp.config.mace import MaceConfig, MaceRepulsion
from pyictp.errors import UserError
from pyictp.foreign.choice import Choice, scale_and_shift
from pyictp.foreign.mace_radial import basis_name, frequencies, transform
from pyictp.foreign.pickles import Record
from pyictp.foreign.records import (
    expect,
    get,
    irreps,
    kind,
    linear_matrices,
    number,
    parts,
    same,
    tensor,
)


class Block(NamedTuple):
    """What an interaction of MACE has."""

    has_skip: bool
    has_density: bool
    is_nonlinear: bool = False


BLOCKS = {
    "RealAgnosticResidualInteractionBlock": Block(True, False),
    "RealAgnosticInteractionBlock": Block(False, False),
    "RealAgnosticDensityInteractionBlock": Block(False, True),
    "RealAgnosticDensityResidualInteractionBlock": Block(True, True),
    "RealAgnosticResidualNonLinearInteractionBlock": Block(True, True, is_nonlinear=True),
}
READOUTS = {  # nonlinear ones and their layers
    "NonLinearReadoutBlock": ("linear_1", "linear_2"),
    "NonLinearBiasReadoutBlock": ("linear_1", "linear_mid", "linear_2"),
}
BOHR = 0.529  # [A], MACE's


def mace_config(model: Record, choice: Choice) -> MaceConfig | None:
    """Return what the model has beyond `model.ModelConfig`; None: nothing.

    Raises:
        UserError: something that is not supported.
    """
    interactions = parts(get(model, "interactions"))
    blocks = [BLOCKS[kind(interaction)] for interaction in interactions]
    radial = get(model, "radial_embedding")
    nonlinear = [block.is_nonlinear for block in blocks]
    name, constants = transform(radial)
    radii = _radii(model, choice)
    found = MaceConfig(
        residual=tuple(block.has_skip for block in blocks),
        density=tuple(block.has_density for block in blocks),
        transform=name,
        transform_constants=constants,
        basis=basis_name(get(radial, "bessel_fn")),
        frequencies=frequencies(get(radial, "bessel_fn")),
        radii=radii or (0.0,) * len(choice.elements),
        repulsion=_repulsion(model, choice),
        cutoff_last=not get(radial, "apply_cutoff", True),
        edge_channels=_edge_channels(interactions),
        nonlinear=any(nonlinear),
        nonlinear_layers=tuple(nonlinear) if any(nonlinear) and not all(nonlinear) else (),
        density_hidden=_density_widths(interactions),
        readout_bias=kind(parts(get(model, "readouts"))[-1]) == "NonLinearBiasReadoutBlock",
    )
    plain = MaceConfig(
        residual=(True,) * len(blocks), density=(False,) * len(blocks), radii=found.radii
    )
    return None if found == plain else found


def described(mace: MaceConfig) -> list[str]:
    """Return what a model has beyond an ICTP model, for people."""
    found = []
    if mace.nonlinear:
        found.append(f"nonlinear interactions{' beside others' * bool(mace.nonlinear_layers)}")
    if mace.edge_channels:
        found.append(f"{', '.join(map(str, mace.edge_channels))} channels on the edges")
    if not all(mace.residual):
        found.append("layers without skip connection")
    if any(d and not mace.is_nonlinear(i) for i, d in enumerate(mace.density)):
        found.append("densities of neighbors")
    if mace.transform != "none":
        found.append(f"the {mace.transform.capitalize()} transform of distances")
    if mace.basis != "bessel":
        found.append(f"{mace.basis.capitalize()} radial functions")
    if mace.frequencies:
        found.append("trained Bessel frequencies")
    if mace.repulsion is not None:
        found.append("MACE's repulsion of nuclei (ZBL)")
    if mace.readout_bias:
        found.append("biases in the last readout")
    return found


def _edge_channels(interactions: list[Record]) -> tuple[int, ...]:
    """Return the channels on the edges of each layer where they are not those of the atoms."""
    found = [linear_matrices(get(block, "linear_up"))[0].shape[1] for block in interactions]
    atoms = [irreps(get(block, "node_feats_irreps"))[0].channels for block in interactions]
    return () if found == atoms else tuple(found)


def _density_widths(interactions: list[Record]) -> tuple[int, ...]:
    """Return the widths of the inner layers of nonlinear interactions' densities."""
    nonlinear = [block for block in interactions if BLOCKS[kind(block)].is_nonlinear]
    widths = [network_widths(get(block, "density_fn")) for block in nonlinear]
    return same(widths, "networks of densities differ") if widths else ()


def network_widths(network: Record) -> tuple[int, ...]:
    """Return the widths of the inner layers of a `RadialMLP`."""
    expect(network, "RadialMLP", "network of a nonlinear interaction")
    linear = [part for part in parts(get(network, "net")) if kind(part) == "Linear"]
    if len(linear) < 2:
        raise UserError("networks of nonlinear interactions without inner layers: not supported")
    return tuple(len(tensor(part, "weight")) for part in linear[:-1])


def _radii(model: Record, choice: Choice) -> tuple[float, ...]:
    """Return the covalent radii [A] of the elements kept, as the file has them; none: ()."""
    holders = [
        get(get(model, "radial_embedding"), "distance_transform", None),
        get(model, "pair_repulsion_fn", None) if get(model, "pair_repulsion", False) else None,
    ]
    found = []
    for holder in holders:
        if holder is not None:
            radii = tensor(holder, "covalent_radii").flatten().tolist()
            numbers = [atomic_numbers[element] for element in choice.elements]
            if max(numbers) >= len(radii):
                raise UserError("covalent radii of too few elements: the file is damaged")
            found.append(tuple(radii[z] for z in numbers))
    if len(set(found)) > 1:
        raise UserError("its transform and its repulsion have other radii: not supported")
    return found[0] if found else ()


def _repulsion(model: Record, choice: Choice) -> MaceRepulsion | None:
    """Return the repulsion of nuclei; it is multiplied by the scale of the head."""
    if not get(model, "pair_repulsion", False):
        return None
    zbl = get(model, "pair_repulsion_fn")
    expect(zbl, "ZBLBasis", "repulsion of nuclei")
    power = number(zbl, "p")
    if power != int(power):
        raise UserError(f"a cutoff of power {power:g} is not supported, only whole numbers")
    return MaceRepulsion(
        factor=scale_and_shift(model, choice)[0],
        length=number(zbl, "a_prefactor") * BOHR,
        power=number(zbl, "a_exp"),
        cutoff_power=int(power),
        coefficients=tuple(tensor(zbl, "c").flatten().tolist()),
    )
