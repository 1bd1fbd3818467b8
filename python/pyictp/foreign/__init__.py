# SPDX-License-Identifier: MIT
"""Models that other programs trained: their files read without running them, and converted."""
