# SPDX-License-Identifier: MIT
"""Irreducible Cartesian tensor potentials: train in Python, run in LAMMPS."""

__version__ = "0.1.0"
