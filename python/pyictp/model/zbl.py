# SPDX-License-Identifier: MIT
"""Repulsion of nuclei at short distances, after Ziegler, Biersack and Littmark (ZBL).

    V(r) = Z1 Z2 e^2/(4 pi eps0 r) phi(r/a) S(r),   a = 0.4685 A / (Z1^0.23 + Z2^0.23)

phi is the universal screening function and S a switch: 1 up to the inner radius, half of the outer
one, and 0 from the outer radius on, with two continuous derivatives. The outer radius is the sum of
the covalent radii of the two elements, times a factor. A model adds it to what its network says,
in training as well, so that the network learns the rest.

Source: J. F. Ziegler, J. P. Biersack, U. Littmark, The Stopping and Range of Ions in Matter, vol. 1
(Pergamon, 1985), chapter 2, with the digits that LAMMPS' pair_style zbl has. Outer radii by the sum
of covalent radii (Cordero et al., 2008, as in ASE) are the custom of MACE and metatrain (factor 1)
and NEP (0.6, half of it as inner radius).
"""

from collections.abc import Sequence

import torch
from ase.data import atomic_numbers, covalent_radii
from torch import Tensor

from pyictp.errors import UserError
from pyictp.model.exact import ExactModule

COULOMB = 14.399645  # e^2/(4 pi eps0) [eV A]
SCREENING_LENGTH = 0.46850  # 0.8854 Bohr radii [A]
SCREENING_POWER = 0.23
COEFFICIENTS = (0.18175, 0.50986, 0.28022, 0.02817)
EXPONENTS = (3.19980, 0.94229, 0.40290, 0.20162)


class ScreenedNuclei(ExactModule):
    """V of pairs of elements without a switch, in float64 whatever the model's dtype."""

    strength: Tensor
    inverse_length: Tensor
    coefficients: Tensor
    exponents: Tensor

    def __init__(self, elements: Sequence[str]) -> None:
        """Tabulate the constants of every pair of elements."""
        super().__init__()
        self.num_species = len(elements)
        charges = torch.tensor([atomic_numbers[e] for e in elements], dtype=torch.float64)
        powers = charges**SCREENING_POWER
        strength = COULOMB * charges.unsqueeze(0) * charges.unsqueeze(1)
        inverse_length = (powers.unsqueeze(0) + powers.unsqueeze(1)) / SCREENING_LENGTH
        self.register_buffer("strength", strength.flatten(), persistent=False)  # (S*S,)
        self.register_buffer("inverse_length", inverse_length.flatten(), persistent=False)
        for name, row in (("coefficients", COEFFICIENTS), ("exponents", EXPONENTS)):
            self.register_buffer(name, torch.tensor(row, dtype=torch.float64), persistent=False)

    def screened(self, lengths: Tensor, pair: Tensor) -> Tensor:
        """Return V(r) with S = 1, (n,) [eV].

        Args:
            lengths: (n,) float64 [A].
            pair: (n,) species of the center times the number of species, plus the neighbor's.
        """
        scaled = lengths * self.inverse_length.index_select(0, pair)
        screening = torch.exp(-scaled.unsqueeze(1) * self.exponents)  # (n, 4)
        screening = torch.mv(screening, self.coefficients)
        return self.strength.index_select(0, pair) / lengths * screening


class ZBLRepulsion(ScreenedNuclei):
    """Energies of atoms: half the sum over their edges."""

    outer: Tensor

    def __init__(self, elements: Sequence[str], r_cut: float, reach: float) -> None:
        """Tabulate the constants of every pair of elements.

        Args:
            elements: species order.
            r_cut: cutoff radius of the edges [A].
            reach: outer radius of a pair in sums of its covalent radii.

        Raises:
            UserError: an outer radius is beyond r_cut.
        """
        super().__init__(elements)
        radii = covalent_sums(elements)
        outer = reach * radii
        self.r_max = float(outer.max())
        if self.r_max > r_cut:
            widest = elements[int(radii.diagonal().argmax())]
            raise UserError(
                f"model.zbl: the repulsion of {widest} and {widest} ends at {self.r_max:.2f} A, "
                f"beyond model.r_cut {r_cut:g} A: raise model.r_cut, or lower model.zbl_reach to "
                f"{int(100 * reach * r_cut / self.r_max) / 100:.2f}"
            )
        self.register_buffer("outer", outer.flatten(), persistent=False)  # (S*S,)

    def forward(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, num_local: int
    ) -> Tensor:
        """Return the energies (num_local,) float64 [eV]; arguments as in `ICTPModel.forward`."""
        # most edges are longer than any outer radius: only the others are looked at
        fixed = edge_vectors.detach()
        squares = torch.mv(fixed * fixed, fixed.new_ones(3))  # sum(1) takes five times as long
        near = torch.nonzero(squares < self.r_max * self.r_max).squeeze(1)
        center = edge_index[0].index_select(0, near)
        neighbor = edge_index[1].index_select(0, near)
        pair = species.index_select(0, center) * self.num_species
        pair = pair + species.index_select(0, neighbor)
        vectors = edge_vectors.index_select(0, near).to(torch.float64)
        energies = self.pair_energies(torch.linalg.vector_norm(vectors, dim=1), pair)
        zeros = torch.zeros(num_local, dtype=torch.float64, device=species.device)
        return zeros.index_add(0, center, 0.5 * energies)

    def pair_energies(self, lengths: Tensor, pair: Tensor) -> Tensor:
        """Return V(r), (n,) [eV]; arguments as in `screened`."""
        return self.screened(lengths, pair) * self.switched(lengths, pair)

    def switched(self, lengths: Tensor, pair: Tensor) -> Tensor:
        """Return S (n,); arguments as in `screened`."""
        u = lengths / self.outer.index_select(0, pair)
        return switch(2.0 * u - 1.0)


def covalent_sums(elements: Sequence[str]) -> Tensor:
    """Return the sums of the covalent radii of every two elements, (S, S) float64 [A]."""
    radii = torch.tensor([covalent_radii[atomic_numbers[e]] for e in elements], dtype=torch.float64)
    return radii.unsqueeze(0) + radii.unsqueeze(1)


def switch(t: Tensor) -> Tensor:
    """Return 1 for t up to 0, 0 from 1 on, 1 - 10 t^3 + 15 t^4 - 6 t^5 between; any shape."""
    t = t.clamp(0.0, 1.0)
    return 1.0 - t * t * t * (10.0 - 15.0 * t + 6.0 * t * t)
