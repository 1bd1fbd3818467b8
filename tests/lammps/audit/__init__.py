# SPDX-License-Identifier: MIT
"""An audit of trajectories: decks of LAMMPS, each step of which is evaluated a second time.

`decks` are the entries, `driver` runs them in LAMMPS and keeps what the atoms were when the pair
style had computed, `evaluation` computes the same from positions, types and cell alone, `index`
names LAMMPS' commands and where each is covered, `table` writes the verdicts into the page.
"""
