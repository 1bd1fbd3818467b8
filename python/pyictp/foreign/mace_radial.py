# SPDX-License-Identifier: MIT
"""Radial functions, transforms of distances and cutoffs of a MACE file."""

from __future__ import annotations

import math
from typing import Any

import torch

from pyictp.config.mace import Basis, Transform
from pyictp.errors import UserError
from pyictp.foreign.pickles import Record
from pyictp.foreign.records import expect, get, has, kind, number, tensor

BASES: dict[str, Basis] = {
    "BesselBasis": "bessel",
    "GaussianBasis": "gaussian",
    "ChebychevBasis": "chebyshev",
}
TRANSFORMS: dict[str, tuple[Transform, tuple[str, ...]]] = {
    "AgnesiTransform": ("agnesi", ("q", "p", "a")),
    "SoftTransform": ("soft", ("alpha",)),
}
TOLERANCE = 1e-6  # relative; float32 rounds to 6e-8, training moves frequencies by far more
CHEBYSHEV = (
    "mind: mace-torch trained this model on wrong forces: those it computes of Chebyshev functions "
    "lack what comes through distances; here forces are the derivatives of the energy, which its "
    "training never saw: compare with energies and forces that you trust before you use it"
)


def check_radial(radial: Any) -> None:
    """Refuse radial functions and cutoffs that are not known.

    Raises:
        UserError: names them.
    """
    expect(radial, "RadialEmbeddingBlock")
    basis = get(radial, "bessel_fn")
    if kind(basis) not in BASES:
        raise UserError(
            f"radial functions {kind(basis)} are not supported, only {', '.join(BASES)}"
        )
    expect(get(radial, "cutoff_fn"), "PolynomialCutoff", "cutoff")
    if basis_name(basis) == "gaussian":
        _check_gaussian(basis, number(get(radial, "cutoff_fn"), "r_max"))
    if basis_name(basis) == "chebyshev":
        orders = tensor(basis, "n").flatten()
        if orders.tolist() != list(range(1, len(orders) + 1)):
            raise UserError("Chebyshev functions of other orders than 1, 2, ...: not supported")


def _check_gaussian(basis: Record, r_max: float) -> None:
    """Refuse Gaussian functions of other centers and widths than MACE gives them."""
    centers = tensor(basis, "gaussian_weights").flatten()
    spacing = r_max / max(len(centers) - 1, 1)
    shifts = centers - spacing * torch.arange(len(centers)).double()
    coefficient = number(basis, "coeff")
    if (
        len(centers) < 2
        or shifts.abs().max() > TOLERANCE * r_max
        or abs(coefficient * -2.0 * spacing**2 - 1.0) > TOLERANCE
    ):
        raise UserError(
            "Gaussian functions that are not as wide as far apart, from 0 to the cutoff: not "
            "supported"
        )


def basis_name(basis: Record) -> Basis:
    """Return what `model.mace.basis` calls radial functions."""
    return BASES[kind(basis)]


def num_radial(basis: Record) -> int:
    """Return how many radial functions there are before the networks."""
    names = {"bessel": "bessel_weights", "gaussian": "gaussian_weights", "chebyshev": "n"}
    return tensor(basis, names[basis_name(basis)]).numel()


def transform(radial: Record) -> tuple[Transform, tuple[float, ...]]:
    """Return the name and the constants of the transform of distances."""
    if not has(radial, "distance_transform"):
        return "none", ()
    found = get(radial, "distance_transform")
    if kind(found) not in TRANSFORMS:
        raise UserError(f"distance transform {kind(found)} is not supported")
    name, constants = TRANSFORMS[kind(found)]
    return name, tuple(number(found, constant) for constant in constants)


def basis_factor(basis: Record, ours: float) -> float:
    """Return the file's radial functions in units of ours, whose Bessel functions have a factor."""
    return number(basis, "prefactor") / ours if basis_name(basis) == "bessel" else 1.0


def frequencies(basis: Record) -> tuple[float, ...]:
    """Return the frequencies of Bessel functions where they are not n pi/r_max [1/A]."""
    if frequency_deviation(basis) <= TOLERANCE:
        return ()
    return tuple(tensor(basis, "bessel_weights").flatten().tolist())


def frequency_deviation(basis: Record) -> float:
    """Return the largest relative deviation of Bessel functions' frequencies from n pi/r_max."""
    if basis_name(basis) != "bessel":
        return 0.0
    found, r_max = tensor(basis, "bessel_weights").flatten().tolist(), number(basis, "r_max")
    exact = [n * math.pi / r_max for n in range(1, len(found) + 1)]
    return max((abs(a / b - 1.0) for a, b in zip(found, exact, strict=True)), default=0.0)


def cutoff_power(cutoff: Record) -> int:
    """Return the power of the cutoff polynomial.

    Raises:
        UserError: it is no whole number.
    """
    power = number(cutoff, "p")
    if power != int(power):
        raise UserError(f"a cutoff of power {power:g} is not supported, only whole numbers")
    return int(power)
