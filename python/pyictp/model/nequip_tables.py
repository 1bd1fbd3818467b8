# SPDX-License-Identifier: MIT
"""Tables of the radial functions of NequIP's kind of models: of each layer and kind of feature."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from pyictp.config.nequip import NequipConfig
from pyictp.model import tabulate
from pyictp.model.nequip import NequipLayer, NequipModel
from pyictp.model.tabulate import Accuracy, Tabulated, fit_table

# Exacter than others in float32: tolerances are relative to slopes at 0.5 A, which are large; with
# those of others forces of water by SevenNet-0 are off by 2e-4 eV/A, with these by 2e-5.
ACCURACY = {**tabulate.ACCURACY, torch.float32: Accuracy(6e-8, 1.25e-5, quintic=False)}


def tabulate_ranks(
    model: NequipModel, exact: NequipModel, shortest_edge: float = 0.0
) -> list[Tabulated]:
    """Put tables in the place of the radial networks of a model.

    Args:
        model: changed; tables get its dtype, and what `ACCURACY` asks of that.
        exact: the same model in float64, which the tables are made from.
        shortest_edge: where tolerances begin [A].

    Returns:
        Per layer and kind of features, the table and its errors.

    Raises:
        UserError: no table reaches the tolerances.
    """
    nequip = exact.config.nequip
    assert nequip is not None
    r_cut, kink = exact.config.r_cut, nequip.cutoff_on or 0.0
    accuracy = ACCURACY[model.node_embedding.dtype]
    found = []
    for layer in exact.layers:
        found.append(
            [
                fit_table(
                    partial(_radial, exact, layer, nequip, source),
                    r_cut,
                    channels,
                    shortest_edge,
                    accuracy,
                    kink,
                )
                for source, channels in enumerate(layer.channels_in)
            ]
        )
    model.tabulate_ranks([[one.table for one in of_layer] for of_layer in found])
    return [one for of_layer in found for one in of_layer]


def _radial(
    model: NequipModel, layer: NequipLayer, nequip: NequipConfig, source: int, edge_lengths: Tensor
) -> Tensor:
    """Return (n, P*C) at distances (n,) [A]; harmonics of edge vectors have r^l in them."""
    values = layer.radial.evaluate(model.edges.embedding(edge_lengths))
    values = torch.split(values, layer.radial.widths, dim=1)[source]
    if nequip.normalized:
        return values
    ranks = torch.tensor([l2 for x, l2, _ in layer.paths if x == source])
    powers = edge_lengths.unsqueeze(1) ** ranks  # (n, P)
    return (values.unflatten(1, (len(ranks), -1)) * powers.unsqueeze(2)).flatten(1)
