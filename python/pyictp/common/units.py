# SPDX-License-Identifier: MIT
"""Units by their names in ase.units, products and quotients of them included."""

from __future__ import annotations

import re

from ase import units

from pyictp.errors import UserError

# The factor documented with the data sets this package is tested on. It is 2.6e-7 above ase.units
# (CODATA 2014): some meV in the total energy of a molecule, so labels must be converted by one.
KCAL_PER_MOL = 0.0433641153  # eV

_EXTRA = {
    "meV": 1e-3 * units.eV,
    "kcal": KCAL_PER_MOL * units.mol,
    "kbar": 1e3 * units.bar,
    "A": units.Angstrom,
}


def unit_factor(text: str) -> float:
    """Return one unit in eV and A: `kcal/mol`, `Hartree/Bohr`, `eV/Angstrom**3`, `GPa`.

    Raises:
        UserError: a name is no unit.
    """
    factor = 1.0
    operator = "*"
    for token in re.split(r"((?<!\*)\*(?!\*)|/)", text.replace("^", "**").replace(" ", "")):
        if token in ("*", "/"):
            operator = token
            continue
        value = _power(token, text)
        factor = factor * value if operator == "*" else factor / value
    return factor


def _power(token: str, text: str) -> float:
    name, _, exponent = token.partition("**")
    value = _EXTRA.get(name, units.__dict__.get(name))
    if not isinstance(value, (int, float)) or not (exponent or "1").isdigit():
        raise UserError(
            f"unknown unit '{text}': expected names of ase.units, for example eV, meV, kcal/mol, "
            "Hartree, Rydberg, Angstrom, Bohr, Hartree/Bohr, GPa, kbar"
        )
    return float(value) ** int(exponent or "1")
