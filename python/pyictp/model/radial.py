# SPDX-License-Identifier: MIT
"""Radial functions: Bessel embedding of an edge length, polynomial cutoff, multilayer perceptron.

Source: arXiv:2405.14253, section 4; the cutoff is that of Gasteiger et al., arXiv:2003.03123.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import pi

import torch
from torch import Tensor, nn

from pyictp.model import plain
from pyictp.model.edges import EmbeddedEdges, InterpolatedEdges, VectorEdges
from pyictp.model.exact import ExactModule
from pyictp.model.mixing import Mixing

# 1 / sqrt(E[SiLU(x)^2]) for normally distributed x: keeps the variance through a layer.
SILU_GAIN = 1.6765324703310907


def polynomial_cutoff(u: Tensor, power: int) -> Tensor:
    """Return f(u): 1 at 0, 0 from 1 on, with two continuous derivatives.

    f(u) = 1 - (p+1)(p+2)/2 u^p + p(p+2) u^(p+1) - p(p+1)/2 u^(p+2).

    Args:
        u: r / r_cut, any shape, dimensionless.
        power: p >= 2.
    """
    p = float(power)
    bracket = (p + 1.0) * (p + 2.0) / 2.0 - p * (p + 2.0) * u + p * (p + 1.0) / 2.0 * u * u
    return torch.where(u < 1.0, 1.0 - u**power * bracket, torch.zeros_like(u))


class RadialEmbedding(ExactModule):
    """Bessel functions times the cutoff: b_n(r) = s sqrt(2/r_cut) sin(n pi r/r_cut)/r f(r/r_cut).

    The scale s is 1 as published.
    """

    frequencies: Tensor

    def __init__(
        self, r_cut: float, num_radial: int, cutoff_power: int, scale: float = 1.0
    ) -> None:
        """Store the cutoff radius [A], the frequencies n pi / r_cut [1/A] and the scale."""
        super().__init__()
        self.r_cut = r_cut
        self.cutoff_power = cutoff_power
        self.prefactor = scale * (2.0 / r_cut) ** 0.5
        self.register_buffer(
            "frequencies", pi / r_cut * torch.arange(1, num_radial + 1).double(), persistent=False
        )

    def forward(self, edge_lengths: Tensor) -> Tensor:
        """Return (..., num_radial) embeddings [A^-3/2] of edge lengths (...,) [A]."""
        r = edge_lengths.unsqueeze(-1)
        cutoff = polynomial_cutoff(r / self.r_cut, self.cutoff_power)
        return self.prefactor * torch.sin(self.frequencies.to(r.dtype) * r) / r * cutoff


class RadialTable(nn.Module):
    """Radial functions between knots at equal distances: cubic, or quintic for float64.

    With t = 0...1 between two knots and s = 1 - t, the cubic of values and slopes at both (Hermite)
    and, where there are more rows, t^2 s^2 (a + (t - 1/2) b): ends and their slopes stay.
    """

    knots: Tensor

    def __init__(
        self,
        values: Tensor,
        slopes: Tensor,
        r_cut: float,
        num_channels: int,
        inner: Sequence[Tensor] = (),
    ) -> None:
        """Tabulate P functions of C channels each.

        Args:
            values: (knots, P*C) at 0, ..., r_cut.
            slopes: (knots, P*C) derivatives [1/A].
            r_cut: cutoff radius [A].
            num_channels: C; stored with zeros to a multiple of 16, which the operators want.
            inner: a and b, (knots, P*C), of the intervals that begin at each knot; operators want
                them in float64 and not in float32.
        """
        super().__init__()
        self.r_cut = r_cut
        self.num_channels = num_channels
        self.num_intervals = values.shape[0] - 1
        self.spacing = r_cut / self.num_intervals
        rows = torch.stack([values, slopes * self.spacing, *inner], dim=1)  # (knots, rows, P*C)
        rows = rows.unflatten(2, (-1, num_channels)).transpose(1, 2)  # (knots, P, rows, C)
        padded = nn.functional.pad(rows, (0, -num_channels % 16)).contiguous()
        self.register_buffer("knots", padded)

    def forward(self, edges: VectorEdges) -> Tensor:  # noqa: ARG002 - as of networks
        """Return the knots, which the convolution reads."""
        return self.knots

    def at(self, edge_lengths: Tensor) -> Tensor:
        """Return (E, P*C) of edge lengths (E,) [A]; zero from r_cut on."""
        return read_table(self.knots, edge_lengths, self.r_cut, self.num_channels)


def read_table(
    knots: Tensor,
    edge_lengths: Tensor,
    r_cut: float,
    num_channels: int,
    tables: Tensor | None = None,
) -> Tensor:
    """Return radial functions (E, P*C) of edge lengths (E,) [A]; zero from r_cut on.

    Args:
        knots: (intervals+1, P, 2 or 4, at least C) of a `RadialTable`, or (tables, intervals+1,
            ...).
        edge_lengths: (E,) [A].
        r_cut: cutoff radius [A], the last knot.
        num_channels: C.
        tables: (E,) int64, that of each edge, where there are several.
    """
    num_intervals = knots.size(-4) - 1
    scaled = edge_lengths.div(r_cut / num_intervals)
    index = scaled.detach().floor().long().clamp(0, num_intervals - 1)
    # t is never below 0: a bound there would have slope 0 at every knot (PyTorch 2.14)
    t = (scaled - index).clamp(max=1.0).to(knots.dtype).unsqueeze(1)
    s = 1.0 - t
    weights = [(1.0 + 2.0 * t) * s * s, t * s * s]
    if knots.size(-2) == 4:
        weights += [t * t * s * s, (t - 0.5) * t * t * s * s]
    weights += [t * t * (3.0 - 2.0 * t), -t * t * s]
    if tables is not None and knots.dim() == 5:
        index = index + tables * (num_intervals + 1)
        knots = knots.flatten(0, 1)
    rows = torch.cat([knots[index], knots[index + 1, :, :2]], dim=2)  # (E, P, 4 or 6, C)
    factors = torch.cat(weights, dim=1).unsqueeze(1).unsqueeze(1)  # (E, 1, 1, 4 or 6)
    mixed = torch.matmul(factors, rows[..., :num_channels])
    return mixed.flatten(1)


class ScaledSiLU(nn.Module):
    """y = gain x s(x), s the logistic function; keeps the variance of normal numbers."""

    def __init__(self) -> None:
        """Take the gain as an attribute: TorchScript sees no module constants."""
        super().__init__()
        self.gain = SILU_GAIN

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor as x."""
        return self.gain * torch.nn.functional.silu(x)


class MLP(nn.Module):
    """Multilayer perceptron without biases: x -> W x / sqrt(fan_in), scaled SiLU between layers."""

    def __init__(self, sizes: Sequence[int]) -> None:
        """Draw normal weights for layers sizes[0] -> sizes[1] -> ...."""
        super().__init__()
        self.activation = ScaledSiLU()
        self.layers = nn.ModuleList(ScaledLinear(a, b) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., sizes[-1]) of x (..., sizes[0])."""
        return self.evaluate(x)

    def evaluate(self, x: Tensor) -> Tensor:
        """Return what `forward` does: networks of edges have another argument."""
        for i, layer in enumerate(self.layers):
            if i > 0:
                x = self.activation(x)
            x = layer(x)
        return x


class ScaledLinear(nn.Module):
    """Linear map of the last axis with unit-variance weights: x -> W x / sqrt(fan_in)."""

    def __init__(self, num_in: int, num_out: int, factor: float = 1.0) -> None:
        """Draw normal weights (num_out, num_in); results are multiplied by `factor`."""
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_out, num_in))
        self.scale = factor * num_in**-0.5
        self.mixing = Mixing()

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., num_out) of x (..., num_in)."""
        return self.mixing(x, self.weight.t() * self.scale)


class ShiftedLinear(ScaledLinear):
    """Linear map with a bias."""

    def __init__(self, num_in: int, num_out: int, factor: float = 1.0) -> None:
        """Draw normal weights, `factor` as of `ScaledLinear`; the bias is zero."""
        super().__init__(num_in, num_out, factor)
        self.bias = nn.Parameter(torch.zeros(num_out))

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., num_out) of x (..., num_in)."""
        return self.mixing(x, self.weight.t() * self.scale) + self.bias


class RadialNetwork(MLP):
    """The radial functions of a layer: a network of the embedding of every edge."""

    def forward(self, edges: EmbeddedEdges) -> Tensor:
        """Return (E, P*C), path-major."""
        return self.evaluate(edges.embedding)


class Interpolation(nn.Module):
    """Values between the rows of a table, see `plain.interpolate`."""

    def forward(self, table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        """Return (E, W) of a table (K, W), first rows (E,) and weights (E, n)."""
        return plain.interpolate(table, rows, weights)


class InterpolatedNetwork(RadialNetwork):
    """The same, in training interpolated between knots; has the network's parameters."""

    def __init__(self, network: RadialNetwork) -> None:
        """Take the place of a network."""
        nn.Module.__init__(self)
        self.activation, self.layers = network.activation, network.layers
        self.interpolation = Interpolation()

    def forward(self, edges: InterpolatedEdges | EmbeddedEdges) -> Tensor:
        """Return (E, P*C), path-major."""
        radial = self.evaluate(edges.embedding)
        if isinstance(edges, InterpolatedEdges):
            return self.interpolation(radial, edges.knots, edges.weights)
        return radial
