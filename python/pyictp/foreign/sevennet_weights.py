# SPDX-License-Identifier: MIT
"""The weights of a model that is the same as one of SevenNet.

Linear maps act on channels only and stay as they are; what the change of basis leaves of the
coupling coefficients goes into the last layer of the radial networks. A method among several is a
one-hot input of linear maps: of the one that is chosen a bias is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pyictp.errors import UserError
from pyictp.foreign.bases import harmonics_scale, to_cartesian
from pyictp.foreign.put import put
from pyictp.foreign.sevennet import SevenNet
from pyictp.foreign.sevennet_features import Features, FilePath, e3nn_order, gated
from pyictp.model.layers import SpeciesLinear
from pyictp.model.nequip import NequipLayer, NequipModel
from pyictp.model.nequip_radial import RankNetwork
from pyictp.model.products import Irrep, coupling
from pyictp.model.radial import SILU_GAIN, ScaledLinear, ShiftedLinear

# 1/sqrt of the mean squares of SiLU and tanh of the million normal numbers that e3nn draws
E3NN_SILU = 1.6791767923989418
E3NN_TANH = 1.5937334472592695
GAIN = E3NN_SILU / SILU_GAIN
ROUNDING = 1e-5  # of the coupling coefficients in a file, float32


class Linear(NamedTuple):
    """A linear map x -> x W + b, b of the scalars."""

    matrices: dict[Irrep, Tensor]  # (channels in, channels out) of each kind of feature
    bias: Tensor  # (scalars out,)


@dataclass(frozen=True)
class Taken:
    """What is taken of a file: some of its elements, one of its methods."""

    settings: SevenNet
    species: tuple[int, ...]  # in the file
    modal: int = 0  # number of the method

    def linear(
        self,
        name: str,
        num_in: Features,
        num_out: Features,
        modal_part: str = "",
        biased: bool = True,
    ) -> Linear:
        """Return a linear layer of e3nn: y = x W / sqrt(channels in), kinds one after the other.

        Args:
            name: of the layer.
            num_in: the features that it takes.
            num_out: those that it makes.
            modal_part: the setting that says whether it sees the method.
            biased: it has a bias where the model has any.

        Raises:
            UserError: there are more or fewer weights.
        """
        settings = self.settings
        num_modals = settings.num_modals(modal_part)
        scalars = Irrep(0)
        kinds = [irrep for irrep in num_in if irrep in num_out]
        shapes = [(num_in[irrep], num_out[irrep]) for irrep in kinds]
        if num_modals:
            shapes.append((num_modals, num_out[scalars]))
        blocks = _blocks(settings, f"{name}.linear.weight", shapes)
        bias = torch.zeros(num_out[scalars], dtype=torch.float64)
        sizes = {irrep: num_in[irrep] + num_modals * (irrep == scalars) for irrep in kinds}
        if num_modals:
            bias = blocks.pop()[self.modal] * sizes[scalars] ** -0.5
        if settings.biases and biased:
            bias = bias + settings.tensor(f"{name}.linear.bias")
        matrices = {
            irrep: block * sizes[irrep] ** -0.5 for irrep, block in zip(kinds, blocks, strict=True)
        }
        return Linear(matrices, bias)

    def per_species(self, name: str) -> Tensor:
        """Return scale or shift [eV] of the elements kept."""
        values = self.settings.tensor(f"rescale_atomic_energy.{name}")
        if values.dim() == 2:
            values = values[self.modal]
        if len(values) == 1:  # the same for all
            values = values.expand(len(self.settings.numbers))
        if values.shape != (len(self.settings.numbers),):
            raise UserError(
                f"{name}: expected {len(self.settings.numbers)} numbers, got {len(values)}"
            )
        return values[list(self.species)]


def _blocks(settings: SevenNet, name: str, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """Return the matrices of a row of weights.

    Raises:
        UserError: there are more or fewer weights.
    """
    flat = settings.tensor(name).flatten()
    sizes = [torch.Size(shape).numel() for shape in shapes]
    if sum(sizes) != len(flat):
        raise UserError(f"{name}: expected {sum(sizes)} numbers, got {len(flat)}")
    return [part.view(shape) for part, shape in zip(flat.split(sizes), shapes, strict=True)]


def fill(model: NequipModel, taken: Taken) -> None:
    """Give a model of the settings of a file, in float64, its weights.

    Raises:
        UserError: a part of the file has not the shape that the settings say.
    """
    settings, scalars = taken.settings, Irrep(0)
    sizes = {scalars: len(settings.numbers)}, settings.features[0]
    embedding = taken.linear("onehot_to_feature_x", *sizes, "use_modal_node_embedding")
    kept = embedding.matrices[scalars][list(taken.species)] + embedding.bias
    put(model.node_embedding, kept.T * len(taken.species) ** 0.5, "node_embedding")
    for t, layer in enumerate(model.layers):
        assert isinstance(layer, NequipLayer)
        _fill_layer(layer, taken, t)
    last = settings.features[-1]
    hidden = {scalars: last[scalars] // 2}
    first = taken.linear("reduce_input_to_hidden", last, hidden, "use_modal_output_block")
    second = taken.linear("reduce_hidden_to_energy", hidden, {scalars: 1})
    matrix = second.matrices[scalars]
    _put_linear(model.readout, GAIN * first.matrices[scalars] @ matrix, "readout")
    constant = first.bias @ matrix + second.bias
    scale = taken.per_species("scale")
    put(model.scale, scale, "scale")
    put(model.shift, taken.per_species("shift") + scale * constant, "shift")


def _put_linear(layer: nn.Module, matrix: Tensor, name: str, bias: Tensor | None = None) -> None:
    """Let a layer be x -> x W + b, W (in, out)."""
    assert isinstance(layer, ScaledLinear)
    put(layer.weight, matrix.T / layer.scale, name)
    if isinstance(layer, ShiftedLinear) and bias is not None:
        put(layer.bias, bias, name)


def _gain(irrep: Irrep, t: int) -> float:
    """Return by how much what the gate before layer t gives is smaller than theirs."""
    if t == 0:
        return 1.0
    return E3NN_TANH if irrep == Irrep(0, True) else GAIN


def _columns(features: Features, kept: Sequence[Irrep]) -> Tensor:
    """Return which of the file's scalars before a gate are ours: scalars, gates of what is kept."""
    starts, used = {}, features[Irrep(0)]
    for irrep, n in features.items():
        if irrep.rank > 0:
            starts[irrep], used = used, used + n
    gates = [torch.arange(starts[i], starts[i] + features[i]) for i in kept if i.rank > 0]
    return torch.cat([torch.arange(features[Irrep(0)]), *gates])


def _fill_layer(layer: NequipLayer, taken: Taken, t: int) -> None:
    """Fill layer t."""
    settings = taken.settings
    own, new = settings.features[t], settings.features[t + 1]
    name = f"{t}_self_interaction_1"
    first = taken.linear(name, own, own, "use_modal_self_inter_intro")
    for i, part in zip(layer.sources, layer.linear_in, strict=True):
        irrep = layer.before[i]
        _put_linear(part, first.matrices[irrep] * _gain(irrep, t), name, first.bias)
    _fill_radial(layer, settings, t)
    _fill_linear_out(layer, taken, t)
    name, made = f"{t}_self_connection_intro", gated(new)
    columns, kinds = _columns(new, layer.after), [layer.after[i] for i in layer.skip_target]
    if not settings.skip_by_species:
        skip = taken.linear(name, own, made, biased=False)
        for part, irrep in zip(layer.skip, kinds, strict=True):
            matrix = skip.matrices[irrep] * _gain(irrep, t)
            _put_linear(part, matrix[:, columns] if irrep == Irrep(0) else matrix, name)
        return
    num_species = len(settings.numbers)
    shapes = {irrep: (n, num_species, made[irrep]) for irrep, n in own.items() if irrep in made}
    blocks = _blocks(settings, f"{name}.fc_tensor_product.weight", list(shapes.values()))
    stored = dict(zip(shapes, blocks, strict=True))
    for part, irrep in zip(layer.species_skip, kinds, strict=True):
        block = stored[irrep][:, list(taken.species)]
        block = block * (_gain(irrep, t) * (own[irrep] * num_species) ** -0.5)
        assert isinstance(part, SpeciesLinear)
        block = block[..., columns] if irrep == Irrep(0) else block
        put(part.weight, block / part.scale, name)


def _paths(layer: NequipLayer) -> list[FilePath]:
    """Return our paths as the file has them."""
    return [
        (layer.before[layer.sources[x]], l2, layer.after[target]) for x, l2, target in layer.paths
    ]


def _fill_linear_out(layer: NequipLayer, taken: Taken, t: int) -> None:
    """Fill the map of the messages, whose paths are in another order."""
    settings, own, new = taken.settings, taken.settings.features[t], taken.settings.features[t + 1]
    theirs, ours = settings.paths(t), _paths(layer)
    name = f"{t}_self_interaction_2"
    divisor = settings.tensor(f"{t}_convolution.denominator").item()
    if divisor == 0.0:
        raise UserError(f"the denominator of layer {t + 1} is zero: the file is damaged")
    results = sorted({result for _, _, result in theirs}, key=e3nn_order)
    num_in = {i: sum(own[source] for source, _, result in theirs if result == i) for i in results}
    second = taken.linear(name, num_in, gated(new), "use_modal_self_inter_outro")
    columns = _columns(new, layer.after)
    for irrep, part in zip(layer.after, layer.linear_out, strict=True):
        stored = [path for path in theirs if path[2] == irrep]
        sizes = [own[path[0]] for path in stored]
        rows = dict(zip(stored, second.matrices[irrep].split(sizes), strict=True))
        ordered = torch.cat([rows[path] for path in ours if path[2] == irrep])
        ordered = ordered[:, columns] if irrep == Irrep(0) else ordered
        _put_linear(part, ordered / divisor, name, second.bias[columns])


def _fill_radial(layer: NequipLayer, settings: SevenNet, t: int) -> None:
    """Fill the radial networks.

    R^ = R sqrt(2 l3 + 1) kappa(l1, l2, l3) sqrt(P_l3) / s_l2: our coupling is divided by sqrt(P_l3)
    of its convolution.
    """
    own, network = settings.features[t], layer.radial
    assert isinstance(network, RankNetwork)
    # Bessel functions: 2/r_cut there, sqrt(2/r_cut) here
    gain = (2.0 / settings.r_cut) ** 0.5
    for i, part in enumerate(network.layers):
        matrix = settings.tensor(f"{t}_convolution.weight_nn.layer{i}.weight")
        if matrix.dim() != 2:
            raise UserError(f"the radial network of layer {t + 1} has no matrices: damaged")
        matrix = matrix * (gain * len(matrix) ** -0.5)
        gain = GAIN
        if i == len(network.layers) - 1:
            stored = settings.stored_paths(t)
            columns = matrix.split([own[path[0]] for path in stored], dim=1)
            theirs = dict(zip(stored, columns, strict=True))
            matrix = torch.cat(
                [
                    theirs[path] * _path_factor(settings, t, path) * divisor
                    for path, divisor in zip(_paths(layer), layer.divisors, strict=True)
                ],
                dim=1,
            )
        _put_linear(part, matrix, "radial network")


def _path_factor(settings: SevenNet, t: int, path: FilePath) -> float:
    """Return what a radial function is multiplied by in the Cartesian basis.

    Versions of e3nn differ in the signs of coupling coefficients, and files hold those they were
    trained with. Without, all are positive: ours have the signs of e3nn 0.5.

    Raises:
        UserError: the file holds other coefficients.
    """
    l1, l2, l3 = ranks = (path[0].rank, path[1], path[2].rank)
    ours = coupling(l1, l2, l3)
    factor = (2 * l3 + 1) ** 0.5 / (ours.norm().item() * harmonics_scale(l2))
    name = f"{t}_convolution.convolution._compiled_main_left_right._w3j_{l1}_{l2}_{l3}"
    if name not in settings.tensors:
        return factor
    stored = settings.tensor(name)
    if stored.shape != (2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1):
        raise UserError(f"{name}: of another shape than its ranks say: the file is damaged")
    bases = (to_cartesian(rank) for rank in ranks)
    theirs = torch.einsum("ia,jb,kc,abc->kij", *bases, stored)
    ratio = (theirs * ours).sum().item() / ours.norm().item()
    if abs(abs(ratio) - 1.0) > ROUNDING or abs(theirs.norm().item() - 1.0) > ROUNDING:
        raise UserError(f"its coupling coefficients of ranks {l1}, {l2}, {l3} are not e3nn's")
    return factor if ratio > 0 else -factor
