# SPDX-License-Identifier: MIT
"""The weights of MACE's nonlinear interactions, see `model.mace_nonlinear`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from pyictp.errors import UserError
from pyictp.foreign.pickles import Record
from pyictp.foreign.put import put, put_linear
from pyictp.foreign.records import (
    activation_gain,
    expect,
    expect_function,
    get,
    kind,
    linear_matrices,
    number,
    parts,
    tensor,
)
from pyictp.model.mace_nonlinear import ElementNetwork, NonlinearLayer
from pyictp.model.pair_radial import CutFunctions
from pyictp.model.radial import SILU_GAIN

WHERE = "gate of a nonlinear interaction"
NETWORK = "network of a nonlinear interaction"


def fill_nonlinear(
    layer: NonlinearLayer,
    file: Record,
    prefactor: float,
    species: Tensor,
    to_ours: Callable[[Tensor], Tensor],
) -> None:
    """Fill what a layer has beyond linear maps to and from messages.

    Args:
        layer: to fill.
        file: the interaction.
        prefactor: of the file's radial functions in ours.
        species: (S,) of the elements kept, in the file.
        to_ours: radial functions (..., P*C) of the file's paths to those of ours.

    Raises:
        UserError: the file has other parts than such an interaction has.
    """
    density = _inner(layer.density.radial).network
    networks = ((_inner(layer.interaction.radial), "conv_tp_weights"), (density, "density_fn"))
    for network, name in networks:
        _fill_network(network, parts(get(get(file, name), "net")), file, prefactor, species)
    last = _inner(layer.interaction.radial).layers[-1].linear
    put(last.weight, to_ours(last.weight.detach().T).T, NETWORK)
    put(last.bias, to_ours(last.bias.detach()), NETWORK)
    for name in ("alpha", "beta"):
        put(getattr(layer, name), tensor(file, name), name)
    residual = linear_matrices(get(file, "linear_res"))
    for rank, linear in enumerate(layer.residual):
        put_linear(linear, residual[rank], "linear_res")
    gains = _gains(get(file, "equivariant_nonlin"), layer.gate_channels[0])
    for rank, matrix in linear_matrices(get(file, "linear_2")).items():
        put_linear(layer.mixing.maps[rank], matrix * gains[min(rank, 1)], "linear_2")
    skips = linear_matrices(get(file, "skip_tp"))
    for i, target in enumerate(layer.skip_target):
        put_linear(layer.skip[i], skips[layer.irreps[target].rank], "skip_tp")


def _inner(functions: nn.Module) -> nn.Module:
    """Return what a cutoff multiplies, if one does."""
    return functions.functions if isinstance(functions, CutFunctions) else functions


def _fill_network(
    network: ElementNetwork,
    layers: Sequence[Record],
    file: Record,
    prefactor: float,
    species: Tensor,
) -> None:
    """Fill a network of distance and elements, embedded in its first layer's weights."""
    kinds = ["Linear", *["LayerNorm", "SiLU", "Linear"] * len(network.layers)]
    if [kind(layer) for layer in layers] != kinds:
        raise UserError(f"{NETWORK}: {', '.join(map(kind, layers))} are not supported")
    weight = tensor(layers[0], "weight")
    num_radial = network.linear.in_features
    embeddings = [
        linear_matrices(get(file, f"{end}_embedding"))[0].index_select(0, species)
        for end in ("source", "target")
    ]
    num_columns = embeddings[0].shape[1]
    if weight.shape[1] != num_radial + 2 * num_columns:
        raise UserError(f"{NETWORK}: {weight.shape[1]} inputs are not those of its embeddings")
    radial, source, target = weight.split([num_radial, num_columns, num_columns], dim=1)
    put(network.linear.weight, radial * prefactor, NETWORK)
    put(network.linear.bias, tensor(layers[0], "bias"), NETWORK)
    put(network.neighbor, embeddings[0] @ source.T, NETWORK)
    put(network.center, embeddings[1] @ target.T, NETWORK)
    for i, layer in enumerate(network.layers):
        norm, linear = layers[1 + 3 * i], layers[3 + 3 * i]
        if number(norm, "eps") != layer.norm.eps:
            raise UserError(f"{NETWORK}: eps {number(norm, 'eps'):g} is not supported")
        for ours, theirs in ((layer.norm, norm), (layer.linear, linear)):
            put(ours.weight, tensor(theirs, "weight"), NETWORK)
            put(ours.bias, tensor(theirs, "bias"), NETWORK)


def _gains(gate: Record, num_scalars: int) -> tuple[float, float]:
    """Return what multiplies scalars and gates in units of what does in ours.

    Raises:
        UserError: it is no gate of SiLU and the logistic function, scalars before gates.
    """
    if kind(gate) == "Gate":  # e3nn's
        acts = [
            activation
            for name in ("act_scalars", "act_gates")
            for activation in parts(get(get(gate, name), "acts"))
        ]
        scalars, *gates = [
            activation_gain(act, WHERE, "sigmoid" if i else "silu") for i, act in enumerate(acts)
        ]
        return scalars / SILU_GAIN, gates[0] if gates else 1.0
    expect(gate, "GatedEquivariantBlock", "nonlinear interaction")
    if get(gate, "_layout_is_ir_mul", False):
        raise UserError(f"{WHERE}: the layout of cuEquivariance is not supported")
    expect_function(get(gate, "_act_scalar"), WHERE, "silu")
    if get(gate, "_gated_info"):
        expect_function(get(gate, "_act_gate"), WHERE, "sigmoid")
        if (get(gate, "_s_start"), get(gate, "_g_start")) != (0, num_scalars):
            raise UserError(f"{WHERE}: gates before scalars are not supported")
    return number(gate, "_scalar_cst") / SILU_GAIN, number(gate, "_gate_cst")
