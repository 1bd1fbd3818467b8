# SPDX-License-Identifier: MIT
"""Errors as numbers, pictures and a page."""
