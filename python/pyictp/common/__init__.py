# SPDX-License-Identifier: MIT
"""What every part uses and what knows no atoms: files, progress, units, signals."""
