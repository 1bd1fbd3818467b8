# SPDX-License-Identifier: MIT
"""The model: from edge vectors to atomic energies. Knows no cell, no file, no label."""

from pyictp.model.ictp import ICTPModel

__all__ = ["ICTPModel"]
