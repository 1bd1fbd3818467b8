# SPDX-License-Identifier: MIT
"""Physical properties of a crystal or a molecule by any ASE calculator."""
