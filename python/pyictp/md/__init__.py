# SPDX-License-Identifier: MIT
"""`ictp md`: molecular dynamics in LAMMPS without writing a deck, and what came out of it."""
