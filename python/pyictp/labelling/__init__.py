# SPDX-License-Identifier: MIT
"""Structures in, the same with energy and forces out: by any of several methods, in processes."""
