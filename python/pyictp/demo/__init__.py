# SPDX-License-Identifier: MIT
"""The demo: a four-element alloy, from labels of a published potential to LAMMPS and a report."""
