# SPDX-License-Identifier: MIT
"""Linear maps of channels by `ictp::mix_channels`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

pytestmark = pytest.mark.usefixtures("compiled_parts")


def draw(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(sum(shape)))


# rows that are no multiple of those that the kernel takes at once, columns of no whole vector
@pytest.mark.parametrize("shape", [(1,), (7,), (13, 3), (0,), (0, 3), (2, 0)], ids=str)
@pytest.mark.parametrize("num_in", [1, 5, 192])
@pytest.mark.parametrize("num_out", [1, 8, 21, 64, 100])
def test_it_is_a_matrix_product(
    shape: tuple[int, ...], num_in: int, num_out: int, dtype: torch.dtype, threads: int
) -> None:
    assert torch.get_num_threads() == threads
    x, w = draw(*shape, num_in, dtype=dtype), draw(num_in, num_out, dtype=dtype)
    expected = (x.unsqueeze(-1) * w).sum(-2)
    limit = 1e-13 if dtype == torch.float64 else 1e-4
    torch.testing.assert_close(torch.ops.ictp.mix_channels(x, w), expected, atol=limit, rtol=limit)


def test_operands_need_not_be_in_one_piece() -> None:
    x, w = draw(4, 6, 5).transpose(0, 1)[:, 1:], draw(7, 5).t()
    torch.testing.assert_close(torch.ops.ictp.mix_channels(x, w), x @ w, atol=1e-14, rtol=0)


def test_derivatives() -> None:
    x, w = draw(5, 3, 4).requires_grad_(), draw(4, 6).requires_grad_()
    assert torch.autograd.gradcheck(torch.ops.ictp.mix_channels, (x, w))
    assert torch.autograd.gradgradcheck(torch.ops.ictp.mix_channels, (x, w))


@pytest.mark.parametrize(
    ("x", "w"),
    [(draw(3, 4), draw(5, 6)), (draw(3, 4), draw(4)), (draw(3, 4), draw(4, 2).float())],
    ids=["sizes", "dimensions", "dtypes"],
)
def test_what_does_not_fit_is_refused(x: Tensor, w: Tensor) -> None:
    with pytest.raises(
        RuntimeError, match=r"mix_channels: expected x \(..., in\) and w \(in, out\)"
    ):
        torch.ops.ictp.mix_channels(x, w)
