# SPDX-License-Identifier: MIT
"""What of a MACE file goes beyond an ICTP model: densities, transforms, repulsion of nuclei."""

from __future__ import annotations

import math

from ase.data import atomic_numbers

from pyictp.config.mace import MaceConfig, MaceRepulsion, Transform
from pyictp.errors import UserError
from pyictp.foreign.choice import Choice, scale_and_shift
from pyictp.foreign.pickles import Record
from pyictp.foreign.records import expect, get, has, kind, number, parts, tensor

BLOCKS = {  # interactions: with a skip connection, and with a density
    "RealAgnosticResidualInteractionBlock": (True, False),
    "RealAgnosticInteractionBlock": (False, False),
    "RealAgnosticDensityInteractionBlock": (False, True),
    "RealAgnosticDensityResidualInteractionBlock": (True, True),
}
TRANSFORMS: dict[str, tuple[Transform, tuple[str, ...]]] = {
    "AgnesiTransform": ("agnesi", ("q", "p", "a")),
    "SoftTransform": ("soft", ("alpha",)),
}
BOHR = 0.529  # [A], MACE's
FREQUENCY_TOLERANCE = 1e-6  # relative; float32 rounds to 6e-8, training moves them by far more


def mace_config(model: Record, choice: Choice) -> MaceConfig | None:
    """Return what the model has beyond `model.ModelConfig`; None: nothing.

    Raises:
        UserError: something that is not supported.
    """
    blocks = [BLOCKS[kind(block)] for block in parts(get(model, "interactions"))]
    name, constants = _transform(get(model, "radial_embedding"))
    radii = _radii(model, choice)
    found = MaceConfig(
        residual=tuple(residual for residual, _ in blocks),
        density=tuple(density for _, density in blocks),
        transform=name,
        transform_constants=constants,
        frequencies=_frequencies(get(get(model, "radial_embedding"), "bessel_fn")),
        radii=radii or (0.0,) * len(choice.elements),
        repulsion=_repulsion(model, choice),
    )
    plain = MaceConfig(
        residual=(True,) * len(blocks), density=(False,) * len(blocks), radii=found.radii
    )
    return None if found == plain else found


def described(mace: MaceConfig) -> list[str]:
    """Return what a model has beyond an ICTP model, for people."""
    found = []
    if not all(mace.residual):
        found.append("layers without skip connection")
    if any(mace.density):
        found.append("densities of neighbors")
    if mace.transform != "none":
        found.append(f"the {mace.transform.capitalize()} transform of distances")
    if mace.frequencies:
        found.append("trained Bessel frequencies")
    if mace.repulsion is not None:
        found.append("MACE's repulsion of nuclei (ZBL)")
    return found


def _transform(radial: Record) -> tuple[Transform, tuple[float, ...]]:
    """Return the name and the constants of the transform of distances."""
    if not has(radial, "distance_transform"):
        return "none", ()
    transform = get(radial, "distance_transform")
    if kind(transform) not in TRANSFORMS:
        raise UserError(f"distance transform {kind(transform)} is not supported")
    name, constants = TRANSFORMS[kind(transform)]
    return name, tuple(number(transform, constant) for constant in constants)


def _frequencies(basis: Record) -> tuple[float, ...]:
    """Return the frequencies of Bessel functions where they are not n pi/r_max [1/A]."""
    found, r_max = tensor(basis, "bessel_weights").flatten().tolist(), number(basis, "r_max")
    exact = [n * math.pi / r_max for n in range(1, len(found) + 1)]
    errors = [abs(a / b - 1.0) for a, b in zip(found, exact, strict=True)]
    return tuple(found) if max(errors, default=0.0) > FREQUENCY_TOLERANCE else ()


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
