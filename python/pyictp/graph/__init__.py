# SPDX-License-Identifier: MIT
"""Structures to graphs, and edge gradients back to forces, virials and stresses."""

from pyictp.graph.graph import Graph, build_graph, collate

__all__ = ["Graph", "build_graph", "collate"]
