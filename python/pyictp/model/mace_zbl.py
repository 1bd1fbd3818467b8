# SPDX-License-Identifier: MIT
"""The repulsion of nuclei as models of MACE have it.

    V(r) = s k Z1 Z2/r phi(r/a) f(r/(R_1 + R_2)),   a = length / (Z1^power + Z2^power)

with k = 14.3996 eV A, the scale s of the model, the screening function phi of ZBL in other digits
than in `zbl`, and the cutoff polynomial f of the model from r = 0 on.

Source: what mace-torch 0.3.16 computes.
"""

from collections.abc import Sequence

import torch
from ase.data import atomic_numbers
from torch import Tensor

from pyictp.config.mace import MaceRepulsion
from pyictp.model.exact import ExactModule
from pyictp.model.radial import polynomial_cutoff
from pyictp.model.zbl import ZBLRepulsion

COULOMB = 14.3996  # [eV A]
EXPONENTS = (3.2, 0.9423, 0.4028, 0.2016)


class ScaledRepulsion(ZBLRepulsion):
    """Energies of atoms: half the sum over their edges; float64 whatever the model's dtype."""

    def __init__(
        self, elements: Sequence[str], radii: Sequence[float], repulsion: MaceRepulsion
    ) -> None:
        """Tabulate the constants of every pair of elements, of radii [A]."""
        ExactModule.__init__(self)
        self.num_species = len(elements)
        self.cutoff_power = repulsion.cutoff_power
        numbers = [atomic_numbers[element] for element in elements]
        charges = torch.tensor(numbers, dtype=torch.float64)
        powers = charges**repulsion.power
        half = torch.tensor(radii, dtype=torch.float64)
        outer = half.unsqueeze(0) + half.unsqueeze(1)
        self.r_max = float(outer.max())
        strength = repulsion.factor * COULOMB * charges.unsqueeze(0) * charges.unsqueeze(1)
        for name, pairs in (
            ("strength", strength),
            ("inverse_length", (powers.unsqueeze(0) + powers.unsqueeze(1)) / repulsion.length),
            ("outer", outer),
        ):
            self.register_buffer(name, pairs.flatten(), persistent=False)  # (S*S,)
        for name, row in (("coefficients", repulsion.coefficients), ("exponents", EXPONENTS)):
            self.register_buffer(name, torch.tensor(row, dtype=torch.float64), persistent=False)

    def switched(self, lengths: Tensor, pair: Tensor) -> Tensor:
        """Return the cutoff polynomial (n,); arguments as in `ZBLRepulsion`."""
        return polynomial_cutoff(lengths / self.outer.index_select(0, pair), self.cutoff_power)
