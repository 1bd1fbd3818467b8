# SPDX-License-Identifier: MIT
"""The weights of an ICTP model that is the same as a MACE model.

Linear layers act on channels only and stay as they are; what the change of basis leaves of the
coupling coefficients goes into the last layer of the radial networks, contractions into the
weights of paths.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyictp.errors import UserError
from pyictp.foreign.choice import Choice, atomic_energies, scale_and_shift
from pyictp.foreign.contraction import path_coordinates, path_tensors, rotated
from pyictp.foreign.mace_embedding import embedding_energies, state_features
from pyictp.foreign.mace_nonlinear import fill_nonlinear
from pyictp.foreign.mace_paths import convolution_paths, path_factors, scaled_paths
from pyictp.foreign.mace_radial import basis_factor
from pyictp.foreign.mace_readout import fill_readout, readouts_of
from pyictp.foreign.pickles import Record
from pyictp.foreign.put import put, put_linear
from pyictp.foreign.records import (
    activation_gain,
    expect,
    get,
    has,
    irreps,
    linear_matrices,
    number,
    parts,
    species_matrices,
    tensor,
)
from pyictp.model.ictp import ICTPModel, Layer
from pyictp.model.mace import MaceLayer
from pyictp.model.mace_nonlinear import NonlinearLayer
from pyictp.model.pair_radial import CutFunctions
from pyictp.model.products import Irrep, product_paths
from pyictp.model.radial import MLP, SILU_GAIN

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5}  # of spans: the rounding of the file


def fill(model: ICTPModel, file: Record, choice: Choice) -> None:
    """Give an ICTP model of the settings of a file its weights.

    Raises:
        UserError: a part of the file has not the shape that the settings say.
    """
    species = torch.tensor(choice.species)
    embedding = linear_matrices(get(get(file, "node_embedding"), "linear"))[0]  # (S, C)
    kept = embedding.index_select(0, species)
    added = state_features(file, choice)
    kept = kept if added is None else kept + added
    put(model.node_embedding, kept.T * len(species) ** 0.5, "node_embedding")
    basis = get(get(file, "radial_embedding"), "bessel_fn")
    prefactor = basis_factor(basis, model.edges.embedding.prefactor)
    interactions, products = (parts(get(file, name)) for name in ("interactions", "products"))
    readouts = readouts_of(file, len(interactions))
    for t, layer in enumerate(model.layers):
        _fill_interaction(layer, interactions[t], prefactor, species)
        _fill_product(model, t, products[t], species)
        fill_readout(layer.readout, readouts[t], choice)
    energies, (scale, shift) = atomic_energies(file, choice), scale_and_shift(file, choice)
    put(model.e0, energies, "atomic energies")
    put(model.scale, torch.full_like(energies, scale), "scale")
    put(model.shift, energies + shift + embedding_energies(file, kept, choice), "shift")


def _fill_interaction(layer: Layer, file: Record, prefactor: float, species: Tensor) -> None:
    """Fill linear maps, radial network and skip connection."""
    interaction = layer.interaction
    for rank, matrix in linear_matrices(get(file, "linear_up")).items():
        put_linear(interaction.linear_in.maps[rank], matrix, "linear_up")
    theirs = convolution_paths(file)
    ranks_in = [Irrep(slot.rank) for slot in irreps(get(file, "node_feats_irreps"))]
    l_max = len(interaction.irreps) - 1
    _, paths = product_paths(ranks_in, [Irrep(rank) for rank in range(l_max + 1)], l_max)
    ours = [(ranks_in[path.x].rank, path.y, path.z) for path in paths]
    order = {ranks: i for i, (ranks, _) in enumerate(theirs)}
    if sorted(order) != sorted(ours) or len(order) != len(theirs):
        raise UserError("the paths of its convolution are others than those of an ICTP model")
    is_nonlinear = isinstance(layer, NonlinearLayer)
    radial = interaction.radial
    radial = radial.functions if isinstance(radial, CutFunctions) else radial
    factors, columns = path_factors(theirs), [order[ranks] for ranks in ours]
    if not is_nonlinear:
        _fill_radial(radial, file, prefactor, factors, columns)
    matrices = linear_matrices(get(file, "linear_1" if is_nonlinear else "linear"))
    for rank in range(l_max + 1):
        of_rank = [order[ranks] for ranks in ours if ranks[2] == rank]
        blocks = matrices[rank].chunk(len(of_rank))
        matrix = torch.cat([blocks[sorted(of_rank).index(i)] for i in of_rank])
        target = interaction.linear_out.maps[rank]
        divisor = 1.0 if has(file, "density_fn") else number(file, "avg_num_neighbors")
        put_linear(target, matrix / divisor, "linear")
    if isinstance(layer, MaceLayer):
        _fill_further(layer, file, prefactor, species)
    if isinstance(layer, NonlinearLayer):
        fill_nonlinear(layer, file, prefactor, species, lambda x: scaled_paths(x, factors, columns))
        return
    skips = species_matrices(get(file, "skip_tp"))
    for i, target in enumerate(layer.skip_target):
        matrix = skips[layer.irreps[target].rank].index_select(1, species)
        put(layer.skip[i].weight, matrix / layer.skip[i].scale, "skip_tp")


def _fill_further(layer: MaceLayer, file: Record, prefactor: float, species: Tensor) -> None:
    """Fill the maps of a layer without a skip connection, and its density."""
    if layer.is_mapped:
        for rank, matrix in species_matrices(get(file, "skip_tp")).items():
            kept = matrix.index_select(1, species)
            put(layer.maps[rank].weight, kept / layer.maps[rank].scale, "skip_tp")
    if layer.density is not None:
        network = get(file, "density_fn")
        expect(network, "FullyConnectedNet", "density")
        matrices = [tensor(part, "weight") for part in parts(network)]
        if len(matrices) != 1:
            raise UserError("a density of several layers is not supported")
        scale = prefactor * len(matrices[0]) ** -0.5
        function = layer.density.radial
        function = function.functions if isinstance(function, CutFunctions) else function
        put_linear(function.linear, matrices[0] * scale, "density")


def _fill_radial(
    network: MLP, file: Record, prefactor: float, factors: Tensor, order: list[int]
) -> None:
    """Fill a radial network; factors (P,) of their paths, whose places in ours are `order`."""
    layers = parts(get(file, "conv_tp_weights"))
    gain = prefactor
    for i, layer in enumerate(layers):
        matrix = tensor(layer, "weight") * (gain * len(tensor(layer, "weight")) ** -0.5)
        if i == len(layers) - 1:
            matrix = scaled_paths(matrix, factors, order)
        else:
            gain = activation_gain(get(layer, "act"), "radial network") / SILU_GAIN
        put_linear(network.layers[i], matrix, "radial network")


def _fill_product(model: ICTPModel, t: int, file: Record, species: Tensor) -> None:
    """Fill the path weights of layer t and the linear map after them."""
    layer, config = model.layers[t], model.config
    l_max_out = max(irrep.rank for irrep in layer.irreps)
    paths = path_tensors(config, l_max_out)
    contractions = parts(get(get(file, "symmetric_contractions"), "contractions"))
    if len(contractions) != len(layer.irreps):
        raise UserError(f"layer {t + 1} keeps ranks that the last layer of an ICTP model has not")
    for rank, contraction in enumerate(contractions):
        for order in range(1, config.correlation + 1):
            if rank in paths[order - 1]:
                weights = _path_weights(contraction, rank, order, paths[order - 1][rank])
                if len(weights) == 1:  # the same for all species
                    weights = weights.expand(int(species.max()) + 1, -1, -1)
                target = _target(layer, rank, order, config.correlation)
                put(target, weights.index_select(0, species), "symmetric contraction")
    for rank, matrix in linear_matrices(get(file, "linear")).items():
        put_linear(layer.linear.maps[rank], matrix, "product linear")


def _path_weights(contraction: Record, rank: int, order: int, paths: Tensor) -> Tensor:
    """Return the weights (S, C, P) of the paths of one power of A to one rank."""
    correlation = int(number(contraction, "correlation"))
    stored = get(contraction, f"U_matrix_{order}")
    tensors = tensor(contraction, f"U_matrix_{order}")
    if rank == 0:
        tensors = tensors.unsqueeze(0)
    l_max = round(paths.shape[-1] ** 0.5) - 1
    expected = (*paths.shape[1:], tensors.shape[-1])
    if tensors.shape != expected:
        raise UserError(
            f"U_matrix_{order}: expected {expected} numbers, got {tuple(tensors.shape)}"
        )
    tensors = rotated(tensors.movedim(-1, 0), rank, l_max)
    x = path_coordinates(tensors, paths, TOLERANCES.get(stored.dtype, 1e-2))  # (P, K)
    if order == correlation:
        weights = tensor(contraction, "weights_max")
    else:
        weights = tensor(get(contraction, "weights"), str(correlation - 1 - order))
    return torch.einsum("pk,skc->scp", x, weights)


def _target(layer: Layer, rank: int, order: int, correlation: int) -> nn.Parameter:
    """Return the path weights of one power of A to one rank."""
    product, irrep = layer.product, Irrep(rank)
    if order == correlation and order > 1:
        last = [product.irreps[z] for z in product.last_target]
        return product.last[last.index(irrep)].weights.weight
    direct = product.first if order == 1 else product.steps[order - 2].direct
    found = [product.irreps[z] for z in direct.target]
    return direct.weights[found.index(irrep)].weight
