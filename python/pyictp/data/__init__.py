# SPDX-License-Identifier: MIT
"""Labelled structures: read, checked, in eV and A; as graphs."""

from pyictp.data.frames import Frame, draw_frames, from_atoms, read_frames, split_frames

__all__ = ["Frame", "draw_frames", "from_atoms", "read_frames", "split_frames"]
